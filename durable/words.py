"""Words and numbers as users give them, taken in at a door: plain, within a limit, or refused in words that help.

Separate because every place where a name enters must mean the same by one: what a store keeps and gives back as it was.
Leaves to `times` durations and instants, to each door what else it asks of its words.

A subclass of `str` (a StrEnum's member, say) is taken as the plain text that it spells, whatever its own `__str__`,
`__eq__` and `__hash__` say: recorded and read again it is that. So is a subclass of `int` or `float`. Every character
that Unicode has is kept, control characters too. Halves of a surrogate pair are none: no file can hold them. R31
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypeGuard

from durable.errors import LimitError
from durable.spelling import shown

NAME_BYTES = 1_024  # R28
TEXT_BYTES = 16 * 1_024


def is_str(value: object) -> TypeGuard[str]:
    """Whether the value is a string or of a subclass; one that only claims to be, as a test's double does, is none."""
    return issubclass(type(value), str)


def plain(value: object, what: str = "a text") -> str:
    """Return the text that a string of whatever subclass spells; `what` names it in errors.

    Raises:
        TypeError: not a string.
    """
    if type(value) is str:
        return value
    if is_str(value):
        return str.__str__(value)
    raise TypeError(f"{what} must be a string, not {shown(value)} ({type(value).__name__})")


def spelled(value: object, what: str) -> str:
    """Return a string that is not empty as a plain one, whatever it holds; `what` names it in errors.

    Raises:
        TypeError: not a string.
        ValueError: empty.
    """
    found = plain(value, what)
    if not found:
        raise ValueError(f"{what} must not be empty")
    return found


def checked_text(value: object, what: str, *, most: int = TEXT_BYTES) -> str:
    """Return the text as a plain string; `what` names it in errors, `most` is its limit in bytes of UTF-8.

    Raises:
        TypeError: not a string.
        ValueError: it holds half of a surrogate pair.
        LimitError: it is larger.
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
    """Return an id or a name as a plain string: not empty, at most 1 KB. `what` names it in errors.

    Raises:
        TypeError: not a string.
        ValueError: empty, or it holds half of a surrogate pair.
        LimitError: it is larger. R28
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= NAME_BYTES:  # all but a few
        return value
    return checked_text(spelled(value, what), what, most=NAME_BYTES)


def checked_name_or_none(value: object, what: str) -> str | None:
    """Return a name, or None for None: see `checked_name`."""
    return None if value is None else checked_name(value, what)


def can_be_kept(value: object) -> bool:
    """Whether a store could hold this as a name, of any length: of what it cannot hold nothing is there."""
    try:
        plain(value).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def checked_count(value: object, what: str, *, least: int = 0) -> int:
    """Return a count as a plain int; `what` names it in errors.

    Raises:
        TypeError: not an int (a bool is none).
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
    """Return a number that is zero or more, as a plain int or float.

    Raises:
        TypeError: not a number (a bool is none).
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
    """Return one of the words that `what` may be, as a plain string.

    Raises:
        ValueError: another one, or no string.
    """
    if is_str(value) and (found := plain(value)) in among:
        return found
    raise ValueError(f"{what} must be {_listed(among)}, not {shown(value)}")


def _listed(among: Collection[str]) -> str:
    if len(among) < 4:
        *rest, last = [f'"{one}"' for one in among]
        return f"{', '.join(rest)} or {last}"
    return f"one of {', '.join(among)}"
