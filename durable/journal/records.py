"""The frozen vocabulary: what users send and receive, and the facts that a run leaves behind.

Separate because the journal, the rules and the codec must mean the same by each word.
Leaves to `codec` how a record is written, to `ledger` and `state` what it changes.

A run's life is the list of its records. The state of everything is their fold, in order: whoever has the records has
the runs. A value that a user's code made stands in a record as `Json`: the text that `codec` wrote, never the object,
so that nobody can change it afterwards and the function receives after a crash what it received before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from durable.errors import RecordedError
from durable.events import Event, Json

RunStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]


Ending = Literal["completed", "failed", "cancelled"]


StepKind = Literal["run", "sleep", "wait_for_event", "wait_for_signal", "send_event", "send_signal", "invoke"]


# How a step can end.


@attrs.frozen
class Ok:
    """The step ended with a value.

    `deep`: whatever in it did not fit its type when it was written is marked, down to the innermost; else nothing but
    the outermost was looked at, as earlier releases did.
    """

    value: Json
    deep: bool = False


@attrs.frozen
class Err:
    """The step ended with an error: its tries are used up, or the error was final."""

    error: RecordedError


@attrs.frozen
class Cancelled:
    """The function's own code cancelled the step while it was pending."""


Outcome = Ok | Err | Cancelled


# What a step can wait for.


@attrs.frozen
class Until:
    """A sleep: an instant."""

    until: datetime


@attrs.frozen
class ForEvent:
    """An event by name; `match` is a path that must be equal in both events, `expression` CEL over both."""

    event: str
    until: datetime
    match: str | None = None
    expression: str | None = None


@attrs.frozen
class ForSignal:
    """A signal by name, for which at most one run waits at a time."""

    signal: str
    until: datetime


@attrs.frozen
class ForChild:
    """The end of another run."""

    child: str
    until: datetime | None = None


Wait = Until | ForEvent | ForSignal | ForChild


# The facts.


@attrs.frozen
class EventSent:
    """An event was accepted: one with an id (dropped if repeated), or one that is due later.

    `id` is the runtime's own, from which its runs' ids derive. With `due` the event waits until then; the same record
    without `due` says that it has been delivered.
    """

    id: str
    event: Event
    at: datetime
    due: datetime | None = None


@attrs.frozen
class KeyClaimed:
    """The value of a function's `idempotency` expression opened a run: for 24 h no other run opens for it."""

    function: str
    key: Json
    run: str
    at: datetime


@attrs.frozen
class MessageTaken:
    """What another process had put into the store's inbox was taken from there; what follows stands behind it."""

    id: str
    at: datetime


@attrs.frozen
class EngineClosed:
    """The engine closed in order: runs that were at work then did not take the process down."""

    at: datetime


@attrs.frozen
class RunOpened:
    """A run began to exist. `parent` is the run and step key that invoked it."""

    run: str
    function: str
    event: Event
    at: datetime
    parent: tuple[str, str] | None = None


@attrs.frozen
class RunResumed:
    """A recovered run was about to call a handler; `deaths` counts the unclean deaths in a row without a record.

    `alone`: it was the only suspect that was resumed at the time (R26).
    """

    run: str
    deaths: int
    alone: bool
    at: datetime


@attrs.frozen
class RunStarted:
    """The first step of work was asked for: what `Timeouts.start` waits for and `Timeouts.finish` counts from."""

    run: str
    at: datetime


@attrs.frozen
class RunRetried:
    """The function is to be called again from the start: attempt number `attempt`, at `due`, because of `error`.

    `reopened`: the run had failed or was cancelled, and was opened again (R32): its steps that failed or were cancelled
    open again too. `waits` are the keys of its invokes that wait for their children again from here on, whether or not
    the function asks for them: children that were opened again in the same write, that go on, or that have completed.
    """

    run: str
    attempt: int
    due: datetime
    error: RecordedError | None
    at: datetime
    reopened: bool = False
    waits: tuple[str, ...] = ()


@attrs.frozen
class StepOpened:
    """A step waits for time or for something from outside its run."""

    run: str
    key: str
    kind: StepKind
    wait: Wait
    at: datetime


@attrs.frozen
class StepRetried:
    """A try of a step failed and another is due: `attempt` is the number of the next try, counted from 0.

    `began` is when the first try began, where all of them together are bounded by that.
    """

    run: str
    key: str
    kind: StepKind
    attempt: int
    due: datetime
    error: RecordedError
    at: datetime
    began: datetime | None = None


@attrs.frozen
class StepClosed:
    """A step ended. `turn` is its place in the order of delivery; `None`: returned inline, at the call.

    With `Cancelled`, `turn` is the last one that had been delivered when the code cancelled the step, `None` for a
    step that was never awaited. `tries` is how many tries a handler had.
    """

    run: str
    key: str
    kind: StepKind
    outcome: Outcome
    turn: int | None
    at: datetime
    tries: int = 0


@attrs.frozen
class RunClosed:
    """A run ended: with `output`, with `error`, or cancelled for `reason`."""

    run: str
    status: Ending
    at: datetime
    output: Json | None = None
    error: RecordedError | None = None
    reason: str | None = None


RunRecord = RunOpened | RunResumed | RunStarted | RunRetried | StepOpened | StepRetried | StepClosed | RunClosed


Record = EventSent | KeyClaimed | MessageTaken | EngineClosed | RunRecord
