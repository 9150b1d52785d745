"""Write the messages of a store's inbox as text, and read them back.

Separate because the sender and the engine are two processes, maybe of two versions, and must read a message alike.
Leaves to `stores.file.inbox` the keeping of the text, to `decisions` the consequences of a message.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never

import attrs

from durable.errors import CodecError
from durable.events import Event
from durable.journal import decode, encode, recorded_event


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


Sent = SentEvents | SentSignal


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
        case _:
            assert_never(sent)


def read_sent(kind: str, body: str) -> Sent:
    """Return the message that `write_sent` wrote.

    Raises:
        ValueError: the kind is unknown, or the body is damaged.
    """
    try:
        found = decode(body)
        if kind == "events":
            events = [Event(**{**event, "data": decode(event["data"])}) for event in found["events"]]
            return SentEvents(_instant(found["at"]), tuple(zip(map(_text, found["ids"]), events, strict=True)))
        if kind == "signal":
            return SentSignal(_instant(found["at"]), _text(found["signal"]), decode(found["data"]))
    except (CodecError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the body of a message of kind {kind!r} is not one: {error}") from error
    raise ValueError(f"a message has the kind {kind!r}, which this version does not know")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text belongs")
    return value


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} stands where an instant belongs")
    return value
