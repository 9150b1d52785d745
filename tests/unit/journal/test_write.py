"""Every record comes back equal from its text; damaged text is never taken for a record (R30)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from durable.errors import CodecError, RecordedError, StoreCorruptError
from durable.events.event import Event
from durable.journal import gathered, records
from durable.journal import schedule_records as schedules
from durable.journal.codec import write as bodies
from durable.journal.codec.tags import dumps
from durable.journal.codec.values import encode
from durable.journal.codec.write import read, write
from durable.journal.records import (
    Cancelled,
    EngineClosed,
    Err,
    EventSent,
    ForChild,
    ForEvent,
    Fork,
    ForSignal,
    KeyClaimed,
    Ok,
    Record,
    RunClosed,
    RunOpened,
    StepClosed,
    StepOpened,
    Until,
)

NOW = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)

words = st.text(st.characters(codec=None), max_size=6)
names = st.text(min_size=1, max_size=6)
json_texts = st.one_of(st.integers(), words, st.dictionaries(st.text(), st.integers())).map(encode)
instants = st.datetimes(timezones=st.just(UTC))
small = st.integers(0, 9)
errors = st.builds(
    RecordedError, words, words, words, st.none() | words, st.lists(st.builds(RecordedError, words, words)).map(tuple)
)
data = st.dictionaries(words, st.one_of(st.integers(), st.sets(st.integers()), st.datetimes(), words))
events = st.builds(Event, names, data, st.none() | names, st.none() | instants, st.none() | names)
outcomes = st.one_of(st.builds(Ok, json_texts), st.builds(Err, errors), st.just(Cancelled()))
waits = st.one_of(
    st.builds(Until, instants),
    st.builds(ForEvent, words, instants, st.none() | words, st.none() | words),
    st.builds(ForSignal, words, instants),
    st.builds(ForChild, words, st.none() | instants),
)
kinds = st.sampled_from(get_args(records.StepKind))
turns = st.none() | st.integers(1, 1_000)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)
marks = st.lists(st.tuples(words, words, instants), max_size=2).map(tuple)
spans = st.lists(st.tuples(instants, instants), max_size=2).map(tuple)
all_records: st.SearchStrategy[Any] = st.one_of(
    st.builds(EventSent, words, events, instants, st.none() | instants),
    st.builds(KeyClaimed, words, json_texts, words, instants),
    st.builds(records.Counted, words, st.sampled_from(get_args(records.CountedAs)), json_texts, instants, instants),
    st.builds(records.RunAdmitted, words, instants),
    st.builds(records.MessageTaken, words, instants),
    st.builds(EngineClosed, instants),
    st.builds(
        RunOpened,
        words,
        words,
        events,
        instants,
        st.none() | st.tuples(words, words),
        st.none() | st.builds(records.Fork, words, st.none() | words, st.lists(words).map(tuple), words, instants),
        st.none() | json_texts,
        st.none() | names,
        st.lists(events, max_size=3).map(tuple),
        st.lists(names, max_size=3).map(tuple),
        st.floats(-600, 600),
    ),
    st.builds(
        gathered.EventHeld,
        words,
        words,
        st.sampled_from(get_args(gathered.Mode)),
        json_texts,
        words,
        events,
        instants,
        instants,
        instants,
        st.none() | names,
    ),
    st.builds(gathered.EventUnheld, words, words, instants),
    st.builds(gathered.GroupClosed, words, instants),
    st.builds(gathered.EventSkipped, words, words, words, words, instants),
    st.builds(records.RunResumed, words, small, st.booleans(), instants),
    st.builds(records.RunStarted, words, instants),
    st.builds(records.RunRetried, words, small, instants, st.none() | errors, instants, st.booleans()),
    st.builds(
        records.RunRested,
        words,
        words,
        words,
        kinds,
        waits,
        events,
        instants,
        instants,
        small,
        small,
        small,
        st.none() | instants,
        small,
        st.none() | instants,
        st.none() | json_texts,
        st.lists(words, max_size=3).map(tuple),
    ),
    st.builds(StepOpened, words, words, kinds, waits, instants),
    st.builds(records.StepRetried, words, words, kinds, small, instants, errors, instants),
    st.builds(StepClosed, words, words, kinds, outcomes, turns, instants, small),
    st.builds(
        RunClosed,
        words,
        st.sampled_from(get_args(records.Ending)),
        instants,
        st.none() | json_texts,
        st.none() | errors,
        st.none() | words,
    ),
    st.builds(schedules.TicksPassed, words, small, marks, st.none() | instants, instants),
    st.builds(schedules.TicksReplaced, words, small, instants),
    st.builds(
        schedules.ScheduleMade,
        words,
        words,
        words,
        words,
        st.sampled_from(get_args(schedules.Missed)),
        json_texts,
        instants,
        st.none() | st.floats(0.001, 1e6),
    ),
    st.builds(schedules.ScheduleEnded, words, instants),
    st.builds(schedules.FunctionPaused, words, instants, spans),
    st.builds(schedules.FunctionResumed, words, instants, spans),
)
RESTED = records.RunRested(
    "r", "f", "k", "sleep", Until(NOW), Event("a", {"n": 1}, "id", NOW), NOW, NOW, turn=2, size=5, count=4
)
EXAMPLES: list[Record] = [
    EventSent("i", Event("a", {"n": 1}), NOW),
    KeyClaimed("f", '"k"', "r", NOW),
    EngineClosed(NOW),
    RunOpened("r", "f", Event("a", {"n": 1}, "id", NOW), NOW, ("p", "k")),
    records.RunResumed("r", 1, True, NOW),
    records.RunStarted("r", NOW),
    records.RunRetried("r", 1, NOW, RecordedError("E", "m"), NOW),
    StepOpened("r", "k", "wait_for_event", ForEvent("e", NOW, "data.x"), NOW),
    records.StepRetried("r", "k", "run", 1, NOW, RecordedError("E", "m"), NOW),
    StepClosed("r", "k", "run", Ok('{"a":1}'), 4, NOW, 1),
    StepClosed("r", "k", "run", Err(RecordedError("E", "m")), 4, NOW, 1),
    RunClosed("r", "completed", NOW, "1"),
    records.MessageTaken("m", NOW),
    StepClosed("r", "k", "run", Ok('{"a":1}', deep=True), 4, NOW, 1),
    StepClosed("r", "\ud83d", "run", Ok("[1]", deep=True), None, NOW, 1),
    RESTED,
    gathered.EventHeld("h", "f", "batch", "null", "i", Event("a", {"n": 1}), NOW, NOW, NOW),
    gathered.EventUnheld("h", "i", NOW),
    gathered.GroupClosed("h", NOW),
    gathered.EventSkipped("i", "a", "f", "r", NOW),
    records.Counted("f", "start", '"k"', NOW, NOW),
    records.RunAdmitted("r", NOW),
    schedules.TicksPassed("cron/f", 3, (("@daily", "UTC", NOW),), NOW, NOW),
    schedules.TicksReplaced("cron/f", 2, NOW),
    schedules.ScheduleMade("s", "f", "@daily", "UTC", "last", '{"a":1}', NOW, 1.5),
    schedules.ScheduleEnded("s", NOW),
    schedules.FunctionPaused("f", NOW, ((NOW, NOW),)),
    schedules.FunctionResumed("f", NOW),
    RunOpened("r", "f", Event("a", {"n": 1}, "id", NOW), NOW, member_ids=("m",)),
    RunOpened("r", "f", Event("a", {"n": 1}, "id", NOW), NOW, fork=Fork("o", "s", ("k", "\ud83d"), "seed", NOW)),
]


@given(all_records)
def test_every_record_comes_back_equal(record: Any) -> None:
    body = write(record)
    assert body.isascii()
    assert read(type(record).__name__, body) == record


def test_the_examples_here_are_all_the_records() -> None:
    assert {type(record) for record in EXAMPLES} == set(get_args(Record))


@given(all_records)
def test_the_heads_that_are_spelled_out_are_what_any_record_gets(record: Any) -> None:
    """What was written once must be read by every later version, so there is one form."""
    written = dumps(bodies._fields(record))
    assume("\\ud" not in written)
    assert write(record).partition("\n")[0] == written


@pytest.mark.parametrize("record", EXAMPLES)
def test_the_first_line_is_json_and_the_second_the_users_text_verbatim(record: Any) -> None:
    """R3: a value of the user's is never parsed with the record."""
    head, _, value = write(record).partition("\n")
    assert type(json.loads(head)) is dict
    texts = {EventSent: '{"n":1}', RunOpened: '{"n":1}', KeyClaimed: '"k"', RunClosed: "1", type(RESTED): '{"n":1}'}
    texts[gathered.EventHeld] = '{"n":1}'
    texts[records.Counted] = '"k"'
    texts[schedules.ScheduleMade] = '{"a":1}'
    ok = record.outcome.value if type(record) is StepClosed and type(record.outcome) is Ok else ""
    assert value == texts.get(type(record), ok)


def test_the_form_of_a_closed_step_stays_readable() -> None:
    """What was written once must be read by every later version."""
    body = (
        '{"run":"r","key":"k","kind":"run","outcome":{"_type":"Ok"},"turn":4,'
        '"at":"2030-01-01T12:00:00.000005+00:00","tries":1}\n{"a":1}'
    )
    assert write(EXAMPLES[9]) == body
    assert read("StepClosed", body) == EXAMPLES[9]


@pytest.mark.parametrize(
    "record",
    [
        StepClosed("r", "\ud83d\ude00", "run", Ok("1"), 4, NOW),
        StepClosed("r", "k", "run", Err(RecordedError("E", "\ud83d\ude00\ud83d")), 4, NOW),
        StepOpened("r", "😀", "sleep", Until(NOW), NOW),
    ],
)
def test_halves_of_a_surrogate_pair_are_not_joined(record: Any) -> None:
    assert read(type(record).__name__, write(record)) == record


def test_a_users_value_that_looks_like_a_record_stays_a_value() -> None:
    value = encode({"run": "other", "outcome": {"_type": "Cancelled"}, "_type": "Ok", "text": "a\nb\u2028"})
    record = StepClosed("r", "k", "run", Ok(value), None, NOW)
    assert read("StepClosed", write(record)) == record


def test_instants_are_written_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    for record in EXAMPLES:
        assert write(attrs.evolve(record, at=there)) == write(record)


@pytest.mark.parametrize("micros", [0, 1, 999, 1_000, 10_000, 999_999, 1_000_000, 3_600_000_000, 86_400_000_000, -1])
@pytest.mark.parametrize("fraction", [0, 7, 999, 1_000, 500_000, 999_999])
def test_when_a_step_began_and_ended_is_written_to_the_microsecond(fraction: int, micros: int) -> None:
    """R34: also where both are in one second, and where the clock was set back meanwhile."""
    began = NOW.replace(microsecond=fraction)
    ended = began + timedelta(microseconds=micros)
    head = json.loads(write(StepClosed("r", "k", "run", Ok("1"), 4, ended, 1, began)).partition("\n")[0])
    assert head["began"] == began.isoformat(timespec="microseconds")
    assert head["at"] == ended.isoformat(timespec="microseconds")


def test_an_event_whose_data_cannot_be_kept_is_a_codec_error() -> None:
    """R10"""
    with pytest.raises(CodecError, match=r"\$\.x"):
        write(RunOpened("r", "f", Event("a", {"x": object()}), NOW))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StoreCorruptError, match=r"'RunVanished'.*version"):
        read("RunVanished", "{}")


@pytest.mark.parametrize("record", EXAMPLES)
def test_a_field_of_a_newer_version_is_ignored(record: Any) -> None:
    head, line_break, value = write(record).partition("\n")
    newer = json.dumps({**json.loads(head), "mood": {"x": [1]}}) + line_break + value
    assert read(type(record).__name__, newer) == record


@pytest.mark.parametrize("record", EXAMPLES)
def test_damaged_text_is_refused_and_names_the_kind(record: Any) -> None:
    """R30: every cut and every missing or mistyped field of each kind."""
    kind, body = type(record).__name__, write(record)
    head, _, value = body.partition("\n")
    fields = json.loads(head)
    required = [field.name for field in attrs.fields(type(record)) if field.default is attrs.NOTHING]
    broken = [body[:length] for length in range(len(head))]
    broken += [json.dumps({n: v for n, v in fields.items() if n != name}) for name in required if name in fields]
    broken += [json.dumps({**fields, name: [1.5]}) + ("\n" + value if value else "") for name in fields]
    broken += [head + "\n", body + "\n1"] if not value else [head + "\n"]
    if value and kind != "RunClosed":
        broken.append(head)
    broken += ["[]", "null", "1"]
    for text in broken:
        with pytest.raises(StoreCorruptError, match=kind):
            read(kind, text)


@given(all_records, st.integers(0, 40), any_json)
def test_whatever_stands_in_a_field_is_read_as_it_is_or_refused(record: Any, which: int, other: Any) -> None:
    """R30: no field is converted to what it should have been, at whatever depth it stands.

    A field that need not be written may be written as nothing.
    """
    kind, (head, line_break, value) = type(record).__name__, write(record).partition("\n")
    assume("~" not in head)  # a tag of the codec's
    fields = json.loads(head)
    places = _places(fields)
    holder, key = places[which % len(places)]
    holder[key] = other
    damaged = dumps(fields) + line_break + value
    try:
        found = read(kind, damaged)
    except StoreCorruptError:
        return
    if write(found) != damaged and repr(other) in ("None", "False", "0", "0.0", "-0.0", "[]") and type(holder) is dict:
        del holder[key]
    assert write(found) == dumps(fields) + line_break + value


def _places(tree: Any) -> list[tuple[Any, Any]]:
    children = list(tree.items() if type(tree) is dict else enumerate(tree) if type(tree) is list else ())
    return [(tree, key) for key, _ in children] + [place for _, child in children for place in _places(child)]


@pytest.mark.parametrize(("number", "old", "new"), [(3, '["p","k"]', '"pk"'), (10, '"causes":[]', '"causes":{}')])
def test_what_is_no_list_does_not_pass_for_one(number: int, old: str, new: str) -> None:
    kind, body = type(EXAMPLES[number]).__name__, write(EXAMPLES[number])
    assert old in body
    with pytest.raises(StoreCorruptError, match="where a list belongs"):
        read(kind, body.replace(old, new))


def test_what_many_records_name_is_kept_in_memory_once() -> None:
    first, second = (read("RunOpened", write(RunOpened("r", "fun", Event("ev", {}, None, NOW), NOW))) for _ in range(2))
    assert type(first) is RunOpened and type(second) is RunOpened
    assert first.function is second.function and first.event.name is second.event.name
    assert first.event.ts is first.at


def test_an_instant_without_a_zone_is_refused() -> None:
    body = write(EXAMPLES[2]).replace("+00:00", "")
    with pytest.raises(StoreCorruptError, match="not in UTC"):
        read("EngineClosed", body)


def test_an_earlier_release_reads_a_value_that_was_compared_all_the_way_down() -> None:
    """It compares the whole of an outcome with what an Ok looks like: the newer field stands beside it."""
    head, _, value = write(StepClosed("r", "k", "run", Ok("[1]", deep=True), 4, NOW, 1)).partition("\n")
    assert '"outcome":{"_type":"Ok"},' in head and head.endswith(',"deep":true}') and value == "[1]"
    with pytest.raises(StoreCorruptError):
        read("StepClosed", head.replace('"deep":true', '"deep":1') + "\n[1]")
