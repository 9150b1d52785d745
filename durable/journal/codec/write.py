"""Write a record as the text of an entry, and read it back.

Separate because this text is a format: every release must read what earlier ones have written.
Leaves to `read` the fields of each kind, to `values` the user's values, to `stores` the keeping of a body.

A body is one JSON object with the record's own fields. Instants are ISO text in UTC; members of a union have their
class's name under "_type". If the record holds a user's value, the text of that value follows verbatim on the next
line. So it is never parsed with the record, and cannot be mistaken for a part of it. Unknown fields are ignored, so
that a later minor version may add fields.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, get_args

import attrs

from durable.errors import CodecError, RecordedError, StoreCorruptError
from durable.events import Event, Json
from durable.journal.codec.read import OK, READERS
from durable.journal.codec.read_schedules import SCHEDULE_READERS
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.codec.tags import MARK, dumps, loads
from durable.journal.codec.values import decode, encode
from durable.journal.gathered import EventHeld
from durable.journal.lone import LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import (
    Counted,
    EventSent,
    ForEvent,
    Fork,
    ForSignal,
    KeyClaimed,
    Ok,
    Outcome,
    Record,
    RunClosed,
    RunOpened,
    RunRested,
    RunRetried,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Until,
    Wait,
)
from durable.journal.schedule_records import FunctionPaused, FunctionResumed, ScheduleMade, TicksPassed, TicksReplaced

_MEMBERS = frozenset((*get_args(Outcome), *get_args(Wait)))
_APART = {
    Event: "data",
    Ok: "value",
    KeyClaimed: "key",
    Counted: "key",
    RunClosed: "output",
    ScheduleMade: "data",
}  # what stands on a line of its own
_NAMES: dict[type, list[str]] = {
    cls: [field.name for field in attrs.fields(cls) if field.name != _APART.get(cls)]
    for cls in (*get_args(Record), *_MEMBERS, Event, Fork, RecordedError)
}
_NAMES[RecordedEvent] = _NAMES[Event]
_LATER: dict[type, tuple[str, ...]] = {
    EventSent: ("withdrawn",),
    StepRetried: ("began",),
    StepClosed: ("began",),
    RunOpened: ("fork", "singleton", "group", "others", "member_ids", "priority"),
    RunRetried: ("waits",),
    ForEvent: ("ask",),
    ForSignal: ("ask",),
    RunRested: ("started_at", "reopenings", "since", "singleton", "other_ids"),
    EventHeld: ("replaces",),
    ScheduleMade: ("jitter",),
    FunctionPaused: ("spans",),
    FunctionResumed: ("spans",),
}  # written only if they are set: most are not, or earlier releases did not have these fields
Parts = tuple[str, Json | None]  # a record's own fields as JSON, and the text of the user's value that follows them

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THREE = [f"{number:03}" for number in range(1_000)]  # as digits: Python's own formatting takes twice as long
_latest = ("", '""')  # the run of the last step, and its text: a run's steps often follow each other
_second = (0, 0, "1970-01-01T00:00:00.")  # of the last instant: its days and seconds since 1970, and their text


def write(record: Record) -> str:
    """Return a record as text.

    Raises:
        CodecError: the event's data hold a value that cannot be kept.
    """
    if type(record) is StepClosed and type(record.outcome) is Ok:  # by far the most frequent
        ok, at, tries = record.outcome, record.at, record.tries
        return closed_text(record.run, record.key, record.kind, ok, record.turn, at, tries, record.began)
    head, value = _PARTS.get(type(record), _any)(record)
    if "\\ud" in head:  # a key or a message may hold halves of a surrogate pair, which only `encode` keeps apart
        head = encode(_fields(record))
    return head if value is None else f"{head}\n{value}"


def closed_text(
    run: str, key: str, kind: StepKind, ok: Ok, turn: int | None, at: datetime, tries: int, began: datetime | None
) -> str:
    """Return what `write` returns for a step that ended with a value, without its record."""
    ended, since = _instant(at), ""
    if began is not None:
        took, early = at - began, began.microsecond
        if took.seconds or took.days or early > at.microsecond:
            since = f',"began":"{_instant(began)}"'
        else:  # in the same second, as nearly always
            since = f',"began":"{ended[:20]}{_THREE[early // 1_000]}{_THREE[early % 1_000]}+00:00"'
    global _latest
    latest = _latest  # in one piece: other threads write, too
    if run is not latest[0]:
        latest = _latest = run, _quoted(run)
    deep, whose, named = ',"deep":true' if ok.deep else "", latest[1], _quoted(key)
    if "\\ud" in named or "\\ud" in whose:  # see `write`
        return f"{encode(_fields(StepClosed(run, key, kind, ok, turn, at, tries, began)))}\n{ok.value}"
    return (
        f'{{"run":{whose},"key":{named},"kind":"{kind}","outcome":{{"_type":"Ok"}},'
        f'"turn":{"null" if turn is None else turn},"at":"{ended}","tries":{tries}{since}{deep}}}\n{ok.value}'
    )


def opened_text(opening: LoneOpening) -> str:
    """Return what `write` returns for the record of a lone opening."""
    head, data = _opened(opening, "")
    return f"{head}\n{data}" if "\\ud" not in head else "".join(map(write, opening))  # see `write`


def ended_text(ending: LoneEnding) -> str:
    """Return what `write` returns for the record of a lone ending."""
    head, output = _run_closed(ending)
    if "\\ud" in head:  # see `write`
        return "".join(map(write, ending))
    return head if output is None else f"{head}\n{output}"


def waiting_text(wait: LoneWait) -> str:
    """Return what `write` returns for the record of a lone wait."""
    head, _ = _step_opened(wait)
    return head if "\\ud" not in head else "".join(map(write, wait))  # see `write`


def answered_text(answer: LoneAnswer) -> str:
    """Return what `write` returns for the record of a lone answer."""
    if type(answer.outcome) is not Ok:
        return "".join(map(write, answer))
    return closed_text(answer.run, answer.key, answer.kind, answer.outcome, answer.turn, answer.at, 0, None)


def read(kind: str, body: str) -> Record:
    """Return the record that `write` wrote as `body`; `kind` is the name of its class.

    Raises:
        StoreCorruptError: the kind is not known, a field is missing or is not what it must be, or the text is cut.
    """
    reader = READERS.get(kind) or SCHEDULE_READERS.get(kind)
    if reader is None:
        raise StoreCorruptError(
            f"the store holds a record of the kind {kind!r}, which this version does not know: "
            "open it with the version that wrote it, or restore a copy"
        )
    first, line_break, value = body.partition("\n")
    try:
        if line_break and not value:
            raise ValueError("its value is cut off")
        head = loads(first) if MARK not in first else decode(first)
        return reader(head, value or None)
    except Exception as error:  # damaged text may fail anywhere, even in a validator
        why = f"{error}" if isinstance(error, ValueError | CodecError) else repr(error)
        raise StoreCorruptError(
            f"a {kind} record is damaged: {why}: restore a copy of the store. It reads {body[:200]!r}"
        ) from error


# Writing.


def _any(record: Record) -> Parts:
    apart = _APART.get(type(record))
    return dumps(_fields(record)), None if apart is None else getattr(record, apart)


# For the frequent kinds these return what `_any` would return, in half the time.


def _step_opened(record: StepOpened | LoneWait) -> Parts:
    head = (
        f'{{"run":{_quoted(record.run)},"key":{_quoted(record.key)},"kind":"{record.kind}",'
        f'"wait":{_wait(record.wait)},"at":"{_instant(record.at)}"}}'
    )
    return head, None


def _wait(wait: Wait) -> str:
    if type(wait) is Until:
        return f'{{"until":"{_instant(wait.until)}","_type":"Until"}}'
    if type(wait) is not ForEvent or wait.ask is not None:
        return dumps(_plain(wait))
    match = "null" if wait.match is None else _quoted(wait.match)
    expression = "null" if wait.expression is None else _quoted(wait.expression)
    return (
        f'{{"event":{_quoted(wait.event)},"until":"{_instant(wait.until)}","match":{match},'
        f'"expression":{expression},"_type":"ForEvent"}}'
    )


def _run_rested(record: RunRested) -> Parts:
    opened_at, later = _instant(record.opened_at), ""
    event, data = _event(record.event, record.opened_at, opened_at)
    if record.started_at is not None:
        later = f',"started_at":"{_instant(record.started_at)}"'
    if record.reopenings:
        later = f'{later},"reopenings":{record.reopenings}'
    if record.since is not None:
        later = f'{later},"since":"{_instant(record.since)}"'
    if record.singleton is not None:
        later = f'{later},"singleton":{_quoted(record.singleton)}'
    if record.other_ids:
        later = f'{later},"other_ids":{dumps(record.other_ids)}'
    return (
        f'{{"run":{_quoted(record.run)},"function":{_quoted(record.function)},"key":{_quoted(record.key)},'
        f'"kind":"{record.kind}","wait":{_wait(record.wait)},"event":{event},"opened_at":"{opened_at}",'
        f'"at":"{_instant(record.at)}","turn":{record.turn},"size":{record.size},"count":{record.count}{later}}}',
        data,
    )


def _run_opened(record: RunOpened) -> Parts:
    later = "" if record.fork is None else f',"fork":{dumps(_fields(record.fork))}'
    if record.singleton is not None:
        later = f'{later},"singleton":{_quoted(record.singleton)}'
    if record.group is not None:
        later = f'{later},"group":{_quoted(record.group)}'
    if record.others:
        later = f'{later},"others":[{",".join(map(_whole_event, record.others))}]'
    if record.member_ids:
        later = f'{later},"member_ids":{dumps(record.member_ids)}'
    if record.priority:
        later = f'{later},"priority":{record.priority!r}'
    return _opened(record, later)


def _opened(record: RunOpened | LoneOpening, later: str) -> Parts:
    at, parent = _instant(record.at), "null" if record.parent is None else dumps(record.parent)
    event, data = _event(record.event, record.at, at)
    return (
        f'{{"run":{_quoted(record.run)},"function":{_quoted(record.function)},"event":{event},"at":"{at}",'
        f'"parent":{parent}{later}}}',
        data,
    )


def _event_held(record: EventHeld) -> Parts:
    at, later = _instant(record.at), "" if record.replaces is None else f',"replaces":{_quoted(record.replaces)}'
    event, data = _event(record.event, record.at, at)
    return (
        f'{{"group":{_quoted(record.group)},"function":{_quoted(record.function)},"mode":"{record.mode}",'
        f'"key":{_quoted(record.key)},"id":{_quoted(record.id)},"event":{event},"at":"{at}",'
        f'"due":"{_instant(record.due)}","since":"{_instant(record.since)}"{later}}}',
        data,
    )


def _ticks_passed(record: TicksPassed) -> Parts:
    marks = ",".join([f'[{_quoted(cron)},{_quoted(tz)},"{_instant(passed)}"]' for cron, tz, passed in record.marks])
    latest = "null" if record.latest is None else f'"{_instant(record.latest)}"'
    return (
        f'{{"of":{_quoted(record.of)},"number":{record.number},"marks":[{marks}],"latest":{latest},'
        f'"at":"{_instant(record.at)}"}}',
        None,
    )


def _ticks_replaced(record: TicksReplaced) -> Parts:
    return f'{{"of":{_quoted(record.of)},"number":{record.number},"at":"{_instant(record.at)}"}}', None


def _whole_event(event: Event) -> str:
    fields, data = _event(event, None, "")
    return f'{fields[:-1]},"data":{_quoted(data)}}}'


def _run_closed(record: RunClosed | LoneEnding) -> Parts:
    error = "null" if record.error is None else dumps(_fields(record.error))
    reason = "null" if record.reason is None else _quoted(record.reason)
    head = (
        f'{{"run":{_quoted(record.run)},"status":"{record.status}","at":"{_instant(record.at)}",'
        f'"error":{error},"reason":{reason}}}'
    )
    return head, record.output


def _event_sent(record: EventSent) -> Parts:
    at, due = _instant(record.at), "null" if record.due is None else f'"{_instant(record.due)}"'
    event, data = _event(record.event, record.at, at)
    withdrawn = ',"withdrawn":true' if record.withdrawn else ""
    return f'{{"id":{_quoted(record.id)},"event":{event},"at":"{at}","due":{due}{withdrawn}}}', data


def _event(event: Event, when: datetime | None, at: str) -> tuple[str, Json]:
    """Return an event's own fields as text, and its data.

    `at` is the text of `when`, which is the `ts` of most events.
    """
    id = "null" if event.id is None else _quoted(event.id)
    ts = "null" if event.ts is None else f'"{at}"' if event.ts is when else f'"{_instant(event.ts)}"'
    v = "null" if event.v is None else _quoted(event.v)
    data = event.text if type(event) is RecordedEvent else recorded_event(event).text
    return f'{{"name":{_quoted(event.name)},"id":{id},"ts":{ts},"v":{v}}}', data


_PARTS: dict[type, Callable[[Any], Parts]] = {
    StepOpened: _step_opened,
    RunOpened: _run_opened,
    RunRested: _run_rested,
    RunClosed: _run_closed,
    EventSent: _event_sent,
    TicksPassed: _ticks_passed,
    TicksReplaced: _ticks_replaced,
    EventHeld: _event_held,
}


# Records of any kind: each field is written by the type of its value.


def _fields(record: object) -> dict[str, Any]:
    fields = {name: _plain(getattr(record, name)) for name in _NAMES[type(record)]}
    if type(record) is StepClosed and isinstance(record.outcome, Ok) and record.outcome.deep:
        fields["deep"] = True
    if type(record) is RunOpened:
        fields["others"] = [{**_fields(event), "data": recorded_event(event).text} for event in record.others]
    for name in _LATER.get(type(record), ()):
        if not fields[name]:
            del fields[name]
    return fields


def _plain(value: object) -> object:
    """Return a field's value in JSON's own types."""
    plain = _PLAIN.get(type(value))
    return value if plain is None else plain(value)


def _member(value: object) -> dict[str, Any]:
    return {**_fields(value), "_type": type(value).__name__}


def _instant(when: datetime) -> str:
    # Formatting an aware datetime costs more than the rest of a step's record, and many records share their second.
    global _second
    passed = when - _EPOCH
    days, seconds, text = _second  # in one piece: other threads write, too
    if seconds != passed.seconds or days != passed.days:
        text = (_EPOCH + timedelta(passed.days, passed.seconds)).isoformat()[:19] + "."
        _second = (passed.days, passed.seconds, text)
    fraction = passed.microseconds
    return f"{text}{_THREE[fraction // 1_000]}{_THREE[fraction % 1_000]}+00:00"


_PLAIN: dict[type, Callable[[Any], object]] = {
    datetime: _instant,
    tuple: lambda items: [_plain(item) for item in items],
    Event: _fields,
    Fork: _fields,
    RecordedEvent: _fields,
    RecordedError: _fields,
    **dict.fromkeys(_MEMBERS, _member),
    Ok: lambda _: dict(OK),  # its `deep` is written beside it: an earlier release recognises an Ok by its fields
}
