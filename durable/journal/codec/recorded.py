"""Keep the data of an event as a text, from the check at the door to the function that it opens.

Separate because many events are recorded, while few look at their data.
Leaves to `acceptance` the check, to `events` and `write` the text of the event around its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from durable.events import Event, Json, event_of, seen_by_filters
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.events import event_text
from durable.journal.codec.values import decode

_put_name, _put_data, _put_id, _put_ts, _put_v = [
    getattr(Event, name).__set__ for name in ("name", "data", "id", "ts", "v")
]  # a third of the time of object.__setattr__, and there is such an event for every run


class RecordedEvent(Event):
    """A recorded event is an event whose data are a text.

    The data are read anew at each look. So nobody can change them, and they take a quarter of the memory of a dict.
    `text` is what `encode` gives for the data. A recorded event equals an `Event` with the same fields.
    """

    __slots__ = ("_seen",)
    _seen: dict[str, Any]  # not set until a filter of the run that the event has opened asks for it

    text: Json = cast(Json, vars(Event)["data"])  # the slot in which any other event has its data

    def __init__(self, name: str, text: Json, id: str | None, ts: datetime | None, v: str | None = None) -> None:
        # Nothing is checked: these are parts that the library has checked, or has read itself.
        _put_name(self, name)
        _put_data(self, text)
        _put_id(self, id)
        _put_ts(self, ts)
        _put_v(self, v)

    @property
    def data(self) -> Mapping[str, Any]:
        """The data, read from their text: a copy of the caller's own."""
        found: dict[str, Any] = decode(self.text)
        return found

    def copy(self) -> Event:
        """Return a plain event of the caller's own (R3)."""
        return event_of(self.name, self.data, self.id, self.ts, self.v)

    def seen(self) -> dict[str, Any]:
        """Return the event as filters see it: one copy of the data for all filters of a run, which change nothing."""
        try:
            return self._seen
        except AttributeError:
            object.__setattr__(self, "_seen", seen_by_filters(self))
            return self._seen

    def as_value(self) -> Json:
        """Return what `enclose` gives for the plain event."""
        return event_text(self, self.text) or enclose(self.copy())

    def __eq__(self, other: object) -> bool:
        return _fields(self) == _fields(other) if isinstance(other, Event) else NotImplemented

    def __reduce__(self) -> tuple[type[Event], tuple[Any, ...]]:
        return Event, _fields(self)


def recorded_event(event: Event) -> RecordedEvent:
    """Return an event as it is recorded, with its data as text.

    Raises:
        CodecError: the data cannot be kept.
    """
    if isinstance(event, RecordedEvent):
        return event
    return RecordedEvent(event.name, enclose(event.data), event.id, event.ts, event.v)


def _fields(event: Event) -> tuple[Any, ...]:
    return event.name, event.data, event.id, event.ts, event.v
