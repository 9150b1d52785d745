"""Find the ticks of a cron expression, or of a duration that is counted since 1970.

Separate because it is calendar and clock arithmetic, which knows nothing of functions and runs.
Leaves to `scheduler` the waiting for a tick, to the package `cronsim` what an expression says of a day, an hour, a
minute.

An expression is about the clock on the wall. So its ticks are looked for in naive local time, then put on the line of
instants. Where clocks are set forward, local times are missing; where they are set back, local times come twice. What
that means is as in Debian's cron: an expression whose minute and hour are no `*` runs once a day that it names. If its
time is missing, it runs when the gap ends; of two, at the first. Any other expression follows the clock: what is
missing does not run, what comes twice runs twice. Source: cronsim, which itself loses ticks near a change of half an
hour, since it steps by whole ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from durable.timers.durations import after
from durable.timers.spelling import shown

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FORM = (
    'write "minute hour day month weekday", such as "30 9 * * MON-FRI", six fields with the second first, or a '
    f"nickname: {', '.join(_NICKNAMES)}"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANY_DAY = datetime(2024, 1, 1)
_MOMENT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)


class Ticks(Protocol):
    """Ticks are instants in UTC that follow from a rule, without an end or a beginning."""

    def after(self, when: datetime) -> datetime | None:
        """Return the first tick later than an instant, or None if a datetime cannot hold it."""


def brought_in(package: str, extra: str) -> Any:
    """Return a package that an extra installs.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"this needs the package {package!r}: pip install 'durable-steps[{extra}]'") from error


@lru_cache(maxsize=1_024)
def cron_ticks(cron: str, tz: str) -> Ticks:
    """Return the ticks of a cron expression in a time zone.

    Raises:
        ImportError: the extra `cron` is not installed.
        ValueError: it is no cron expression, it never comes, or there is no such zone.
    """
    zone = _zone(tz)
    spelling = _NICKNAMES.get(cron.lower(), cron)
    if cron.startswith("@") and spelling is cron:
        raise ValueError(f"cron cannot be {shown(cron)}: {_FORM}")
    if cron.upper().startswith(("TZ=", "CRON_TZ=")):
        raise ValueError(f"cron cannot be {shown(cron)}: give the time zone as tz=")
    cronsim = brought_in("cronsim", "cron")
    try:
        rule = cronsim.CronSim(spelling, _ANY_DAY)
    except Exception as error:  # a CronSimError, and a ValueError for a number of thousands of digits
        raise ValueError(f"cron cannot be {shown(cron)} ({error}): {_FORM}") from None
    minute, hour = rule.parts[1:3]
    is_daily = len(spelling.split()) == 5 and not minute.startswith("*") and not hour.startswith("*")
    ticks = CronTicks(rule, zone, is_daily=is_daily)
    if ticks.after(_ANY_DAY.replace(tzinfo=UTC)) is None:
        raise ValueError(f"cron {shown(cron)} never comes: {_FORM}")
    return ticks


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except Exception as error:  # not found, a path, a folder of the database: a ValueError, KeyError or OSError
        raise ValueError(
            f'tz cannot be {shown(tz)} ({error}): write the name of a time zone, such as "Europe/Berlin" or "UTC"'
        ) from None


class CronTicks:
    """Cron ticks are those of one expression in one zone: see the module.

    `rule` is cronsim's reading of the expression, of which only copies are moved.
    """

    def __init__(self, rule: Any, zone: ZoneInfo, *, is_daily: bool) -> None:
        self._rule = rule
        self._zone = zone
        self._is_plain = zone.key == "UTC"
        self._minutes = sorted(rule.minutes)
        self._is_by_minutes = rule.seconds == {0}
        self._find: Callable[[datetime], datetime | None] = self._daily if is_daily else self._by_the_clock
        self._last: tuple[datetime | None, datetime | None] = (None, None)  # the last answer: most are asked for again

    def after(self, when: datetime) -> datetime | None:
        """Return the first tick later than an instant in UTC, or None if a datetime cannot hold it."""
        asked, tick = self._last
        if asked != when:
            tick = self._after(when)
            self._last = (when, tick)
        return tick

    def _after(self, when: datetime) -> datetime | None:
        try:
            if self._is_plain:
                return self._in_the_hour(when) or next(self._local(when.replace(tzinfo=None))).replace(tzinfo=UTC)
            return self._find(when)
        except (StopIteration, OverflowError):
            return None

    def _in_the_hour(self, when: datetime) -> datetime | None:
        """Return the next tick if it is in the same hour, as nearly always if there are several; in UTC."""
        rule = self._rule
        if self._is_by_minutes and when.hour in rule.hours and when.month in rule.months and rule.match_day(when):
            later = bisect_right(self._minutes, when.minute)
            if later < len(self._minutes):
                return when.replace(minute=self._minutes[later], second=0, microsecond=0)
        return None

    def _local(self, after: datetime) -> Iterator[datetime]:
        """Yield the expression's naive local times after one, whether or not a clock ever shows them."""
        rule = copy(self._rule)
        rule.dt = after.replace(microsecond=0)
        return rule  # type: ignore[no-any-return]

    def _daily(self, when: datetime) -> datetime:
        local = when.astimezone(self._zone).replace(tzinfo=None)
        for naive in self._local(local):
            while not (instants := self._instants(naive)):
                naive += _MINUTE
            if instants[0] > when:
                return instants[0]
        raise StopIteration

    def _by_the_clock(self, when: datetime) -> datetime:
        here = when.astimezone(self._zone)
        local = here.replace(tzinfo=None)
        found = next(one for naive in self._local(local) for one in self._instants(naive) if one > when)
        repeat = self._instants(local)[-1] - when  # how long until the clock shows this time once more
        if repeat > timedelta(0):
            for naive in self._local(local - repeat):
                if naive > local:
                    break
                if (second := self._instants(naive)[-1:]) and second[0] > when:
                    return min(found, second[0])
        return found

    def _instants(self, naive: datetime) -> list[datetime]:
        """Return the instants, none to two of them, at which the zone's clocks show a time."""
        first = naive.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        second = naive.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        if first == second:
            return [first]
        return [first, second] if first < second else []  # in a gap, the offsets stand the other way round


class EveryTicks:
    """Every ticks are the multiples of a duration since 1970 in UTC."""

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def after(self, when: datetime) -> datetime | None:
        """Return the first tick later than an instant."""
        tick = after(_EPOCH, ((when - _EPOCH) // self._every + 1) * self._every)
        return tick if tick > when else None


def is_tick(ticks: Ticks, when: datetime) -> bool:
    """Return whether an instant is a tick."""
    return ticks.after(when - _MOMENT) == when


def last_tick(ticks: Ticks, since: datetime, until: datetime) -> datetime | None:
    """Return the last tick with `since < tick <= until`, or None, without walking over all."""
    span = _MINUTE
    while True:
        begin = max(since, until - span)
        found, tick = None, ticks.after(begin)
        while tick is not None and tick <= until:
            found, tick = tick, ticks.after(tick)
        if found is not None or begin == since:
            return found
        span *= 4
