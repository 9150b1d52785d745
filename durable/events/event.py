"""Define events and signals, which users send and waits return.

Separate because every room uses them, while they use nothing themselves.
Leaves to `journal` the recording of an event, to `bus` the search for those that hear it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import attrs

from durable.errors import checked_calls
from durable.events.words import is_str, plain, spelled
from durable.timers import aware, shown

Json = str


RESERVED = "durable/"


INVOKED = "durable/function.invoked"


FINISHED = "durable/function.finished"


FAILED = "durable/function.failed"


CANCELLED = "durable/function.cancelled"


TIMER = "durable/scheduled.timer"


LIFECYCLE = frozenset({FINISHED, FAILED, CANCELLED})


_KEYS = frozenset({str})


def _data(data: object) -> object:
    if type(data) is not dict and isinstance(data, Mapping):
        return dict(data)
    return {} if data is None else data


def checked_data(given: object, what: str) -> dict[str, Any]:
    """Check an event's data, and return a dict with plain strings as keys.

    Keys of a subclass of str become plain ones; None is `{}`. `what` names the data in errors.

    Raises:
        TypeError, ValueError: no mapping, a key that is no string, two keys that spell the same.
    """
    data = _data(given)
    if type(data) is not dict:
        raise TypeError(f"{what} must be a mapping, not {shown(data)} ({type(data).__name__})")
    if _KEYS.issuperset(map(type, data)):
        return data
    for key in data:
        if not is_str(key):
            raise TypeError(f"{what} must have string keys, not {shown(key)}")
    plainly = {plain(key): value for key, value in data.items()}
    if len(plainly) < len(data):
        raise ValueError(f"{what} have two keys that spell the same")
    return plainly


class _WithData:
    """Says where the items are that are looked for in an event or a signal itself."""

    __slots__ = ()

    def __getitem__(self, key: object) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name!r} has no items of its own: write {name.lower()}.data[{shown(key)}]")


@checked_calls
@attrs.frozen
class Event(_WithData):
    """An event says that something happened: it has a name and data.

    Attributes:
        name: what happened, such as "shop/order.placed". Names under "durable/" are the runtime's own.
        data: a mapping with string keys; `None` is `{}`.
        id: the key by which repeats are dropped for 24 h. If it is not given, a received event has an id of the
            runtime's.
        ts: an aware datetime. An event with a future `ts` is delivered then. If it is not given, a received event has
            the time at which it was sent.
        v: the version of the data, for your own use.

    Raises:
        TypeError, ValueError: at the call, for an empty name, data that is no mapping, a naive `ts`; when it is sent,
            for half of a surrogate pair in name, id or v.
        LimitError: when it is sent, for a name, id or v larger than 1 KB.
    """

    name: str
    data: Mapping[str, Any] = attrs.field(factory=dict, converter=_data)
    id: str | None = None
    ts: datetime | None = None
    v: str | None = None

    def __attrs_post_init__(self) -> None:
        # These are not validators of the fields, since six calls would take twice as long, for every event that is sent
        # or recovered. The length and the characters of texts are checked when an event is sent, not here: an earlier
        # release may have stored an event that would not pass today.
        put = object.__setattr__
        if type(self.name) is not str or not self.name:
            put(self, "name", spelled(self.name, "an event's name"))
        data = self.data
        if type(data) is not dict or not _KEYS.issuperset(map(type, data)):
            put(self, "data", checked_data(data, f"the data of event {self.name!r}"))
        if self.id is not None and (type(self.id) is not str or not self.id):
            put(self, "id", spelled(self.id, f"the id of event {self.name!r}"))
        if self.v is not None and (type(self.v) is not str or not self.v):
            put(self, "v", spelled(self.v, f"the v of event {self.name!r}"))
        ts = self.ts
        if ts is not None and (type(ts) is not datetime or ts.tzinfo is not UTC):
            put(self, "ts", aware(ts, what=f"the ts of event {self.name!r}"))


def event_of(name: str, data: Mapping[str, Any], id: str | None, ts: datetime | None, v: str | None) -> Event:
    """Return an event made of parts that the library has checked or read itself.

    Nothing is checked again or copied.
    """
    event, put = Event.__new__(Event), object.__setattr__
    put(event, "name", name)
    put(event, "data", data)
    put(event, "id", id)
    put(event, "ts", ts)
    put(event, "v", v)
    return event


@checked_calls
@attrs.frozen
class Signal(_WithData):
    """A signal has a name and data; a wait for a signal returns it."""

    name: str
    data: Any = None
