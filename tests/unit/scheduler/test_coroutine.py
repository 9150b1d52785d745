"""What a step method returns: a coroutine like any other, which takes its step back if nobody awaits it."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

import durable
from durable.testing import Lab


def lived(function: durable.Function[Any]) -> Any:
    async def story() -> Any:
        async with Lab([function]) as lab:
            return await lab.result(await lab.start(function))

    return asyncio.run(story())


def test_a_task_cancelled_before_it_first_ran_leaves_no_wait_behind() -> None:
    """R9: the wait is freed although its task is still held, and the signal goes to nobody."""

    @durable.function
    async def waits(ctx: durable.Context) -> str | None:
        task = asyncio.create_task(ctx.step.wait_for_signal("w", signal="s", timeout="1d"))
        task.cancel()
        await ctx.step.sleep("first", "1m")
        received = await ctx.step.send_signal("send", "s")
        assert task.cancelled()
        return received

    assert lived(waits) is None


def test_a_step_that_nobody_awaits_is_taken_back_and_named_in_a_warning() -> None:
    """R19."""

    @durable.function
    async def forgets(ctx: durable.Context) -> str:
        ctx.step.sleep("nap", "1d")
        gc.collect()
        return "over"

    async def story() -> None:
        async with Lab([forgets]) as lab:
            run = await lab.start(forgets, id="r")
            assert (await run.info()).steps["nap"].status == "cancelled"

    with pytest.warns(RuntimeWarning, match="step 'nap' of run 'r' was called, but never awaited"):
        asyncio.run(story())


def test_a_step_is_awaited_only_once() -> None:
    @durable.function(retries=0)
    async def twice(ctx: durable.Context) -> None:
        step = ctx.step.run("a", lambda: 1)
        await step
        await step

    with pytest.raises(durable.RunFailed, match="awaited only once"):
        lived(twice)


def test_it_says_of_itself_what_a_coroutine_says() -> None:
    @durable.function
    async def looks(ctx: durable.Context) -> list[Any]:
        step = ctx.step.sleep("nap", "1m")
        assert isinstance(step, Coroutine) and asyncio.iscoroutine(step) and inspect.isawaitable(step)
        task = asyncio.create_task(step)
        await ctx.step.run("a", lambda: None)
        await asyncio.sleep(0)
        seen = [inspect.getcoroutinestate(step), "nap" if step.cr_await is not None else None]
        assert repr(task).startswith("<Task pending")
        await task
        return [*seen, inspect.getcoroutinestate(step)]

    assert lived(looks) == [inspect.CORO_SUSPENDED, "nap", inspect.CORO_CLOSED]


def test_anyio_task_groups_start_steps_and_cancel_them() -> None:
    """R5: whatever groups tasks must work with steps themselves, not only with functions that call them."""

    @durable.function
    async def groups(ctx: durable.Context) -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(ctx.step.run, "a", lambda: 1)
            group.start_soon(lambda: ctx.step.sleep("long", "9d"))
            await ctx.step.sleep("short", "1h")
            group.cancel_scope.cancel()
        return "cancelled"

    async def story() -> None:
        async with Lab([groups]) as lab:
            run = await lab.start(groups)
            assert await lab.result(run) == "cancelled"
            steps = (await run.info()).steps
            assert [step.status for step in steps.values()].count("cancelled") == 1

    asyncio.run(story())
