"""What is sent is taken in once: checked, copied, and written as the text that the check has made."""

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
from durable import Context, Event, Limits
from durable.events.event import event_of, text_of
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.values import decode, encode
from durable.journal.codec.write import read, write
from durable.journal.entries import EventTexts
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


@pytest.mark.parametrize("data", DATA)
def test_a_record_of_an_accepted_event_is_written_as_of_any_other(data: dict[str, Any]) -> None:
    event = accepted(Event("e", data), Limits(), "made", NOON)
    assert text_of(event) == encode(data) == enclose(data)
    assert enclose(event) == enclose(Event("e", data, "made", NOON))
    texts = EventTexts()
    for record in (EventSent("made", event, NOON), RunOpened("r", "f", event, NOON), RunOpened("q", "f", event, NOON)):
        text = write(record, texts.of(event))
        assert text == write(attrs.evolve(record, event=Event("e", data, "made", NOON)))
        assert read(type(record).__name__, text) == record
        assert text_of(event) is None, "it is written, and no longer kept twice"


def test_the_text_of_an_event_is_its_own_alone() -> None:
    """Whoever makes another event of it, with other data perhaps, does not take the text along."""
    event = accepted(Event("e", {"n": 1}), Limits(), "made", NOON)
    others = [attrs.evolve(event, data={"n": 2}), copy.copy(event), copy.deepcopy(event)]
    others += [pickle.loads(pickle.dumps(event)), decode(enclose(event))]
    assert [text_of(other) for other in others] == [None] * len(others)
    assert [write(EventSent("i", other, NOON)).partition("\n")[2] for other in others] == ['{"n":2}', *['{"n":1}'] * 4]


COUNTED = ("/journal/codec/values.py encode", "/events/event.py __attrs_post_init__")


def test_an_event_is_checked_and_written_once_however_many_hear_it() -> None:
    async def story() -> None:
        functions = [durable.function("told", id=f"f{number}")(_nothing) for number in range(5)]
        async with durable.Engine(functions) as engine:
            counted: Counter[str] = Counter()

            def count(frame: FrameType, what: str, _: object) -> None:
                name = f"{frame.f_code.co_filename.rpartition('durable')[2]} {frame.f_code.co_name}"
                if what == "call" and name in COUNTED:
                    counted[name.rpartition(" ")[2]] += 1

            sending = engine.send("told", {"n": 1})
            sys.setprofile(count)
            try:
                await sending
            finally:
                sys.setprofile(None)
            assert counted == {"encode": 1, "__attrs_post_init__": 1}
            await engine.settled()

    asyncio.run(story())


async def _nothing(_ctx: Context) -> None:
    await asyncio.sleep(0)
