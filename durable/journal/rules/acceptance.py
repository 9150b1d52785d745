"""Check an event or a signal once, when it is sent, and write its data as text.

Separate because an engine, a step and a sender in another process must accept the same events and signals.
Leaves to `decisions` the consequences of an event, to `records` the fields of a record.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from durable.events import INVOKED, NAME_BYTES, RESERVED, Event, Json, checked_data, checked_name
from durable.journal.codec.recorded import RecordedEvent
from durable.journal.codec.values import encode
from durable.journal.rules.limits import Limits, data_too_large
from durable.timers import shown

_STR = frozenset({str})


def plainly_accepted(name: str, data: object, limits: Limits, id: str, at: datetime) -> RecordedEvent:
    """Return what `accepted` returns for an event that is just a name and data; nearly all need no `Event` for that.

    Raises:
        TypeError, ValueError, CodecError, LimitError: see `Event` and `accepted`.
    """
    is_plain = type(data) is dict and _STR.issuperset(map(type, data)) and 0 < len(name) <= NAME_BYTES
    if not is_plain or not name.isascii() or name.startswith(RESERVED) or "*" in name:
        return accepted(Event(name, cast(Any, data)), limits, id, at)
    text = encode(data)
    if len(text) > limits.event_bytes:
        raise data_too_large(limits, len(text), f"the data of event {name!r}")
    return RecordedEvent(name, text, id, at)


def accepted(event: object, limits: Limits, id: str | None = None, at: datetime | None = None) -> RecordedEvent:
    """Check an event and return it as it is recorded, with its data as text.

    `id` and `at` are used if the event has no id or no ts. No user's code can change the text, so filters see the same
    data live and after a crash.

    Raises:
        TypeError, ValueError: it is not an Event, has a text that cannot be kept, or a name of the runtime's own.
        CodecError, LimitError: the data cannot be kept, or are too large.
    """
    if not isinstance(event, Event):
        raise TypeError(f"only an Event can be sent, not {shown(event)} ({type(event).__name__})")
    name, given, v = event.name, event.id, event.v
    if not name.isascii() or len(name) > NAME_BYTES:  # that it is a text and not empty, `Event` has checked
        name = checked_name(name, "an event's name")
    if given is not None:
        given = checked_name(given, f"the id of event {name!r}")
    if v is not None:
        v = checked_name(v, f"the v of event {name!r}")
    if name.startswith(RESERVED):
        raise ValueError(f"event {name!r} cannot be sent: names under {RESERVED!r} are the runtime's own")
    if "*" in name:
        raise ValueError(f"event {name!r} cannot be sent: a * is for patterns in triggers")
    text = encode(event.data)
    if len(text) > limits.event_bytes:
        raise data_too_large(limits, len(text), f"the data of event {name!r}")
    return RecordedEvent(name, text, given or id, event.ts or at, v)


def invoked(function: str, given: object, limits: Limits) -> RecordedEvent:
    """Check the data with which a function is invoked, and return the event that opens its run.

    The event is the runtime's own, so an error names the function, not the event. For the text see `accepted`.

    Raises:
        TypeError, ValueError: the data are no mapping with string keys.
        CodecError, LimitError: the data cannot be kept, or are too large.
    """
    return RecordedEvent(INVOKED, data_text(given, f"the data for function {function!r}", limits), None, None)


def data_text(given: object, what: str, limits: Limits) -> Json:
    """Check the data that a run is to have, and return them as text; `what` names them in errors.

    Raises:
        TypeError, ValueError, CodecError, LimitError: see `invoked`.
    """
    text = encode(checked_data(given, what))
    if len(text) > limits.event_bytes:
        raise data_too_large(limits, len(text), what)
    return text


def stamped(event: RecordedEvent, id: str, at: datetime) -> RecordedEvent:
    """Return an accepted event with this id and time, unless it has its own."""
    return RecordedEvent(event.name, event.text, event.id or id, event.ts or at, event.v)


def check_signal(signal: str, data: object, limits: Limits) -> None:
    """Check the data of a signal.

    Raises:
        CodecError: the data cannot be kept.
        LimitError: the data are too large.
    """
    size = len(encode(data))
    if size > limits.event_bytes:
        raise data_too_large(limits, size, f"the data of signal {signal!r}")
