"""Deadlines: which timers a run has, and what its record says when one has come due.

Separate because when something is due follows from what is recorded, whether or not the run has a coroutine.
Leaves to `timers` to keep time, to `scheduler` the runs that are to begin, and the handlers that are to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from durable.errors import StoreError
from durable.ledger import Ledger
from durable.machine import Machine
from durable.parked import Parked
from durable.records import (
    EventSent,
    Record,
    RunClosed,
    RunOpened,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
)
from durable.times import after

START, FINISH, DUE = "»start", "»finish", "»due"
TimerKey = tuple[str, str]
_ARMED_AT_ONCE = 500


class Deadlines:
    """The timers of all runs. `begin(run)` is called for a run whose next attempt is due, `try_again(run, key)` for a
    step whose handler may be."""

    def __init__(self, machine: Machine, begin: Callable[[str], None], try_again: Callable[[str, str], None]) -> None:
        self._machine = machine
        self._timers = machine.timers
        self._state = machine.causes.state
        self._begin = begin
        self._try_again = try_again

    def follow(self, record: Record) -> None:
        """Set and drop timers as a record that was folded just now says."""
        match record:
            case StepClosed():
                self._timers.drop((record.run, record.key))
            case StepOpened():
                if record.wait.until is not None:
                    self._timers.set((record.run, record.key), record.wait.until)
            case StepRetried():
                self._timers.set((record.run, record.key), record.due)
            case RunOpened():
                self._arm_start(self._state.ledgers[record.run])
            case RunRetried():
                if record.reopened:
                    self._arm_start(self._state.ledgers[record.run])
                if record.due > self._machine.clock.now():
                    self._timers.set((record.run, DUE), record.due)
            case RunStarted():
                self._arm_finish(self._state.ledgers[record.run])
            case RunClosed():
                for name in (START, FINISH, DUE, *self._state.ended[record.run].steps):
                    self._timers.drop((record.run, name))
            case EventSent() if record.due is not None:
                self._timers.set(("", record.id), record.due)
            case _:
                pass

    async def recover(self) -> None:
        """Set the timers of what was read from the store, a few at a time: the loop stays free."""
        for scheduled in self._state.scheduled.values():
            if scheduled.due is not None:
                self._timers.set(("", scheduled.id), scheduled.due)
        for number, ledger in enumerate(list(self._state.ledgers.values()), 1):
            self._arm(ledger)
            if number % _ARMED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _arm(self, ledger: Ledger) -> None:
        if ledger.status is not None:  # a deadline of its own came meanwhile
            return
        self.arm_timeouts(ledger)
        if ledger.due is not None:
            self._timers.set((ledger.run, DUE), ledger.due)
        for key, facts in ledger.steps.items():
            until = facts.wait.until if facts.is_waiting and facts.wait is not None else facts.due
            if facts.outcome is None and until is not None:
                self._timers.set((ledger.run, key), until)

    def arm_timeouts(self, run: Ledger | Parked) -> None:
        """Set the timers that the `Timeouts` of a run's function call for, in place of those of an older definition."""
        self._timers.drop((run.run, START))
        self._timers.drop((run.run, FINISH))
        self._arm_start(run)
        self._arm_finish(run)

    def _arm_start(self, run: Ledger | Parked) -> None:
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.start_timeout is not None and run.started_at is None:
            self._timers.set((run.run, START), after(run.opened_at, declaration.start_timeout))

    def _arm_finish(self, run: Ledger | Parked) -> None:
        self._timers.drop((run.run, START) if run.started_at is not None else (run.run, FINISH))
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.finish_timeout is not None and run.started_at is not None:
            self._timers.set((run.run, FINISH), after(run.started_at, declaration.finish_timeout))

    def on_due(self, due: list[tuple[TimerKey, datetime]]) -> None:
        """Act on deadlines that have come, those of one tick together."""
        for (run, name), _ in due:
            try:
                self._come_due(run, name)
            except StoreError:
                return

    def _come_due(self, run: str, name: str) -> None:
        causes, now, post = self._machine.causes, self._machine.clock.now(), self._machine.journal.post_all
        if run == "":
            post(causes.deliver_scheduled(name, now))
        elif name == DUE:
            self._begin(run)
        elif name == START:
            post(causes.close(run, "cancelled", now, reason="it did not start in time: Timeouts(start=...)"))
        elif name == FINISH:
            post(causes.close(run, "cancelled", now, reason="it did not finish in time: Timeouts(finish=...)"))
        elif self._state.is_waiting((run, name)):
            post(causes.expire((run, name), now))
        else:
            self._try_again(run, name)
