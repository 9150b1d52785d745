"""Resting: it is recorded which runs only wait, so that a store of very many opens without calling one (R25)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from durable import Cancel, Context, DictStore, Engine, FileStore, Function, RunCancelled, Timeouts, function
from durable.stores.store import Store
from durable.testing import VirtualClock

pytestmark = pytest.mark.anyio
START = datetime(2030, 1, 1, tzinfo=UTC)
MANY = 5  # runs, of which two may have a coroutine
Wait = Callable[[Context], Awaitable[Any]]
CALLS: list[str] = []


@function
async def child(ctx: Context) -> str:
    """Wait longer than a sleep."""
    CALLS.append(ctx.run_id)
    await ctx.step.wait_for_event("c", event="grown", timeout="9d")
    return "child"


WAITS: dict[str, Wait] = {
    "sleep": lambda ctx: ctx.step.sleep("w", "1h"),
    "event": lambda ctx: ctx.step.wait_for_event("w", event="e", timeout="2h", if_exp="async.data.n == event.data.n"),
    "match": lambda ctx: ctx.step.wait_for_event("w", event="e", timeout="2h", match="data.n"),
    "signal": lambda ctx: ctx.step.wait_for_signal("w", signal=f"s{ctx.event.data['n']}", timeout="2h", ask="you?"),
    "timeout": lambda ctx: ctx.step.wait_for_event("w", event="never", timeout="1h"),
    "invoke": lambda ctx: ctx.step.invoke("w", function=child),
}
ANSWERS = {"sleep": None, "event": "e", "match": "e", "signal": "s3", "timeout": None, "invoke": "child"}


def waiting(wait: Wait, **options: Any) -> Function[Any]:
    @function(id="waits", **options)
    async def waits(ctx: Context) -> Any:
        CALLS.append(ctx.run_id)
        before = await ctx.step.run("before", lambda: 1)
        got = await wait(ctx)
        return [before, getattr(got, "name", got), await ctx.step.run("after", lambda: 2)]

    return waits


class Place:
    """A store that is opened again and again, with a clock that goes on."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.clock = VirtualClock(START)
        self._mapping: dict[str, Any] | None = {} if kind == "dict" else None
        self.path = folder / "x.db"

    def store(self) -> Store:
        return FileStore(self.path) if self._mapping is None else DictStore(self._mapping)

    def engine(self, *functions: Function[Any], resident: int = 2) -> Engine:
        return Engine(functions, store=self.store(), clock=self.clock, resident=resident)

    async def kinds(self, run: str) -> list[str]:
        store = self.store()
        await store.open()
        try:
            return [entry.kind async for entry in store.history(run)]
        finally:
            await store.close()

    async def pass_by(self, engine: Engine, duration: str) -> None:
        self.clock.advance(duration)
        await engine.settled()


@pytest.fixture(params=["dict", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    CALLS.clear()
    return Place(request.param, tmp_path)


async def rested(place: Place, *functions: Function[Any], many: int = MANY) -> None:
    """Start runs that wait, and close their engine in order."""
    async with place.engine(*functions) as engine:
        for n in range(many):
            await engine.start(functions[0], {"n": n}, id=f"r{n}")
        await engine.settled()
    CALLS.clear()


async def answer(place: Place, engine: Engine, name: str) -> None:
    if name in ("event", "match"):
        await engine.send("e", {"n": 3})
    elif name == "signal":
        assert await engine.send_signal("s3", 1) == "r3"
    elif name == "invoke":
        await engine.send("grown")
    else:
        await place.pass_by(engine, "1h")


@pytest.mark.parametrize("name", WAITS)
async def test_runs_that_rest_are_not_called_at_the_opening_and_each_goes_on_when_it_is_answered(
    place: Place, name: str
) -> None:
    waits = waiting(WAITS[name])
    await rested(place, waits, child)
    async with place.engine(waits, child) as engine:
        await engine.settled()
        assert CALLS == [] and len(await engine.runs(status="waiting")) >= MANY
        info = await (await engine.run("r3")).info()
        assert info.status == "waiting" and list(info.steps) == ["before", "w"] and info.waiting_for
        assert "you?" in str(info.waiting_for) or name != "signal"
        assert (await engine.start(waits, {"n": 3}, id="r3")).id == "r3"
        with pytest.raises(ValueError, match="r3"):
            await engine.start(waits, {"n": 4}, id="r3")
        await answer(place, engine, name)
        assert await engine.result("r3", timeout=10) == [1, ANSWERS[name], 2]
        if name in ("event", "match", "signal"):
            assert CALLS == ["r3"], "the others rest on"
    assert (await place.kinds("r3")).count("RunRested") == 1


async def test_what_rests_can_be_cancelled_by_an_event_and_by_hand(place: Place) -> None:
    waits = waiting(WAITS["event"], cancel=[Cancel("stop", match="data.n", timeout="90m")])
    await rested(place, waits)
    async with place.engine(waits) as engine:
        await engine.send("stop", {"n": 1})
        assert await (await engine.run("r2")).cancel("by hand")
        for run in ("r1", "r2"):
            with pytest.raises(RunCancelled):
                await engine.result(run, timeout=10)
        await place.pass_by(engine, "100m")
        await engine.send("stop", {"n": 3})
        assert (await engine.info("r3")).status == "waiting" and CALLS == []


async def test_of_few_runs_nothing_is_recorded_and_each_is_called_at_the_opening(place: Place) -> None:
    waits = waiting(WAITS["sleep"])
    await rested(place, waits, many=2)
    async with place.engine(waits) as engine:
        await engine.settled()
        assert sorted(CALLS) == ["r0", "r1"]
    assert "RunRested" not in await place.kinds("r0")


async def test_a_run_that_went_on_is_called_again_after_a_crash_though_it_rested_before(tmp_path: Path) -> None:
    """A rest that a later record has ended says nothing any more."""

    @function
    async def twice(ctx: Context) -> list[str]:
        CALLS.append(ctx.run_id)
        names = []
        for event in ("e", "f"):
            got = await ctx.step.wait_for_event(event, event=event, timeout="2h")
            names.append(got.name if got else "none")
        return names

    CALLS.clear()
    place = Place("dict", tmp_path)
    await rested(place, twice)
    async with place.engine(twice, resident=MANY) as engine:
        await engine.send("e")
        await engine.settled()
        left = dict(place.store().mapping)  # type: ignore[attr-defined]
    CALLS.clear()
    async with Engine([twice], store=DictStore(left), clock=place.clock, resident=2) as engine:
        await engine.settled()
        assert len(CALLS) == MANY
        await engine.send("f")
        assert await engine.result("r0", timeout=10) == ["e", "f"]


async def test_a_run_that_is_parked_for_ten_minutes_has_it_recorded_with_a_later_write(tmp_path: Path) -> None:
    """It is there after a crash, too; and an idle engine writes nothing for it."""
    CALLS.clear()
    place, waits = Place("dict", tmp_path), waiting(WAITS["sleep"])
    async with place.engine(waits, resident=0) as engine:
        await engine.start(waits, {"n": 1}, id="r")
        await engine.settled()
        await place.pass_by(engine, "9m")
        await engine.start(waits, {"n": 2}, id="young")
        await engine.settled()
        await place.pass_by(engine, "2m")
        mapping = dict(place.store().mapping)  # type: ignore[attr-defined]
        assert "RunRested" not in str(mapping)
        await engine.send("anything", id="a write")
        left = dict(place.store().mapping)  # type: ignore[attr-defined]
    assert str(left).count("'RunRested'") == 1
    CALLS.clear()
    async with Engine([waits], store=DictStore(left), clock=place.clock, resident=0) as engine:
        await engine.settled()
        assert CALLS == ["young"]


def busy_in_a_step(ctx: Context) -> Awaitable[Any]:
    return asyncio.gather(ctx.step.sleep("w", "1h"), ctx.step.sleep("other", "1h"))


async def busy_in_a_task(ctx: Context) -> None:
    """Have a handler that runs while the function sleeps, and leaves no record before it ends."""
    handler = asyncio.ensure_future(ctx.step.run("slow", asyncio.sleep, 3_600))
    await ctx.step.sleep("w", "1h")
    handler.cancel()


async def busy_by_the_clock(ctx: Context) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3_600):
            await ctx.step.sleep("w", "1h")


@pytest.mark.parametrize("wait", [busy_in_a_step, busy_in_a_task, busy_by_the_clock])
async def test_a_run_that_does_more_than_wait_is_called_at_the_opening(tmp_path: Path, wait: Wait) -> None:
    CALLS.clear()
    place, waits = Place("dict", tmp_path), waiting(wait)
    async with place.engine(waits) as engine:
        for n in range(MANY):
            await engine.start(waits, {"n": n}, id=f"r{n}")
        for _ in range(200):
            await asyncio.sleep(0)
    assert "RunRested" not in await place.kinds("r0")
    CALLS.clear()
    async with place.engine(waits):
        for _ in range(200):
            await asyncio.sleep(0)
        assert sorted(CALLS) == [f"r{n}" for n in range(MANY)]


async def test_what_rests_without_its_function_is_named_in_the_log(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    waits = waiting(WAITS["sleep"])
    await rested(place, waits)
    async with place.engine() as engine:
        await place.pass_by(engine, "1h")
        assert (await engine.info("r3")).status == "waiting"
        named = [record.args for record in caplog.records if "not registered" in record.getMessage()]
        assert len(named) == MANY and caplog.records[-1].levelno == logging.WARNING
        await engine.start(waits, {"n": 9}, id="last")
        assert await engine.result("r3", timeout=10) == [1, None, 2]


async def test_timeouts_that_a_function_gets_meanwhile_begin_with_the_opening_as_for_all_runs(place: Place) -> None:
    await rested(place, waiting(WAITS["sleep"]))
    waits = waiting(WAITS["sleep"], timeouts=Timeouts(finish="30m"))
    async with place.engine(waits) as engine:
        await engine.settled()
        assert len(CALLS) == MANY
        await place.pass_by(engine, "31m")
        assert (await engine.info("r3")).status == "cancelled"


async def test_a_store_with_resting_runs_is_refused_by_releases_that_do_not_know_them(tmp_path: Path) -> None:
    """Before the first of them it has the format of those, and so it has without any."""

    def version() -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    place, waits = Place("file", tmp_path), waiting(WAITS["sleep"])
    await rested(place, waits, many=2)
    assert version() == 1
    await rested(place, waits)
    assert version() == 2
