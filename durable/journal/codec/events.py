"""Write an event as a value around the text of its data, and read it back, without a walk over the data.

Separate because a wait returns an event for each that answers it, and the walk would take most of that time.
Leaves to `values` the data, and every event that has something odd about it: for these both functions return None.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from durable.events import Event, Json, event_of
from durable.journal.codec.tags import MARK

EVENT = '{"~Event":'
_FIELDS = ["name", "data", "id", "ts", "v"]


def event_text(event: Event, data: Json) -> Json | None:
    """Return what `encode` gives for an event, or None; `data` is what it gives for the event's data."""
    ts, id, v = event.ts, event.id, event.v
    if ts is not None and (type(ts) is not datetime or ts.tzinfo is not UTC or ts.fold):
        return None
    at = "null" if ts is None else f'{{"~datetime":"{ts.isoformat()}"}}'
    own = "null" if id is None else _quoted(id)
    head, tail = (
        f'{{"name":{_quoted(event.name)},"data":',
        f',"id":{own},"ts":{at},"v":{"null" if v is None else _quoted(v)}}}',
    )
    if "\\ud" in head or "\\ud" in tail:  # two halves of a surrogate pair have a tag of their own
        return None
    return f"{EVENT}{head}{data}{tail}}}"


def tick_text(cron: str, tz: str, scheduled_at: datetime, fired_at: datetime) -> Json:
    """Return what `encode` gives for the data of a tick's event; the instants are in UTC."""
    at, fired = scheduled_at.isoformat(), fired_at.isoformat()
    return (
        f'{{"cron":{_quoted(cron)},"tz":{_quoted(tz)},"scheduled_at":{{"~datetime":"{at}"}},'
        f'"fired_at":{{"~datetime":"{fired}"}}}}'
    )


def plain_event(written: Json, tree: Any) -> Event | None:
    """Return the event that a text holds, or None; `tree` is the text as JSON reads it."""
    if not written.startswith(EVENT) or written.count(MARK) != 2:  # the event's own tag and that of its time
        return None
    fields = tree["~Event"]
    if type(fields) is not dict or list(fields) != _FIELDS:
        return None
    name, data, id, ts, v = fields.values()
    is_sound = type(name) is str and name and type(data) is dict and type(ts) is dict
    if not is_sound or not _is_name_or_none(id) or not _is_name_or_none(v):
        return None
    try:
        when = datetime.fromisoformat(ts["~datetime"])
    except (LookupError, TypeError, ValueError):
        return None
    return event_of(name, data, id, when, v) if when.tzinfo is UTC else None


def _is_name_or_none(value: object) -> bool:
    return value is None or (type(value) is str and value != "")
