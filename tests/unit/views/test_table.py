"""A table of runs has one line for each, with the steps that run and how far they are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import durable
from durable.testing import Lab
from durable.views import table_of


@durable.function
async def loads(ctx: durable.Context) -> None:
    going = asyncio.Event()

    async def load() -> None:
        durable.progress(40, 100)
        going.set()
        await asyncio.Event().wait()

    async def wait() -> None:
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(_of(ctx.step.run("load\n\x1b", load)))
        await going.wait()
        for number in range(4):
            group.create_task(_of(ctx.step.run(f"part {number}", wait)))


async def _of(step: Any) -> None:
    await step


def test_a_line_tells_of_three_steps_and_how_many_more_there_are() -> None:
    async def story() -> None:
        async with Lab([loads], unstubbed="call") as lab:
            async with asyncio.timeout(10):
                run = await lab.engine.start(loads, id="r")
                while len((info := await run.info()).steps) < 5:
                    await asyncio.sleep(0)
            head, line = table_of([info], info.opened_at + timedelta(hours=2)).split("\n")
            assert head.startswith("OPENED (UTC)         STATUS   STEPS  TOOK  RUN  FUNCTION  ")
            told = r"runs load\n\x1b, 40 of 100; runs part 0; runs part 1; and 2 more"
            assert line == f"2030-01-01 00:00:00  running  0/5    2 h   r    loads     {told}"

    asyncio.run(story())
