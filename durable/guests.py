"""Exceptions as guests: their class and fields, read past whatever the class puts in the way.

Separate because an exception's class may compute, guard or lie about all that it can override, and everyone who judges
one must read the same.
Leaves to `codec` what is kept of an exception, to `retries` what follows from it.

A frozen dataclass refuses that its traceback is set, a property stands where the cause is, `__class__` claims another
type, a metaclass raises when it is asked for a name. So the class is asked by `type`, and the fields are read and set
as the interpreter does it, by the descriptors of `BaseException`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from durable.spelling import keepable

_BRIEF = 1_000
_cause: Any = BaseException.__dict__["__cause__"]
_context: Any = BaseException.__dict__["__context__"]
_suppresses: Any = BaseException.__dict__["__suppress_context__"]
_trace: Any = BaseException.__dict__["__traceback__"]
_exceptions: Any = BaseExceptionGroup.__dict__["exceptions"]
_name: Any = type.__dict__["__name__"]


def is_of(error: BaseException, *classes: type[BaseException]) -> bool:
    """Say whether an exception is of one of the classes; they are classes of ours, or the interpreter's."""
    return issubclass(type(error), classes)


def name_of(error: BaseException) -> str:
    """Return the name of an exception's class."""
    name: str = _name.__get__(type(error))
    return name


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an exception was raised from, or while what was handled, as a traceback shows it."""
    cause: BaseException | None = _cause.__get__(error)
    if cause is None and not _suppresses.__get__(error):
        cause = _context.__get__(error)
    return cause


def trace_of(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback."""
    trace: TracebackType | None = _trace.__get__(error)
    return trace


def set_trace(error: BaseException, trace: TracebackType | None) -> None:
    """Give an exception another traceback."""
    _trace.__set__(error, trace)


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return what an exception group holds; nothing for an exception that is no group."""
    return tuple(_exceptions.__get__(error)) if is_of(error, BaseExceptionGroup) else ()


def all_in(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and, of a group, all that it holds at any depth, each once, in order."""
    seen: set[int] = set()  # by identity: a group may hold one exception many times, in many groups
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += reversed(members_of(one))


def text_of(value: object, *, what: str) -> str:
    """Return `str(value)`; where that raises, a text that says so of `what`."""
    try:
        return str.__str__(str(value))
    except KeyboardInterrupt:  # R14: somebody at a terminal, not the value
        raise
    except BaseException as broken:  # a __str__ of the user's
        return f"<its {what} cannot be shown: {name_of(broken)} in __str__>"


def brief_of(error: BaseException) -> str:
    """Return the class and the message of somebody else's exception, for a line of ours. `repr` may have no end."""
    return keepable(f"{name_of(error)}: {text_of(error, what='message')[:_BRIEF]}")
