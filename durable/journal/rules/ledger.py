"""Fold the records of one run: its steps, their outcomes, and the order of the outcomes.

Separate because a ledger is the memory of exactly one run, and replay needs nothing else.
Leaves to `session` the delivery of outcomes, to `state` everything that concerns several runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import attrs

from durable.errors import RecordedError
from durable.events import Event, Json, Place
from durable.journal.records import (
    Cancelled,
    Ending,
    Err,
    ForChild,
    Fork,
    Ok,
    Outcome,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRecord,
    RunRested,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Wait,
)
from durable.journal.rules.limits import Limits, run_outgrown


@attrs.define(eq=False, repr=False)
class StepFacts:
    """The facts of one step are changed by `Ledger.fold` alone.

    Attributes:
        wait: what the step waits for, or has waited for.
        outcome: how the step has ended, or None while it is open.
        attempt: the number of the next try.
        due: the time of the next try.
        error: the error of the last try.
        is_waiting: whether the step's wait may still answer it, or could have answered it when the run ended.
        openings: how often the step was opened anew in a later attempt of the run.
        opened_at: when the step was opened, by its call or its first try; when it was recorded, if that is not known.
        began: when the first try began, if the step has a handler and an earlier release has not recorded it.
        is_unasked: whether the step waits for a child that the function has not asked for since the run was opened
            again.
    """

    kind: StepKind
    opened_at: datetime
    wait: Wait | None = None
    outcome: Outcome | None = None
    turn: int | None = None
    closed_at: datetime | None = None
    attempt: int = 0
    due: datetime | None = None
    error: RecordedError | None = None
    is_waiting: bool = False
    openings: int = 0
    began: datetime | None = None
    is_unasked: bool = False

    def close(self, outcome: Outcome, turn: int | None, at: datetime, tries: int, began: datetime | None) -> None:
        """Keep how the step has ended."""
        self.outcome, self.turn, self.closed_at, self.due = outcome, turn, at, None
        self.began = began or self.began
        self.attempt = max(self.attempt, tries)
        if not self.is_waiting:
            self.wait = None  # this wait was of an earlier attempt, and has not led to the outcome
        self.is_waiting = False

    def reopen(self) -> None:
        """Forget the outcome, and keep the wait with its deadline (R9)."""
        self.outcome = self.turn = self.closed_at = self.due = self.began = None
        self.attempt = 0
        self.is_waiting = self.is_unasked = False
        self.openings += 1

    def begin_anew(self, now: datetime) -> None:
        """Forget the outcome and the wait's deadline, but not an invoked child (R32)."""
        self.reopen()
        self.opened_at = now
        self.wait = ForChild(self.wait.child) if isinstance(self.wait, ForChild) else None


# Of all runs without an outcome, as those are that wait in a queue; it stays empty.
_NO_TURNS: dict[int, list[str]] = {}


@attrs.define(eq=False, repr=False)
class Ledger:
    """A ledger is the fold of one run's records.

    Attributes:
        turns: the keys of the steps of each turn, in the order of the journal.
        open_turn: the turn that new outcomes join.
        delivered: the last turn that was delivered, or None without an execution. These two are not facts, but belong
            to this process: turns that were read from the store are closed (see `delivery`).
        latest: the time of the latest record.
        fork: what the run was forked from, or None.
        is_admitted: whether the run has had its turn, if its function bounds its runs.
        admitted_at: when it first had its turn, before any of its steps; None if it had none by then.
        rested: the number of the last record that says that the run rests in one wait; later ones end the rest.
        parent: the run and the step that invoked this one, or None.
        singleton, group, others, priority: as of `RunOpened`; of the others a parked run knows only `other_ids`.
        is_whole: false after a run was parked that has recorded more than its wait. The ledger then knows the step that
            was open, and later records. The others are in the store.
    """

    run: str
    function: str
    event: Event
    opened_at: datetime
    latest: datetime
    parent: Place | None = None
    steps: dict[str, StepFacts] = attrs.field(factory=dict)
    turns: dict[int, list[str]] = _NO_TURNS
    open_turn: int = 1
    delivered: int | None = None
    size: int = 0
    attempt: int = 0
    due: datetime | None = None
    error: RecordedError | None = None
    started_at: datetime | None = None
    deaths: int = 0
    alone: bool = False
    resumed_at: datetime | None = None
    status: Ending | None = None
    output: Json | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    reopenings: int = 0
    reopened_at: datetime | None = None
    count: int = 1
    rested: int = 0
    is_admitted: bool = False
    admitted_at: datetime | None = None
    is_whole: bool = True
    fork: Fork | None = None
    singleton: Json | None = None
    group: str | None = None
    others: tuple[Event, ...] = ()
    priority: float = 0.0
    other_ids: tuple[str, ...] = ()

    @classmethod
    def opened(cls, record: RunOpened) -> Ledger:
        """Return the ledger of a run that was just opened."""
        ledger = cls(record.run, record.function, record.event, record.at, record.at, record.parent)
        ledger.keep_options(record)
        return ledger

    def keep_options(self, record: RunOpened) -> None:
        """Keep what the record of the opening says of a fork and of flow control."""
        self.fork, self.priority = record.fork, record.priority
        self.singleton, self.group, self.others = record.singleton, record.group, record.others
        self.other_ids = tuple([event.id or "" for event in record.others])

    @property
    def seed(self) -> str:
        """What the function's random numbers derive from."""
        return self.run if self.fork is None else self.fork.seed

    @property
    def since(self) -> datetime:
        """The time at which the run was opened, or last opened again (R32).

        The deadlines of the run as a whole count from then.
        """
        return self.reopened_at or self.opened_at

    @property
    def has_begun(self) -> bool:
        """Whether the function was called since the run was opened, or opened again, as far as records tell."""
        was_called = self.steps or self.attempt or self.started_at is not None
        return self.is_admitted or (not self.reopenings and self.fork is None and bool(was_called))

    @property
    def rests_in(self) -> str | None:
        """The key of the step in which the run is recorded to rest, or None."""
        if self.rested != self.count:
            return None
        return next(key for key, facts in self.steps.items() if facts.is_waiting)

    def fold(self, record: RunRecord) -> None:
        """Take one more record of the run in."""
        if isinstance(record, StepClosed):
            outcome, at, tries = record.outcome, record.at, record.tries
            self.close_step(record.key, record.kind, outcome, record.turn, at, tries, record.began)
            return
        if isinstance(record, RunClosed):
            self.close(record.status, record.at, record.output, record.error, record.reason)
            return
        self._move_on(record.at)
        match record:
            case StepOpened():
                self._open_step(record.key, record.kind, record.wait, record.at)
            case StepRetried():
                facts = self.steps.setdefault(record.key, StepFacts(record.kind, record.began or record.at))
                facts.attempt, facts.due, facts.error = record.attempt, record.due, record.error
                facts.began = record.began
            case RunRetried():
                self._retry(record)
            case RunResumed():  # the one record that does not show that the run has outlived its process's death
                self.deaths, self.alone, self.resumed_at = record.deaths, record.alone, record.at
            case RunAdmitted():
                self.is_admitted = True
                if self.admitted_at is None and not self.steps:
                    self.admitted_at = record.at
            case RunStarted():
                self.started_at = record.at
            case RunRested():
                if record.count != self.count:
                    raise ValueError(f"it rests after {record.count} records, of which there are {self.count}")
                self.rested = record.count
            case RunOpened():
                raise ValueError(f"run {self.run!r} is recorded as opened twice")
            case _:
                assert_never(record)

    def open_step(self, key: str, kind: StepKind, wait: Wait, at: datetime) -> None:
        """Take in that a step waits: a `StepOpened` with these fields, which need not have been made."""
        self._move_on(at)
        self._open_step(key, kind, wait, at)

    def _open_step(self, key: str, kind: StepKind, wait: Wait, at: datetime) -> None:
        facts = self.steps.get(key)
        if facts is None:
            self.steps[key] = StepFacts(kind, at, wait, is_waiting=True)
        else:
            facts.wait, facts.is_waiting, facts.is_unasked = wait, True, False

    def close_step(
        self,
        key: str,
        kind: StepKind,
        outcome: Outcome,
        turn: int | None,
        at: datetime,
        tries: int,
        began: datetime | None,
    ) -> None:
        """Take in that a step has ended: a `StepClosed` with these fields, which need not have been made."""
        if turn is not None and turn > self.open_turn + 1:
            raise ValueError(f"step {key!r} ended in turn {turn}, where {self.open_turn} was the last")
        self.count += 1  # as in `_move_on`
        if at > self.latest:
            self.latest = at
        self.deaths, self.alone = 0, False
        facts = self.steps.get(key)
        if facts is None:
            self.steps[key] = StepFacts(kind, began or at, None, outcome, turn, at, tries, None, None, False, 0, began)
        else:
            facts.close(outcome, turn, at, tries, began)
        if type(outcome) is Ok:
            self.size += len(outcome.value)
        if turn is not None and type(outcome) is not Cancelled:
            self._join(turn, key)

    def close(
        self,
        status: Ending,
        at: datetime,
        output: Json | None = None,
        error: RecordedError | None = None,
        reason: str | None = None,
    ) -> None:
        """Take in that the run has ended: a `RunClosed` with these fields, which need not have been made."""
        self._move_on(at)
        self.status, self.ended_at = status, at
        self.output, self.error, self.reason = output, error, reason

    def _move_on(self, at: datetime) -> None:
        self.count += 1
        if at > self.latest:
            self.latest = at
        self.deaths, self.alone = 0, False

    def _join(self, turn: int, key: str) -> None:
        if not self.turns:
            self.turns = {}
        self.turns.setdefault(turn, []).append(key)
        self.open_turn = max(self.open_turn, turn)
        if self.delivered is not None and self.open_turn == self.delivered + 1:
            self.open_turn += 1  # the turn holds an outcome and is delivered next, so later outcomes come after it

    def _retry(self, record: RunRetried) -> None:
        self.attempt, self.due, self.error = record.attempt, record.due, record.error
        if record.reopened:
            self._reopen(record)
            return
        for facts in self.steps.values():
            if isinstance(facts.outcome, Cancelled):
                facts.reopen()

    def _reopen(self, record: RunRetried) -> None:
        self.status = self.ended_at = self.output = self.reason = self.started_at = None
        self.is_admitted = False
        self.reopenings += 1
        self.reopened_at = record.at
        for key, facts in self.steps.items():
            if not isinstance(facts.outcome, Ok):
                if isinstance(facts.outcome, Err) and facts.turn is not None:
                    self.turns[facts.turn].remove(key)
                facts.begin_anew(record.at)
        for key in record.waits:
            self.steps[key].is_waiting = self.steps[key].is_unasked = True

    @property
    def next_turn(self) -> int:
        """The turn that outcomes join once all recorded turns are closed."""
        return max(self.open_turn, max(self.turns) + 1) if self.turns else self.open_turn

    def close_turns(self) -> None:
        """Close all recorded turns, so that new outcomes join a new one."""
        self.open_turn = self.next_turn

    def pending(self, key: str) -> StepFacts | None:
        """Return the facts of a step if it is open, else None."""
        facts = self.steps.get(key)
        return facts if facts is not None and facts.outcome is None else None

    def closing(
        self,
        key: str,
        kind: StepKind,
        outcome: Outcome,
        *,
        at: datetime,
        limits: Limits,
        tries: int = 0,
        began: datetime | None = None,
        inline: bool = False,
    ) -> StepClosed:
        """Return the record that ends a step, in the open turn or inline.

        An output with which the run's outputs would exceed their limit becomes an error.
        """
        outcome = self.bounded(key, outcome, limits)
        return StepClosed(self.run, key, kind, outcome, None if inline else self.open_turn, at, tries, began)

    def bounded(self, key: str, outcome: Outcome, limits: Limits) -> Outcome:
        """Return the outcome of a step, or the error that it becomes because the run's outputs exceed their limit."""
        if type(outcome) is Ok and self.size + len(outcome.value) > limits.run_bytes:
            return Err(run_outgrown(limits, self.run, key, self.size + len(outcome.value)))
        return outcome
