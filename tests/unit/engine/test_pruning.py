"""S6: what ended long ago is forgotten, by itself or when asked, beside an engine that goes on; nothing else is."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.testing import VirtualClock

pytestmark = pytest.mark.anyio

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Make = Callable[[], durable.Store]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["dict", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    mapping: dict[str, Any] = {}
    return lambda: durable.DictStore(mapping) if request.param == "dict" else durable.FileStore(tmp_path / "x.db")


@durable.function("begin")
async def quick(ctx: durable.Context) -> str:
    await ctx.step.run("a", str)
    return "done"


@durable.function
async def sleeper(ctx: durable.Context) -> None:
    await ctx.step.sleep("years", "900d")


async def ids(engine: durable.Engine) -> set[str]:
    return {run.id for run in await engine.runs(limit=1_000)}


async def test_what_ended_before_is_forgotten_and_what_goes_on_stays(make: Make) -> None:
    clock = VirtualClock(NOON)
    async with durable.Engine([quick, sleeper], store=make(), clock=clock) as engine:
        await engine.start(sleeper, id="asleep")
        for number in range(3):
            await engine.invoke(quick, id=f"old{number}")
        clock.advance(10 * DAY)
        await engine.invoke(quick, id="young")
        assert await engine.prune("11d") == 0
        assert await engine.prune(timedelta(days=9)) == 3
        assert await ids(engine) == {"asleep", "young"}
        for call in (engine.info("old0"), engine.run("old0"), engine.result("old0"), engine.retry("old0")):
            with pytest.raises(KeyError, match="old0"):
                await call
        assert (await engine.start(quick, {"other": 1}, id="old0")).id == "old0"  # the id is free again
        await engine.settled()
        clock.advance("1s")
        assert await engine.prune(NOON + 20 * DAY) == 2  # of what is to end until then nothing has
        assert await ids(engine) == {"asleep"}
    async with durable.Engine([quick, sleeper], store=make(), clock=clock) as engine:
        assert [run.status for run in await engine.runs()] == ["waiting"]


async def test_keys_and_ids_that_are_in_force_outlive_the_runs_that_they_opened(make: Make) -> None:
    """R21: whatever instant is given."""

    @durable.function("paid", idempotency="event.data.cart")
    async def pay(ctx: durable.Context) -> None: ...

    clock = VirtualClock(NOON)
    async with durable.Engine([pay], store=make(), clock=clock) as engine:
        [first] = await engine.send("paid", {"cart": 1}, id="e1")
        await engine.settled()
        clock.advance("1s")
        assert await engine.prune(NOON + 900 * DAY) == 1
        assert await engine.send("paid", {"cart": 2}, id="e1") == [first]
        await engine.send("paid", {"cart": 1})
        await engine.settled()
        assert await engine.runs() == []
    async with durable.Engine([pay], store=make(), clock=clock) as engine:
        assert await engine.send("paid", {"cart": 2}, id="e1") == [first]
        clock.advance(2 * DAY)
        await engine.prune(0)  # their time is over
        await engine.send("paid", {"cart": 1}, id="e1")
        await engine.settled()
        assert len(await engine.runs()) == 1


async def test_a_parent_that_goes_on_keeps_what_its_forgotten_child_returned_and_begins_a_failed_one_anew(
    make: Make,
) -> None:
    calls: list[str] = []

    @durable.function(retries=0)
    async def child(ctx: durable.Context) -> str:
        calls.append(ctx.run_id)
        if ctx.event.data["fails"] and len(calls) < 3:
            raise OSError("not yet")
        return "of the child"

    @durable.function(retries=0)
    async def parent(ctx: durable.Context) -> list[str]:
        good = await ctx.step.invoke("good", function=child, data={"fails": False})
        try:
            return [good, await ctx.step.invoke("bad", function=child, data={"fails": True})]
        except durable.StepError:
            await ctx.step.sleep("days", 10 * DAY)
            raise

    clock = VirtualClock(NOON)
    async with durable.Engine([parent, child], store=make(), clock=clock) as engine:
        run = await engine.start(parent, id="p")
        await engine.settled()
        clock.advance(6 * DAY)
        assert await engine.prune("5d") == 2  # the parent sleeps
    async with durable.Engine([parent, child], store=make(), clock=clock) as engine:
        clock.advance(6 * DAY)
        with pytest.raises(durable.RunFailed, match="not yet"):
            await engine.result(run.id)
        assert await (await engine.retry(run.id)).result() == ["of the child", "of the child"]
        assert calls[:2] == ["p/good", "p/bad"] and len(calls) == 3


async def test_a_run_that_is_opened_again_is_never_forgotten_meanwhile(make: Make) -> None:
    """It is forgotten, and the retry finds none; or it is opened again, and is there as a whole."""
    fails = True

    @durable.function(retries=0)
    async def flaky(ctx: durable.Context) -> str:
        await ctx.step.run("a", str)
        if fails:
            raise OSError("not yet")
        return "done"

    async def later(turns: int, call: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        try:
            return await call
        except KeyError:
            return None

    clock, reopened = VirtualClock(NOON), 0
    async with durable.Engine([flaky], store=make(), clock=clock) as engine:
        for number in range(24):
            fails = True
            run = await engine.start(flaky, id=f"f{number}")
            with pytest.raises(durable.RunFailed):
                await run.result()
            fails = False
            clock.advance("1s")
            pruning, again = engine.prune(0), engine.retry(run.id)
            if number % 2:
                first = asyncio.ensure_future(pruning)
                again = await later(number, again)
                await first
            else:
                first = asyncio.ensure_future(later(0, again))
                await later(1 << number // 2, pruning)
                again = await first
            if again is not None:
                reopened += 1
                assert await again.result() == "done"
                assert (await run.info()).steps["a"].status == "completed"
            assert await engine.prune(0) == 0
            clock.advance("1s")
            assert await engine.prune(0) == (again is not None)
    async with durable.Engine([flaky], store=make(), clock=clock) as engine:
        assert await engine.runs() == []
    assert reopened < 24


class Gated(durable.DictStore):
    """Keeps nothing while its gate is shut, and ends no piece of a prune before it may."""

    immediate = False

    def __init__(self, mapping: dict[str, Any]) -> None:
        super().__init__(mapping)
        self.gate, self.piece = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def prunes(self, ended_before: datetime, rows: int = 1) -> AsyncIterator[int]:
        async for count in super().prunes(ended_before, rows):
            await self.piece.wait()
            yield count

    async def append(self, entries: Sequence[durable.Entry]) -> None:
        await self.gate.wait()
        await super().append(entries)


async def test_nothing_is_forgotten_before_the_store_knows_what_is_open_again() -> None:
    fails, mapping = True, dict[str, Any]()

    @durable.function(retries=0)
    async def flaky(ctx: durable.Context) -> str:
        if fails:
            raise OSError("not yet")
        await ctx.step.sleep("day", "1d")
        return "done"

    clock, store = VirtualClock(NOON), Gated(mapping)
    async with durable.Engine([flaky], store=store, clock=clock) as engine:
        with pytest.raises(durable.RunFailed):
            await engine.invoke(flaky, id="f")
        clock.advance("1s")
        fails = False
        pruning, opening = asyncio.ensure_future(engine.prune(0)), asyncio.ensure_future(engine.retry("f"))
        for step in (store.gate.clear, store.piece.set, store.gate.set):
            for _ in range(50):
                await asyncio.sleep(0)
            step()
        assert await pruning == 0
        await opening
    async with durable.Engine([flaky], store=durable.DictStore(mapping), clock=clock) as engine:
        clock.advance("2d")
        assert await engine.result("f") == "done"


async def test_a_close_does_not_wait_until_all_is_forgotten() -> None:
    class Endless(durable.DictStore):
        def __init__(self) -> None:
            super().__init__()
            self.pieces = 0

        async def prunes(self, ended_before: datetime, rows: int = 1) -> AsyncIterator[int]:
            while True:
                self.pieces += 1
                yield 1

    store = Endless()
    async with asyncio.timeout(10):
        async with durable.Engine([quick], store=store, retention="1d"):
            while store.pieces < 3:
                await asyncio.sleep(0)


@pytest.mark.parametrize("age", [timedelta(days=900_000), timedelta.max])
async def test_an_age_that_no_datetime_holds_forgets_nothing(age: timedelta, caplog: pytest.LogCaptureFixture) -> None:
    async with durable.Engine([quick], retention=age) as engine:
        await engine.invoke(quick)
        assert await engine.prune(age) == 0
        assert (await engine.health()).is_ok
    assert not caplog.messages


async def test_a_list_that_is_made_meanwhile_shows_no_run_that_is_gone(make: Make) -> None:
    clock = VirtualClock(NOON)
    async with durable.Engine([quick], store=make(), clock=clock) as engine:
        await engine.send([durable.Event("begin", {"n": number}) for number in range(60)])
        await engine.settled()
        clock.advance(DAY)
        listing = asyncio.ensure_future(engine.runs())
        await engine.prune(0)
        assert all(run.status == "completed" for run in await listing)
        assert await engine.runs() == []


async def test_a_retention_forgets_at_the_opening_and_every_hour(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(NOON)
    async with durable.Engine([quick], store=make(), clock=clock) as engine:
        await engine.invoke(quick, id="a")
    clock.advance(2 * DAY)
    with caplog.at_level(logging.INFO, "durable"):
        async with durable.Engine([quick], store=make(), clock=clock, retention="1d") as engine:
            await engine.invoke(quick, id="b")
            began = clock.now()
            async with asyncio.timeout(20):
                while "a" in await ids(engine):
                    await asyncio.sleep(0.001)
                while "b" in await ids(engine):
                    clock.advance("10m")
                    await asyncio.sleep(0.001)  # the file's threads know nothing of this clock
            assert clock.now() - began >= DAY
    told = [one for one in caplog.messages if "forgotten" in one]
    assert told[0] == "1 run that ended before 2030-01-02 12:00:00+00:00 is forgotten"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (datetime(2030, 1, 1), ValueError),  # naive
        ("30", ValueError),
        ("soon", ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (True, TypeError),
        (None, TypeError),
        ([], TypeError),
    ],
)
async def test_what_is_no_duration_and_no_instant_is_refused_at_the_call(given: Any, error: type[Exception]) -> None:
    async with durable.Engine([quick]) as engine:
        with pytest.raises(error, match="ended_before"):
            await engine.prune(given)
    if given is not None:
        with pytest.raises((TypeError, ValueError), match="retention"):
            durable.Engine([quick], retention=given)


def test_a_retention_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="retention must be longer than 0"):
        durable.Engine([quick], retention=0)


async def test_a_function_that_prunes_is_told_how_and_a_step_may() -> None:
    forgotten: list[int] = []

    @durable.function(retries=0)
    async def cleans(ctx: durable.Context) -> None:
        async def clean() -> None:
            forgotten.append(await engine.prune("1d"))

        await ctx.step.run("clean", clean)
        await engine.prune("1d")

    async with durable.Engine([cleans]) as engine:
        with pytest.raises(durable.RunFailed, match="write a step whose handler calls it"):
            await engine.invoke(cleans)
    assert forgotten == [0]


async def test_the_file_shrinks_and_a_close_in_between_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with durable.Engine([quick, sleeper], store=path) as engine:
        await engine.start(sleeper, id="asleep")
        await engine.send([durable.Event("begin", {"n": number, "text": "x" * 2_000}) for number in range(400)])
        await engine.settled()
    before = os.stat(path).st_size
    async with durable.Engine([quick, sleeper], store=path, retention=0.000001) as engine:
        await asyncio.sleep(0)  # it closes somewhere in between
    async with durable.Engine([quick, sleeper], store=path) as engine:
        assert "asleep" in await ids(engine)
        await engine.prune(0)
        assert await ids(engine) == {"asleep"}
    assert os.stat(path).st_size < before / 4
