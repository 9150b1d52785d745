"""Let runs begin in their turn, where their function bounds how many start or run (F1, F2, F6).

Separate because of all other runs nothing is asked: they begin as soon as their opening is durable.
Leaves to `queue` the order, to `rooms` what a run waits for, to `scheduler` the beginning itself.

A run that waits here has no execution. That it may begin is a record, durable before its function is first called: so
a start is counted exactly, and after a restart the runs that have begun are known from those that still wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from durable.errors import StoreError
from durable.journal import (
    Declaration,
    Ledger,
    ParkedRun,
    PeriodRoom,
    Queue,
    Record,
    Room,
    Rooms,
    RunAdmitted,
    SlotRoom,
)
from durable.scheduler.deadlines import LookDue
from durable.scheduler.parts import Parts

ADMITTED_AT_ONCE = 200  # in one turn of the loop


class Starts:
    """Starts hold the runs that wait for their turn; `begin(run)` is called for each whose turn has come.

    `rooms_of` says what such a run waits for, or has entered; all others are not in it.
    """

    def __init__(self, parts: Parts, begin: Callable[[str], None]) -> None:
        self._parts = parts
        self._state = parts.decisions.state
        self._begin = begin
        self._queue: Queue[str] = Queue()
        self._rooms = Rooms(self._state.windows, self._state.bus.complain)
        self.rooms_of: dict[str, tuple[Room, ...]] = {}
        self._look = LookDue(self._admit)
        self._is_looking = self._is_stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether no run can be let in without time, or the end of another."""
        return not self._is_looking

    def holds_back(self, run: str) -> bool:
        """Return whether a run still waits for its turn."""
        return run in self._queue

    def waits_for(self, run: str) -> tuple[Room, int] | None:
        """Return what a run waits for, and its place among all who wait for that, from 1."""
        return self._queue.waits_for(run)

    # From the scheduler.

    def waits(self, ledger: Ledger) -> bool:
        """Let a run that was opened, or opened again, wait for its turn; False: it need not."""
        if not self._joins(ledger):
            return False
        self._admit()
        return True

    def recovered(self, run: Ledger | ParkedRun) -> None:
        """Take in an unfinished run that was read from the store; nothing begins yet."""
        if isinstance(run, ParkedRun) or run.has_begun:
            self._enter(run)
        else:
            self._joins(run)

    def ended(self, run: str) -> None:
        """Let a run that has ended wait no more, and give back what it holds."""
        rooms = self.rooms_of.pop(run, ())
        self._queue.leave(run)
        for room in rooms:
            if isinstance(room, SlotRoom):
                for freed in self._rooms.left(room, run):
                    self._queue.freed(freed)
        if rooms:
            self._admit()

    def declared(self, declaration: Declaration) -> None:
        """Let the runs of a function wait for what its new definition asks."""
        for run in [run for run in self._state.unfinished() if run.function == declaration.id]:
            waits = run.run in self._queue
            self.ended(run.run)
            if waits:
                assert isinstance(run, Ledger), "a run that has not begun is not parked"
                self._joins(run)
            else:
                self.recovered(run)
        self._admit()

    def admit(self) -> None:
        """Let in all that may begin; to be called once the recovered runs are there."""
        self._admit()

    def stop(self) -> None:
        """Let no run in any more."""
        self._is_stopped = True

    # The queue.

    def _wanted(self, run: Ledger | ParkedRun) -> tuple[Room, ...]:
        declaration = self._state.functions.get(run.function)
        if declaration is None or declaration.flow is None:
            return ()
        return self._rooms.of(run.function, declaration.flow, run.event, "runs")

    def _joins(self, ledger: Ledger) -> bool:
        rooms = self._wanted(ledger)
        if ledger.reopenings:  # R32 is no start
            rooms = tuple([room for room in rooms if not isinstance(room, PeriodRoom)])
        if not rooms:
            return False
        self.rooms_of[ledger.run] = rooms
        opened = ledger.opened_at.timestamp()
        self._queue.join(ledger.run, (opened, opened), rooms)
        return True

    def _enter(self, run: Ledger | ParkedRun) -> None:
        slots = tuple([room for room in self._wanted(run) if isinstance(room, SlotRoom)])
        if slots:
            self.rooms_of[run.run] = slots
        for room in slots:
            room.enter(run.run)

    def _admit(self) -> None:
        self._is_looking = False
        if self._is_stopped or self._parts.journal.failure is not None:
            return
        now = self._parts.clock.now()
        for _ in range(ADMITTED_AT_ONCE):
            if (run := self._queue.next(now)) is None:
                break
            self._parts.journal.post_all(self._admission(run, now))
            self._begin(run)
        else:
            self._is_looking = True
            self._parts.loop.call_soon(self._admit_more)
            return
        due = self._queue.due()
        if due is None:
            self._parts.timers.drop(self._look)
        else:
            self._parts.timers.set(self._look, due)

    def _admit_more(self) -> None:
        try:
            self._admit()
        except StoreError:  # the engine stops, and has told all who wait
            self._is_looking = False
        self._parts.changes.set()

    def _admission(self, run: str, now: datetime) -> Iterator[Record]:
        for room in self.rooms_of[run]:
            if isinstance(room, PeriodRoom):
                yield room.counted(now)
        yield RunAdmitted(run, now)
