"""List workflows with retries of functions, cancelling, time, ids, and known bugs.

The bugs are those of other libraries.

Separate because one list would be too long to read.
Leaves to `corpus` the making of a case.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import tests.proof.torture.corpus_odd
import tests.proof.torture.corpus_reopening
import tests.proof.torture.corpus_together  # noqa: F401
from durable import Cancel, Context, Event, NonRetriableError, StepError, StepOptions, Timeouts, function
from tests.proof.torture.cases import Move, instant
from tests.proof.torture.corpus import (
    answers,
    broken,
    cancel,
    cancelled_child,
    case,
    child,
    failing_child,
    first_of,
    flaky,
    later,
    one,
    send,
    signal,
    slow,
)

# Functions that are called again.


@case([1, 2])
async def a_function_that_is_called_again(ctx: Context) -> Any:
    values = [await ctx.step.run("a", one), await ctx.step.run("b", slow, 2)]
    if ctx.attempt == 0:
        raise OSError("again")
    return values


@case(("failed", "OSError"))
async def a_function_that_is_called_in_vain(ctx: Context) -> Any:
    await ctx.step.run("a", one)
    raise OSError("never")


@case(("failed", "NonRetriableError"))
async def a_function_that_gives_up(ctx: Context) -> Any:
    raise NonRetriableError("no")


@case(None)
async def a_retry_of_the_function_after_its_attempt_cancelled_a_step(ctx: Context) -> Any:
    """A retry of the function that waits for ever on a step its failed attempt cancelled."""
    task = asyncio.create_task(ctx.step.wait_for_event("s", event="e", timeout=600))
    await ctx.step.sleep("a", 10)
    if ctx.attempt == 0:
        task.cancel()
        await asyncio.wait([task])
        raise OSError("again")
    return await task


@case(5, send(15, "e", "1", n=5))
async def a_wait_that_is_answered_between_two_attempts(ctx: Context) -> Any:
    task = asyncio.create_task(ctx.step.wait_for_event("s", event="e", timeout=600))
    await ctx.step.sleep("a", 10)
    if ctx.attempt == 0:
        raise OSError("again")
    return (await task).data["n"]


@case("now")
async def a_handler_that_is_cancelled_and_called_again(ctx: Context) -> Any:
    task = asyncio.create_task(ctx.step.run("s", later))
    await ctx.step.sleep("a", 10)
    if ctx.attempt == 0:
        task.cancel()
        raise OSError("again")
    return await task


@case([[1, None], "again"])
async def a_race_before_the_function_fails(ctx: Context) -> Any:
    (won,) = await first_of(ctx.step.sleep("a", 100), ctx.step.sleep("b", 50))
    if ctx.attempt == 0:
        raise OSError("again")
    return [won, "again"]


@case("ValueError", on_failure=None)
async def a_failed_step_answers_from_the_record_in_the_next_attempt(ctx: Context) -> Any:
    try:
        await ctx.step.run(StepOptions("a", retries=0), broken)
    except StepError as error:
        if ctx.attempt == 0:
            raise OSError("again") from None
        return error.name


async def told(ctx: Context) -> Any:
    return await ctx.step.run("tell", one, ctx.event.data["error"]["name"])


@case(("failed", "ValueError"), on_failure=told)
async def a_failure_that_is_told(ctx: Context) -> Any:
    await ctx.step.run("a", broken)


@case([1, "mended"], Move(0, "start", "a_run_that_is_opened_again", {}, "r"), Move(500, "retry", "r"))
async def a_run_that_is_opened_again(ctx: Context) -> Any:
    first = await ctx.step.run("a", one)
    await ctx.step.sleep("s", 20)
    clock = ctx._execution._session.parts.clock

    async def mended() -> str:
        if clock.now() < instant(500):
            raise ValueError("not yet")
        return "mended"

    return [first, await ctx.step.run(StepOptions("b", retries=0), mended)]


# Cancelling.


@case(("cancelled", None), cancel(30))
async def a_run_that_is_cancelled_by_hand(ctx: Context) -> Any:
    await ctx.step.run("a", one)
    await ctx.step.sleep("b", "1d")
    return "too late"


@case(("cancelled", None), send(30, "stop", "1", k=1), cancel=[Cancel("stop", match="data.k")])
async def a_run_that_is_cancelled_by_an_event(ctx: Context) -> Any:
    await asyncio.gather(ctx.step.sleep("b", "1d"), ctx.step.wait_for_event("c", event="e", timeout="1d"))
    return "too late"


@case("in time", send(30, "stop", "1", k=2), cancel=[Cancel("stop", match="data.k")])
async def a_run_that_another_ones_event_does_not_cancel(ctx: Context) -> Any:
    await ctx.step.sleep("b", "1h")
    return "in time"


@case(("cancelled", None), timeouts=Timeouts(finish="1h"))
async def a_run_that_takes_too_long(ctx: Context) -> Any:
    await ctx.step.run("a", one)
    await ctx.step.sleep("b", "1d")
    return "too late"


@case("RunCancelled", send(20, "stop", "1"), others=(cancelled_child,))
async def a_cancelled_child_does_not_look_successful(ctx: Context) -> Any:
    try:
        return await ctx.step.invoke("a", function="cancelled_child")
    except StepError as error:
        return error.name


@case(("cancelled", None), cancel(20), others=(child,))
async def a_cancelled_parent_leaves_its_child_running(ctx: Context) -> Any:
    return await ctx.step.invoke("a", function="child")


@case([1, 2])
async def cleanup_in_finally_is_not_recorded_at_shutdown(ctx: Context) -> Any:
    """Cleanup in `finally` recorded at shutdown."""
    values = []
    try:
        values.append(await ctx.step.run("a", one))
        await ctx.step.sleep("b", 100)
    finally:
        values.append(await ctx.step.run("clean", one, 2))
    return values


@case([1, 2])
async def a_function_that_swallows_its_cancelling(ctx: Context) -> Any:
    first = await ctx.step.run("a", one)
    for _ in range(3):
        try:
            await ctx.step.sleep("b", 10)
            return [first, await ctx.step.run("c", one, 2)]
        except asyncio.CancelledError:
            continue
    return None


# Time.


@case(None, send(3601, "e", "1"))
async def a_timeout_is_recorded_and_does_not_drift(ctx: Context) -> Any:
    """A timeout not recorded drifts on replay: an event after it must not answer the wait."""
    return await ctx.step.wait_for_event("a", event="e", timeout=3600)


@case([None, 5], send(100, "e", "1", n=5))
async def a_timed_out_wait_does_not_take_the_event_of_the_next(ctx: Context) -> Any:
    first = await ctx.step.wait_for_event("a", event="e", timeout=100)
    second = await ctx.step.wait_for_event("b", event="e", timeout=100)
    return [first, second and second.data["n"]] if second else [first, 5]


@case(5, send(0, "e", "1", delay=100, n=5))
async def an_event_that_comes_later(ctx: Context) -> Any:
    return (await ctx.step.wait_for_event("a", event="e", timeout=200)).data["n"]


@case(5, send(10, "e", "1", n=5), send(10, "e", "1", n=6), send(20, "e", "2", n=7))
async def a_repeated_event_is_dropped(ctx: Context) -> Any:
    await ctx.step.sleep("s", 5)
    first = await ctx.step.wait_for_event("a", event="e", timeout=200)
    second = await ctx.step.wait_for_event("b", event="e", timeout=200)
    return first.data["n"] if second.data["n"] == 7 else second.data


@case([60, 120])
async def times_are_the_same_on_replay(ctx: Context) -> Any:
    begin, values = ctx.now(), []
    for number in range(2):
        await ctx.step.sleep("a", 60)
        await ctx.step.run("b", one, number)
        values.append((ctx.now() - begin) // timedelta(seconds=1))
    return values


@case([True, True])
async def chance_is_the_same_on_replay(ctx: Context) -> Any:
    first = ctx.random.random()
    kept = await ctx.step.run("a", one, first)
    second = ctx.random.random()
    await ctx.step.sleep("s", 5)
    return [kept == first, await ctx.step.run("b", one, second) == second]


@case(None)
async def a_step_that_is_called_and_never_awaited(ctx: Context) -> None:
    ctx.step.sleep("dropped", 50).close()
    ctx.step.run("never", one).close()
    await ctx.step.sleep("a", 10)


@case(1)
async def a_sleep_that_is_called_before_and_awaited_after(ctx: Context) -> Any:
    sleeping = ctx.step.sleep("s", 50)
    first = await ctx.step.run("a", one)
    await sleeping
    return first


# Several runs.


@case([7, 1], others=(answers,))
async def a_question_and_its_answer(ctx: Context) -> Any:
    waiting = asyncio.create_task(ctx.step.wait_for_event("w", event="answered", match="data.k", timeout="1d"))
    sent = await ctx.step.send_event("a", Event("asked", {"k": 1}))
    return [(await waiting).data["n"], len(sent)]


@case([["child", 1], ["child", 2], "NonRetriableError"], others=(child, failing_child))
async def several_children(ctx: Context) -> Any:
    results = await asyncio.gather(
        ctx.step.invoke("a", function="child", data={"k": 1}),
        ctx.step.invoke("a", function="child", data={"k": 2}),
        ctx.step.invoke("b", function="failing_child"),
        return_exceptions=True,
    )
    return [getattr(result, "name", result) for result in results]


@function(retries=1)
async def grandchild(ctx: Context) -> Any:
    return await ctx.step.run("g", flaky)


@function(retries=0)
async def go_between(ctx: Context) -> Any:
    return [await ctx.step.invoke("g", function="grandchild"), await ctx.step.run("own", one)]


@case([1, 1], others=(go_between, grandchild))
async def a_child_of_a_child(ctx: Context) -> Any:
    return await ctx.step.invoke("a", function="go_between")


@function("wake", retries=0)
async def wakes(ctx: Context) -> Any:
    return await ctx.step.run("w", one, ctx.event.data["n"])


@case(
    3,
    send(5, "wake", "x", n=1),
    send(5, "wake", "x", n=1),
    send(6, "wake", "y", n=2),
    send(7, "e", "z", n=3),
    others=(wakes,),
)
async def two_senders_of_one_event_id(ctx: Context) -> Any:
    """A lost acknowledgement when two senders use one event id and the first commit fails."""
    return (await ctx.step.wait_for_event("a", event="e", timeout=200)).data["n"]


@case([1, 2])
async def a_finished_step_before_one_that_dies(ctx: Context) -> Any:
    """A finished step re-run after a crash during the next."""
    return [await ctx.step.run("a", one, 1), await ctx.step.run("b", slow, 2)]


@case([{"n": 1}, {"n": 2}], signal(10, "d1", n=1), signal(20, "d2", n=2))
async def two_signals(ctx: Context) -> Any:
    waits = [ctx.step.wait_for_signal(name, signal=name, timeout="1h") for name in ("d1", "d2")]
    return [one.data for one in await asyncio.gather(*waits)]


@case({"b": [1, 2], "c": "ü\u2028\n", "d": 1e300, "e": None, "f": -0.0})
async def values_of_every_kind(ctx: Context) -> Any:
    return await ctx.step.run("a", one, {"b": [1, 2], "c": "ü\u2028\n", "d": 1e300, "e": None, "f": -0.0})


@case(("failed", "CodecError"))
async def a_value_that_cannot_be_kept(ctx: Context) -> Any:
    return await ctx.step.run("a", lambda: object())


@case(("failed", "NestedStepError"))
async def a_step_in_a_step(ctx: Context) -> Any:
    async def nested() -> Any:
        return await ctx.step.run("b", one)

    return await ctx.step.run("a", nested)
