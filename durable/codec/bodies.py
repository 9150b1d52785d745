"""A record as the text of an entry, and back.

Separate because the journal's text is a format with a version of its own: what was written once must stay readable.
Leaves to `values` the user's values, to the stores where a body is kept.

A body is one JSON object with the record's own fields: instants in UTC as ISO text, members of a union with their
class's name under "_type". Where the record holds a user's value, that value's text follows on a line of its own,
verbatim: it is never parsed with the record and cannot be mistaken for it. Fields that are not known are ignored, so
that a later minor version may add some.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii
from sys import intern
from typing import Any, get_args

import cattrs
from cattrs.strategies import configure_tagged_union

from durable.codec.tags import dumps
from durable.codec.values import decode, encode
from durable.errors import CodecError, StoreCorruptError
from durable.records import (
    Event,
    EventSent,
    Json,
    KeyClaimed,
    Ok,
    Outcome,
    Record,
    RunClosed,
    RunOpened,
    StepClosed,
    StepKind,
    Wait,
)

_KINDS: dict[str, type[Record]] = {cls.__name__: cls for cls in get_args(Record)}
_STEP_KINDS = {kind: kind for kind in get_args(StepKind)}
_WITH_EVENT = (EventSent, RunOpened)
_OK = {"_type": "Ok"}
_SHARED = frozenset({"function", "key", "kind"})  # the same text in many records: kept in memory once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventTexts:
    """The text of an event's data, kept for the event that was asked for last: one event may open a thousand runs.

    Only for events whose data nobody else holds: it goes by identity.
    """

    def __init__(self) -> None:
        self._data: object = None
        self._text: Json = ""

    def of(self, event: Event) -> Json:
        """Return what `encode(event.data)` gives."""
        if event.data is not self._data:
            self._text = encode(event.data)
            self._data = event.data
        return self._text


def write(record: Record, data: Json | None = None) -> str:
    """Return the record as text.

    `data` is what `encode(record.event.data)` gives, for a caller that has it already: one event may open a thousand
    runs.

    Raises:
        CodecError: the event's data holds a value that cannot be kept.
    """
    if type(record) is StepClosed and type(record.outcome) is Ok:
        return f"{_ok_head(record)}\n{record.outcome.value}"
    head = _converter().unstructure(record)
    value: Json | None = None
    if isinstance(record, _WITH_EVENT):
        value = encode(record.event.data) if data is None else data
    elif isinstance(record, KeyClaimed):
        value = head.pop("key")
    elif isinstance(record, RunClosed):
        value = head.pop("output")
    written = _head_text(dumps(head), head)
    return written if value is None else f"{written}\n{value}"


def read(kind: str, body: str) -> Record:
    """Return the record that `write` wrote as `body`; `kind` is the name of its class.

    Raises:
        StoreCorruptError: the kind is not known, a field is missing or is not what it must be, or the text is cut.
    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise StoreCorruptError(
            f"the store holds a record of the kind {kind!r}, which this version does not know: "
            "open it with the version that wrote it, or restore a copy"
        )
    first, line_break, value = body.partition("\n")
    try:
        head = decode(first)
        if cls is StepClosed and line_break:
            return _read_ok(head, value)
        return _structured(cls, head, value if line_break else None)
    except Exception as error:  # text that is damaged may fail anywhere, also in a validator
        why = f"{error}" if isinstance(error, ValueError | CodecError) else repr(error)
        raise StoreCorruptError(
            f"a {kind} record is damaged: {why}: restore a copy of the store. It reads {body[:200]!r}"
        ) from error


def _head_text(written: str, head: dict[str, Any]) -> str:
    # Only `encode` keeps halves of a surrogate pair apart, as a key or the message of an error may hold them.
    return written if "\\ud" not in written else encode(head)


# The hot path: a step that ended with a value.


def _ok_head(record: StepClosed) -> str:
    quoted = encode_basestring_ascii
    turn = "null" if record.turn is None else record.turn
    written = (
        f'{{"run":{quoted(record.run)},"key":{quoted(record.key)},"kind":"{record.kind}","outcome":{{"_type":"Ok"}},'
        f'"turn":{turn},"at":"{_instant(record.at)}","tries":{record.tries}}}'
    )
    return written if "\\ud" not in written else encode(_converter().unstructure(record))


def _read_ok(head: dict[str, Any], value: Json) -> StepClosed:
    kind, turn, tries = head["kind"], head["turn"], head["tries"]
    if kind not in _STEP_KINDS or head["outcome"] != _OK:
        raise ValueError(f"its kind is {kind!r} and its outcome {head['outcome']!r}, but a value follows")
    if type(tries) is not int or (turn is not None and type(turn) is not int):
        raise ValueError(f"its turn is {turn!r} and its tries are {tries!r}")
    run, key = head["run"], head["key"]
    if type(run) is not str or type(key) is not str or not value:
        raise ValueError("its run or key is no text, or its value is cut off")
    return StepClosed(run, intern(key), _STEP_KINDS[kind], Ok(value), turn, _read_instant(head["at"]), tries)


# The others.


@functools.cache
def _converter() -> cattrs.Converter:
    made = cattrs.Converter(detailed_validation=False)
    for kind in (str, int, bool):
        made.register_structure_hook(kind, _exactly)
    made.register_unstructure_hook(datetime, _instant)
    made.register_structure_hook(datetime, lambda text, _: _read_instant(text))
    made.register_unstructure_hook(Event, _event_head)
    made.register_structure_hook(Event, lambda head, _: _read_event(head))
    made.register_unstructure_hook(tuple[str, str] | None, lambda pair: pair and list(pair))
    made.register_unstructure_hook(Ok, lambda _: {})
    configure_tagged_union(Outcome, made)
    configure_tagged_union(Wait, made)
    return made


def _structured(cls: type[Record], head: dict[str, Any], value: Json | None) -> Record:
    if (cls in (EventSent, RunOpened, KeyClaimed)) is not (value is not None) and cls is not RunClosed:
        raise ValueError("the value that belongs to it is missing, or a value follows that does not")
    if value == "":
        raise ValueError("its value is cut off")
    if cls is EventSent or cls is RunOpened:
        head["event"]["data"] = decode(value or "")
    elif cls is KeyClaimed:
        head["key"] = value
    elif cls is RunClosed:
        head["output"] = value
    for name in _SHARED & head.keys():
        head[name] = intern(head[name])
    return _converter().structure(head, cls)


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} stands where a value of type {kind.__name__} belongs")
    return value


def _instant(when: datetime) -> str:
    passed = when - _EPOCH
    return f"{_second(passed.days, passed.seconds)}.{passed.microseconds:06d}+00:00"


@functools.lru_cache(maxsize=64)
def _second(days: int, seconds: int) -> str:
    # To format an aware datetime costs more than the rest of a step's record, and most records share their second.
    return (_EPOCH + timedelta(days, seconds)).isoformat()[:19]


def _read_instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is not UTC:
        raise ValueError(f"the instant {text!r} is not in UTC")
    return when


def _event_head(event: Event) -> dict[str, Any]:
    ts = None if event.ts is None else _instant(event.ts)
    return {"name": event.name, "id": event.id, "ts": ts, "v": event.v}


def _read_event(head: dict[str, Any]) -> Event:
    ts = head["ts"]
    return Event(intern(head["name"]), head["data"], head["id"], None if ts is None else _read_instant(ts), head["v"])
