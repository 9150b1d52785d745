"""Wrong use: which errors durable itself has raised at a call, so that no try is spent on them (R13a).

Separate because the same error means two things: raised by a service it may get better, raised by durable because an
argument was wrong it cannot.
Leaves to whoever is called what wrong use is, to `retries` what follows.

An error is durable's own if it is marked, or if it says that an argument is wrong and the line that raised it is one of
durable's. The line stays with the exception object, whoever passes it on; what a user makes of it (another exception,
raised from it or not) has a line of the user's. Not asked are lines that only call or pass on what is the user's: a
handler written in C has no line of its own.
"""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from durable.errors import HOME, ExpressionError
from durable.guests import is_of, trace_of

E = TypeVar("E", bound=BaseException)

_MARK = "_durable_misuse"
_CALLING = ("arguments", "claims", "testing/faults")  # modules whose lines call handlers
_PASSING_ON = (*_CALLING, "context", "eager", "scheduler", "session", "tries", "workers")

_OF_ARGUMENTS = (TypeError, ValueError, ExpressionError)  # they say, where durable raises them, that one is wrong


def misuse(error: E) -> E:
    """Mark an error that durable is about to raise as one of wrong use, and return it."""
    error.__dict__[_MARK] = True
    return error


def misplaced(message: str) -> RuntimeError:
    """Return the error of a call in a wrong place: another loop, thread or process, a handler, a function."""
    return misuse(RuntimeError(message))


def is_misuse(error: BaseException) -> bool:
    """Say whether durable raised the error because it was used wrongly. Members of a group are not asked."""
    try:
        return bool(object.__getattribute__(error, _MARK))
    except AttributeError:
        return is_of(error, *_OF_ARGUMENTS) and _is_own(trace_of(error))


def is_failed_call(error: BaseException) -> bool:
    """Say whether the call of a handler itself failed: a TypeError of which no line is the handler's (R13a)."""
    module = _own_module(trace_of(error)) if is_of(error, TypeError) else None
    return module in _CALLING


def _is_own(trace: TracebackType | None) -> bool:
    module = _own_module(trace)
    return module is not None and module not in _PASSING_ON and not module.startswith("testing/")


def _own_module(trace: TracebackType | None) -> str | None:
    """Return the module of the line that raised, as a path below the library; None if it is not of durable."""
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    if not file.startswith(HOME):
        return None
    return file.removeprefix(HOME).removesuffix(".py").replace("\\", "/")
