"""R21: an event that is still to come can be taken back; nobody gets it, and its own id is free again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, Event, FileStore, Store
from durable.journal import read, write
from durable.journal.records import EventSent
from durable.testing import Lab, VirtualClock
from tests.support.wordings import NOON

pytestmark = pytest.mark.anyio


@durable.function("shop/due", id="due")
async def due(ctx: Context) -> Any:
    return ctx.event.data.get("n")


@durable.function(id="waits")
async def waits(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event("w", event="shop/due", timeout="30d")
    return event and event.data.get("n")


def _in(days: int) -> datetime:
    return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(days=days)


async def outputs(lab: Lab) -> list[Any]:
    return [info.output for info in await lab.engine.runs() if info.status == "completed"]


async def test_an_event_that_was_taken_back_reaches_nobody() -> None:
    async with Lab([due, waits]) as lab:
        run = await lab.start(waits)
        [first, second] = await lab.engine.send([Event("shop/due", {"n": n}, ts=_in(n)) for n in (1, 2)])
        assert await lab.engine.unsend(first)
        await lab.advance("1d")
        assert await outputs(lab) == []
        await lab.advance("1d")
        assert await lab.result(run) == 2 and await outputs(lab) == [2, 2]
        assert [await lab.engine.unsend(id) for id in (first, second, "nobody's", "\ud800", "")] == [False] * 5


async def test_its_own_id_is_free_again_at_once() -> None:
    """By whichever of its repeats it is named, since all have the id of the first."""
    async with Lab([due]) as lab:
        sends = [await lab.engine.send("shop/due", {"n": n}, id="mine", ts=_in(1)) for n in (1, 2)]
        assert sends[0] == sends[1] and await lab.engine.unsend(sends[1][0])
        assert await lab.engine.send("shop/due", {"n": 3}, id="mine", ts=_in(1)) != sends[0]
        assert not await lab.engine.unsend(sends[0][0])
        await lab.advance("1d")
        assert await outputs(lab) == [3]


@pytest.mark.parametrize(
    "option",
    [{"debounce": durable.Debounce("1h")}, {"batch_events": durable.Batch(5, "1h")}],
    ids=["debounce", "batch"],
)
async def test_an_event_that_a_function_holds_opens_no_run_and_frees_its_id(option: dict[str, Any]) -> None:
    """The first of a batch, alone in its group, and again after a crash."""

    @durable.function("shop/due", id="gathers", **option)
    async def gathers(ctx: Context) -> list[int]:
        return [event.data["n"] for event in ctx.events]

    async with Lab([gathers]) as lab:
        [first] = await lab.engine.send("shop/due", {"n": 1}, id="mine")
        assert await lab.engine.unsend(first) and not await lab.engine.unsend(first)
        assert await lab.engine.send("shop/due", {"n": 2}, id="mine") != [first]
        await lab.crash()
        [third] = await lab.engine.send("shop/due", {"n": 3}, id="mine")  # a repeat
        await lab.advance("2h")
        assert await outputs(lab) == [[2]] and not await lab.engine.unsend(third)


@pytest.mark.parametrize("days", [0, 3], ids=["delivered", "to come"])
async def test_an_id_that_another_event_has_by_now_is_not_freed(days: int) -> None:
    """A batch may hold an event for longer than its id drops repeats."""

    @durable.function("shop/due", id="gathers", batch_events=durable.Batch(5, "7d"))
    async def gathers(ctx: Context) -> list[int]:
        return [event.data["n"] for event in ctx.events]

    async with Lab([gathers]) as lab:
        [first] = await lab.engine.send("shop/due", {"n": 1}, id="mine")
        await lab.advance("25h")
        second = await lab.engine.send("shop/due", {"n": 2}, id="mine", ts=_in(days + 2) if days else None)
        assert second != [first] and await lab.engine.unsend(first)
        for crashing in (False, True):
            if crashing:
                await lab.crash()
            assert await lab.engine.send("shop/due", {"n": 3}, id="mine") == second
        await lab.advance("20d")
        assert await outputs(lab) == [[2]]


async def test_its_timer_is_dropped() -> None:
    async with Lab([due]) as lab:
        [id] = await lab.engine.send("shop/due", ts=_in(1))
        assert lab.clock.next_due() is not None
        await lab.engine.unsend(id)
        assert lab.clock.next_due() is None


@pytest.mark.parametrize("kind", ["dict", "file"])
async def test_it_stays_taken_back_after_a_restart_and_its_id_free(kind: str, tmp_path: Path) -> None:
    kept: dict[Any, Any] = {}

    def store() -> Store:
        return DictStore(kept) if kind == "dict" else FileStore(tmp_path / "x.db", durability="none")

    clock = VirtualClock(NOON)
    async with Engine([due], store=store(), clock=clock) as engine:
        [id] = await engine.send("shop/due", {"n": 1}, id="mine", ts=NOON + timedelta(hours=1))
        assert await engine.unsend(id)
    clock.advance("2h")
    async with Engine([due], store=store(), clock=clock) as engine:
        await engine.settled()
        assert await engine.runs() == [] and not await engine.unsend(id)
        await engine.send("shop/due", {"n": 2}, id="mine")
        await engine.settled()
        assert [info.output for info in await engine.runs()] == [2]


async def test_a_process_that_dies_after_it_delivers_nothing() -> None:
    async with Lab([due]) as lab:
        [id] = await lab.engine.send("shop/due", ts=_in(1))
        await lab.engine.unsend(id)
        await lab.crash()
        await lab.advance("2d")
        assert await lab.engine.runs() == []


@pytest.mark.parametrize(
    ("id", "words"),
    [(7, "the id of an event must be a string, not 7"), (["a"], "give one of the ids that send returned")],
)
async def test_what_is_no_id_is_refused(id: Any, words: str) -> None:
    async with Lab([due]) as lab:
        with pytest.raises(TypeError, match=words):
            await lab.engine.unsend(id)


async def test_a_function_is_told_to_use_a_step() -> None:
    @durable.function(retries=0)
    async def takes_back(ctx: Context) -> None:
        await engine.unsend("x")

    async with Engine([takes_back]) as engine:
        with pytest.raises(durable.RunFailed, match="a step whose handler calls it"):
            await engine.invoke(takes_back)


def test_the_record_of_it_is_one_that_earlier_releases_read_as_a_delivery() -> None:
    """They ignore the field that they do not know; records of theirs read as before."""
    event = Event("shop/due", {"n": 1}, "mine", NOON)
    text = (
        '{"id":"1","event":{"name":"shop/due","id":"mine","ts":"2030-01-01T12:00:00.000000+00:00","v":null},'
        '"at":"2030-01-01T12:00:00.000000+00:00","due":null,"withdrawn":true}\n{"n":1}'
    )
    assert write(EventSent("1", event, NOON, withdrawn=True)) == text
    assert read("EventSent", text) == EventSent("1", event, NOON, withdrawn=True)
    assert read("EventSent", text.replace(',"withdrawn":true', "")) == EventSent("1", event, NOON)
