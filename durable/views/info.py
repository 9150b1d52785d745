"""Show a run and its steps as plain values for people and programs.

Separate because these values are computed from a ledger and change nothing.
Leaves to `run` the getting of such a value, to `timeline` the drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from durable.errors import RecordedError, StoreCorruptError, StoreError, whole_stack
from durable.events import Event, Json
from durable.functions import Progress
from durable.journal import (
    Cancelled,
    Err,
    ForChild,
    ForEvent,
    ForSignal,
    Ledger,
    Ok,
    RunStatus,
    StepFacts,
    StepKind,
    Until,
    decode,
    outline,
    recorded_event,
)
from durable.stores import Entry, RunRow, write_lines
from durable.timers import answering, on_a_line
from durable.views.in_line import Lines, waiter
from durable.views.plain import brief, plainly
from durable.views.timeline import Line, span, timeline

# Defaults for all calls, never written to: a key would show in every run.
_NOTHING: dict[str, datetime | None] = {}
_UNTOLD: dict[str, Progress] = {}
_NO_LINES: Lines = {}

_INSTANT = "%Y-%m-%d %H:%M:%S %Z"

StepStatus = Literal["running", "retrying", "waiting", "completed", "failed", "cancelled"]


@attrs.frozen
class StepInfo:
    """Step info shows one step of a run.

    Attributes:
        key: the step's id, numbered if repeated, with its branch's prefix.
        kind: the name of the step method.
        status: "running", "retrying" (a try failed and another is due), "waiting", "completed", "failed" or "cancelled"
            (by the code, or the run ended before the step did).
        attempts: how often the handler has been tried; while the step is retried, how many tries have failed.
        output: the step's value, in plain values where its type is not known here.
        error: the error that the step ended with, or else that of its last try.
        opened_at, began_at, ended_at: aware datetimes in UTC. `began_at` is when the first try of the handler began,
            also when the step has been tried again since, or been done anew after a crash. It is None while the handler
            waits for a thread, and for handlers that an earlier release has recorded. A step without a handler begins
            when it is opened. `ended_at` is None while the step is open, and stays None if the run ended first.
        progress: what the running handler has told of itself with `durable.progress`, else None.
    """

    key: str
    kind: StepKind
    status: StepStatus
    attempts: int
    output: Any = attrs.field(repr=brief)
    error: RecordedError | None
    opened_at: datetime
    began_at: datetime | None
    ended_at: datetime | None
    progress: Progress | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the step in plain values that JSON can hold: see `RunInfo.to_dict`."""
        return _told_plainly(self)


@answering(result="output", value="output", name="function_id", data="event.data", run_id="id")
@attrs.frozen
class RunInfo:
    """Run info shows one run.

    Attributes:
        id, function_id: the ids of the run and of its function.
        status: "queued", "running", "waiting", "completed", "failed" or "cancelled".
        event, events: the event that opened the run, the first of a batch; all of them, in the order of sending.
        output: the value that the function returned.
        error: the error that the run ended with, or else that of its last attempt.
        reason: why the run was cancelled.
        attempt: how often the function was called again after an error, from 0.
        opened_at, ended_at: aware datetimes in UTC. `ended_at` is None while the run has not ended.
        steps: the recorded steps by key, in the order of their first records, then steps whose first try is running.
        waiting_for: what each open step waits for, by key, in words. A run that is queued by its function's options
            has an entry for itself, with the key "".
        record: the run's entries as the store holds them, for `export`.
        parent: the id of the run that invoked this one, or None.
        forked_from: the id of the run from which this one was forked, or None.
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
    parent: str | None = None
    forked_from: str | None = None
    _others: tuple[Event, ...] = attrs.field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the run in plain values that JSON can hold.

        The keys are the attributes, but for `record`; `steps` maps keys to `StepInfo.to_dict()`. Instants are ISO 8601
        texts. An error is `{"name", "message", "stack", "step_id", "causes"}`, an event `{"name", "data", "id", "ts",
        "v"}`. Of users' values the dates and times are ISO 8601 texts, too. A timedelta is its seconds, bytes are in
        Base64, NaN and infinities are their names, an Enum's member is its value. Sets and tuples are lists, attrs
        classes and dataclasses are mappings, and keys are texts. Anything else is its `str`.
        """
        return {**_told_plainly(self), "events": [plainly(event) for event in self.events]}

    @property
    def events(self) -> list[Event]:
        """The events that opened the run: those of a batch in the order of sending, else the one."""
        return [self.event, *self._others]

    def __str__(self) -> str:
        """Return the run as a timeline in text, and below it errors with their recorded stacks."""
        ends = [step.ended_at for step in self.steps.values() if step.ended_at is not None]
        until = self.ended_at or max([self.opened_at, *ends])
        names = f"run {on_a_line(self.id)} of {on_a_line(self.function_id)}"
        of = "" if self.forked_from is None else f"forked from {on_a_line(self.forked_from)}, "
        by = f" by {len(self.events)} events" if self._others else ""
        head = f"{names}: {of}{self.status}, opened {self.opened_at:{_INSTANT}}{by}{self._ended()}"
        lines = [self._line(step) for step in self.steps.values()]
        drawn = timeline(lines, began=self.opened_at, until=until)
        text = "\n".join(part for part in (head, *self._in_line(), drawn, *self._told()) if part)
        return "\n".join(map(on_a_line, text.split("\n")))

    def _ended(self) -> str:
        if self.ended_at is None:
            return ""
        return f", ended {self.ended_at:{_INSTANT}}, took {span(self.ended_at - self.opened_at)}"

    def _in_line(self) -> Iterator[str]:
        for key, what in self.waiting_for.items():
            if key not in self.steps:  # nothing is recorded yet of who waits for a start or a first try
                yield f"  {waiter(key)} waits for {what}"

    def _told(self) -> Iterator[str]:
        error = self.error
        for step in self.steps.values():
            of = None if step.status == "completed" else step.error
            if of is not None and (error is None or of.stack != error.stack):
                yield _with_stack(f"step {step.key!r}: {of.name}: {of.message}", of)
        if self.reason is not None:
            yield f"  {self.reason}"
        elif error is not None:
            yield _with_stack(str(error), error)

    def _line(self, step: StepInfo) -> Line:
        note = f"{step.kind} {step.status}"
        if step.key in self.waiting_for:
            note = f"{step.kind}, waits for {self.waiting_for[step.key]}"
        elif step.error is not None:
            note = f"{note}, {step.error.name}"
        if step.attempts > 1:
            note = f"{note}, {step.attempts} tries"
        if step.progress is not None:
            note = f"{note}, {step.progress}"
        began = step.began_at or step.opened_at
        if step.ended_at is not None:
            note = f"{note}, took {span(step.ended_at - began)}"
        return Line(on_a_line(step.key), began, step.ended_at, note)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def export(self, path: str | Path) -> None:
        """Write the run's record to a JSON lines file.

        A file that exists already is replaced. `durable.testing.replay(function, path)` replays the run against today's
        code.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_text(write_lines(self.id, self.function_id, self.record), encoding="utf-8")


def _told_plainly(view: RunInfo | StepInfo) -> dict[str, Any]:
    fields = [field.name for field in attrs.fields(type(view)) if field.name not in ("record", "_others")]
    return {name: plainly(getattr(view, name)) for name in fields}


def _with_stack(text: str, error: RecordedError) -> str:
    return "\n".join(f"  {line}" for line in f"{text}\n{whole_stack(error)}".rstrip("\n").split("\n"))


def readable(text: Json | None, type_: object) -> Any:
    """Return a recorded value for a person to read.

    It has the given type if it fits, else it is in plain values. A text that cannot be decoded is shown as it is.
    """
    if text is None:
        return None
    try:
        return decode(text, type_, deep=False)  # the value is only shown: its parts need not fit the type
    except Exception:  # CodecError, or any error of a user's class or hook
        return outline(text)


def row_info(row: RunRow, live: RunStatus | None, error: Exception) -> RunInfo:
    """Return a picture of a run whose records cannot be read or shown.

    It shows what the run's row says, and `error` as the run's error. `live` is the run's status if it has not ended.

    Raises:
        StoreError: `error` concerns the store as a whole.
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
    running: Mapping[str, datetime | None] = _NOTHING,
    progress: Mapping[str, Progress] = _UNTOLD,
    output_type: object = object,
    record: tuple[Entry, ...] = (),
    lines: Lines = _NO_LINES,
) -> RunInfo:
    """Return a picture of a run, made from its ledger.

    `running` maps the keys of steps whose handlers are running to the instants at which their first tries began, None
    for one that waits for a thread; `progress` maps them to how far they say that they have come; `lines` are those in
    which the run and its tries stand. Without `status` the
    picture shows only what is recorded, and a run that has not ended is "waiting".
    """
    steps = {
        key: _step_info(key, facts, running, is_over=ledger.status is not None) for key, facts in ledger.steps.items()
    }
    for key, began in running.items():  # nothing is recorded of a first try until it ends
        steps.setdefault(key, StepInfo(key, "run", "running", 0, None, None, began or ledger.latest, began, None))
    for key, told in progress.items():
        steps[key] = attrs.evolve(steps[key], progress=told)
    waiting = {key: _waits_for(facts) for key, facts in ledger.steps.items() if _is_waiting(facts)}
    waiting |= {key: str(line) for key, line in lines.items()}
    return RunInfo(
        ledger.run,
        ledger.function,
        status or ledger.status or "waiting",
        recorded_event(ledger.event).copy(),  # R3: changes to the picture must not reach the run
        readable(ledger.output, output_type),
        ledger.error,
        ledger.reason,
        ledger.attempt,
        ledger.opened_at,
        ledger.ended_at,
        steps,
        waiting if ledger.status is None else {},
        record,
        None if ledger.parent is None else ledger.parent[0],
        None if ledger.fork is None else ledger.fork.run,
        others=tuple([recorded_event(event).copy() for event in ledger.others]),
    )


def _is_waiting(facts: StepFacts) -> bool:
    return facts.outcome is None and (facts.is_waiting or facts.due is not None)


def _step_info(key: str, facts: StepFacts, running: Mapping[str, datetime | None], *, is_over: bool) -> StepInfo:
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
    output = readable(facts.outcome.value, object) if isinstance(facts.outcome, Ok) else None
    began = facts.began or running.get(key) or (None if facts.kind == "run" else facts.opened_at)
    return StepInfo(key, facts.kind, status, facts.attempt, output, error, facts.opened_at, began, facts.closed_at)


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
            return f"event {facts.wait.event!r}{asked}, until {facts.wait.until}{_ask(facts.wait.ask)}"
        case ForSignal():
            return f"signal {facts.wait.signal!r}, until {facts.wait.until}{_ask(facts.wait.ask)}"
        case ForChild():
            until = f", until {facts.wait.until}" if facts.wait.until else ""
            return f"the end of run {facts.wait.child!r}{until}"
        case None:
            return "nothing"


def _ask(text: Json | None) -> str:
    return "" if text is None else f", asks {brief(readable(text, object))}"
