"""Open the runs of ticks when these are due.

Separate because ticks follow from a calendar, not from records: all timetables share one timer.
Leaves to `ticking` which runs open, to `timers` the waiting.

A timetable waits for its next tick in a heap. Of a function that is paused or not registered it does not: its ticks are
decided when the function is resumed or declared. Nearly always a tick is decided and posted at once. Only if the state
cannot say whether the tick has a run (see `ticking`), the store is asked first, one timetable at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from heapq import heappop, heappush
from typing import Any

from durable.errors import StoreError
from durable.journal import (
    Declaration,
    FunctionPaused,
    FunctionResumed,
    Moved,
    Record,
    ScheduleEnded,
    ScheduleMade,
    Ticking,
    Timetable,
    cron_runs,
    schedule_runs,
    table_made,
    table_of,
    tick_run,
)
from durable.scheduler.deadlines import LookDue
from durable.scheduler.parts import Parts

TABLES_AT_ONCE = 100  # in one turn of the loop
RUNS_AT_ONCE = 200

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Ticker:
    """A ticker opens the runs of all ticks of one engine.

    `spawn` starts a task that belongs to the engine. `asking` is held by whoever asks the store about ticks.
    """

    def __init__(self, parts: Parts, spawn: Spawn) -> None:
        self.ticking = Ticking(parts.decisions)
        self.tables: dict[str, Timetable] = {}  # those that can open runs here
        self.asking = asyncio.Lock()
        self._parts = parts
        self._state = parts.decisions.state
        self._spawn = spawn
        self._look_due = LookDue(self._look)
        self._dues: dict[str, datetime] = {}  # of the timetables that wait
        self._heap: list[tuple[datetime, str]] = []  # with older dues, too
        self._idle_until: dict[str, datetime] = {}  # until all missed ticks are decided
        self._busy: set[str] = set()
        self._is_looking = False  # a look arms the timer at its end
        self._told: set[str] = set()

    # Records.

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records of schedules and pauses."""
        return {
            ScheduleMade: self._schedule_made,
            ScheduleEnded: self._schedule_ended,
            FunctionPaused: self._paused,
            FunctionResumed: self._resumed,
        }

    def _schedule_made(self, record: ScheduleMade) -> None:
        self._take_in(record)
        self._wait(schedule_runs(record.id))

    def _schedule_ended(self, record: ScheduleEnded) -> None:
        self._forget(schedule_runs(record.id))

    def _paused(self, record: FunctionPaused) -> None:
        for of in self.of_function(record.function):
            self._stop_waiting(of)

    def _resumed(self, record: FunctionResumed) -> None:
        for of in self.of_function(record.function):
            self._idle_until[of] = record.at
            self._wait(of)

    def of_function(self, function: str) -> list[str]:
        """Return the timetables of a function."""
        return [of for of, table in self.tables.items() if table.function == function]

    @property
    def is_alone(self) -> bool:
        """Whether nothing but ticks is due."""
        return len(self._parts.timers) == 1 and self._look_due in self._parts.timers

    # Opening.

    async def recover(self, idle_until: datetime | None) -> None:
        """Take in all timetables, and record the expressions that are seen for the first time.

        `idle_until` is the time of the opening if the last process closed its engine in order: until then nothing ran.
        This yields to the loop after every few timetables.
        """
        for declaration in list(self._state.functions.values()):
            self._declare(declaration, idle_until)
        known = {cron_runs(function) for function in self._state.functions}
        for of in [of for of in self._state.standing.passed if of.startswith(cron_runs("")) and of not in known]:
            self._parts.journal.post_all(self.ticking.over(of, self._parts.clock.now()))
        for number, made in enumerate(list(self._state.standing.made.values()), 1):
            self._take_in(made)
            if idle_until is not None:
                self._idle_until[schedule_runs(made.id)] = idle_until
            self._wait(schedule_runs(made.id))
            if number % TABLES_AT_ONCE == 0:
                await asyncio.sleep(0)

    def declare(self, declaration: Declaration) -> None:
        """Take in a function that was declared while the engine is open."""
        self._declare(declaration, None)
        for of in self.of_function(declaration.id):
            if of != cron_runs(declaration.id) and of not in self._dues:  # nobody was there to run it until now
                self._idle_until[of] = self._parts.clock.now()
                self._wait(of)

    def _declare(self, declaration: Declaration, idle_until: datetime | None) -> None:
        table = table_of(declaration)
        self._forget(table.of)
        if not self.ticking.is_seen(table):
            self._parts.journal.post_all(self.ticking.seen(table, self._parts.clock.now()))
        if not table.rules:
            return
        self.tables[table.of] = table
        if idle_until is not None:
            self._idle_until[table.of] = idle_until
        self._wait(table.of)

    def _take_in(self, made: ScheduleMade) -> None:
        of = schedule_runs(made.id)
        try:
            self.tables[of] = table_made(made)
        except (ImportError, ValueError) as error:
            self._forget(of)
            self._parts.logger.error("schedule %r opens no runs here: %s", made.id, error)

    def _forget(self, of: str) -> None:
        self.tables.pop(of, None)
        self._stop_waiting(of)

    def next_tick(self, schedule: str, now: datetime) -> datetime | None:
        """Return the next tick of a schedule, or None if its expression cannot be read here."""
        table = self.tables.get(schedule_runs(schedule))
        return None if table is None else table.next_tick(now)

    # Waiting.

    def _stop_waiting(self, of: str) -> None:
        self._dues.pop(of, None)

    def _wait(self, of: str) -> None:
        """Let a timetable wait for its next tick, if its function may run."""
        table = self.tables.get(of)
        if table is None or of in self._busy or not self._may_open(table):
            self._stop_waiting(of)
            return
        due = table.next_due(self.ticking.marks(table)) if self.ticking.is_seen(table) else None
        if due is None:
            self._stop_waiting(of)
        elif self._dues.get(of) != due:
            self._dues[of] = due
            heappush(self._heap, (due, of))
            if not self._is_looking:
                self._arm()

    def _may_open(self, table: Timetable) -> bool:
        if table.function not in self._state.functions:
            if table.of not in self._told:
                self._told.add(table.of)
                self._parts.logger.warning(
                    "schedule %r opens no runs: its function %r is not registered; pass it in Engine(functions=[...])",
                    table.schedule,
                    table.function,
                )
            return False
        return table.function not in self._state.standing.paused

    def _arm(self) -> None:
        while self._heap and self._dues.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)  # it waits for another tick by now, or no more
        if self._heap:
            self._parts.timers.set(self._look_due, self._heap[0][0])
        else:
            self._parts.timers.drop(self._look_due)

    def _look(self) -> None:
        now = self._parts.clock.now()
        room, self._is_looking = RUNS_AT_ONCE, True
        try:
            while room > 0 and self._heap and self._heap[0][0] <= now:
                due, of = heappop(self._heap)
                if self._dues.get(of) == due:
                    del self._dues[of]
                    room -= 1 + self._move(self.tables[of], now)
        finally:
            self._is_looking = False
            self._arm()

    # Ticks.

    def moved(self, table: Timetable, now: datetime, idle_until: datetime | None) -> Moved:
        """Return which ticks of a timetable open runs now."""
        return table.moved(self.ticking.marks(table), now, idle_until)

    def _move(self, table: Timetable, now: datetime) -> int:
        """Open the runs of the ticks that are due, and return how many there are."""
        moved = self.moved(table, now, self._idle_until.get(table.of))
        if self.ticking.unsure(table, moved.ticks):
            self._busy.add(table.of)
            self._spawn(self._ask(table.of))
        else:
            self._parts.journal.post_all(self.ticking.moves(table, moved, (), now))
            self._caught_up(table, now)
        return len(moved.ticks)

    def _caught_up(self, table: Timetable, now: datetime) -> None:
        self._wait(table.of)
        if (due := self._dues.get(table.of)) is None or due > now:
            self._idle_until.pop(table.of, None)

    async def _ask(self, of: str) -> None:
        """Ask the store which ticks of a timetable have runs, then move on."""
        asked = Asked(self)
        try:
            async with self.asking:
                while (table := self.tables.get(of)) is not None and self._may_open(table):
                    now = self._parts.clock.now()
                    moved = self.moved(table, now, self._idle_until.get(of))
                    if not await asked.about([(table, tick) for tick in moved.ticks]):
                        self._parts.journal.post_all(self.ticking.moves(table, moved, asked.opened, now))
                        break
        except StoreError:
            return  # the engine stops
        finally:
            self._busy.discard(of)
        if of in self.tables:
            self._caught_up(self.tables[of], self._parts.clock.now())

    async def has_run(self, run: str) -> bool:
        """Return whether there is a run, ended or not.

        Raises:
            StoreError: the store has failed.
        """
        return self._state.known(run) is not None or (await self._parts.history.ends(run))[0] is not None


class Asked:
    """What the store was asked about ticks, and has said; `opened` are the runs that there are."""

    def __init__(self, ticker: Ticker) -> None:
        self.opened: set[str] = set()
        self._lacking: set[str] = set()
        self._ticker = ticker

    async def about(self, ticks: Iterable[tuple[Timetable, datetime]]) -> bool:
        """Ask about the ticks of which neither this nor the state is sure; return whether there were any.

        Meanwhile others may have opened runs: decide anew, and ask again.

        Raises:
            StoreError: the store has failed.
        """
        unsure = [tick_run(table.of, tick) for table, tick in ticks if self._ticker.ticking.unsure(table, (tick,))]
        new = [run for run in unsure if run not in self.opened and run not in self._lacking]
        for run in new:
            (self.opened if await self._ticker.has_run(run) else self._lacking).add(run)
        return bool(new)
