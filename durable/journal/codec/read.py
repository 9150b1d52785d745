"""Make records from the fields of their text, with one function for each kind.

Separate because it is spelled out by hand, every field checked: a store may hold 100,000 runs to recover, and damaged
text must never pass for a record.
Leaves to `write` the text as a whole, to `values` the user's values.

A reader takes the fields of the head and the text of the value that follows it, if one does. It may raise anything.
What is the same text in many records, such as a function's id or a step's key, is interned: kept in memory once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from sys import intern
from typing import Any, get_args

from attrs import evolve

from durable.errors import RecordedError
from durable.events import Event, Json
from durable.journal.codec.recorded import RecordedEvent
from durable.journal.codec.values import decode
from durable.journal.gathered import EventHeld, EventSkipped, EventUnheld, GroupClosed, Mode
from durable.journal.records import (
    Cancelled,
    Counted,
    CountedAs,
    Ending,
    EngineClosed,
    Err,
    EventSent,
    ForChild,
    ForEvent,
    Fork,
    ForSignal,
    KeyClaimed,
    MessageTaken,
    Ok,
    Outcome,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRested,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Until,
    Wait,
)

Head = dict[str, Any]

_STEP_KINDS = {kind: kind for kind in get_args(StepKind)}
_MODES = {mode: mode for mode in get_args(Mode)}
_COUNTED = {way: way for way in get_args(CountedAs)}
_ENDINGS = {ending: ending for ending in get_args(Ending)}
OK = {"_type": "Ok"}
_KEYS = frozenset({str})


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} stands where a text belongs")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} stands where a whole number belongs")
    return value


def _real(value: Any) -> float:
    if type(value) is not float:
        raise ValueError(f"{value!r} stands where a number with a fraction belongs")
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{value!r} stands where true or false belongs")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError(f"{value!r} stands where a list belongs")
    return value


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is not UTC:
        raise ValueError(f"the instant {text!r} is not in UTC")
    return when


def _instant_or_none(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


def _following(value: Json | None) -> Json:
    if value is None:
        raise ValueError("the value that belongs to it is missing")
    return value


def _refuse_value(value: Json | None) -> None:
    if value is not None:
        raise ValueError("a value follows that does not belong to it")


def _event(head: Head, data: Json | None, at: datetime, written_at: str | None = None) -> Event:
    """Return an event that was recorded at an instant, which is the `ts` of most; `written_at` is its text."""
    text = head["ts"]
    # The equal instant as one object, not two: a store may hold a hundred thousand runs.
    ts = None if text is None else at if text == written_at else _instant(text)
    written = _following(data)
    name, values, id, v = intern(head["name"]), decode(written), head["id"], head["v"]
    is_plain = (id is None or type(id) is str) and (v is None or type(v) is str) and type(values) is dict
    if name and id != "" and v != "" and is_plain and _KEYS.issuperset(map(type, values)):
        return RecordedEvent(name, written, id, ts, v)
    return Event(name, values, id, ts, v)  # raises an error that says what is wrong


def _error(head: Head) -> RecordedError:
    causes = tuple([_error(cause) for cause in _list(head.get("causes", []))])
    step_id, stack = _text_or_none(head.get("step_id")), _text(head.get("stack", ""))
    return RecordedError(_text(head["name"]), _text(head["message"]), stack, step_id, causes)


def _error_or_none(head: Head | None) -> RecordedError | None:
    return None if head is None else _error(head)


def _parent(pair: list[Any] | None) -> tuple[str, str] | None:
    if pair is None:
        return None
    run, key = _list(pair)
    return _text(run), _text(key)


def _fork(head: Head | None) -> Fork | None:
    if head is None:
        return None
    replaced = tuple([intern(key) for key in _list(head["replaced"])])
    return Fork(_text(head["run"]), _text_or_none(head["before"]), replaced, _text(head["seed"]), _instant(head["now"]))


def _outcome_without_value(head: Head, value: Json | None) -> Outcome:
    if value is not None:
        raise ValueError(f"its outcome is {head!r}, but a value follows")
    match head["_type"]:
        case "Err":
            return Err(_error(head["error"]))
        case "Cancelled":
            return Cancelled()
        case other:
            raise ValueError(f"its outcome is {other!r}, and no value follows")


def _wait(head: Head) -> Wait:
    match head["_type"]:
        case "Until":
            return Until(_instant(head["until"]))
        case "ForEvent":
            match, expression = _text_or_none(head.get("match")), _text_or_none(head.get("expression"))
            return ForEvent(
                intern(head["event"]), _instant(head["until"]), match, expression, _text_or_none(head.get("ask"))
            )
        case "ForSignal":
            return ForSignal(_text(head["signal"]), _instant(head["until"]), _text_or_none(head.get("ask")))
        case "ForChild":
            return ForChild(_text(head["child"]), _instant_or_none(head.get("until")))
        case other:
            raise ValueError(f"it waits for {other!r}, which is not known")


def _event_sent(head: Head, value: Json | None) -> EventSent:
    at = _instant(head["at"])
    event, due = _event(head["event"], value, at, head["at"]), _instant_or_none(head.get("due"))
    return EventSent(_text(head["id"]), event, at, due, _truth(head.get("withdrawn", False)))


def _key_claimed(head: Head, value: Json | None) -> KeyClaimed:
    return KeyClaimed(intern(head["function"]), _following(value), _text(head["run"]), _instant(head["at"]))


def _counted(head: Head, value: Json | None) -> Counted:
    function, way, at, until = intern(head["function"]), _COUNTED[head["counted_as"]], head["at"], head["until"]
    return Counted(function, way, _following(value), _instant(at), _instant(until))


def _message_taken(head: Head, value: Json | None) -> MessageTaken:
    _refuse_value(value)
    return MessageTaken(_text(head["id"]), _instant(head["at"]))


def _engine_closed(head: Head, value: Json | None) -> EngineClosed:
    _refuse_value(value)
    return EngineClosed(_instant(head["at"]))


def _run_opened(head: Head, value: Json | None) -> RunOpened:
    at = _instant(head["at"])
    event = _event(head["event"], value, at, head["at"])
    parent, fork = _parent(head.get("parent")), _fork(head.get("fork"))
    opened = RunOpened(_text(head["run"]), intern(head["function"]), event, at, parent, fork)
    return opened if _OF_FLOW.isdisjoint(head) else _of_flow(opened, head)


_OF_FLOW = frozenset({"singleton", "group", "others", "member_ids", "priority"})


def _of_flow(opened: RunOpened, head: Head) -> RunOpened:
    others = tuple([_event(one, _text(one["data"]), opened.at) for one in _list(head.get("others", []))])
    singleton, group = _text_or_none(head.get("singleton")), _text_or_none(head.get("group"))
    member_ids = tuple([_text(id) for id in _list(head.get("member_ids", []))])
    flow = evolve(opened, singleton=singleton, group=group, priority=_real(head.get("priority", 0.0)))
    return evolve(flow, others=others, member_ids=member_ids)


def _event_held(head: Head, value: Json | None) -> EventHeld:
    at, function = _instant(head["at"]), intern(head["function"])
    return EventHeld(
        _text(head["group"]),
        function,
        _MODES[head["mode"]],
        _text(head["key"]),
        _text(head["id"]),
        _event(head["event"], value, at, head["at"]),
        at,
        _instant(head["due"]),
        _instant(head["since"]),
        _text_or_none(head.get("replaces")),
    )


def _event_unheld(head: Head, value: Json | None) -> EventUnheld:
    _refuse_value(value)
    return EventUnheld(_text(head["group"]), _text(head["id"]), _instant(head["at"]))


def _group_closed(head: Head, value: Json | None) -> GroupClosed:
    _refuse_value(value)
    return GroupClosed(_text(head["group"]), _instant(head["at"]))


def _event_skipped(head: Head, value: Json | None) -> EventSkipped:
    _refuse_value(value)
    name, function = intern(head["name"]), intern(head["function"])
    return EventSkipped(_text(head["id"]), name, function, _text(head["by"]), _instant(head["at"]))


def _run_resumed(head: Head, value: Json | None) -> RunResumed:
    _refuse_value(value)
    return RunResumed(_text(head["run"]), _whole(head["deaths"]), _truth(head["alone"]), _instant(head["at"]))


def _run_admitted(head: Head, value: Json | None) -> RunAdmitted:
    _refuse_value(value)
    return RunAdmitted(_text(head["run"]), _instant(head["at"]))


def _run_started(head: Head, value: Json | None) -> RunStarted:
    _refuse_value(value)
    return RunStarted(_text(head["run"]), _instant(head["at"]))


def _run_retried(head: Head, value: Json | None) -> RunRetried:
    _refuse_value(value)
    return RunRetried(
        _text(head["run"]),
        _whole(head["attempt"]),
        _instant(head["due"]),
        _error_or_none(head["error"]),
        _instant(head["at"]),
        _truth(head.get("reopened", False)),
        tuple([intern(key) for key in _list(head.get("waits", []))]),
    )


def _run_rested(head: Head, value: Json | None) -> RunRested:
    # A store may hold a hundred thousand of these, most with nothing but the first eleven fields.
    run, written_at, turn, size, count = head["run"], head["opened_at"], head["turn"], head["size"], head["count"]
    if not (type(run) is str and type(turn) is type(size) is type(count) is int):
        raise ValueError(f"its run is {run!r}, its turn {turn!r}, its size {size!r}, its count {count!r}")
    function, key, kind, wait = intern(head["function"]), intern(head["key"]), _STEP_KINDS[head["kind"]], head["wait"]
    opened_at, at = _instant(written_at), _instant(head["at"])
    event = _event(head["event"], value, opened_at, written_at)
    rested = RunRested(run, function, key, kind, _wait(wait), event, opened_at, at, turn, size, count)
    return rested if len(head) == _FIELDS_OF_REST else _with_later(rested, head)


_FIELDS_OF_REST = 11


def _with_later(rested: RunRested, head: Head) -> RunRested:
    return evolve(
        rested,
        started_at=_instant_or_none(head.get("started_at")),
        reopenings=_whole(head.get("reopenings", 0)),
        since=_instant_or_none(head.get("since")),
        singleton=_text_or_none(head.get("singleton")),
        other_ids=tuple([_text(id) for id in _list(head.get("other_ids", []))]),
    )


def _step_opened(head: Head, value: Json | None) -> StepOpened:
    _refuse_value(value)
    kind, at = _STEP_KINDS[head["kind"]], _instant(head["at"])
    return StepOpened(_text(head["run"]), intern(head["key"]), kind, _wait(head["wait"]), at)


def _step_retried(head: Head, value: Json | None) -> StepRetried:
    _refuse_value(value)
    return StepRetried(
        _text(head["run"]),
        intern(head["key"]),
        _STEP_KINDS[head["kind"]],
        _whole(head["attempt"]),
        _instant(head["due"]),
        _error(head["error"]),
        _instant(head["at"]),
        _instant_or_none(head.get("began")),
    )


def _step_closed(head: Head, value: Json | None) -> StepClosed:
    # The most frequent record by far: its checks are one condition, and an Ok is not looked for among the outcomes.
    run, kind, outcome, turn, tries = head["run"], head["kind"], head["outcome"], head["turn"], head.get("tries", 0)
    if type(run) is not str or type(tries) is not int or (turn is not None and (type(turn) is not int or turn < 0)):
        raise ValueError(f"its run is {run!r}, its turn {turn!r}, its tries {tries!r}")
    if value is not None and outcome == OK:
        ended: Outcome = Ok(value, _truth(head.get("deep", False)))
    else:
        ended = _outcome_without_value(outcome, value)
    if turn == 0 and not isinstance(ended, Cancelled):
        raise ValueError("its turn is 0: the first that is delivered is number 1")
    key, began = intern(head["key"]), _instant_or_none(head.get("began"))
    return StepClosed(run, key, _STEP_KINDS[kind], ended, turn, _instant(head["at"]), tries, began)


def _run_closed(head: Head, value: Json | None) -> RunClosed:
    error, reason = _error_or_none(head.get("error")), _text_or_none(head.get("reason"))
    status, at = _ENDINGS[head["status"]], _instant(head["at"])
    return RunClosed(_text(head["run"]), status, at, value, error, reason)


# What the readers of other records need, too.
text, whole, real, listed, instant, instant_or_none = _text, _whole, _real, _list, _instant, _instant_or_none
following, refuse_value = _following, _refuse_value

READERS: dict[str, Callable[[Head, Json | None], Record]] = {
    "EventSent": _event_sent,
    "EventHeld": _event_held,
    "EventUnheld": _event_unheld,
    "GroupClosed": _group_closed,
    "EventSkipped": _event_skipped,
    "KeyClaimed": _key_claimed,
    "Counted": _counted,
    "MessageTaken": _message_taken,
    "EngineClosed": _engine_closed,
    "RunOpened": _run_opened,
    "RunResumed": _run_resumed,
    "RunAdmitted": _run_admitted,
    "RunStarted": _run_started,
    "RunRetried": _run_retried,
    "RunRested": _run_rested,
    "StepOpened": _step_opened,
    "StepRetried": _step_retried,
    "StepClosed": _step_closed,
    "RunClosed": _run_closed,
}
