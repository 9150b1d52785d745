"""Accept what somebody sends: check an event or a signal once, and keep a copy that nobody else holds.

Separate because an engine, a step and a sender in another process must let the same things pass.
Leaves to `causes` what follows from an event, to `records` what each field may be.
"""

from __future__ import annotations

from datetime import datetime

from durable.events import NAME_BYTES, RESERVED, Event, checked_name, event_of, text_of
from durable.journal.codec.values import copied, encode
from durable.journal.rules.limits import Limits, data_too_large
from durable.timers import shown


def accepted(
    event: object, limits: Limits, id: str | None = None, at: datetime | None = None, *, reserved: bool = False
) -> Event:
    """Check an event and return it as it is recorded, with `id` and `at` where it has no id or ts of its own.

    `reserved`: the runtime itself sends it. The data are a copy, which nobody can change any more: what is matched live
    is what is matched after a crash. Their text goes with the event until it is written.

    Raises:
        TypeError, ValueError: not an Event, a text that cannot be kept, or a name of the runtime's own.
        CodecError, LimitError: data that cannot be kept, or are too large.
    """
    if not isinstance(event, Event):
        raise TypeError(f"only an Event can be sent, not {shown(event)} ({type(event).__name__})")
    name, given, v = event.name, event.id, event.v
    if not name.isascii() or len(name) > NAME_BYTES:  # it is a text and not empty: the event has seen to that
        name = checked_name(name, "an event's name")
    if given is not None:
        given = checked_name(given, f"the id of event {name!r}")
    if v is not None:
        v = checked_name(v, f"the v of event {name!r}")
    if not reserved and name.startswith(RESERVED):
        raise ValueError(f"event {name!r} cannot be sent: names under {RESERVED!r} are the runtime's own")
    if "*" in name:
        raise ValueError(f"event {name!r} cannot be sent: a * is for patterns in triggers")
    text, data = copied(event.data)
    if len(text) > limits.event_bytes:
        raise data_too_large(limits, len(text), f"the data of event {name!r}")
    return event_of(name, data, given or id, event.ts or at, v, text)


def stamped(event: Event, id: str, at: datetime) -> Event:
    """Return an accepted event as it is sent: with this id and time where it has none."""
    return event_of(event.name, event.data, event.id or id, event.ts or at, event.v, text_of(event))


def check_signal(signal: str, data: object, limits: Limits) -> None:
    """Refuse data that no signal can carry.

    Raises:
        CodecError, LimitError
    """
    size = len(encode(data))
    if size > limits.event_bytes:
        raise data_too_large(limits, size, f"the data of signal {signal!r}")
