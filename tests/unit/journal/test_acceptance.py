"""What is sent is taken in once: checked, and from then on one text that nobody can change."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections import Counter
from datetime import UTC, date, datetime
from types import FrameType
from typing import Any

import attrs
import pytest

import durable
from durable import CodecError, Context, Event, Limits
from durable.events import seen_by_filters
from durable.events.event import event_of
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.codec.values import decode, encode
from durable.journal.codec.write import read, write
from durable.journal.records import EventSent, RunOpened
from durable.journal.rules.acceptance import accepted, stamped

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 7, 2, tzinfo=UTC)
DATA: list[dict[str, Any]] = [
    {},
    {"n": 1, "at": date(2026, 1, 1), "~": (1, {2})},
    {"é": "\U0001f600", "x": [1.0, -0.0, None, True, {"y": 10**30}]},
]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("given", [Event("e"), Event("e", id="own"), Event("e", ts=LATER, v="2")])
def test_an_accepted_event_is_the_one_that_was_given_with_what_it_lacked(given: Event, data: dict[str, Any]) -> None:
    event = attrs.evolve(given, data=data)
    whole = Event("e", data, event.id or "made", event.ts or NOON, event.v)
    assert accepted(event, Limits(), "made", NOON) == whole
    assert accepted(event, Limits()) == event
    assert stamped(accepted(event, Limits()), "made", NOON) == whole
    assert event_of("e", data, event.id, event.ts, event.v) == event


def test_what_is_accepted_is_a_copy_that_nobody_can_change() -> None:
    data = {"list": [1]}
    event = accepted(Event("e", data), Limits(), "made", NOON)
    data["list"].append(2)
    assert event.data == {"list": [1]}
    event.data["list"].append(3)
    assert event.data == event.copy().data == {"list": [1]}


@pytest.mark.parametrize("name", ["e", "é", "\U0001f600"])
@pytest.mark.parametrize("data", DATA)
def test_a_record_of_an_accepted_event_is_written_as_of_any_other(data: dict[str, Any], name: str) -> None:
    event = accepted(Event(name, data), Limits(), "made", NOON)
    assert event.text == encode(data) == enclose(data)
    for record in (EventSent("made", event, NOON), RunOpened("r", "f", event, NOON), RunOpened("q", name, event, NOON)):
        text = write(record)
        assert text == write(attrs.evolve(record, event=Event(name, data, "made", NOON)))
        again = read(type(record).__name__, text)
        assert again == record
        assert isinstance(again, EventSent | RunOpened)
        assert type(again.event) is RecordedEvent, "a recovered run holds no more than one that was opened just now"


def test_a_recorded_event_equals_the_plain_one_and_becomes_it_wherever_it_is_copied() -> None:
    event, plain = accepted(Event("e", {"n": 1}), Limits(), "made", NOON), Event("e", {"n": 1}, "made", NOON)
    others = [event.copy(), copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))]
    assert others == [event] * len(others) == [plain] * len(others)
    assert {type(other) for other in others} == {Event}
    assert event == plain == event
    assert event != Event("e", {"n": 2}, "made", NOON) != event
    assert event != "e"
    assert recorded_event(plain) == event
    assert recorded_event(event) is event


def test_all_filters_of_a_run_share_one_copy_of_its_event() -> None:
    """A run may wait in a thousand filtered steps at once, with half a megabyte of data."""
    event = accepted(Event("e", {"n": 1}), Limits(), "made", NOON)
    assert event.seen() == seen_by_filters(Event("e", {"n": 1}, "made", NOON))
    assert event.seen() is event.seen()
    assert event.seen() is not accepted(event, Limits()).seen()


ZONES = [NOON, NOON.replace(microsecond=5), None]
ODD = ["e", "é", "\U0001f600", 'a"\\b', "\ud83d", "\ud83d\ude00"]


@pytest.mark.parametrize("ts", ZONES)
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("data", [*DATA, {"~": {"at": NOON, "deep": [[[(1,)]]]}, "s": "\ud83d\ude00"}])
def test_an_event_as_a_value_is_the_text_that_the_codec_writes_by_its_walk(
    data: dict[str, Any], name: str, ts: datetime | None
) -> None:
    for id, v in ((None, None), (name, "2"), ("own", name)):
        plain = Event(name, data, id, ts, v)
        walked = encode([plain])[1:-1]  # a list is always walked
        assert recorded_event(plain).as_value() == enclose(plain) == encode(plain) == walked
        found = decode(walked)
        assert type(found) is Event
        assert found == decode(f"[{walked}]")[0] == plain
        assert repr(found) == repr(plain)


@pytest.mark.parametrize(
    "damaged",
    [
        '{"~Event":{"name":"","data":{},"id":null,"ts":{"~datetime":"2026-07-01T12:00:00+00:00"},"v":null}}',
        '{"~Event":{"name":"e","data":[],"id":null,"ts":{"~datetime":"2026-07-01T12:00:00+00:00"},"v":null}}',
        '{"~Event":{"name":"e","data":{},"id":7,"ts":{"~datetime":"2026-07-01T12:00:00+00:00"},"v":null}}',
        '{"~Event":{"name":"e","data":{},"id":null,"ts":{"~datetime":"noon"},"v":null}}',
        '{"~Event":{"name":"e","data":{},"id":null,"ts":{"~datetime":"2026-07-01T12:00:00"},"v":null}}',
        '{"~Event":{"name":"e","data":{},"id":null,"ts":{"~datetime":7},"v":null}}',
        '{"~Event":{"name":"e","data":{},"id":null,"at":{"~datetime":"2026-07-01T12:00:00+00:00"},"v":null}}',
        '{"~Event":[{"~datetime":"2026-07-01T12:00:00+00:00"}]}',
    ],
)
def test_text_that_is_no_event_is_refused_as_if_it_were_walked(damaged: str) -> None:
    with pytest.raises(CodecError) as walked:
        decode(f"[{damaged}]")
    with pytest.raises(CodecError) as read_whole:
        decode(damaged)
    assert str(read_whole.value).partition(": ")[2] == str(walked.value).partition(": ")[2]


COUNTED = ("/journal/codec/values.py encode", "/events/event.py __attrs_post_init__")


@pytest.mark.parametrize(("id", "expected"), [(None, {"encode": 1}), ("mine", {"encode": 1, "__attrs_post_init__": 1})])
def test_an_event_is_checked_and_written_once_however_many_hear_it(id: str | None, expected: dict[str, int]) -> None:
    async def story() -> None:
        functions = [durable.function("told", id=f"f{number}")(_nothing) for number in range(5)]
        async with durable.Engine(functions) as engine:
            counted: Counter[str] = Counter()

            def count(frame: FrameType, what: str, _: object) -> None:
                name = f"{frame.f_code.co_filename.rpartition('durable')[2]} {frame.f_code.co_name}"
                if what == "call" and name in COUNTED:
                    counted[name.rpartition(" ")[2]] += 1

            sending = engine.send("told", {"n": 1}, id=id)
            sys.setprofile(count)
            try:
                await sending
            finally:
                sys.setprofile(None)
            assert counted == expected
            await engine.settled()

    asyncio.run(story())


async def _nothing(_ctx: Context) -> None:
    await asyncio.sleep(0)
