"""Do what is asked of schedules and pauses while an engine is open (F10, F11).

Separate because each of these may have to ask the store first, unlike a tick that is due.
Leaves to `ticker` the ticks themselves, to `engine` the arguments.

Everything takes `taken`, records that are posted before in the same write: that a message of the inbox was taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

import attrs

from durable.journal import (
    Record,
    RunOpened,
    ScheduleEnded,
    ScheduleMade,
    Timetable,
    pauses,
    resumes,
    schedule_runs,
    table_made,
    tick_run,
)
from durable.scheduler.parts import Parts
from durable.scheduler.ticker import Asked, Ticker

OPENED_AT_ONCE = 200  # runs of a backfill, in one write
_MOMENT = timedelta(microseconds=1)


class Calendar:
    """A calendar pauses and resumes functions, makes schedules, and fills in ticks of the past.

    `sessions` are the runs that have a coroutine.
    """

    def __init__(self, parts: Parts, ticker: Ticker, sessions: Collection[str]) -> None:
        self._ticker = ticker
        self._ticking = ticker.ticking
        self._clock = parts.clock
        self._post = parts.journal.post_all
        self._state = parts.decisions.state
        self._standing = parts.decisions.state.standing
        self._sessions = sessions

    # Pauses.

    def pause(self, function: str, taken: Iterable[Record] = ()) -> bool:
        """Pause a function; return False if it was paused already."""
        if function in self._standing.paused:
            self._post(taken)
            return False
        ledgers = self._state.ledgers
        running = [run for run in self._sessions if run in ledgers and ledgers[run].function == function]
        self._post(chain(taken, pauses(self._state, function, running, self._clock.now())))
        return True

    async def resume(self, function: str, taken: Iterable[Record] = ()) -> bool:
        """Resume a function, and decide its missed ticks in the same write; return False if it was not paused."""
        asked = Asked(self._ticker)
        async with self._ticker.asking:
            while function in self._standing.paused:
                now = self._clock.now()
                moved = [(table, self._ticker.moved(table, now, now)) for table in self._tables(function)]
                if not await asked.about([(table, tick) for table, one in moved for tick in one.ticks]):
                    moves = [self._ticking.moves(table, one, asked.opened, now) for table, one in moved]
                    self._post(chain(taken, resumes(self._state, function, now), *moves))
                    return True
            self._post(taken)
            return False

    def _tables(self, function: str) -> list[Timetable]:
        return [self._ticker.tables[of] for of in self._ticker.of_function(function)]

    # Schedules.

    def schedule(self, made: ScheduleMade, taken: Iterable[Record] = ()) -> None:
        """Make a schedule, or replace the one that has its id; an equal one goes on as it is.

        Raises:
            ImportError, ValueError: its expression or its zone cannot be read here; nothing was posted.
        """
        table, known = table_made(made), self._standing.made.get(made.id)
        if known is not None and attrs.evolve(known, at=made.at) == made:
            self._post(taken)
        else:
            self._post(chain(taken, [made], self._ticking.seen(table, made.at)))

    def unschedule(self, id: str, taken: Iterable[Record] = ()) -> bool:
        """Take a schedule back; return False if there is none."""
        if id not in self._standing.made:
            self._post(taken)
            return False
        now = self._clock.now()
        self._post(chain(taken, [ScheduleEnded(id, now)], self._ticking.over(schedule_runs(id), now)))
        return True

    # Ticks of the past.

    async def backfill(
        self, function: str, after: datetime, before: datetime, taken: Iterable[Record] = ()
    ) -> list[str]:
        """Open a run for each tick with `after <= tick < before` that has none; return the runs of all of them.

        Hundreds of ticks take several writes, `taken` goes with the last: done again, each tick still has one run.
        """
        runs: list[tuple[datetime, str]] = []
        async with self._ticker.asking:
            for table in self._tables(function):
                for ticks in _parts(table, after, before):
                    runs += await self._filled(table, ticks)
            self._post(taken)
        return [run for _, run in sorted(runs)]

    async def _filled(self, table: Timetable, ticks: Sequence[datetime]) -> list[tuple[datetime, str]]:
        asked = Asked(self._ticker)
        while await asked.about([(table, tick) for tick in ticks]):
            continue
        records = self._post(self._ticking.backfills(table, ticks, asked.opened, self._clock.now()))
        opened = {record.run for record in records if isinstance(record, RunOpened)}
        found = [(tick, tick_run(table.of, tick)) for tick in ticks]
        known = self._state.known
        return [(tick, run) for tick, run in found if run in opened or run in asked.opened or known(run) is not None]


def _parts(table: Timetable, after: datetime, before: datetime) -> Iterator[list[datetime]]:
    """Yield the ticks of a timetable in a span, some at a time; of a schedule, those since it was made."""
    begin = after if table.since is None else max(after, table.since)
    some: list[datetime] = []
    tick = table.next_tick(begin - _MOMENT)
    while tick is not None and tick < before:
        some.append(tick)
        if len(some) == OPENED_AT_ONCE:
            yield some
            some = []
        tick = table.next_tick(tick)
    if some:
        yield some
