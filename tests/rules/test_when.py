"""A step knows when its first try began and when it ended: live, after a crash, and from the store (R34)."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, RunInfo, StepOptions
from durable.journal.codec.write import read, write
from durable.journal.records import Ok, StepClosed
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import rounds


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def times(info: RunInfo, key: str = "s") -> list[float | None]:
    """When a step was opened, began and ended, in seconds from the start."""
    step = info.steps[key]
    instants = (step.opened_at, step.began_at, step.ended_at)
    return [None if when is None else (when - START).total_seconds() for when in instants]


class Gate:
    """A handler that goes on when it is let go."""

    def __init__(self, fails: int = 0) -> None:
        self.let_go = asyncio.Event()
        self.fails = fails

    async def __call__(self) -> int:
        await self.let_go.wait()
        if durable.current_step().attempt < self.fails:
            self.let_go.clear()
            raise ConnectionError("not yet")
        return 1


@durable.function(retries=0)
async def gated(ctx: Context) -> Any:
    await ctx.step.sleep("before", 10)
    return await ctx.step.run(StepOptions("s", retries=3, backoff=durable.Backoff("1m", jitter=0)), GATES[ctx.run_id])


GATES: dict[str, Gate] = {}


async def on_the_way(lab: Lab, gate: Gate) -> durable.Run[Any]:
    GATES["r"] = gate
    run = await lab.engine.start(gated, id="r")
    await rounds()
    lab.clock.advance(10)
    await rounds()
    lab.clock.advance(5)
    return run


async def shown_again(store: DictStore) -> RunInfo:
    """The run as another engine finds it in the store."""
    async with Engine([], store=DictStore(dict(store.mapping))) as engine:
        return await engine.info("r")


def test_a_running_step_shows_when_it_began() -> None:
    async def story() -> None:
        gate, store = Gate(), DictStore()
        async with Lab([gated], store=store) as lab:
            run = await on_the_way(lab, gate)
            info = await run.info()
            assert info.status == "running" and info.steps["s"].status == "running"
            assert times(info) == [10, 10, None]
            gate.let_go.set()
            assert await lab.result(run) == 1
            info = await run.info()
            assert times(info) == [10, 10, 15] and info.steps["s"].status == "completed"
            assert times(info, "before") == [0, 0, 10]
        assert (await shown_again(store)).steps == info.steps

    asyncio.run(story())


def test_a_step_that_is_tried_again_began_with_its_first_try_also_after_a_crash() -> None:
    async def story() -> None:
        gate, store = Gate(fails=1), DictStore()
        async with Lab([gated], store=store) as lab:
            run = await on_the_way(lab, gate)
            gate.let_go.set()
            await rounds()
            info = await run.info()
            assert info.steps["s"].status == "retrying" and times(info) == [10, 10, None]
            lab.clock.advance(60)
            await rounds()
            info = await run.info()
            assert info.steps["s"].status == "running" and times(info) == [10, 10, None]
            gate.let_go.set()
            await lab.crash()
            assert await lab.result(run) == 1
            info = await lab.engine.info("r")
            assert times(info)[:2] == [10, 10] and info.ended_at == info.steps["s"].ended_at
        assert (await shown_again(store)).steps == info.steps

    asyncio.run(story())


def test_a_first_try_that_a_crash_took_began_when_it_was_done_anew() -> None:
    async def story() -> None:
        gate = Gate()
        async with Lab([gated]) as lab:
            run = await on_the_way(lab, gate)
            gate.let_go.set()
            await lab.crash()
            assert await lab.result(run) == 1
            run = await lab.engine.run("r")
            assert times(await run.info()) == [15, 15, 15]

    asyncio.run(story())


@pytest.mark.parametrize("way", ["in place", "suspending", "blocking", "returns an awaitable"])
def test_each_handler_has_a_beginning_and_an_end(way: str) -> None:
    async def in_place() -> None: ...

    async def suspending() -> None:
        await asyncio.sleep(0)

    def blocking() -> None: ...

    handlers = {"in place": in_place, "suspending": suspending, "blocking": blocking, "returns an awaitable": None}
    handler: Any = handlers[way] or (lambda: in_place())

    @durable.function
    async def one(ctx: Context) -> None:
        await ctx.step.run("s", handler)

    async def story(threads: bool) -> None:
        async with Lab([one], threads=threads) as lab:
            run = await lab.start(one)
            await lab.result(run)
            assert times(await run.info()) == [0, 0, 0]
        async with Engine([one]) as engine:
            before = datetime.now(UTC)
            await engine.invoke(one, id="r")
            step = (await engine.info("r")).steps["s"]
            assert step.began_at is not None and step.ended_at is not None
            assert before <= step.began_at <= step.ended_at <= datetime.now(UTC)

    asyncio.run(story(threads=False))
    asyncio.run(story(threads=True))


def test_a_handler_that_waits_for_a_thread_has_not_begun() -> None:
    let_go = threading.Event()

    @durable.function
    async def two(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("first", let_go.wait), ctx.step.run("second", int))

    async def story() -> None:
        async with Engine([two], threads=1) as engine:
            run = await engine.start(two)
            while (first := (await run.info()).steps.get("first")) is None or first.began_at is None:
                await asyncio.sleep(0)
            second = (await run.info()).steps["second"]
            assert second.status == "running" and second.began_at is None
            let_go.set()
            await run.result()
            steps = (await run.info()).steps
            first, second = steps["first"], steps["second"]
            assert second.began_at is not None and first.ended_at is not None
            assert first.began_at is not None and first.began_at <= second.began_at

    asyncio.run(story())


def test_a_handler_that_asks_for_its_own_run_sees_itself_running() -> None:
    seen: list[RunInfo] = []

    @durable.function
    async def asking(ctx: Context) -> None:
        await ctx.step.run("s", ask)

    async def story() -> None:
        async with Lab([asking]) as lab:

            async def look() -> None:
                seen.append(await lab.engine.info("r"))

            global ask
            ask = look
            await lab.start(asking, id="r")

    asyncio.run(story())
    assert seen[0].status == "running" and seen[0].steps["s"].status == "running" and times(seen[0]) == [0, 0, None]


ask: Any = None


def test_a_step_that_is_cancelled_while_its_handler_runs_has_begun() -> None:
    gate = Gate()

    @durable.function
    async def cancelling(ctx: Context) -> None:
        task = asyncio.ensure_future(ctx.step.run("s", gate))
        await ctx.step.sleep("nap", 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def story() -> None:
        async with Lab([cancelling]) as lab:
            run = await lab.engine.start(cancelling)
            await rounds()
            lab.clock.advance(5)
            await lab.result(run)
            info = await run.info()
            assert info.steps["s"].status == "cancelled" and times(info) == [0, 0, 5]

    asyncio.run(story())


def test_a_record_of_an_earlier_release_reads_as_it_did() -> None:
    text = write(StepClosed("r", "s", "run", Ok("1"), 1, START, 1))
    assert '"began"' not in text and read("StepClosed", text) == StepClosed("r", "s", "run", Ok("1"), 1, START, 1)
