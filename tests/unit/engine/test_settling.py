"""`settled` waits for whatever moves, also for a run that it has found to be still before."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable import Context, DictStore, Engine, FileStore, Function, function
from durable.engine.opened import inside
from durable.testing import VirtualClock

pytestmark = pytest.mark.anyio

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROUNDS = 300  # more than a run must be quiet for


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Story:
    """Functions that wait, and then do something that takes a while."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.done = 0

    async def take_a_while(self) -> str:
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        self.done += 1
        return "done"

    def answered(self) -> Function[None]:
        @function(id="goes-on")
        async def goes_on(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="came", timeout="1d")
            await ctx.step.run("h", self.take_a_while)
            await ctx.step.sleep("s", "1d")

        return goes_on

    def calls(self) -> Function[None]:
        @function(id="goes-on")
        async def goes_on(ctx: Context) -> None:
            sleeps = [asyncio.create_task(ctx.step.sleep("s", "1d"))]
            await self.came.wait()
            for number in range(4):
                for _ in range(ROUNDS // 5):
                    await asyncio.sleep(0)
                sleeps.append(asyncio.create_task(ctx.step.sleep(f"s{number}", "1d")))
            self.done += 1
            await asyncio.wait(sleeps)

        return goes_on

    def awaits(self) -> Function[None]:
        @function(id="goes-on")
        async def goes_on(ctx: Context) -> None:
            sleep, call = ctx.step.sleep("s", "1d"), ctx.step.run("h", self.take_a_while)
            await self.came.wait()
            await call
            await sleep

        return goes_on

    def tries_again(self) -> Function[None]:
        async def fail_first() -> str:
            if not self.came.is_set():
                self.came.set()
                raise ValueError("not yet")
            return await self.take_a_while()

        @function(id="goes-on")
        async def goes_on(ctx: Context) -> None:
            await ctx.step.run("h", fail_first)
            await ctx.step.sleep("s", "1d")

        return goes_on


@pytest.mark.parametrize("how", ["answered", "calls", "awaits", "tries_again"])
async def test_settled_waits_for_a_run_that_was_still_and_moves_again(how: str) -> None:
    story, clock = Story(), VirtualClock(NOON)
    async with Engine([getattr(story, how)()], store=DictStore(), clock=clock) as engine:
        await engine.start("goes-on")
        await engine.settled()
        assert not story.done
        assert how == "tries_again" or not inside(engine, "test").parts.rounds.moving
        await engine.send("came")
        story.came.set()
        clock.advance("10s")
        await engine.settled()
        assert story.done == 1
        for _ in range(2):
            await engine.settled()
        assert inside(engine, "test").scheduler.is_settled() and not inside(engine, "test").parts.rounds.moving
        clock.advance("1d")
        await engine.settled()
        assert await engine.runs(status="completed")


async def test_a_run_that_has_ended_is_no_longer_asked() -> None:
    @function
    async def ends(ctx: Context) -> str:
        return "at once"

    @function
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="never", timeout="1d")

    async with Engine([ends, waits], store=DictStore(), clock=VirtualClock(NOON)) as engine:
        assert await engine.invoke(ends) == "at once"
        run = await engine.start(waits)
        assert await run.cancel()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        assert not inside(engine, "test").parts.rounds.moving


async def test_a_run_whose_answer_is_not_durable_yet_is_not_settled(tmp_path: Path) -> None:
    @function
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="came", timeout="1d")

    async with Engine([waits], store=FileStore(tmp_path / "store.db"), clock=VirtualClock(NOON)) as engine:
        await engine.start(waits)
        await engine.settled()
        parts, scheduler = inside(engine, "test").parts, inside(engine, "test").scheduler
        assert scheduler.is_settled() and not parts.rounds.moving
        sending = asyncio.create_task(engine.send("came"))
        while parts.journal.posted == parts.journal.durable:
            await asyncio.sleep(0)
        assert not scheduler.is_settled()
        await sending
        await engine.settled()
        assert await engine.runs(status="completed")
