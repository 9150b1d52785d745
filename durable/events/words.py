"""Check names, texts and numbers that users give.

Separate because every method that takes a name must accept the same ones: those that a store can keep and give back.
Leaves to `timers.durations` durations and instants, to each caller any further checks.

A value of a subclass of `str`, such as a StrEnum's member, is taken as the plain text it holds. Its own `__str__`,
`__eq__` and `__hash__` do not count, since after recording and reading it is plain text, too. The same holds for
subclasses of `int` and `float`. Every Unicode character is kept, control characters too. A lone surrogate is refused:
it is not a character, and no UTF-8 file can hold it (R31).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypeGuard

from durable.errors import LimitError
from durable.timers import shown

NAME_BYTES = 1_024  # R28
TEXT_BYTES = 16 * 1_024


def is_str(value: object) -> TypeGuard[str]:
    """Return whether the value is a string, of `str` or a subclass.

    A value that only claims to be one by its `__class__`, as a test's double does, is not a string.
    """
    return issubclass(type(value), str)


def plain(value: object, what: str = "a text") -> str:
    """Return a string, also one of a subclass, as a plain string.

    `what` names the value in errors.

    Raises:
        TypeError: not a string.
    """
    if type(value) is str:
        return value
    if is_str(value):
        return str.__str__(value)
    raise TypeError(f"{what} must be a string, not {shown(value)} ({type(value).__name__})")


def spelled(value: object, what: str) -> str:
    """Return a string that is not empty as a plain string.

    It may hold any text. `what` names the value in errors.

    Raises:
        TypeError: not a string.
        ValueError: empty.
    """
    found = plain(value, what)
    if not found:
        raise ValueError(f"{what} must not be empty")
    return found


def checked_text(value: object, what: str, *, most: int = TEXT_BYTES) -> str:
    """Return a checked text as a plain string.

    `what` names the value in errors. `most` is the limit in bytes of UTF-8.

    Raises:
        TypeError: not a string.
        ValueError: the text holds half of a surrogate pair.
        LimitError: the text is longer than `most`.
    """
    found = plain(value, what)
    size = len(found)
    if not found.isascii():
        try:
            size = len(found.encode())
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{what} holds half of a surrogate pair, {found[error.start]!r} at position {error.start}, which no "
                f"store can keep: {shown(found)}: give text that can be encoded as UTF-8"
            ) from None
    if size > most:
        raise LimitError(
            f"{what} is {size:,} bytes of UTF-8, the limit is {most:,}: give a shorter one, and keep what is long in "
            f"the data: {shown(found)}"
        )
    return found


def checked_name(value: object, what: str) -> str:
    """Return a checked id or name as a plain string.

    It must not be empty, and be at most 1,024 bytes of UTF-8. `what` names the value in errors.

    Raises:
        TypeError: not a string.
        ValueError: empty, or the text holds half of a surrogate pair.
        LimitError: the text is longer (R28).
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= NAME_BYTES:  # the quick way, for nearly all
        return value
    return checked_text(spelled(value, what), what, most=NAME_BYTES)


def checked_name_or_none(value: object, what: str) -> str | None:
    """Return a checked name, or None for None: see `checked_name`."""
    return None if value is None else checked_name(value, what)


def can_be_kept(value: object) -> bool:
    """Return whether a store could hold the value as a name, of any length.

    A name that no store can hold cannot be found in one either.
    """
    try:
        plain(value).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def checked_count(value: object, what: str, *, least: int = 0) -> int:
    """Return a checked count as a plain int.

    `what` names the value in errors.

    Raises:
        TypeError: not an int (a bool is not one).
        ValueError: less than `least`.
    """
    kind = type(value)
    if kind is bool or not issubclass(kind, int):
        raise TypeError(f"{what} must be an int, not {shown(value)} ({kind.__name__})")
    found = int.__int__(value)  # type: ignore[arg-type]
    if found < least:
        bound = "zero or more" if least == 0 else f"an int of at least {least:,}"
        raise ValueError(f"{what} must be {bound}, not {shown(found)}")
    return found


def checked_number(value: object, what: str) -> int | float:
    """Return a checked number, zero or more, as a plain int or float.

    `what` names the value in errors.

    Raises:
        TypeError: not a number (a bool is not one).
        ValueError: negative, or not finite.
    """
    kind = type(value)
    if kind is bool or not issubclass(kind, int | float):
        raise TypeError(f"{what} must be a number, zero or more, not {shown(value)} ({kind.__name__})")
    found: Any = int.__int__(value) if issubclass(kind, int) else float.__float__(value)  # type: ignore[arg-type]
    if found < 0 or (type(found) is float and not math.isfinite(found)):
        raise ValueError(f"{what} must be a number, zero or more, not {shown(found)}")
    return found  # type: ignore[no-any-return]


def checked_choice(value: object, among: Collection[str], what: str) -> str:
    """Return a checked choice among words, as a plain string.

    `what` names the value in errors.

    Raises:
        ValueError: not one of the words, or not a string.
    """
    if is_str(value) and (found := plain(value)) in among:
        return found
    raise ValueError(f"{what} must be {_listed(among)}, not {shown(value)}")


def _listed(among: Collection[str]) -> str:
    if len(among) < 4:
        *rest, last = [f'"{one}"' for one in among]
        return f"{', '.join(rest)} or {last}"
    return f"one of {', '.join(among)}"
