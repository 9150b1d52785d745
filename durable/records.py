"""The frozen vocabulary: what users send and receive, and the facts that a run leaves behind.

Separate because the journal, the rules and the codec must mean the same by each word.
Leaves to `codec` how a record is written, to `ledger` and `state` what it changes.

A run's life is the list of its records. The state of everything is their fold, in order: whoever has the records has
the runs. A value that a user's code made stands in a record as `Json`: the text that `codec` wrote, never the object,
so that nobody can change it afterwards and the function receives after a crash what it received before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import attrs

from durable.errors import RecordedError, checked_calls
from durable.spelling import shown
from durable.times import aware
from durable.words import is_str, plain, spelled

Json = str
RunStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
Ending = Literal["completed", "failed", "cancelled"]
StepKind = Literal["run", "sleep", "wait_for_event", "wait_for_signal", "send_event", "send_signal", "invoke"]

RESERVED = "durable/"
INVOKED = "durable/function.invoked"
FINISHED = "durable/function.finished"
FAILED = "durable/function.failed"
CANCELLED = "durable/function.cancelled"
LIFECYCLE = frozenset({FINISHED, FAILED, CANCELLED})
_KEYS = frozenset({str})


def _data(data: object) -> object:
    if type(data) is not dict and isinstance(data, Mapping):
        return dict(data)
    return {} if data is None else data


def _checked_data(event: Event) -> dict[str, Any]:
    """Return data that are no dict with plain strings as keys: keys of a subclass of str are taken as plain ones."""
    data = event.data
    if type(data) is not dict:
        raise TypeError(
            f"the data of event {event.name!r} must be a mapping, not {shown(data)} ({type(data).__name__})"
        )
    for key in data:
        if not is_str(key):
            raise TypeError(f"the data of event {event.name!r} must have string keys, not {shown(key)}")
    plainly = {plain(key): value for key, value in data.items()}
    if len(plainly) < len(data):
        raise ValueError(f"the data of event {event.name!r} have two keys that spell the same")
    return plainly


class _Written:
    """An event's data as text, until that is written: no field of the event, and not copied with it."""

    __slots__ = ("_text",)
    _text: Json


@checked_calls
@attrs.frozen
class Event(_Written):
    """Something that happened: a name and data.

    Attributes:
        name: what happened, such as "shop/order.placed". Names under "durable/" are the runtime's own.
        data: a mapping with string keys; `None` is `{}`.
        id: the key by which repeats are dropped for 24 h. Where none is given, a received event has the runtime's own.
        ts: an aware datetime. In the future: the event is delivered then. Where none is given, when it was sent.
        v: the version of the data, for your own use.

    Raises:
        TypeError, ValueError: at the call, for an empty name, data that is no mapping, a naive `ts`. When it is sent:
            for half of a surrogate pair in name, id or v, and a LimitError if one is larger than 1 KB.
    """

    name: str
    data: Mapping[str, Any] = attrs.field(factory=dict, converter=_data)
    id: str | None = None
    ts: datetime | None = None
    v: str | None = None

    def __attrs_post_init__(self) -> None:
        # Not as validators of the fields: six calls take twice as long, for every event that is sent or recovered. How
        # long a text may be, and of which characters, is asked when it is sent: a store may hold what once passed.
        put = object.__setattr__
        if type(self.name) is not str or not self.name:
            put(self, "name", spelled(self.name, "an event's name"))
        data = self.data
        if type(data) is not dict or not _KEYS.issuperset(map(type, data)):
            put(self, "data", _checked_data(self))
        if self.id is not None and (type(self.id) is not str or not self.id):
            put(self, "id", spelled(self.id, f"the id of event {self.name!r}"))
        if self.v is not None and (type(self.v) is not str or not self.v):
            put(self, "v", spelled(self.v, f"the v of event {self.name!r}"))
        ts = self.ts
        if ts is not None and (type(ts) is not datetime or ts.tzinfo is not UTC):
            put(self, "ts", aware(ts, what=f"the ts of event {self.name!r}"))


def event_of(
    name: str, data: Mapping[str, Any], id: str | None, ts: datetime | None, v: str | None, text: Json | None = None
) -> Event:
    """Return an event of parts that the library has checked or read itself: nothing is checked again or copied.

    `text` is what the codec wrote of the data, which nobody else may hold then.
    """
    event, put = Event.__new__(Event), object.__setattr__
    put(event, "name", name)
    put(event, "data", data)
    put(event, "id", id)
    put(event, "ts", ts)
    put(event, "v", v)
    if text is not None:
        put(event, "_text", text)
    return event


def text_of(event: Event) -> Json | None:
    """Return the text of an event's data, None where it has none at hand."""
    return getattr(event, "_text", None)


def take_text(event: Event) -> Json | None:
    """Return the text of an event's data, which the event then keeps no more: it is written once."""
    text: Json | None = getattr(event, "_text", None)
    if text is not None:
        object.__delattr__(event, "_text")
    return text


@checked_calls
@attrs.frozen
class Signal:
    """What a wait for a signal is answered with: the signal's name and the data that was sent along."""

    name: str
    data: Any = None


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
