"""A run and its steps as they are shown to people and programs: values, not handles.

Separate because what is shown is computed from a ledger and changes nothing.
Leaves to `run` how to get one, to `timeline` how to print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from durable.codec import decode, enclose, outline
from durable.errors import RecordedError, StoreCorruptError, StoreError
from durable.ledger import Ledger, StepFacts
from durable.records import (
    Cancelled,
    Err,
    Event,
    ForChild,
    ForEvent,
    ForSignal,
    Json,
    Ok,
    RunStatus,
    StepKind,
    Until,
)
from durable.spelling import on_a_line
from durable.stores.lines import write_lines
from durable.stores.store import Entry, RunRow
from durable.timeline import Line, timeline

_NOTHING: dict[str, datetime] = {}  # never written to

StepStatus = Literal["running", "retrying", "waiting", "completed", "failed", "cancelled"]


def brief(value: object) -> str:
    """Return the value for a person to look at, whatever it is: an int of many digits has no `repr`, say."""
    try:
        return repr(value)
    except Exception as error:
        return f"<a {type(value).__name__} that cannot be shown: {type(error).__name__}>"


@attrs.frozen
class StepInfo:
    """One step of a run.

    Attributes:
        key: the step's id, numbered if repeated, with its branch's prefix.
        kind: the step method.
        status: "retrying": a try failed and another is due; "cancelled": by the code, or its run ended before it.
        attempts: the tries that a handler has had; those that failed, while it is retried.
        output: what it ended with, as plain values where its type is not known here.
        error: what it failed with, or what its last try did.
        opened_at, ended_at: aware datetimes in UTC; `ended_at` is None while it is open, and of one that its run's end
            left so.
    """

    key: str
    kind: StepKind
    status: StepStatus
    attempts: int
    output: Any = attrs.field(repr=brief)
    error: RecordedError | None
    opened_at: datetime
    ended_at: datetime | None


@attrs.frozen
class RunInfo:
    """What is known of one run.

    Attributes:
        id, function_id: the run and its function.
        status: "queued", "running", "waiting", "completed", "failed" or "cancelled".
        event, events: what opened it.
        output: what the function returned.
        error: what it failed with, or what its last attempt did.
        reason: why it was cancelled.
        attempt: how often the function was called again, from 0.
        opened_at, ended_at: aware datetimes in UTC.
        steps: the recorded steps by key, in the order in which they were first recorded, then those that run.
        waiting_for: what each open step waits for, by key, in words.
        record: the run as its store holds it, for `export`.
    """

    id: str
    function_id: str
    status: RunStatus
    event: Event = attrs.field(repr=brief)
    output: Any = attrs.field(repr=brief)
    error: RecordedError | None
    reason: str | None
    attempt: int
    opened_at: datetime
    ended_at: datetime | None
    steps: dict[str, StepInfo]
    waiting_for: dict[str, str]
    record: tuple[Entry, ...] = attrs.field(default=(), repr=False, eq=False)

    @property
    def events(self) -> list[Event]:
        """The events that opened the run: one."""
        return [self.event]

    def __str__(self) -> str:
        """Return the run as a timeline in text."""
        ends = [step.ended_at for step in self.steps.values() if step.ended_at is not None]
        until = self.ended_at or max([self.opened_at, *ends])
        names = f"run {on_a_line(self.id)} of {on_a_line(self.function_id)}"
        head = f"{names}: {self.status}, opened {self.opened_at:%Y-%m-%d %H:%M:%S %Z}"
        tail = self.reason or (str(self.error) if self.error is not None else "")
        lines = [self._line(step) for step in self.steps.values()]
        drawn = timeline(lines, began=self.opened_at, until=until)
        text = "\n".join(part for part in (head, drawn, f"  {tail}" if tail else "") if part)
        return "\n".join(map(on_a_line, text.split("\n")))

    def _line(self, step: StepInfo) -> Line:
        note = f"{step.kind} {step.status}"
        if step.key in self.waiting_for:
            note = f"{step.kind}, waits for {self.waiting_for[step.key]}"
        elif step.error is not None:
            note = f"{note}, {step.error.name}"
        if step.attempts > 1:
            note = f"{note}, {step.attempts} tries"
        return Line(on_a_line(step.key), step.opened_at, step.ended_at, note)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def export(self, path: str | Path) -> None:
        """Write the run, as it is recorded, to a JSON lines file; one that is there already is replaced.

        `durable.testing.replay(function, path)` replays it against today's code.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_text(write_lines(self.id, self.function_id, self.record), encoding="utf-8")


def shown(text: Json | None, type_: object) -> Any:
    """Return a recorded value, typed if it fits the type, as plain values if not, as its text if it is no value's."""
    if text is None:
        return None
    try:
        return decode(text, type_, deep=False)  # nothing goes on from it: what is inside may be as it was
    except Exception:  # CodecError, or what a class or a hook of the user's raises
        return outline(text)


def row_info(row: RunRow, live: RunStatus | None, error: Exception) -> RunInfo:
    """Return what is known of a run whose records cannot be read or shown: what its row says, and why as its error.

    `live` is its status if it has not ended.

    Raises:
        StoreError: `error` is of the store as a whole.
    """
    if isinstance(error, StoreError) and not isinstance(error, StoreCorruptError):
        raise error
    told = RecordedError(type(error).__name__, f"this run cannot be shown: {error}")
    event = Event(row.event or "unknown")
    status = cast("RunStatus | None", row.status) or live or "queued"  # the row is the engine's own
    return RunInfo(row.id, row.function, status, event, None, told, None, 0, row.opened_at, row.ended_at, {}, {})


def run_info(
    ledger: Ledger,
    status: RunStatus | None = None,
    running: Mapping[str, datetime] = _NOTHING,
    output_type: object = object,
    record: tuple[Entry, ...] = (),
) -> RunInfo:
    """Return what a ledger says of its run; `running` are the steps whose handlers are at work, and since when.

    Without `status`: what is recorded alone, whoever runs it.
    """
    steps = {
        key: _step_info(key, facts, running, is_over=ledger.status is not None) for key, facts in ledger.steps.items()
    }
    for key, since in running.items():  # nothing is recorded of a first try until it ends
        steps.setdefault(key, StepInfo(key, "run", "running", 0, None, None, since, None))
    waiting = {key: _waits_for(facts) for key, facts in ledger.steps.items() if _is_waiting(facts)}
    return RunInfo(
        ledger.run,
        ledger.function,
        status or ledger.status or "waiting",
        decode(enclose(ledger.event)),  # R3: who changes what is shown must not change what the run sees
        shown(ledger.output, output_type),
        ledger.error,
        ledger.reason,
        ledger.attempt,
        ledger.opened_at,
        ledger.ended_at,
        steps,
        waiting if ledger.status is None else {},
        record,
    )


def _is_waiting(facts: StepFacts) -> bool:
    return facts.outcome is None and (facts.is_waiting or facts.due is not None)


def _step_info(key: str, facts: StepFacts, running: Mapping[str, datetime], *, is_over: bool) -> StepInfo:
    status: StepStatus
    match facts.outcome:
        case Ok():
            status = "completed"
        case Err():
            status = "failed"
        case Cancelled():
            status = "cancelled"
        case None if is_over:
            status = "cancelled"
        case None:
            status = "running" if key in running else "waiting" if facts.is_waiting else "retrying"
    error = facts.outcome.error if isinstance(facts.outcome, Err) else facts.error
    output = shown(facts.outcome.value, object) if isinstance(facts.outcome, Ok) else None
    return StepInfo(key, facts.kind, status, facts.attempt, output, error, facts.opened_at, facts.closed_at)


def _waits_for(facts: StepFacts) -> str:
    if not facts.is_waiting:
        return f"its next try, number {facts.attempt + 1}, at {facts.due}"
    match facts.wait:
        case Until():
            return f"{facts.wait.until}"
        case ForEvent():
            asked = "".join(
                f", {name} {value!r}"
                for name, value in (("match", facts.wait.match), ("if_exp", facts.wait.expression))
                if value is not None
            )
            return f"event {facts.wait.event!r}{asked}, until {facts.wait.until}"
        case ForSignal():
            return f"signal {facts.wait.signal!r}, until {facts.wait.until}"
        case ForChild():
            until = f", until {facts.wait.until}" if facts.wait.until else ""
            return f"the end of run {facts.wait.child!r}{until}"
        case None:
            return "nothing"
