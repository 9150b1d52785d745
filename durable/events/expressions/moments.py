"""Read and write timestamps and durations, and return their parts.

Separate because their formats and the calendar are a subject of their own.
Leaves to `arithmetic` their sums.

A timestamp is an aware datetime and a duration is a timedelta. Both hold microseconds: finer digits are rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.values import plain, shown, type_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_LONGEST = 64  # characters of a timestamp, a duration or a zone's name
_TOO_LATE = 10**18
_MILLISECONDS = 100_000_000_000  # from this number on, a date is in milliseconds: as seconds it would be the year 5138

# Compiled when first used, which `re` remembers: importing the library should not wait for them.
_TIMESTAMP = r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))"
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)"
_MICROSECONDS = {
    "ns": 0.001,
    "us": 1.0,
    "µs": 1.0,
    "μs": 1.0,
    "ms": 1e3,
    "s": 1e6,
    "m": 60e6,
    "h": 3_600e6,
    "d": 86_400e6,
    "w": 604_800e6,
}
_OFFSET = r"([+-]?)(\d\d):(\d\d)"


def timestamp(value: Any) -> datetime:
    """Return the instant of an RFC 3339 string, or of seconds since 1970.

    Raises:
        EvaluationError: another format, a day that does not exist, or a value of another type.
    """
    value = plain(value)
    if isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return _since_epoch(value)
    if not isinstance(value, str):
        raise EvaluationError(f"timestamp() takes a string or whole seconds, not {shown(value)}")
    found = re.fullmatch(_TIMESTAMP, value, re.ASCII) if len(value) <= _LONGEST else None
    if found is None:
        raise EvaluationError(f"{shown(value)} is no timestamp: write 2026-11-22T08:30:00Z, or use date()")
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    try:
        whole = datetime(*(int(found[part]) for part in range(1, 7)), tzinfo=UTC)  # type: ignore[misc, arg-type]
        whole += offset if found[8] == "-" else -offset
    except (ValueError, OverflowError):
        raise EvaluationError(f"{shown(value)} is no day or time of the calendar") from None
    micros = round(int((found[7] or "0").ljust(9, "0")) / 1000)
    return (
        whole + timedelta(microseconds=micros) if whole < _LAST.replace(microsecond=0) else _at_the_end(whole, micros)
    )


def _at_the_end(whole: datetime, micros: int) -> datetime:
    return whole + timedelta(microseconds=min(micros, 999_999))


def _since_epoch(seconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise EvaluationError(f"{shown(seconds)} seconds since 1970 is no time of the calendar") from None


def date(value: Any) -> datetime | None:
    """Return the instant of an ISO 8601 string, or of a number since 1970; null stays null.

    A string without a time stands for midnight, a string without a zone for UTC. A number is in seconds, or from
    100,000,000,000 on in milliseconds, as in an event's `ts`. Source: Inngest's `date`.

    Raises:
        EvaluationError: anything else.
    """
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value.__class__ is int and abs(value) >= _TOO_LATE:
            raise EvaluationError(f"{shown(value)} is no time of the calendar")  # nor could it be divided
        return _since_epoch(value / 1000 if abs(value) >= _MILLISECONDS else value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise EvaluationError(f"{shown(value)} is no date: write 2026-11-22 or 2026-11-22T08:30:00Z") from None
    if not isinstance(value, datetime):
        raise EvaluationError(f"date() takes a string or a number, not {shown(value)}")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def duration(value: Any) -> timedelta:
    """Return the duration of a string such as "1h30m", "-1.5s" or "7d".

    Raises:
        EvaluationError: another format or type, or longer than a timedelta holds.
    """
    value = plain(value)
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise EvaluationError(f"a duration must be a string such as '90s', not {shown(value)}")
    text = value[1:] if value[:1] in ("-", "+") else value
    micros, position, parts = 0.0, 0, re.compile(_PART, re.ASCII)
    while len(text) <= _LONGEST and (found := parts.match(text, position)):
        micros, position = micros + float(found[1]) * _MICROSECONDS[found[2]], found.end()
    if text != "0" and (not text or position != len(text)):
        raise EvaluationError(f"{shown(value)} is no duration: write 90s, 1h30m, 7d or 250ms")
    try:
        return timedelta(microseconds=round(-micros if value[0] == "-" else micros))
    except OverflowError:
        raise EvaluationError(f"the duration {shown(value)} is too long") from None


def timestamp_text(value: datetime) -> str:
    """Return the timestamp as RFC 3339 in UTC, without needless digits."""
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise EvaluationError("the timestamp is outside of the calendar in UTC") from None
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


def seconds_since_epoch(value: datetime) -> int:
    """Return the whole seconds since 1970, rounded down."""
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(seconds=1)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo | None:
    found = re.fullmatch(_OFFSET, name, re.ASCII)
    try:
        if found is None:
            return ZoneInfo(name)
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    except (KeyError, ValueError, OSError):
        return None


def _located(value: datetime, zone: Any) -> datetime:
    zone = plain(zone)
    if not isinstance(zone, str):
        raise EvaluationError(f"a time zone must be a string, not {shown(zone)}")
    found = _zone(zone) if len(zone) <= _LONGEST else None
    if found is None:
        raise EvaluationError(f"{shown(zone)} is no time zone: write a name such as 'Europe/Paris', or '+02:00'")
    try:
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).astimezone(found)
    except OverflowError:
        raise EvaluationError(f"the timestamp is outside of the calendar in {zone}") from None


_Part = Callable[[datetime], int]
_OF_TIMESTAMP: dict[str, _Part] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
    "getMilliseconds": lambda moment: moment.microsecond // 1000,
}
_OF_DURATION = {"getHours": 3_600_000_000, "getMinutes": 60_000_000, "getSeconds": 1_000_000}
PARTS = tuple(_OF_TIMESTAMP)


def part(name: str, value: Any, zone: Any = "UTC") -> int:
    """Return a part of a timestamp in a zone, or of a duration.

    As in CEL, months and days of the month count from 0. Of a duration, hours, minutes and seconds are its whole length
    in that unit, and milliseconds are what exceeds its whole seconds.

    Raises:
        EvaluationError: a value of another type, an unknown zone, or a part that a duration does not have.
    """
    value = plain(value)
    if isinstance(value, datetime):
        return _OF_TIMESTAMP[name](_located(value, zone))
    if not isinstance(value, timedelta):
        raise EvaluationError(f"{name}() is of a timestamp or a duration, not of a {type_name(value)}")
    micros = abs(value) // timedelta(microseconds=1)
    sign = -1 if value < timedelta(0) else 1
    if name == "getMilliseconds":
        return sign * (micros // 1000 % 1000)
    if name not in _OF_DURATION:
        raise EvaluationError(f"a duration has no {name}()")
    return sign * (micros // _OF_DURATION[name])
