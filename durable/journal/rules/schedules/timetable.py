"""Compute which ticks of a timetable open runs, and which have passed without one (F9).

Separate because it is arithmetic over instants: nothing here knows what is recorded, or records anything.
Leaves to `ticking` the records, to `timers` the ticks of an expression.

A timetable has one or more expressions, each with a mark: up to there its ticks are done with. A tick is due at its own
time, later by its jitter. Ticks of one expression are taken in their order, so one is not due before the one before it.
A tick is missed if it is noticed more than a minute late, or came while nothing ran. Of those the expression's `missed`
chooses; all others open a run. A tick that several expressions name opens one run, at the time and under the name of
the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import attrs

from durable.events import Json
from durable.journal.ids import tick_run
from durable.journal.schedule_records import Mark, Missed
from durable.timers import Ticks, after, is_tick, last_tick

LATE = timedelta(seconds=60)
AT_ONCE = 100  # runs that one look at a timetable opens at the most
_NONE = timedelta(0)
_MOMENT = timedelta(microseconds=1)


@attrs.frozen(eq=False, repr=False)
class CronRule:
    """A cron rule names the ticks that open runs of a function: see `durable.TriggerCron`."""

    cron: str
    tz: str
    ticks: Ticks
    jitter: timedelta
    missed: Missed


@attrs.frozen(eq=False, repr=False)
class Timetable:
    """A timetable has the cron rules whose ticks open runs of one function under one name.

    Attributes:
        of: how the ids of its runs begin.
        schedule: the id of the schedule, or None for a function's own triggers.
        data: what the event of its runs has beside the tick.
        since: when the schedule was made.
    """

    of: str
    function: str
    rules: tuple[CronRule, ...]
    schedule: str | None = None
    data: Json | None = None
    since: datetime | None = None

    def due(self, rule: CronRule, tick: datetime) -> datetime:
        """Return when a tick of a rule is due."""
        jitter = rule.jitter
        for other in self.rules:
            if other is rule:
                break
            if is_tick(other.ticks, tick):
                jitter = other.jitter
                break
        return after(tick, _delay(tick_run(self.of, tick), jitter)) if jitter else tick

    def first(self, tick: datetime) -> CronRule:
        """Return the first declared rule that names a tick."""
        rules = self.rules
        return rules[0] if len(rules) == 1 else next(rule for rule in rules if is_tick(rule.ticks, tick))

    def next_due(self, marks: Sequence[Mark]) -> datetime | None:
        """Return when the next tick is due, or None if there is none."""
        dues: list[datetime] = []
        for rule, (_, _, passed) in zip(self.rules, marks, strict=True):
            if (tick := rule.ticks.after(passed)) is not None:
                dues.append(self.due(rule, tick))
        return min(dues, default=None)

    def next_tick(self, after: datetime) -> datetime | None:
        """Return the first tick later than an instant, or None if there is none."""
        ticks = [rule.ticks.after(after) for rule in self.rules]
        return min([tick for tick in ticks if tick is not None], default=None)

    def moved(self, marks: Sequence[Mark], now: datetime, idle_until: datetime | None) -> Moved:
        """Return which ticks open runs now, and how far all are done with.

        Ticks that were due up to `idle_until` came while nothing ran.
        """
        longest = max([rule.jitter for rule in self.rules], default=_NONE)
        chosen: set[datetime] = set()
        moved: list[Mark] = []
        for rule, (cron, tz, passed) in zip(self.rules, marks, strict=True):
            look = _Look(self, rule, passed, now, idle_until, longest)
            look.take_missed()
            look.take_due()
            chosen.update(look.chosen)
            moved.append((cron, tz, look.passed))
        return Moved(sorted(chosen), tuple(moved))


class Moved(NamedTuple):
    """The ticks that open runs, in their order, and the marks afterwards."""

    ticks: list[datetime]
    marks: tuple[Mark, ...]


class _Look:
    """One look at the ticks of one rule; `passed` rises, and `chosen` grows."""

    def __init__(
        self,
        table: Timetable,
        rule: CronRule,
        passed: datetime,
        now: datetime,
        idle_until: datetime | None,
        longest: timedelta,
    ) -> None:
        self.passed = passed
        self.chosen: list[datetime] = []
        self._table, self._rule, self._now, self._idle_until = table, rule, now, idle_until
        # All ticks up to here are missed, whatever their jitter: there may be a million of them.
        self._missed_until = now - LATE - longest - _MOMENT
        if idle_until is not None:
            self._missed_until = max(self._missed_until, min(idle_until, now) - longest)

    def take_missed(self) -> None:
        """Choose among the ticks that are missed for certain."""
        ticks, until = self._rule.ticks, self._missed_until
        first = ticks.after(self.passed)
        if first is None or first > until:
            return
        if self._rule.missed == "last" and (last := last_tick(ticks, self.passed, until)) is not None:
            self.chosen.append(last)
        if self._rule.missed != "all":
            self.passed = until
            return
        while (tick := ticks.after(self.passed)) is not None and tick <= until and len(self.chosen) < AT_ONCE:
            self.chosen.append(tick)
            self.passed = tick

    def take_due(self) -> None:
        """Choose among the other ticks that are due, one by one."""
        due = self.passed
        while len(self.chosen) < AT_ONCE and (tick := self._rule.ticks.after(self.passed)) is not None:
            if tick > self._now:  # none is due before its own time
                return
            due = max(due, self._table.due(self._rule, tick))
            if due > self._now:
                return
            if not self._is_missed(due) or self._rule.missed == "all":
                self.chosen.append(tick)
            elif self._rule.missed == "last":
                self.chosen = [tick]  # so far all were missed: none is more late than the one before it
            self.passed = tick

    def _is_missed(self, due: datetime) -> bool:
        return self._now - due > LATE or (self._idle_until is not None and due <= self._idle_until)


def _delay(run: str, jitter: timedelta) -> timedelta:
    number = int.from_bytes(blake2b(run.encode(), digest_size=8).digest(), "big")
    return jitter * (number / 2**64) if jitter else _NONE
