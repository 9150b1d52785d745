"""Read durations as people write them, and datetimes with a time zone.

Separate because nearly every other module uses durations and datetimes, and all must read them alike.
Leaves to `clock` the current time.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from durable.timers.spelling import shown

Duration = str | timedelta | int | float
"""A duration is "30s", "1h30m", "7d", "250ms", a timedelta, or a number of seconds."""

_UNITS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[wdhms])")
_SPELLING = 'write "30s", "24h", "7d", "1h30m", "2w" or "250ms", a timedelta, or a number of seconds'


def duration(value: Duration, *, what: str = "a duration") -> timedelta:
    """Return `value` as a timedelta; a bare number is seconds, as in asyncio.

    A string consists of parts, from the largest unit to the smallest, with nothing between them. Each part is a number
    and one of `w d h m s ms`. `what` names the value in errors.

    Raises:
        TypeError: not a string, a timedelta or a number (a bool is not a number).
        ValueError: negative, empty, not finite, an unknown unit, or more than a timedelta holds.
    """
    kind: type[Any] = type(value)
    given: Any = value
    if issubclass(kind, timedelta):
        result = timedelta.__pos__(given)
    elif issubclass(kind, str):
        result = _parsed(str.__str__(given), what)
    elif issubclass(kind, float):
        result = _seconds(float.__float__(given), what)
    elif issubclass(kind, int) and kind is not bool:
        result = _bounded(int.__int__(given), value, what)
    else:
        instant = "; an instant is for sleep_until" if issubclass(kind, datetime) else ""
        raise TypeError(f"{what} cannot be {shown(value)} ({kind.__name__}): {_SPELLING}{instant}")
    if result < timedelta(0):
        raise ValueError(f"{what} cannot be negative: {shown(value)}")
    return result


def _seconds(number: float, what: str) -> timedelta:
    if not math.isfinite(number):
        raise ValueError(f"{what} cannot be {number!r}: {_SPELLING}")
    return _bounded(number, number, what)


def _parsed(text: str, what: str) -> timedelta:
    total, position, last = 0.0, 0, math.inf
    while match := _PART.match(text, position):
        unit = _UNITS[match[2]]
        if unit >= last:
            raise ValueError(f"{what} cannot be {shown(text)}, its units are out of order or given twice: {_SPELLING}")
        total, last, position = total + float(match[1]) * unit, unit, match.end()
    if position != len(text) or not text:
        raise ValueError(f"{what} cannot be {shown(text)}: {_SPELLING}")
    return _bounded(total / 1e6, text, what)


def written(span: timedelta) -> str:
    """Return a span as people write a duration, such as "1h30m"; `duration` reads it back.

    A span with parts below a millisecond, or below zero, is spelled in seconds.
    """
    left, parts = span // timedelta(microseconds=1), list[str]()
    if left <= 0 or left % _UNITS["ms"]:
        return in_seconds(span)
    for unit, size in _UNITS.items():
        if unit != "w" and left >= size:
            count, left = divmod(left, size)
            parts.append(f"{count}{unit}")
    return "".join(parts)


def in_seconds(span: timedelta) -> str:
    """Return a span in seconds, with all its digits, such as "0.0015s"; `duration` reads it back."""
    micros = span // timedelta(microseconds=1)
    whole, fraction = divmod(abs(micros), 1_000_000)
    digits = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{'-' if micros < 0 else ''}{whole}{digits}s"


def _bounded(seconds: float, written: object, what: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{what} cannot be {shown(written)}, which is longer than a timedelta holds") from None


def aware(when: datetime, *, what: str = "a datetime") -> datetime:
    """Return an aware datetime as a plain datetime in UTC.

    An object of a subclass becomes a plain datetime. `what` names the value in errors.

    Raises:
        TypeError: not a datetime.
        ValueError: a naive datetime, which would mean another instant on another machine, or an object that stands for
            no instant, such as pandas' NaT.
    """
    if type(when) is datetime and when.tzinfo is UTC:
        return when
    if not issubclass(type(when), datetime):
        raise TypeError(
            f"{what} must be an aware datetime, such as datetime(2030, 1, 31, tzinfo=UTC), not {shown(when)} "
            f"({type(when).__name__})"
        )
    offset = _offset(when, what)
    if offset is None:
        raise ValueError(
            f"{what} must say its time zone, {shown(when)} does not: use datetime.now(UTC) or when.replace(tzinfo=UTC)"
        )
    try:
        wall = datetime(
            when.year, when.month, when.day, when.hour, when.minute, when.second, when.microsecond, tzinfo=UTC
        )
    except (TypeError, ValueError) as error:  # an object that stands for no instant, such as pandas' NaT
        raise ValueError(f"{what} cannot be {shown(when)}, which is no instant: {error}") from error
    try:
        return wall - offset
    except OverflowError:  # the very first or last day, which its zone moves beyond what a datetime holds
        return (datetime.min if wall.year == 1 else datetime.max).replace(tzinfo=UTC)


def _offset(when: datetime, what: str) -> timedelta | None:
    try:
        offset = when.utcoffset()
        return None if offset is None else timedelta.__pos__(offset)
    except Exception as error:  # from a time zone of the user's, or pandas' NaT
        raise ValueError(f"{what} cannot be {shown(when)}: its time zone gives no offset: {error!r}") from error


def span_or_instant(value: Duration | datetime, *, what: str) -> timedelta | datetime:
    """Return a duration as a timedelta, or an aware datetime as one in UTC.

    `what` names the value in errors.

    Raises:
        TypeError, ValueError: see `duration` and `aware`.
    """
    return aware(value, what=what) if isinstance(value, datetime) else duration(value, what=what)


def after(now: datetime, wait: timedelta) -> datetime:
    """Return `now + wait`, at most the last instant that a datetime holds."""
    try:
        return now + wait
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def earlier(now: datetime, span: timedelta) -> datetime:
    """Return `now - span`, at least the first instant that a datetime holds."""
    try:
        return now - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
