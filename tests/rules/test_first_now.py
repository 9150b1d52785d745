"""R17: what `ctx.now()` says before the first outcome is the same on replay, whatever comes before that outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, Throttle
from durable.testing import Lab

pytestmark = pytest.mark.anyio


def told(**options: Any) -> durable.Function[Any]:
    """A function whose second run waits for its first try, without a record, for a day."""

    @durable.function(id="told", retries=0, **{"throttle": Throttle(1, "1d", counts="steps"), **options})
    async def code(ctx: Context) -> Any:
        hour = ctx.now().hour
        await ctx.step.run(f"at {hour}", lambda: None)
        return hour

    return code


async def paused(lab: Lab) -> None:
    await lab.engine.pause("told")
    await lab.advance("1h")
    await lab.crash()
    await lab.engine.resume("told")


async def paused_twice(lab: Lab) -> None:
    await paused(lab)
    await lab.advance("1h")
    await paused(lab)


async def bounded(lab: Lab) -> None:
    await lab.engine.start(told(concurrency=Concurrency(2, counts="runs")), id="third")
    await lab.advance("1h")


async def opened_again(lab: Lab) -> None:
    await lab.engine.cancel("second")
    await lab.advance("1h")
    await lab.engine.retry("second")
    await paused(lab)


@pytest.mark.parametrize("meanwhile", [paused, paused_twice, bounded, opened_again])
async def test_a_run_is_told_the_same_time_again(meanwhile: Callable[[Lab], Awaitable[None]]) -> None:
    async with Lab([told()]) as lab:
        await lab.start("told", id="first")
        await lab.advance("1h")
        second = await lab.start("told", id="second")
        await lab.advance("1h")
        await meanwhile(lab)
        await lab.crash()
        await lab.advance("3d")
        assert (await lab.engine.info(second.id)).output == 1
        fork = await lab.engine.fork(second.id)
        await lab.advance("3d")
        assert (await lab.engine.info(fork.id)).output == 1


async def test_runs_whose_function_was_called_hold_their_slots_before_those_that_wait() -> None:
    async with Lab([told()]) as lab:
        for name in ("first", "second", "third"):
            await lab.start("told", id=name)
        await bounded_to_one(lab)
        assert [info.id for info in await lab.engine.runs(status="queued")] == ["fourth"]
        await lab.advance("3d")
        assert {info.status for info in await lab.engine.runs()} == {"completed"}


async def bounded_to_one(lab: Lab) -> None:
    await lab.engine.start(told(concurrency=Concurrency(1, counts="runs")), id="fourth")
    await lab.advance("1h")
