"""Decide the records of ticks: which runs open, and how far a timetable is done with (F9, F11).

Separate because a tick is a cause of its own, beside an event, a deadline and an end.
Leaves to `timetable` which ticks are due or missed, to `decisions` whether a run opens.

How far a timetable is done with is recorded in the write that opens the runs, so a crash neither loses a tick nor
repeats it. A tick later than the record's `latest` has no run. Of any other the store must be asked, since its run may
have ended and be forgotten: the clock was set back, or a backfill has opened it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from durable.events import TIMER
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.events import tick_text
from durable.journal.codec.recorded import RecordedEvent
from durable.journal.codec.values import decode
from durable.journal.ids import cron_runs, schedule_runs, tick_run
from durable.journal.records import Record
from durable.journal.rules.decisions import Decisions
from durable.journal.rules.declaration import Declaration
from durable.journal.rules.schedules.timetable import CronRule, Moved, Timetable
from durable.journal.schedule_records import Mark, ScheduleMade, TicksPassed, TicksReplaced
from durable.timers import cron_ticks


def table_of(declaration: Declaration) -> Timetable:
    """Return the timetable of a function's own triggers."""
    return Timetable(cron_runs(declaration.id), declaration.id, declaration.crons)


def table_made(made: ScheduleMade) -> Timetable:
    """Return the timetable of a schedule.

    Raises:
        ImportError, ValueError: its expression or its zone cannot be read here.
    """
    jitter = timedelta(seconds=made.jitter or 0)
    rule = CronRule(made.cron, made.tz, cron_ticks(made.cron, made.tz), jitter, made.missed)
    return Timetable(schedule_runs(made.id), made.function, (rule,), made.id, made.data, made.at)


class Ticking:
    """Ticking applies the rules of schedules to the state of the decisions."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._standing = decisions.state.standing

    def marks(self, table: Timetable) -> tuple[Mark, ...]:
        """Return how far a timetable is done with."""
        known = self._standing.passed.get(table.of)
        return () if known is None else known.marks

    def is_seen(self, table: Timetable) -> bool:
        """Return whether it is recorded which expressions a timetable has."""
        return [mark[:2] for mark in self.marks(table)] == [(rule.cron, rule.tz) for rule in table.rules]

    def seen(self, table: Timetable, now: datetime) -> Iterable[Record]:
        """Record which expressions a timetable has; a new one begins now, one that is gone is forgotten."""
        if self.is_seen(table):
            return ()
        passed = {mark[:2]: mark[2] for mark in self.marks(table)}
        marks = [(rule.cron, rule.tz, passed.get((rule.cron, rule.tz), now)) for rule in table.rules]
        return self._passed(table.of, marks, (), now)

    def over(self, of: str, now: datetime) -> Iterable[Record]:
        """Record that a schedule was taken back; only if the clock was set back its last tick is still of use."""
        return self._passed(of, (), (), now)

    def _passed(
        self, of: str, marks: Sequence[Mark], ticks: Sequence[datetime], now: datetime
    ) -> Iterator[TicksPassed | TicksReplaced]:
        known = self._standing.passed.get(of)
        before = () if known is None or known.latest is None else (known.latest,)
        latest = max((*before, *ticks), default=None)
        if known is not None:
            yield TicksReplaced(of, known.number, now)
        if marks or (latest is not None and (latest >= now or not of.startswith(schedule_runs("")))):
            yield TicksPassed(of, 0 if known is None else known.number + 1, tuple(marks), latest, now)

    def unsure(self, table: Timetable, ticks: Iterable[datetime]) -> list[datetime]:
        """Return the ticks of which the state cannot say whether they have a run."""
        passed = self._standing.passed.get(table.of)
        if passed is None or (latest := passed.latest) is None:
            return []
        known = self._decisions.state.known
        return [tick for tick in ticks if tick <= latest and known(tick_run(table.of, tick)) is None]

    def moves(self, table: Timetable, moved: Moved, opened: Collection[str], now: datetime) -> Iterator[Record]:
        """Record how far ticks are done with, and open their runs but for those in `opened`."""
        yield from self._passed(table.of, moved.marks, moved.ticks, now)
        yield from self._open_all(table, moved.ticks, opened, now)

    def backfills(
        self, table: Timetable, ticks: Sequence[datetime], opened: Collection[str], now: datetime
    ) -> Iterator[Record]:
        """Open the runs of ticks of the past but for those in `opened`; record a tick later than all."""
        known = self._standing.passed[table.of]
        if known.latest is None or ticks[-1] > known.latest:
            yield from self._passed(table.of, known.marks, ticks, now)
        yield from self._open_all(table, ticks, opened, now)

    def _open_all(
        self, table: Timetable, ticks: Sequence[datetime], opened: Collection[str], now: datetime
    ) -> Iterator[Record]:
        for tick in ticks:
            if (run := tick_run(table.of, tick)) not in opened and self._decisions.state.known(run) is None:
                yield from self._open(table, run, tick, now)

    def _open(self, table: Timetable, run: str, tick: datetime, now: datetime) -> Iterable[Record]:
        rule = table.first(tick)
        text = tick_text(rule.cron, rule.tz, tick, now)
        if table.data is not None:
            text = enclose({**decode(table.data), **decode(text)})
        return self._decisions.run_opens(table.function, run, RecordedEvent(TIMER, text, run, now), now)
