"""Set a timer for every recorded deadline, and act when one is due.

Separate because deadlines follow from records, whether or not the run has a coroutine.
Leaves to `timers` the keeping of time, to `scheduler` the beginning of runs and of further tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, assert_never

from durable.errors import StoreError
from durable.journal import (
    EventHeld,
    EventSent,
    FunctionPaused,
    FunctionResumed,
    GroupClosed,
    Ledger,
    ParkedRun,
    Record,
    RunClosed,
    RunOpened,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
)
from durable.scheduler.parts import Parts
from durable.timers import after

_ARMED_AT_ONCE = 500


class StepDue(NamedTuple):
    """A step's deadline ends its wait or its running try, or lets its next try begin."""

    run: str
    key: str


class What(Enum):
    """The deadlines of a whole run; START and FINISH end it with that reason."""

    START = "it did not start in time: Timeouts(start=...)"
    FINISH = "it did not finish in time: Timeouts(finish=...)"
    ATTEMPT = "its next attempt may begin"


class RunDue(NamedTuple):
    """A deadline of a whole run."""

    run: str
    what: What


class EventDue(NamedTuple):
    """The time at which a scheduled event is delivered."""

    id: str


class GroupDue(NamedTuple):
    """The time at which a group of held events opens."""

    id: str


class LookDue(NamedTuple):
    """The next time for a part of the engine that looks at something now and then."""

    look: Callable[[], None]


Due = StepDue | RunDue | EventDue | GroupDue | LookDue


class Deadlines:
    """Deadlines set and drop the timers of all runs.

    `begin(run)` is called for a run whose next attempt is due, `try_again(run, key)` for a step whose timer is due, but
    not for a wait. What happens at a deadline is recorded with the deadline's time, even if that is noticed late, but
    never with a time before the opening of the engine.
    """

    def __init__(self, parts: Parts, begin: Callable[[str], None], try_again: Callable[[str, str], None]) -> None:
        self._parts = parts
        self._timers = parts.timers
        self._state = parts.decisions.state
        self._begin = begin
        self._try_again = try_again
        self._opened_at = parts.clock.now()
        self._timers.on_due = self._come_due

    # Records.

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records: they set and drop timers."""
        return {
            StepOpened: self._step_opened,
            StepRetried: self._step_retried,
            RunRetried: self._run_retried,
            RunStarted: self._run_started,
            EventSent: self._event_sent,
            FunctionPaused: self._paused_or_resumed,
            FunctionResumed: self._paused_or_resumed,
            EventHeld: self._event_held,
            GroupClosed: self._group_closed,
        }

    def step_closed(self, record: StepClosed) -> None:
        """Drop the timer of a step that has ended."""
        self._timers.drop((record.run, record.key))  # which equals the StepDue, and is made in a third of the time

    def _step_opened(self, record: StepOpened) -> None:
        if record.wait.until is not None:
            self._timers.set(StepDue(record.run, record.key), record.wait.until)

    def _step_retried(self, record: StepRetried) -> None:
        self._timers.set_span(StepDue(record.run, record.key), record.due)

    def run_opened(self, record: RunOpened) -> None:
        """Set the timer by which a newly opened run must have started."""
        self._arm_start(self._state.ledgers[record.run])

    def _run_retried(self, record: RunRetried) -> None:
        if record.reopened:
            self._arm_start(self._state.ledgers[record.run])
        self._set_ahead(RunDue(record.run, What.ATTEMPT), record.due)

    def _run_started(self, record: RunStarted) -> None:
        self._timers.drop(RunDue(record.run, What.START))  # which it has met
        self._arm_finish(self._state.ledgers[record.run])

    def run_closed(self, record: RunClosed) -> None:
        """Drop the timers of a run that has ended, and of its steps."""
        for what in What:
            self._timers.drop(RunDue(record.run, what))
        for key, facts in self._state.ended[record.run].steps.items():
            if facts.outcome is None:
                self._timers.drop(StepDue(record.run, key))

    def _event_sent(self, record: EventSent) -> None:
        if record.due is not None:
            self._timers.set(EventDue(record.id), record.due)
        elif record.withdrawn:
            self._timers.drop(EventDue(record.id))

    def _event_held(self, record: EventHeld) -> None:
        self._timers.set(GroupDue(record.group), record.due)

    def _group_closed(self, record: GroupClosed) -> None:
        self._timers.drop(GroupDue(record.group))

    def arm_groups(self, function: str) -> None:
        """Set the timers of what is held for a function that was not known: till then it stays held (F5)."""
        for group in self._state.held.in_order(function):
            self._timers.set(GroupDue(group.id), group.due)

    def _paused_or_resumed(self, record: FunctionPaused | FunctionResumed) -> None:
        for run in [run for run in self._state.unfinished() if run.function == record.function]:
            self._arm_start(run)

    def is_put_off(self, run: str) -> bool:
        """Return whether the timer for a run's next attempt is still set."""
        return RunDue(run, What.ATTEMPT) in self._timers

    def _set_ahead(self, key: Due, due: datetime) -> None:
        # Only this asks the clock; `is_put_off` asks the timer. Two answers of a clock could contradict each other.
        if due > self._parts.clock.now():
            self._timers.set_span(key, due)

    async def recover(self) -> None:
        """Set the timers of the runs and events that were read from the store.

        This yields to the loop after every few runs.
        """
        self._opened_at = self._parts.clock.now()
        for scheduled in self._state.scheduled.values():
            if scheduled.due is not None:
                self._timers.set(EventDue(scheduled.id), scheduled.due)
        for group in self._state.held.groups.values():
            if group.function in self._state.functions:
                self._timers.set(GroupDue(group.id), group.due)
        parked = list(self._state.parked.values())
        for number, ledger in enumerate(list(self._state.ledgers.values()), 1):
            self._arm(ledger)
            if number % _ARMED_AT_ONCE == 0:
                await asyncio.sleep(0)
        some = [run.until for run in parked[:: len(parked) // _ARMED_AT_ONCE + 1]]
        with self._timers.expecting(len(parked), [until for until in some if until is not None]):
            for number, run in enumerate(parked, 1):
                self._arm_parked(run)
                if number % _ARMED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _arm(self, ledger: Ledger) -> None:
        if ledger.status is not None:  # it has ended meanwhile, by a deadline that was just set
            return
        self._arm_start(ledger)
        self._arm_finish(ledger)
        if ledger.due is not None:
            self._set_ahead(RunDue(ledger.run, What.ATTEMPT), ledger.due)
        for key, facts in ledger.steps.items():
            if facts.outcome is not None:
                continue
            if not facts.is_waiting and facts.due is not None:
                self._set_ahead(StepDue(ledger.run, key), facts.due)
            elif facts.is_waiting and facts.wait is not None and facts.wait.until is not None:
                self._timers.set(StepDue(ledger.run, key), facts.wait.until)

    def _arm_parked(self, run: ParkedRun) -> None:
        if run.run not in self._state.parked:
            return
        declaration, until = self._state.functions.get(run.function), run.until
        if declaration is not None and declaration.finish_timeout is not None:
            self._arm_finish(run)  # it has started, so START is met
        if until is not None:
            self._timers.set(StepDue(run.run, run.key), until)

    def arm_timeouts(self, run: Ledger | ParkedRun) -> None:
        """Set the timers for the `Timeouts` of a run's function.

        They replace timers that an older definition of the function has asked for.
        """
        self._timers.drop(RunDue(run.run, What.START))
        self._timers.drop(RunDue(run.run, What.FINISH))
        self._arm_start(run)
        self._arm_finish(run)

    def _arm_start(self, run: Ledger | ParkedRun) -> None:
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.start_timeout is not None and run.started_at is None:
            due = self._state.standing.put_off(run.function, run.since, declaration.start_timeout)
            if due is None:
                self._timers.drop(RunDue(run.run, What.START))
            else:
                self._timers.set(RunDue(run.run, What.START), due)

    def _arm_finish(self, run: Ledger | ParkedRun) -> None:
        declaration = self._state.functions.get(run.function)
        if declaration is not None and declaration.finish_timeout is not None and run.started_at is not None:
            self._timers.set(RunDue(run.run, What.FINISH), after(run.started_at, declaration.finish_timeout))

    # Due timers.

    def _come_due(self, due: list[tuple[Due, datetime]]) -> None:
        # All that are due in one turn of the loop. A deadline that fails is named in the log; the others still act.
        for deadline, when in due:
            try:
                self._act(deadline, when)
            except StoreError:
                return
            except Exception as error:
                self._parts.logger.error(
                    "the %s of %s has failed: it is tried again when the store is opened next",
                    _named(deadline),
                    when,
                    exc_info=error,
                )

    def _act(self, deadline: Due, when: datetime) -> None:
        decisions, post = self._parts.decisions, self._parts.journal.post_all
        at = max(when, self._opened_at)
        match deadline:
            case LookDue(look):
                look()
            case EventDue(id):
                post(decisions.scheduled_event_due(id, at))
            case GroupDue(id):
                post(decisions.gathering.due(id, at))
            case RunDue(run, What.ATTEMPT):
                self._begin(run)
            case RunDue(run, what):
                post(decisions.run_ended(run, "cancelled", at, reason=what.value))
            case StepDue(run, key):
                if self._state.is_waiting((run, key)):
                    post(decisions.deadline_passed((run, key), at))
                else:
                    self._try_again(run, key)
            case _:
                assert_never(deadline)


def _named(deadline: Due) -> str:
    match deadline:
        case LookDue():
            return "look from time to time"
        case EventDue(id):
            return f"event {id!r}"
        case GroupDue(id):
            return f"opening of {id!r}"
        case RunDue(run, what):
            return f"deadline {what.name.lower()!r} of run {run!r}"
        case StepDue(run, key):
            return f"deadline {key!r} of run {run!r}"
        case _:
            assert_never(deadline)
