"""Write the messages of a store's inbox as text, and read them back.

Separate because the sender and the engine are two processes, maybe of two versions, and must read a message alike.
Leaves to `stores.file.inbox` the keeping of the text, to `taking` what a message asks for.

A message has a format: 1 for events and signals, which every release takes, 2 for what steers runs. Its number stands
in the body of the later ones, so that an engine that does not know a kind can say which format it would have to know.
A known kind in a later format is refused, too: what it asks for beyond the known one must not be passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

import attrs

from durable.engine.forks import Written
from durable.errors import CodecError
from durable.events import Event, Signal
from durable.journal import decode, encode, recorded_event
from durable.stores import MESSAGES

STEERING = 2  # the first format with messages that steer runs


@attrs.frozen
class SentEvents:
    """A message holds the events that one call sent at an instant.

    Each event stands with the id that the runtime gave it, from which the ids of its runs derive.
    """

    at: datetime
    events: tuple[tuple[str, Event], ...]


@attrs.frozen
class SentSignal:
    """A message holds a signal that was sent at an instant."""

    at: datetime
    signal: str
    data: Any


@attrs.frozen
class SentStart:
    """A message asks for a run of a function; `is_named` says that a user has given its id."""

    at: datetime
    function: str
    run: str
    data: Mapping[str, Any]
    is_named: bool


@attrs.frozen
class SentCancel:
    """A message asks to cancel a run."""

    at: datetime
    run: str
    reason: str


@attrs.frozen
class SentRetry:
    """A message asks to open a failed or cancelled run again."""

    at: datetime
    run: str


@attrs.frozen
class SentUnsend:
    """A message asks to take back an event, by the id that the runtime gave it."""

    at: datetime
    event: str


@attrs.frozen
class SentFork:
    """A message asks for a fork of the run `origin`, with the id `run`; `is_named` as for a start.

    `steps` are Events, Signals and, for all other values, their text.
    """

    at: datetime
    origin: str
    run: str
    before: str | None
    data: Mapping[str, Any] | None
    steps: Mapping[str, Event | Signal | Written]
    is_named: bool


@attrs.frozen
class SentFlush:
    """A message asks to open what is held for a function; with the text of a key, only what has that key."""

    at: datetime
    function: str
    key: str | None


@attrs.frozen
class SentPause:
    """A message asks to let no run of a function begin."""

    at: datetime
    function: str


@attrs.frozen
class SentResume:
    """A message asks to let runs of a paused function begin again."""

    at: datetime
    function: str


@attrs.frozen
class SentBackfill:
    """A message asks for a run for each tick of a function in a span."""

    at: datetime
    function: str
    after: datetime
    before: datetime


@attrs.frozen
class SentSchedule:
    """A message asks for a schedule; `jitter` is in seconds."""

    at: datetime
    id: str
    function: str
    cron: str
    tz: str
    missed: str
    data: Mapping[str, Any]
    jitter: float | None


@attrs.frozen
class SentUnschedule:
    """A message asks to take a schedule back."""

    at: datetime
    id: str


Planning = SentPause | SentResume | SentBackfill | SentSchedule | SentUnschedule
Steering = SentStart | SentCancel | SentRetry | SentFork | SentUnsend | SentFlush | Planning
Sent = SentEvents | SentSignal | Steering
Body = dict[str, Any]


_KINDS: dict[type[Sent], str] = {
    SentStart: "start",
    SentCancel: "cancel",
    SentRetry: "retry",
    SentUnsend: "unsend",
    SentFlush: "flush",
    SentPause: "pause",
    SentResume: "resume",
    SentBackfill: "backfill",
    SentSchedule: "schedule",
    SentUnschedule: "unschedule",
}


def write_sent(sent: Sent) -> tuple[str, str]:
    """Return the kind and the body of a message.

    Users' data stand in the body as encoded texts, so that the body's own depth does not count against theirs.

    Raises:
        CodecError: the data cannot be recorded.
    """
    match sent:
        case SentEvents(at, events):
            written = [_of_event(event) for _, event in events]
            return "events", encode({"at": at, "ids": [id for id, _ in events], "events": written})
        case SentSignal(at, signal, data):
            return "signal", encode({"at": at, "signal": signal, "data": encode(data)})
        case SentStart(data=data) | SentSchedule(data=data):
            return _KINDS[type(sent)], _steering(sent, data=encode(data))
        case SentFork(data=data, steps=steps):
            given = None if data is None else encode(data)
            return "fork", _steering(sent, data=given, steps={key: _of_value(value) for key, value in steps.items()})
        case _:
            return _KINDS[type(sent)], _steering(sent)


def _of_event(event: Event) -> dict[str, Any]:
    return {"name": event.name, "data": recorded_event(event).text, "id": event.id, "ts": event.ts, "v": event.v}


def _of_value(value: Event | Signal | Written) -> dict[str, Any]:
    match value:
        case Event():
            return {"event": _of_event(value)}
        case Signal(name, data):
            return {"signal": name, "data": encode(data)}
        case Written(text):
            return {"value": text}
        case _:
            assert_never(value)


def _steering(sent: Steering, **encoded: Any) -> str:
    return encode({"format": STEERING, **attrs.asdict(sent, recurse=False), **encoded})


def read_sent(kind: str, body: str) -> Sent:
    """Return the message that `write_sent` wrote.

    Raises:
        ValueError: the kind is unknown, or the body is damaged.
    """
    reader = _READERS.get(kind)
    try:
        found = decode(body)
        if reader is not None and _format(found) <= MESSAGES:
            return reader(found, _instant(found["at"]))
    except (AttributeError, CodecError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the body of a message of kind {kind!r} is not one: {error}") from error
    format = found.get("format", "unknown") if isinstance(found, dict) else "unknown"
    raise ValueError(
        f"a message has the kind {kind!r}, which this version of durable does not know: its format is {format}, this "
        f"version takes formats 1 to {MESSAGES}"
    )


def _format(found: Body) -> int:
    """Return the format of a message; one without a number is of the first."""
    format = found.get("format", 1)
    if type(format) is not int:
        raise TypeError(f"{format!r} stands where the number of a format belongs")
    return format


def _events(found: Body, at: datetime) -> SentEvents:
    events = map(_event, found["events"])
    return SentEvents(at, tuple(zip(map(_text, found["ids"]), events, strict=True)))


def _event(found: Body) -> Event:
    return Event(**{**found, "data": decode(found["data"])})


def _signal(found: Body, at: datetime) -> SentSignal:
    return SentSignal(at, _text(found["signal"]), decode(found["data"]))


def _start(found: Body, at: datetime) -> SentStart:
    data, is_named = decode(_text(found["data"])), found["is_named"] is True
    return SentStart(at, _text(found["function"]), _text(found["run"]), data, is_named)


def _cancel(found: Body, at: datetime) -> SentCancel:
    return SentCancel(at, _text(found["run"]), _text(found["reason"]))


def _retry(found: Body, at: datetime) -> SentRetry:
    return SentRetry(at, _text(found["run"]))


def _unsend(found: Body, at: datetime) -> SentUnsend:
    return SentUnsend(at, _text(found["event"]))


def _fork(found: Body, at: datetime) -> SentFork:
    before = None if found["before"] is None else _text(found["before"])
    data = None if found["data"] is None else decode(_text(found["data"]))
    steps = {_text(key): _value(value) for key, value in found["steps"].items()}
    return SentFork(at, _text(found["origin"]), _text(found["run"]), before, data, steps, found["is_named"] is True)


def _value(found: Body) -> Event | Signal | Written:
    if "event" in found:
        return _event(found["event"])
    if "signal" in found:
        return Signal(_text(found["signal"]), decode(found["data"]))
    return Written(_text(found["value"]))


def _flush(found: Body, at: datetime) -> SentFlush:
    key = found["key"]
    return SentFlush(at, _text(found["function"]), None if key is None else _text(key))


def _pause(found: Body, at: datetime) -> SentPause:
    return SentPause(at, _text(found["function"]))


def _resume(found: Body, at: datetime) -> SentResume:
    return SentResume(at, _text(found["function"]))


def _backfill(found: Body, at: datetime) -> SentBackfill:
    return SentBackfill(at, _text(found["function"]), _instant(found["after"]), _instant(found["before"]))


def _schedule(found: Body, at: datetime) -> SentSchedule:
    id, function, cron, tz, missed = [_text(found[name]) for name in ("id", "function", "cron", "tz", "missed")]
    return SentSchedule(at, id, function, cron, tz, missed, decode(_text(found["data"])), found["jitter"])


def _unschedule(found: Body, at: datetime) -> SentUnschedule:
    return SentUnschedule(at, _text(found["id"]))


_READERS: dict[str, Callable[[Body, datetime], Sent]] = {
    "events": _events,
    "signal": _signal,
    "start": _start,
    "cancel": _cancel,
    "retry": _retry,
    "unsend": _unsend,
    "fork": _fork,
    "flush": _flush,
    "pause": _pause,
    "resume": _resume,
    "backfill": _backfill,
    "schedule": _schedule,
    "unschedule": _unschedule,
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text belongs")
    return value


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} stands where an instant belongs")
    return value
