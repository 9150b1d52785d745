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
    step whose handler may be. What has come due happens at its deadline, however late that is noticed, and at the
    opening of the engine at the earliest."""

    def __init__(self, machine: Machine, begin: Callable[[str], None], try_again: Callable[[str, str], None]) -> None:
        self._machine = machine
        self._timers = machine.timers
        self._state = machine.causes.state
        self._begin = begin
        self._try_again = try_again
        self._opened_at = machine.clock.now()

    def follow(self, record: Record) -> None:
        """Set and drop timers as a record that was folded just now says."""
        match record:
            case StepClosed():
                self._timers.drop((record.run, record.key))
            case StepOpened():
                if record.wait.until is not None:
                    self._timers.set((record.run, record.key), record.wait.until)
            case StepRetried():
                self._timers.set_span((record.run, record.key), record.due)
            case RunOpened():
                self._arm_start(self._state.ledgers[record.run])
            case RunRetried():
                if record.reopened:
                    self._arm_start(self._state.ledgers[record.run])
                self._set_ahead((record.run, DUE), record.due)
            case RunStarted():
                self._arm_finish(self._state.ledgers[record.run])
            case RunClosed():
                for name in (START, FINISH, DUE, *self._state.ended[record.run].steps):
                    self._timers.drop((record.run, name))
            case EventSent() if record.due is not None:
                self._timers.set(("", record.id), record.due)
            case _:
                pass

    def is_put_off(self, run: str) -> bool:
        """Say whether the next attempt of a run is still to come due: what the timers have given is due."""
        return (run, DUE) in self._timers

    def _set_ahead(self, key: TimerKey, due: datetime) -> None:
        # The clock is asked here and nowhere else: asked twice, it may have been set back in between.
        if due > self._machine.clock.now():
            self._timers.set_span(key, due)

    async def recover(self) -> None:
        """Set the timers of what was read from the store, a few at a time: the loop stays free."""
        self._opened_at = self._machine.clock.now()
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
            self._set_ahead((ledger.run, DUE), ledger.due)
        for key, facts in ledger.steps.items():
            if facts.outcome is not None:
                continue
            if not facts.is_waiting and facts.due is not None:
                self._set_ahead((ledger.run, key), facts.due)
            elif facts.is_waiting and facts.wait is not None and facts.wait.until is not None:
                self._timers.set((ledger.run, key), facts.wait.until)

    def arm_timeouts(self, run: Ledger | Parked) -> None:
        """Set the timers that the `Timeouts` of a run's function call for, in place of those of an older definition."""
        self._timers.drop((run.run, START))
        self._timers.drop((run.run, FINISH))
        self._arm_start(run)
        self._arm_finish(run)

    def _arm_start(self, run: Ledger | Parked) -> None:
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.start_timeout is not None and run.started_at is None:
            self._timers.set((run.run, START), after(run.since, declaration.start_timeout))

    def _arm_finish(self, run: Ledger | Parked) -> None:
        self._timers.drop((run.run, START) if run.started_at is not None else (run.run, FINISH))
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.finish_timeout is not None and run.started_at is not None:
            self._timers.set((run.run, FINISH), after(run.started_at, declaration.finish_timeout))

    def on_due(self, due: list[tuple[TimerKey, datetime]]) -> None:
        """Act on deadlines that have come, those of one turn together. One that fails is named in the log; it loses
        nobody else's."""
        for (run, name), when in due:
            try:
                self._come_due(run, name, when)
            except StoreError:
                return
            except Exception as error:
                what = f"event {name!r}" if run == "" else f"deadline {name!r} of run {run!r}"
                self._machine.logger.error(
                    "the %s of %s has failed: it is tried again when the store is opened next",
                    what,
                    when,
                    exc_info=error,
                )

    def _come_due(self, run: str, name: str, when: datetime) -> None:
        causes, post = self._machine.causes, self._machine.journal.post_all
        at = max(when, self._opened_at)
        if run == "":
            post(causes.deliver_scheduled(name, at))
        elif name == DUE:
            self._begin(run)
        elif name == START:
            post(causes.close(run, "cancelled", at, reason="it did not start in time: Timeouts(start=...)"))
        elif name == FINISH:
            post(causes.close(run, "cancelled", at, reason="it did not finish in time: Timeouts(finish=...)"))
        elif self._state.is_waiting((run, name)):
            post(causes.expire((run, name), at))
        else:
            self._try_again(run, name)
