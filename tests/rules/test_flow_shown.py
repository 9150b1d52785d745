"""Who waits for a turn says so: in `waiting_for`, in a why, in health, in an error, and in a Lab that is stuck."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import durable
from durable import Batch, Concurrency, Context, Throttle
from durable.testing import Lab, StuckError
from durable.testing.lab import START
from tests.support.lives import rounds

pytestmark = pytest.mark.anyio


@durable.function(throttle=Throttle(1, "1h", key="event.data.user"))
async def throttled(ctx: Context) -> None: ...


async def test_a_queued_run_shows_its_limit_its_place_and_when_there_is_room() -> None:
    async with Lab([throttled]) as lab:
        await lab.start(throttled, {"user": "bob"})
        runs = [await lab.start(throttled, {"user": "ann"}) for _ in range(3)]
        infos = [await run.info() for run in runs]
        queue = "throttle 1 starts in 1h of function 'throttled', key \"ann\""
        at = START + timedelta(hours=1)
        assert [info.waiting_for for info in infos] == [
            {},
            {"": f"its turn before {queue}, as number 1 in line, at {at} at the earliest"},
            {"": f"its turn before {queue}, as number 2 in line, at {at} at the earliest"},
        ]
        first_line, below = str(infos[1]).split("\n")
        assert first_line.endswith("of throttled: queued, opened 2030-01-01 00:00:00 UTC")
        assert below == f"  its start waits for {infos[1].waiting_for['']}"
        why = await lab.engine.why(runs[2].id)
        [wait] = why.waits
        assert (wait.step, wait.queue, wait.position, wait.until) == (None, queue, 2, at)
        assert f"is queued:\n  its start waits for its turn before {queue}, as number 2 in line" in why.text
        assert (await lab.engine.health()).queued == {"throttled": 2}
        with pytest.raises(TimeoutError, match="it goes on: its start waits for its turn before throttle 1 starts"):
            await runs[2].result(timeout=0)
        await lab.advance("1h")
        assert "as number 1 in line" in (await runs[2].info()).waiting_for[""]


async def test_a_try_that_waits_for_a_slot_shows_it() -> None:
    ending = asyncio.Event()

    async def works() -> None:
        await ending.wait()

    @durable.function(concurrency=1)
    async def worker(ctx: Context) -> None:
        await ctx.step.run("work", works)

    async with durable.Engine([worker]) as engine:
        runs = [await engine.start(worker) for _ in range(3)]
        await rounds()
        queue = "concurrency 1 of function 'worker', counted in steps"
        info = await runs[2].info()
        assert info.waiting_for == {"work": f"its turn before {queue}, as number 2 in line"} and info.steps == {}
        assert str(info).endswith(f"\n  step 'work' waits for its turn before {queue}, as number 2 in line")
        [wait] = (await engine.why(runs[1].id)).waits
        assert (wait.step, wait.kind, wait.queue, wait.position, wait.until) == ("work", "run", queue, 1, None)
        ending.set()
        await engine.settled()
        assert [(await run.info()).status for run in runs] == ["completed"] * 3


async def test_a_lab_that_is_stuck_says_in_which_queue() -> None:
    @durable.function(concurrency=Concurrency(1, counts="runs"))
    async def waits(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("e", event="never", timeout=START + timedelta(days=9_000))

    async with Lab([waits]) as lab:
        await lab.start(waits)
        run = await lab.start(waits)
        with pytest.raises(StuckError) as stuck:
            await lab.engine.result(run.id)
        assert "its start for its turn before concurrency 1 of function 'waits', counted in runs" in str(stuck.value)


async def test_a_run_of_a_batch_shows_by_how_many_events_it_was_opened() -> None:
    @durable.function("row", batch_events=Batch(9, "1m"))
    async def bulk(ctx: Context) -> None: ...

    async with Lab([bulk]) as lab:
        await lab.send([durable.Event("row", {"n": n}) for n in range(3)])
        await lab.advance("1m")
        [info] = await lab.engine.runs()
        assert "completed, opened 2030-01-01 00:01:00 UTC by 3 events, ended" in str(info)
