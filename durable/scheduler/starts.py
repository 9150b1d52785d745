"""Let runs begin in their turn, where their function bounds how many start or run (F1, F2, F6).

Separate because of all other runs nothing is asked: they begin as soon as their opening is durable.
Leaves to `turnstile` the waiting, to `scheduler` the beginning itself.

A run that waits here has no execution. That it may begin is a record, durable before its function is first called: so
a start is counted exactly, and after a restart the runs that have begun are known from those that still wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from durable.journal import (
    Declaration,
    FunctionPaused,
    FunctionResumed,
    Ledger,
    ParkedRun,
    PauseRoom,
    PeriodRoom,
    Record,
    Room,
    RunAdmitted,
    SlotRoom,
    parent_run,
)
from durable.scheduler.parts import Parts
from durable.scheduler.turnstile import Turnstile

_RECOVERED_AT_ONCE = 200


class Starts:
    """Starts hold the runs that wait for their turn; `begin(run)` is called for each whose turn has come.

    `rooms_of` says what such a run waits for, or has entered; all others are not in it. `sessions` are the runs whose
    function was called.
    """

    def __init__(self, parts: Parts, sessions: Container[str], begin: Callable[[str], None]) -> None:
        self._parts = parts
        self._state = parts.decisions.state
        self._sessions = sessions
        self._begin = begin
        self.rooms_of: dict[str, tuple[Room, ...]] = {}
        self._pauses: dict[str, PauseRoom] = {}
        self._below: dict[str, dict[str, None]] = {}  # invoked runs that wait for a slot, by each run above them
        self.turnstile: Turnstile[str] = Turnstile(parts, "runs", self._let_in)

    def holds_back(self, run: str) -> bool:
        """Return whether a run still waits for its turn."""
        return run in self.rooms_of and self.turnstile.is_held_back(run)

    def waits(self, ledger: Ledger) -> bool:
        """Let a run that was opened, or opened again, wait for its turn; False: it need not."""
        if self._joins(ledger):
            self.turnstile.admit()
            return True
        is_known = ledger.is_admitted or not (ledger.reopenings or ledger.fork is not None)  # see `rules.beginning`
        if not is_known and ledger.function in self._state.functions:
            self._parts.journal.post(RunAdmitted(ledger.run, ledger.admitted_at or ledger.opened_at))
        return False

    async def recover(self, runs: Iterable[Ledger | ParkedRun]) -> None:
        """Take in unfinished runs that were read from the store; nothing begins yet.

        This yields to the loop after every few runs. While no function asks for flow control, there is nothing to do.
        """
        if not (self._state.flowing or self._state.standing.paused):
            return
        for number, run in enumerate(runs, 1):
            self._recovered(run)
            if number % _RECOVERED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _recovered(self, run: Ledger | ParkedRun) -> None:
        # Those that have begun hold their slots, even beyond a limit; who invoked a run comes before it.
        waiting = [run]
        while (above := self._above(waiting[-1])) is not None and above.run not in self.rooms_of:
            waiting.append(above)
        for one in reversed(waiting):
            if one.run in self.rooms_of:
                continue
            if isinstance(one, ParkedRun) or one.has_begun:
                self._enter(one)
            else:
                self._joins(one)

    def ended(self, run: str) -> None:
        """Let a run that has ended wait no more, and give back what it holds."""
        self._waits_below(run, False)
        self.turnstile.leave(run, self.rooms_of.pop(run))
        self.turnstile.admit()

    def declared(self, declaration: Declaration) -> None:
        """Let the runs of a function wait for what its new definition asks."""
        for run in [run for run in self._state.unfinished() if run.function == declaration.id]:
            waits = self.holds_back(run.run)
            self._waits_below(run.run, False)
            number = self._leaves(run.run)
            if waits and isinstance(run, Ledger):
                self._joins(run, number)
            elif run.run in self._sessions:  # also if nothing is recorded yet of its first step
                self._enter(run)
            else:
                self._recovered(run)
        self.turnstile.admit()

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records of pauses."""
        return {FunctionPaused: self._paused, FunctionResumed: self._resumed}

    def _paused(self, record: FunctionPaused) -> None:
        for run in list(self._state.ledgers.values()):
            if run.function == record.function and not run.has_begun and not self.holds_back(run.run):
                self._joins(run)

    def _resumed(self, record: FunctionResumed) -> None:
        self.turnstile.freed(self._pause_of(record.function))

    def waits_for(self, ledger: Ledger) -> tuple[Room, int] | None:
        """Return what a run waits for, the pause of its function before all, and its place there, from 1."""
        is_paused = ledger.function in self._state.standing.paused
        return self.turnstile.waits_for(ledger.run, self._pause_of(ledger.function) if is_paused else None)

    def _pause_of(self, function: str) -> PauseRoom:
        return self._pauses.get(function) or self._pauses.setdefault(
            function, PauseRoom(function, self._state.standing.paused)
        )

    def _wanted(self, run: Ledger | ParkedRun) -> tuple[Room, ...]:
        # Who waits anyhow passes the pause, too: so a pause need not move a hundred thousand that wait already.
        rooms = self.turnstile.wanted(run.function, run.event)
        if rooms or run.function in self._state.standing.paused:
            return (*rooms, self._pause_of(run.function))
        return ()

    def _leaves(self, run: str) -> int | None:
        """Take a run out of its rooms; return its number among those that wait, for it has come when it did."""
        return self.turnstile.leave(run, self.rooms_of.pop(run, ()))

    def _joins(self, ledger: Ledger, number: int | None = None) -> bool:
        rooms = self._wanted(ledger)
        if ledger.reopenings:  # R32 is no start
            rooms = tuple([room for room in rooms if not isinstance(room, PeriodRoom)])
        if not rooms:
            return False
        self.rooms_of[ledger.run] = rooms
        left = tuple([room for room in rooms if not self._shares(ledger, room)])
        if left == (self._pause_of(ledger.function),) and ledger.function not in self._state.standing.paused:
            left = ()
        if left:
            shared = self.turnstile.join(ledger.run, order_of(ledger), left, number)
            if len(left) == len(rooms):
                self.rooms_of[ledger.run] = shared
        if ledger.parent is not None:
            self._waits_below(ledger.run, any(isinstance(room, SlotRoom) for room in left))
        return bool(left)

    def _waits_below(self, run: str, waits: bool) -> None:
        """Note whether an invoked run waits for a slot that a run above it may come to hold."""
        above = parent_run(run)
        while above:
            below = self._below.setdefault(above, {})
            below.pop(run, None)
            if waits:
                below[run] = None
            elif not below:
                del self._below[above]
            above = parent_run(above)

    def _shares(self, run: Ledger | ParkedRun, room: Room) -> bool:
        """Share the slot of a run above, if one holds it: else the two would wait for each other."""
        above = self._above(run) if isinstance(room, SlotRoom) else None
        while above is not None and isinstance(room, SlotRoom):
            if room.holds(above.run):
                room.enter(run.run, above.run)
                return True
            above = self._above(above)
        return False

    def _above(self, run: Ledger | ParkedRun) -> Ledger | ParkedRun | None:
        """Return the unfinished run that has invoked another."""
        if isinstance(run, Ledger) and run.is_whole:
            above = "" if run.parent is None else run.parent[0]
        else:  # a run that was parked has kept its id alone
            above = parent_run(run.run)
        return self._state.ledgers.get(above) or self._state.parked.get(above)

    def _enter(self, run: Ledger | ParkedRun) -> None:
        slots = [room for room in self._wanted(run) if isinstance(room, SlotRoom)]
        for room in slots:
            if not self._shares(run, room):
                room.enter(run.run)
        if slots:
            self.rooms_of[run.run] = tuple(slots)

    def _let_in(self, run: str, now: datetime) -> None:
        if self._has_ended(run):
            return
        self._parts.journal.post_all(self._admission(run, now))
        self._begin(run)
        self._waits_below(run, False)
        for one in list(self._below.get(run, ())):  # opened again with it (R32), or still queued then
            waits = self.holds_back(one) and not self._has_ended(one)
            if waits and not self._joins(self._state.ledgers[one], self._leaves(one)):
                self._let_in(one, now)

    def _has_ended(self, run: str) -> bool:
        # One event may cancel who holds a slot and who waits for it: the first end is told when both are recorded.
        return run not in self._state.ledgers

    def _admission(self, run: str, now: datetime) -> Iterator[Record]:
        for room in self.rooms_of[run]:
            if isinstance(room, PeriodRoom):
                yield room.counted(now)
        yield RunAdmitted(run, now)


def order_of(ledger: Ledger) -> tuple[float, float]:
    """Return the place of a run among those that wait: see `queue.Place`."""
    opened = ledger.opened_at.timestamp()
    return (opened - ledger.priority if ledger.priority else opened), opened
