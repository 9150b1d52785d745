"""Recognise errors that durable has raised because it was used wrongly (R13a).

Separate because the same class of error means two things. Raised by a service, it may get better when it is tried
again. Raised by durable for a wrong argument, it cannot, and no try is spent on it.
Leaves to each method the checks of its use, to `retries` the consequences.

An error is durable's own if it is marked, or if it is of a class that tells of wrong use and the innermost line
of its traceback is durable's. That line stays with the exception object wherever it is raised again. An exception that
a user makes from it has a line of the user's. Lines of durable that only call users' code, or pass on what it raised,
do not count: a handler written in C has no line of its own in a traceback.
"""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from durable.errors import HOME, ExpressionError
from durable.journal.codec.guests import is_of, trace_of

E = TypeVar("E", bound=BaseException)

_MARK = "_durable_misuse"
# Modules whose lines call handlers, and those whose lines pass on users' calls and errors.
_CALLING = ("scheduler/arguments", "scheduler/attempts", "scheduler/first_try", "functions/handler", "testing/faults")
_PASSING_ON = (
    *_CALLING,
    *(f"scheduler/{name}" for name in ("calls", "eager", "scheduler", "session", "threads", "undocumented")),
    "functions/context",
)

_OF_ARGUMENTS = (TypeError, ValueError, ExpressionError)  # raised by durable, they say that an argument is wrong


def misuse(error: E) -> E:
    """Mark an error that durable is about to raise as misuse, and return it."""
    error.__dict__[_MARK] = True
    return error


def misplaced(message: str) -> RuntimeError:
    """Return the error for a call in a wrong place.

    Such as another loop, thread or process, a handler, or a function.
    """
    return misuse(RuntimeError(message))


def is_misuse(error: BaseException) -> bool:
    """Return whether durable raised the error because it was used wrongly.

    The members of an exception group are not looked at.
    """
    try:
        return bool(object.__getattribute__(error, _MARK))
    except AttributeError:
        return is_of(error, *_OF_ARGUMENTS) and _is_own(trace_of(error))


def is_failed_call(error: BaseException) -> bool:
    """Return whether calling a handler failed, before any line of it ran (R13a).

    That is a TypeError whose innermost line is the one that calls handlers.
    """
    module = _own_module(trace_of(error)) if is_of(error, TypeError) else None
    return module in _CALLING


def _is_own(trace: TracebackType | None) -> bool:
    module = _own_module(trace)
    return module is not None and module not in _PASSING_ON and not module.startswith("testing/")


def _own_module(trace: TracebackType | None) -> str | None:
    """Return the module of the innermost line, as a path below the library.

    None if the line is not durable's.
    """
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    if not file.startswith(HOME):
        return None
    return file.removeprefix(HOME).removesuffix(".py").replace("\\", "/")
