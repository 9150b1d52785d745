"""Write the messages of a store's inbox as text, and read them back.

Separate because the sender and the engine are two processes, maybe of two versions, and must read a message alike.
Leaves to `stores.file.inbox` the keeping of the text, to `taking` what a message asks for.

A message has a format: 1 for events and signals, which every release takes, 2 for what steers runs. Its number stands
in the body of the later ones, so that an engine that does not know a kind can say which format it would have to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

import attrs

from durable.errors import CodecError
from durable.events import Event
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
    """A message asks to take back an event that is still to come, by the runtime's id of it."""

    at: datetime
    event: str


Steering = SentStart | SentCancel | SentRetry | SentUnsend
Sent = SentEvents | SentSignal | Steering
Body = dict[str, Any]


def write_sent(sent: Sent) -> tuple[str, str]:
    """Return the kind and the body of a message.

    Users' data stand in the body as encoded texts, so that the body's own depth does not count against theirs.

    Raises:
        CodecError: the data cannot be recorded.
    """
    match sent:
        case SentEvents(at, events):
            written = [
                {"name": event.name, "data": recorded_event(event).text, "id": event.id, "ts": event.ts, "v": event.v}
                for _, event in events
            ]
            return "events", encode({"at": at, "ids": [id for id, _ in events], "events": written})
        case SentSignal(at, signal, data):
            return "signal", encode({"at": at, "signal": signal, "data": encode(data)})
        case SentStart(data=data):
            return "start", _steering(sent, data=encode(data))
        case SentCancel():
            return "cancel", _steering(sent)
        case SentRetry():
            return "retry", _steering(sent)
        case SentUnsend():
            return "unsend", _steering(sent)
        case _:
            assert_never(sent)


def _steering(sent: Steering, **encoded: str) -> str:
    return encode({"format": STEERING, **attrs.asdict(sent, recurse=False), **encoded})


def read_sent(kind: str, body: str) -> Sent:
    """Return the message that `write_sent` wrote.

    Raises:
        ValueError: the kind is unknown, or the body is damaged.
    """
    reader = _READERS.get(kind)
    try:
        found = decode(body)
        if reader is not None:
            return reader(found, _instant(found["at"]))
    except (CodecError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the body of a message of kind {kind!r} is not one: {error}") from error
    format = found.get("format", "unknown") if isinstance(found, dict) else "unknown"
    raise ValueError(
        f"a message has the kind {kind!r}, which this version of durable does not know: its format is {format}, this "
        f"version takes formats 1 to {MESSAGES}"
    )


def _events(found: Body, at: datetime) -> SentEvents:
    events = [Event(**{**event, "data": decode(event["data"])}) for event in found["events"]]
    return SentEvents(at, tuple(zip(map(_text, found["ids"]), events, strict=True)))


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


_READERS: dict[str, Callable[[Body, datetime], Sent]] = {
    "events": _events,
    "signal": _signal,
    "start": _start,
    "cancel": _cancel,
    "retry": _retry,
    "unsend": _unsend,
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text belongs")
    return value


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} stands where an instant belongs")
    return value
