"""Durations as people write them and datetimes that know their zone.

Separate because every floor above speaks in these and a mistake here would be everybody's.
Leaves to `clock` what time it is.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

Duration = str | timedelta | int | float
"""A span of time: "30s", "1h30m", "7d", "250ms", a timedelta, or a number of seconds."""

_UNITS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_SPELLING = 'write "30s", "24h", "7d", "1h30m", "2w" or "250ms", a timedelta, or a number of seconds'


def duration(value: Duration, *, what: str = "a duration") -> timedelta:
    """Return `value` as a timedelta; a bare number is seconds, as in asyncio. `what` names it in errors.

    Strings are parts in falling order, each a number and one of `w d h m s ms`, with nothing between them.

    Raises:
        TypeError: not a string, a timedelta or a number (a bool is not a number).
        ValueError: negative, empty, not finite, an unknown unit, or more than a timedelta holds.
    """
    if isinstance(value, bool) or not isinstance(value, str | timedelta | int | float):
        raise TypeError(f"{what} cannot be {value!r} ({type(value).__name__}): {_SPELLING}")
    if isinstance(value, timedelta):
        result = value
    elif isinstance(value, str):
        result = _parsed(value, what)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{what} cannot be {value!r}: {_SPELLING}")
    else:
        result = _bounded(value, value, what)
    if result < timedelta(0):
        raise ValueError(f"{what} cannot be negative: {value!r}")
    return result


def _parsed(text: str, what: str) -> timedelta:
    total, position, last = 0.0, 0, math.inf
    while match := _PART.match(text, position):
        unit = _UNITS[match[2]]
        if unit >= last:
            raise ValueError(f"{what} cannot be {text!r}, its units are out of order or given twice: {_SPELLING}")
        total, last, position = total + float(match[1]) * unit, unit, match.end()
    if position != len(text) or not text:
        raise ValueError(f"{what} cannot be {text!r}: {_SPELLING}")
    return _bounded(total / 1e6, text, what)


def _bounded(seconds: float, written: object, what: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{what} cannot be {written!r}, which is longer than a timedelta holds") from None


def aware(when: datetime, *, what: str = "a datetime") -> datetime:
    """Return `when` in UTC.

    Raises:
        TypeError: not a datetime.
        ValueError: a naive datetime, which would mean another instant on another machine.
    """
    if type(when) is datetime and when.tzinfo is UTC:
        return when
    if not isinstance(when, datetime):
        raise TypeError(f"{what} must be an aware datetime, not {when!r} ({type(when).__name__})")
    if when.utcoffset() is None:
        raise ValueError(
            f"{what} must say its time zone, {when!r} does not: use datetime.now(UTC) or when.replace(tzinfo=UTC)"
        )
    try:
        return when.astimezone(UTC)
    except OverflowError:  # the very first or last day, moved over the edge by its zone
        return (datetime.min if when.year == 1 else datetime.max).replace(tzinfo=UTC)


def after(now: datetime, wait: timedelta) -> datetime:
    """Return `now + wait`, or the last instant that a datetime holds."""
    try:
        return now + wait
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
