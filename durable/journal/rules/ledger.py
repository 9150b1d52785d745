"""One run's facts, folded: its steps, their outcomes, the order in which they came.

Separate because it is the memory of exactly one run, and replay needs nothing else.
Leaves to `session` to hand the outcomes out and to `state` what spans runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import attrs

from durable.errors import RecordedError
from durable.events import Event, Json
from durable.journal.records import (
    Cancelled,
    Ending,
    Err,
    ForChild,
    Ok,
    Outcome,
    RunClosed,
    RunOpened,
    RunRecord,
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
    """What is known of one step: mutable, changed by `Ledger.fold` alone.

    `attempt` is the number of the next try, `due` when it is, `error` what the last one failed with; `is_waiting` says
    whether what it waits for may answer it, or might have when its run ended; `openings` is how often the step was
    opened anew in a later attempt; `began` when its first try did, where its tries are bounded by that. `is_unasked`:
    it waits for a child since its run was opened again, which the function had not asked for by then.
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

    def reopen(self) -> None:
        """Forget the outcome; keep the wait, whose deadline stands (R9)."""
        self.outcome = self.turn = self.closed_at = self.due = self.began = None
        self.attempt = 0
        self.is_waiting = self.is_unasked = False
        self.openings += 1

    def begin_anew(self, now: datetime) -> None:
        """Forget the outcome and the wait's deadline, not which child it was for (R32)."""
        self.reopen()
        self.opened_at = now
        self.wait = ForChild(self.wait.child) if isinstance(self.wait, ForChild) else None


@attrs.define(eq=False, repr=False)
class Ledger:
    """The fold of one run's records.

    `turns` holds the keys of each turn in journal order. `open_turn` is the one that new outcomes join, `delivered` the
    last that was delivered, None without an execution: no facts but marks of this process (see `delivery`: turns that
    were read from the store are closed). `latest` is the time of the latest record. One of a run that was parked is not
    `is_whole`: it knows the step that was open, and what came since; the rest is in the store.
    """

    run: str
    function: str
    event: Event
    opened_at: datetime
    steps: dict[str, StepFacts] = attrs.field(factory=dict)
    turns: dict[int, list[str]] = attrs.field(factory=dict)
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
    is_whole: bool = True
    latest: datetime = attrs.field(default=attrs.Factory(lambda ledger: ledger.opened_at, takes_self=True))

    @classmethod
    def opened(cls, record: RunOpened) -> Ledger:
        """Return the ledger of a run of which nothing else is known yet."""
        return cls(record.run, record.function, record.event, record.at)

    @property
    def since(self) -> datetime:
        """When it was opened, or opened again (R32): what the deadlines of a run as a whole count from."""
        return self.reopened_at or self.opened_at

    def fold(self, record: RunRecord) -> None:
        """Take one more fact in."""
        self.count += 1
        if record.at > self.latest:
            self.latest = record.at
        if not isinstance(record, RunResumed):
            self.deaths, self.alone = 0, False
        match record:
            case StepClosed():
                self._close_step(record)
            case StepOpened():
                facts = self.steps.setdefault(record.key, StepFacts(record.kind, record.at))
                facts.wait, facts.is_waiting, facts.is_unasked = record.wait, True, False
            case StepRetried():
                facts = self.steps.setdefault(record.key, StepFacts(record.kind, record.at))
                facts.attempt, facts.due, facts.error = record.attempt, record.due, record.error
                facts.began = record.began
            case RunRetried():
                self._retry(record)
            case RunResumed():
                self.deaths, self.alone, self.resumed_at = record.deaths, record.alone, record.at
            case RunStarted():
                self.started_at = record.at
            case RunClosed():
                self.status, self.ended_at = record.status, record.at
                self.output, self.error, self.reason = record.output, record.error, record.reason
            case RunOpened():
                raise ValueError(f"run {self.run!r} is recorded as opened twice")
            case _:
                assert_never(record)

    def _close_step(self, record: StepClosed) -> None:
        if record.turn is not None and record.turn > self.open_turn + 1:
            raise ValueError(f"step {record.key!r} ended in turn {record.turn}, where {self.open_turn} was the last")
        facts = self.steps.setdefault(record.key, StepFacts(record.kind, record.at))
        facts.outcome, facts.turn, facts.closed_at, facts.due = record.outcome, record.turn, record.at, None
        facts.attempt = max(facts.attempt, record.tries)
        if not facts.is_waiting:
            facts.wait = None  # whatever it waited for in an earlier attempt, that is not how it ended
        facts.is_waiting = False
        if isinstance(record.outcome, Ok):
            self.size += len(record.outcome.value)
        if record.turn is not None and not isinstance(record.outcome, Cancelled):
            self.turns.setdefault(record.turn, []).append(record.key)
            self.open_turn = max(self.open_turn, record.turn)
            if self.delivered is not None and self.open_turn == self.delivered + 1:
                self.open_turn += 1  # it holds an outcome, and is next: what the same cause answers comes after it

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
        self.reopenings += 1
        self.reopened_at = record.at
        for key, facts in self.steps.items():
            if not isinstance(facts.outcome, Ok):
                if isinstance(facts.outcome, Err) and facts.turn is not None:
                    self.turns[facts.turn].remove(key)
                facts.begin_anew(record.at)
        for key in record.waits:
            self.steps[key].is_waiting = self.steps[key].is_unasked = True

    def close_turns(self) -> None:
        """Let new outcomes join a turn of their own: what is recorded so far stays as it is."""
        if self.turns:
            self.open_turn = max(self.open_turn, max(self.turns) + 1)

    def pending(self, key: str) -> StepFacts | None:
        """Return the facts of a step that is open, None for one that has ended or is not known."""
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
        inline: bool = False,
    ) -> StepClosed:
        """Return the record that ends a step in the open turn, or inline; one that outgrows the run's limit ends in an
        error."""
        if isinstance(outcome, Ok) and self.size + len(outcome.value) > limits.run_bytes:
            outcome = Err(run_outgrown(limits, self.run, key, self.size + len(outcome.value)))
        return StepClosed(self.run, key, kind, outcome, None if inline else self.open_turn, at, tries)
