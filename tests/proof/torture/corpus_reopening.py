"""List workflows whose runs are opened again, with the children that they waited for (R32).

Separate because here the moves matter more than the functions.
Leaves to `corpus` the making of a case.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from durable import Cancel, Context, Event, StepError, StepOptions, function
from tests.proof.torture.cases import Move, instant
from tests.proof.torture.corpus import QUICK, cancel, case, one

MENDED = 500


def retry(at: float, run: str = "r") -> Move:
    return Move(at, "retry", run)


async def mended(ctx: Context, name: str = "w") -> Any:
    """A step that fails until it is mended."""

    def now() -> datetime:
        return ctx._execution._session.parts.clock.now()

    def work() -> str:
        if now() < instant(MENDED):
            raise ValueError("not yet")
        return "mended"

    return await ctx.step.run(StepOptions(name, retries=0), work)


@function(id="mended leaf", retries=0)
async def leaf(ctx: Context) -> Any:
    await ctx.step.sleep("s", 10)
    return [await ctx.step.run("a", one), await mended(ctx)]


@function(id="mended middle", retries=0)
async def middle(ctx: Context) -> Any:
    return [await ctx.step.run("a", one, 2), await ctx.step.invoke("i", function=leaf)]


@function(id="slow child", retries=0)
async def sleeper(ctx: Context) -> Any:
    await ctx.step.run("a", one, 3)
    await ctx.step.sleep("s", 1_000)
    return "rested"


@case([3, [2, [1, "mended"]]], retry(600), others=(middle, leaf), retries=0)
async def a_run_three_deep_that_is_opened_again(ctx: Context) -> Any:
    return [await ctx.step.run("a", one, 3), await ctx.step.invoke("i", function=middle)]


@case(["mended", [2, [1, "mended"]]], retry(600), others=(middle, leaf), retries=0)
async def a_child_that_ends_before_it_is_asked_for(ctx: Context) -> Any:
    """Its failed step takes until after the child has ended: the child's end stands before it in the record."""
    try:
        value = await mended(ctx)
        await ctx.step.sleep("s", 300)
    except StepError:
        value = "not yet"
    return [value, await ctx.step.invoke("i", function=middle)]


@case([[1, "mended"], "rested", [1, "mended"]], retry(600), others=(leaf, sleeper), retries=0)
async def parallel_children_of_which_one_still_runs(ctx: Context) -> Any:
    return await asyncio.gather(
        ctx.step.invoke("i", function=leaf),
        ctx.step.invoke("j", function=sleeper),
        ctx.step.invoke("k", function=leaf),
    )


@case([[1, "mended"], 3], retry(550, "r/i"), retry(600), others=(leaf, sleeper), retries=0)
async def a_child_that_was_opened_again_by_itself(ctx: Context) -> Any:
    return [await ctx.step.invoke("i", function=leaf), await ctx.step.run("a", one, 3)]


@case("rested", cancel(30), retry(200), others=(sleeper,), retries=0)
async def a_cancelled_run_whose_child_goes_on(ctx: Context) -> Any:
    return await ctx.step.invoke("i", function=sleeper)


@case("rested", cancel(30), retry(2_000), others=(sleeper,), retries=0)
async def a_cancelled_run_whose_child_has_completed(ctx: Context) -> Any:
    return await ctx.step.invoke("i", function=sleeper)


@case("rested", retry(900), others=(sleeper,), retries=0)
async def an_invoke_that_timed_out_and_is_opened_again(ctx: Context) -> Any:
    return await ctx.step.invoke(
        "i", function=sleeper, timeout=100 if ctx._execution._session.parts.clock.now() < instant(150) else 900
    )


@case([None, "woken"], cancel(30), retry(200), Move(250, "send", "e", {}, "1"), retries=0)
async def waits_of_a_cancelled_run_that_open_anew(ctx: Context) -> Any:
    """The deadlines that were recorded at first have passed when the event comes."""
    sleeping = asyncio.ensure_future(ctx.step.sleep("s", 100))
    event = await ctx.step.wait_for_event("w", event="e", timeout=100)
    return [await sleeping, event and "woken"]


@case(("failed", "ValueError"), retry(100), retry(200), others=(leaf,), retries=0, on_failure=None)
async def a_run_that_fails_again_and_again(ctx: Context) -> Any:
    return await ctx.step.invoke("i", function=leaf)


async def told(ctx: Context) -> str:
    return await ctx.step.run("told", lambda: ctx.event.name)


@case(("failed", "ValueError"), retry(100), retry(200), retries=0, on_failure=told)
async def a_run_that_fails_at_once_whenever_it_is_opened_again(ctx: Context) -> Any:
    """A death while opening it again must not open it twice: each failure opens a run."""
    return await mended(ctx)


@case(["mended", True, "rested"], retry(600), retries=0)
async def a_race_whose_winner_was_there_before_what_is_mended(ctx: Context) -> Any:
    """A late outcome leads to a recorded cancelling, and all new outcomes come after that."""
    try:
        value = await mended(ctx)
    except StepError:
        value = "not yet"
    loser = asyncio.ensure_future(ctx.step.sleep("loser", 900))
    await ctx.step.sleep("winner", 10)
    loser.cancel()
    await asyncio.wait([loser])
    await ctx.step.sleep("rest", 30)
    if value == "not yet":
        raise RuntimeError(value)
    await ctx.step.sleep("rest", 40)
    return [value, loser.cancelled(), "rested"]


@function("stop", id="hears of the stop", retries=0)
async def hears_of_the_stop(ctx: Context) -> Any:
    return await ctx.step.run("heard", one, ctx.event.data)


@case([[1], 1], retry(100_000), others=(hears_of_the_stop,), cancel=[Cancel("stop")], retries=0)
async def a_run_that_cancels_itself_by_what_it_sends_and_is_opened_again(ctx: Context) -> Any:
    """A day later no id of an event is known any more: what was sent stands in the step's record alone."""
    sent = await ctx.step.send_event("send", Event("stop", {"n": 1}))
    return [[len(sent)], await ctx.step.run("a", one)]


@case([[1, "mended"], 1], retry(600), others=(leaf,), retries=1, backoff=QUICK)
async def a_run_of_several_attempts_whose_child_has_failed(ctx: Context) -> Any:
    if ctx.attempt == 0:
        raise OSError("again")
    return [await ctx.step.invoke("i", function=leaf), ctx.attempt]
