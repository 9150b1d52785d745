"""F1, F10: a run that has begun is known as such after a crash, also if it was opened again or is a fork."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, DictStore
from durable.testing import Lab
from tests.support.scenes import ParkingLab

pytestmark = pytest.mark.anyio


def sleeper(**options: Any) -> durable.Function[Any]:
    @durable.function(id="sleeper", retries=0, **options)
    async def code(ctx: Context) -> str:
        await ctx.step.sleep("first", "1h")
        await ctx.step.sleep("second", "4h")
        return "rested"

    return code


async def opened_again(lab: Lab, run: str) -> str:
    await lab.start("sleeper", id=run)
    await lab.advance("90m")
    await lab.engine.cancel(run)
    await lab.engine.retry(run)
    await lab.settle()
    return run


async def forked(lab: Lab, run: str) -> str:
    await lab.start("sleeper", id=run)
    await lab.advance("90m")
    fork = await lab.engine.fork(run)
    await lab.engine.cancel(run)
    await lab.settle()
    return fork.id


WAYS = pytest.mark.parametrize("begin", [opened_again, forked])
LABS = pytest.mark.parametrize("lab_of", [Lab, ParkingLab])


@WAYS
@LABS
async def test_it_goes_on_while_its_function_is_paused(
    lab_of: type[Lab], begin: Callable[[Lab, str], Awaitable[str]]
) -> None:
    async with lab_of([sleeper()]) as lab:
        run = await begin(lab, "old")
        await lab.engine.pause("sleeper")
        await lab.crash()
        assert (await lab.engine.info(run)).status == "waiting"
        await lab.advance("5h")
        assert (await lab.engine.info(run)).output == "rested"


@WAYS
@LABS
async def test_it_holds_a_slot_before_those_that_wait_when_its_function_is_bounded_from_then_on(
    lab_of: type[Lab], begin: Callable[[Lab, str], Awaitable[str]]
) -> None:
    store = DictStore()
    async with lab_of([sleeper()], store=store) as lab:
        runs = [await begin(lab, "one"), await begin(lab, "other")]
        now, kept = lab.clock.now(), dict(store.mapping)
    bounded = sleeper(concurrency=Concurrency(1, counts="runs"))
    async with lab_of([bounded], store=DictStore(kept), start=now) as lab:
        late = await lab.start(bounded)
        assert [(await lab.engine.info(run)).status for run in runs] == ["waiting", "waiting"]
        assert (await late.info()).status == "queued"
        await lab.advance("19h")
        assert [(await lab.engine.info(run)).output for run in (*runs, late.id)] == ["rested"] * 3
