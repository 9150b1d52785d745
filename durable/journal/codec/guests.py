"""Read the class and the fields of users' exceptions, past their overrides.

Separate because an exception's class may compute, guard or falsify everything that it can override, and every part of
the engine must read an exception alike.
Leaves to `failures` the record of an exception, to `retries` the consequences.

Some real cases: a frozen dataclass refuses to have its traceback set, a property replaces the cause, `__class__` claims
another type, a metaclass raises when it is asked for a name. So the class is read by `type`, and the fields are read
and set as the interpreter does it, by the descriptors of `BaseException`.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from types import TracebackType
from typing import Any

from durable.errors import HOME, CodecError, LimitError
from durable.timers import keepable

_BRIEF = 1_000
_cause: Any = BaseException.__dict__["__cause__"]
_context: Any = BaseException.__dict__["__context__"]
_suppresses: Any = BaseException.__dict__["__suppress_context__"]
_trace: Any = BaseException.__dict__["__traceback__"]
_exceptions: Any = BaseExceptionGroup.__dict__["exceptions"]
_name: Any = type.__dict__["__name__"]


def is_of(error: BaseException, *classes: type[BaseException]) -> bool:
    """Return whether an exception is of one of the classes.

    The classes must be the library's own or the interpreter's.
    """
    return issubclass(type(error), classes)


def name_of(error: BaseException) -> str:
    """Return the name of an exception's class."""
    name: str = _name.__get__(type(error))
    return name


def cause_of(error: BaseException) -> BaseException | None:
    """Return an exception's cause, or else its context, as tracebacks show it."""
    cause: BaseException | None = _cause.__get__(error)
    if cause is None and not _suppresses.__get__(error):
        cause = _context.__get__(error)
    return cause


def trace_of(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback."""
    trace: TracebackType | None = _trace.__get__(error)
    return trace


def set_trace(error: BaseException, trace: TracebackType | None) -> None:
    """Set an exception's traceback."""
    _trace.__set__(error, trace)


def told(error: Exception) -> Exception:
    """Return the refusal of a value that a user's code has returned, without frames that are all the library's.

    They say nothing of the value, and there is no line of the user's to show.
    """
    if is_of(error, CodecError, LimitError):
        files = [frame.f_code.co_filename for frame, _ in walk_tb(trace_of(error))]
        if all(file.startswith(HOME) for file in files):
            set_trace(error, None)
    return error


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of an exception group, or nothing for another exception."""
    return tuple(_exceptions.__get__(error)) if is_of(error, BaseExceptionGroup) else ()


def all_in(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all members of a group, at any depth, in order.

    Each exception is yielded once.
    """
    seen: set[int] = set()  # by identity: groups may hold the same exception many times
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += reversed(members_of(one))


def text_of(value: object, *, what: str) -> str:
    """Return `str(value)`, or if that raises, a text that says so; `what` names the value there."""
    try:
        return str.__str__(str(value))
    except KeyboardInterrupt:  # R14: it comes from a person at a terminal, not from the value
        raise
    except BaseException as broken:  # a __str__ of a user's class
        return f"<its {what} cannot be shown: {name_of(broken)} in __str__>"


def brief_of(error: BaseException) -> str:
    """Return the class and the message of a user's exception, for a log.

    The message is cut at 1,000 characters.
    """
    return keepable(f"{name_of(error)}: {text_of(error, what='message')[:_BRIEF]}")
