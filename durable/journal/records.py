"""Define the records that a run leaves behind, as frozen values.

Separate because the writer, the rules and the codec must mean the same by each word.
Leaves to `codec` the text of a record, to `ledger` and `state` the changes that it makes.

The life of a run is the list of its records. The state of all runs is the fold of all records in order, so the records
are all that must be kept. A value of a user's stands in a record as `Json`, the text that `codec` has written, never as
the object. So it cannot be changed afterwards, and the function receives the same value after a crash as before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

import attrs

from durable.errors import RecordedError
from durable.events import Event, Json
from durable.journal.gathered import EventSkipped, Gathered
from durable.journal.schedule_records import ScheduleRecord

RunStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)

Ending = Literal["completed", "failed", "cancelled"]


StepKind = Literal["run", "sleep", "wait_for_event", "wait_for_signal", "send_event", "send_signal", "invoke"]


CountedAs = Literal["start", "try", "opening"]
"""What a limit of a period counts: starts of runs, tries of handlers, or openings of runs."""


# How a step can end.


@attrs.define(unsafe_hash=True)  # not frozen, which would take four times as long to make; nobody changes one
class Ok:
    """The step ended with a value.

    With `deep` every part of the value that did not fit its type when it was written is marked. Without it only the
    outermost level was checked, as earlier releases did.
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
    """The step waits until an instant."""

    until: datetime


@attrs.frozen
class ForEvent:
    """The step waits for an event of this name.

    `match` is a path whose value must be equal in both events, `expression` is CEL over both. `ask` is what people are
    told of the wait.
    """

    event: str
    until: datetime
    match: str | None = None
    expression: str | None = None
    ask: Json | None = None


@attrs.frozen
class ForSignal:
    """The step waits for a signal of this name, as the only one at a time; `ask` is as for an event."""

    signal: str
    until: datetime
    ask: Json | None = None


@attrs.frozen
class ForChild:
    """The step waits for the end of another run."""

    child: str
    until: datetime | None = None


Wait = Until | ForEvent | ForSignal | ForChild


def without_ask(wait: Wait | None) -> Wait | None:
    """Return a wait with all that decides its answer, but not what people are told of it."""
    return attrs.evolve(wait, ask=None) if isinstance(wait, ForEvent | ForSignal) and wait.ask is not None else wait


# The facts.


@attrs.frozen
class EventSent:
    """An event was accepted that has an id of the user's, or is due later.

    Only for these there is a record: repeats of an id are dropped, and an event that is due later must be kept. `id` is
    the runtime's own id of the event, from which the ids of its runs derive. With `due` the event waits until then. The
    same record without `due` says that it has been delivered, or with `withdrawn` that it never will be. (Releases that
    do not know `withdrawn` do not deliver it either; to them the id that a user gave it stays taken for 24 h.)
    """

    id: str
    event: Event
    at: datetime
    due: datetime | None = None
    withdrawn: bool = False


@attrs.frozen
class KeyClaimed:
    """A run has claimed an idempotency key of its function.

    The key is the value of the function's `idempotency` expression. For 24 h no other run opens for it.
    """

    function: str
    key: Json
    run: str
    at: datetime


@attrs.frozen
class Counted:
    """Something of a function counts towards a limit, for a period: it is remembered `until` then.

    `key` is the value of the limit's expression for the run's event.
    """

    function: str
    counted_as: CountedAs
    key: Json
    at: datetime
    until: datetime


@attrs.frozen
class MessageTaken:
    """A message of another process was taken from the inbox; its consequences follow."""

    id: str
    at: datetime


@attrs.frozen
class EngineClosed:
    """The engine was closed in order, so no running handler has crashed the process."""

    at: datetime


@attrs.frozen
class Fork:
    """A fork begins with what another run had finished.

    That is recorded right after its opening, in the same write.

    Attributes:
        run: the run that it was forked from.
        before: the step before whose first record that run was left, or None.
        replaced: the keys of the steps whose outcomes were given anew.
        seed, now: what the function's random numbers derive from, and its time before its first outcome: those of the
            run that it was forked from, so that its code goes the same way.
    """

    run: str
    before: str | None
    replaced: tuple[str, ...]
    seed: str
    now: datetime


@attrs.frozen
class RunOpened:
    """A run was opened.

    Attributes:
        parent: the run and the key of the step that invoked it, or None.
        singleton: the key of the function's `singleton` that the run holds until its end, or None.
        group: the group of held events that the run was opened for, or None.
        others: the events of a batch after the first, which is `event`.
        member_ids: the runtime's ids of `others`.
        fork: what a fork begins with, or None.
        priority: by how many seconds the run goes before others, where it waits.
    """

    run: str
    function: str
    event: Event
    at: datetime
    parent: tuple[str, str] | None = None
    fork: Fork | None = None
    singleton: Json | None = None
    group: str | None = None
    others: tuple[Event, ...] = ()
    member_ids: tuple[str, ...] = ()
    priority: float = 0.0


@attrs.frozen
class RunResumed:
    """A recovered run was about to call a handler.

    `deaths` counts the unclean deaths of the process since the run's last other record. `alone` says that no other
    suspect was running at the time (R26).
    """

    run: str
    deaths: int
    alone: bool
    at: datetime


@attrs.frozen
class RunAdmitted:
    """A run may begin: its function is called from now on.

    Of runs that had to wait for their turn, `at` is when that came; after `engine.retry` they may have another. Of runs
    that need not wait, this is recorded where nothing else tells that they have begun: after `engine.retry`, of forks,
    and of those whose first handler runs when their function is paused. `at` is then what they were told first.
    """

    run: str
    at: datetime


@attrs.frozen
class RunStarted:
    """The function called its first step.

    `Timeouts.start` bounds the time until then, `Timeouts.finish` the time since then.
    """

    run: str
    at: datetime


@attrs.frozen
class RunRetried:
    """The function is to be called again at `due`, because of `error`.

    `attempt` is the number of the next attempt. `reopened` says that the run had failed or was cancelled, and was
    opened again (R32): its failed and cancelled steps are open again, too. `waits` are the keys of invokes that wait
    for their children again from now on, even before the function calls them. These children were opened again in the
    same write, or are still running, or have completed.
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
    """A step began to wait for time or for something from outside its run."""

    run: str
    key: str
    kind: StepKind
    wait: Wait
    at: datetime


@attrs.frozen
class StepRetried:
    """A try of a step failed and another is due.

    `attempt` is the number of the next try, from 0. `began` is the time at which the first try began, None in records
    of earlier releases.
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
    """A step ended.

    `turn` is the place of the outcome in the order of delivery. None means that it was returned inline, at the call.
    With `Cancelled`, `turn` is the last turn that was delivered before the code cancelled the step, or None for a step
    that was never awaited. `tries` is the number of tries that a handler had, `began` the time at which the first of
    them began. It is None without a handler, and in records of earlier releases. In a fork it is also the time at which
    a copied wait was opened.
    """

    run: str
    key: str
    kind: StepKind
    outcome: Outcome
    turn: int | None
    at: datetime
    tries: int = 0
    began: datetime | None = None


@attrs.frozen
class RunClosed:
    """A run ended: with `output`, with `error`, or cancelled for `reason`."""

    run: str
    status: Ending
    at: datetime
    output: Json | None = None
    error: RecordedError | None = None
    reason: str | None = None


@attrs.frozen
class RunRested:
    """A run does nothing but wait in one step.

    Until the run's next record this one stands for all before it: recovery needs no other of them, and calls the
    function only when the step has its outcome. A run's other records cannot say so: a handler may run beside the wait
    and has no record before it ends.

    Attributes:
        event: the event that opened the run, at the time `opened_at`.
        turn: the turn that the next outcome joins.
        size: the length of all outputs so far.
        count: the number of the run's records, this one included.
        reopenings, since: how often the run was opened again (R32), and when it was opened last.
        singleton: as of `RunOpened`.
        other_ids: the ids of the other events of a batch.
    """

    run: str
    function: str
    key: str
    kind: StepKind
    wait: Wait
    event: Event
    opened_at: datetime
    at: datetime
    turn: int
    size: int
    count: int
    started_at: datetime | None = None
    reopenings: int = 0
    since: datetime | None = None
    singleton: Json | None = None
    other_ids: tuple[str, ...] = ()


RunRecord = (
    RunOpened
    | RunAdmitted
    | RunResumed
    | RunStarted
    | RunRetried
    | RunRested
    | StepOpened
    | StepRetried
    | StepClosed
    | RunClosed
)


Fact = EventSent | Gathered | EventSkipped | KeyClaimed | Counted | MessageTaken | EngineClosed | ScheduleRecord


Record = Fact | RunRecord
