"""An execution that is over goes at once, with all that its run has recorded: no garbage collector is needed.

Left to the collector it costs a quarter of the time of an event that opens a run.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

import durable
from durable import Context, Event, RunFailed, TriggerEvent
from durable.scheduler.session import Session
from durable.testing import Lab


def value() -> int:
    return 1


def breaks() -> None:
    raise durable.NonRetriableError("broken")


@durable.function
async def completes(ctx: Context) -> int:
    ctx.logger.debug("%s", ctx.event.data)
    return await ctx.step.run("a", value) + ctx.random.randint(1, 2)


@durable.function
async def fails(ctx: Context) -> None:
    await ctx.step.run("a", breaks)


@durable.function(retries=1)
async def is_called_again(ctx: Context) -> int:
    if ctx.attempt == 0:
        raise LookupError("at first")
    return await ctx.step.run("a", value)


@durable.function
async def catches(ctx: Context) -> str:
    try:
        await ctx.step.run("a", breaks)
    except durable.StepError as error:
        return error.message
    return ""


@durable.function(trigger=TriggerEvent("go"))
async def waits(ctx: Context) -> None:
    await ctx.step.wait_for_event("paid", event="paid", timeout="1d", if_exp="async.data.n == event.data.n")


@durable.function
async def sleeps(ctx: Context) -> None:
    await ctx.step.sleep("z", "1h")


@durable.function
async def gathers(ctx: Context) -> None:
    """In tasks of its own, which know the function's context."""
    await asyncio.gather(*[ctx.step.run("a", value) for _ in range(3)], ctx.step.sleep("z", "1h"))
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ctx.step.run("b", value))


@durable.function
async def invokes(ctx: Context) -> None:
    await ctx.step.invoke("child", function=completes)
    await ctx.step.send_event("told", Event("nobody"))


async def _ends(lab: Lab, function: durable.Function[object]) -> None:
    run = await lab.start(function)
    with suppress(RunFailed):
        await lab.result(run)


def _of(function: durable.Function[object]) -> Callable[[Lab], Awaitable[object]]:
    return lambda lab: _ends(lab, function)


async def _answered(lab: Lab) -> None:
    for n in range(3):
        await lab.send("go", {"n": n})
    await lab.send("paid", {"n": 1})
    await lab.advance("2d")


ENDS: dict[str, Callable[[Lab], Awaitable[object]]] = {
    **{one.id: _of(one) for one in (completes, fails, is_called_again, catches, sleeps, gathers, invokes)},
    "answered and timed out": _answered,
}


# Not the errors of threads: an error knows the frames that it went through, and these know the error.
CASES = [(name, False) for name in ENDS] + [(name, True) for name in ENDS if name not in ("fails", "catches")]


def _executions() -> int:
    return sum(type(one) is Session for one in gc.get_objects())


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "threads"), CASES)
async def test_an_execution_that_is_over_leaves_nothing_to_the_garbage_collector(name: str, threads: bool) -> None:
    async with Lab(
        [completes, fails, is_called_again, catches, waits, sleeps, gathers, invokes], threads=threads
    ) as lab:
        await ENDS[name](lab)  # once before: what is made at the first use alone stays
        gc.collect()
        gc.disable()
        try:
            before = _executions()  # other tests leave tasks behind that never end
            await ENDS[name](lab)
            assert _executions() <= before
        finally:
            gc.enable()
