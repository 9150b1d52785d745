"""Everything that ends because its time is over: runs, cancellations, invokes (rules R21, R24, R27)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Backoff, Cancel, Context, DictStore, Engine, Event, InvokeTimeoutError, RunCancelled, Timeouts
from durable.testing import Lab, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


def failing_until(attempt: int, **options: Any) -> durable.Function[Any]:
    """Return a function that takes its first step in its attempt number `attempt`, ten minutes after the one before."""

    @durable.function("go", backoff=Backoff("10m", 1.0, jitter=0), **options)
    async def f(ctx: Context) -> str:
        if ctx.attempt < attempt:
            raise ValueError("not yet")
        await ctx.step.sleep("work", "1h")
        await ctx.step.sleep("more", "1h")
        return "done"

    return f


# Timeouts (R21).


def test_a_run_that_does_not_start_in_time_is_cancelled_with_the_reason(between: Between) -> None:
    """R21: `start` counts from the opening to the first step of work."""

    async def story() -> None:
        async with Lab([failing_until(3, timeouts=Timeouts(start="25m"))]) as lab:
            (run,) = await lab.send("go")
            await between(lab)
            await lab.advance(timedelta(minutes=25) - MICROSECOND)
            await between(lab)
            assert (await run.info()).status == "waiting"
            await lab.advance(MICROSECOND)
            await between(lab)
            info = await run.info()
            assert (info.status, info.ended_at) == ("cancelled", START + timedelta(minutes=25))
            assert info.reason is not None and "did not start in time" in info.reason
            with pytest.raises(RunCancelled, match="did not start in time"):
                await run.result()

    asyncio.run(story())


def test_a_run_that_has_started_is_not_bound_by_the_time_to_start(between: Between) -> None:
    """R21: the first step of work ends what `start` waits for."""

    async def story() -> None:
        async with Lab([failing_until(2, timeouts=Timeouts(start="25m"))]) as lab:
            (run,) = await lab.send("go")
            await lab.advance("24m")
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            assert await lab.result(run) == "done"

    asyncio.run(story())


def test_a_run_that_does_not_finish_in_time_is_cancelled_with_the_reason(between: Between) -> None:
    """R21: `finish` counts from the first step of work to the end, not from the opening."""

    async def story() -> None:
        async with Lab([failing_until(3, timeouts=Timeouts(finish="90m"))]) as lab:
            (run,) = await lab.send("go")
            await lab.advance("30m")
            await between(lab)
            await lab.advance(timedelta(minutes=90) - MICROSECOND)
            await between(lab)
            assert list((await run.info()).waiting_for) == ["more"]
            await lab.advance(MICROSECOND)
            await between(lab)
            info = await run.info()
            assert (info.status, info.ended_at) == ("cancelled", START + timedelta(hours=2))
            assert info.reason is not None and "did not finish in time" in info.reason

    asyncio.run(story())


def test_a_run_that_ends_in_time_is_left_alone(between: Between) -> None:
    """R21: an end at the very limit is in time where the last deadline comes first."""

    async def story() -> None:
        async with Lab([failing_until(0, timeouts=Timeouts(start="1h", finish="3h"))]) as lab:
            (run,) = await lab.send("go")
            await between(lab)
            await lab.advance("3h")
            await between(lab)
            assert await run.result() == "done"

    asyncio.run(story())


@pytest.mark.parametrize(("attempts", "timeouts"), [(9, Timeouts(start="25m")), (0, Timeouts(finish="90m"))])
def test_timeouts_pass_while_the_process_is_down(attempts: int, timeouts: Timeouts) -> None:
    """R17, R21: they are instants, and are over on recovery."""
    f = failing_until(attempts, timeouts=timeouts)

    async def story() -> None:
        store, clock = DictStore(), VirtualClock(START)
        async with Engine([f], store=store, clock=clock) as engine:
            run = await engine.start(f)
            await engine.settled()
        clock.advance("9d")
        async with Lab([f], store=DictStore(store.mapping), start=clock.now()) as lab:
            assert (await lab.engine.info(run.id)).status == "cancelled"

    asyncio.run(story())


def test_timeouts_hold_for_a_parked_run_whose_function_comes_later() -> None:
    """R21, R25: a function that is declared while the engine is open brings its timeouts along."""
    f = failing_until(0, timeouts=Timeouts(finish="90m"))

    async def story() -> None:
        store = DictStore()
        async with Lab([f], store=store) as lab:
            run = await lab.start(f, id="r")
        async with Lab([], store=DictStore(store.mapping)) as lab:
            await lab.engine.start(f, id="r")
            await lab.advance("90m")
            assert (await lab.engine.info(run.id)).status == "cancelled"

    asyncio.run(story())


def test_a_retried_run_has_its_time_anew(between: Between) -> None:
    """R21, R32: a failed run that is opened again starts again, and its time counts from there."""

    @durable.function(retries=0, timeouts=Timeouts(finish="90m"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("work", "1h")
        await ctx.step.sleep("more", "20m")
        raise ValueError("no")

    async def story() -> None:
        async with Lab([f]) as lab:
            run = await lab.start(f)
            await lab.advance("2h")
            assert (await run.info()).status == "failed"
            await lab.engine.retry(run.id)
            await between(lab)
            await lab.advance("2h")
            assert (await run.info()).status == "failed"

    asyncio.run(story())


# Deadlines that outlive an attempt, and a process (R9, R11).


def test_a_wait_that_an_attempt_cancelled_keeps_its_deadline_in_the_next(between: Between) -> None:
    """R9: after a function retry the step opens anew, a wait with its recorded deadline."""

    @durable.function("go", backoff=Backoff("10m", 1.0, jitter=0))
    async def f(ctx: Context) -> Any:
        wait = asyncio.create_task(ctx.step.wait_for_event("w", event="e", timeout="1h"))
        await ctx.step.sleep("work", "1m")
        if ctx.attempt == 0:
            wait.cancel()
            await asyncio.wait([wait])
            raise ValueError("not yet")
        return await wait, ctx.now()

    async def story() -> None:
        async with Lab([f]) as lab:
            (run,) = await lab.send("go")
            await lab.advance("1m")
            await between(lab)
            await lab.send("e")
            await lab.advance("15m")
            await between(lab)
            assert await lab.result(run) == (None, START + timedelta(hours=1))

    asyncio.run(story())


def test_a_try_that_came_due_while_the_process_was_down_is_not_cut_short() -> None:
    """R11, R17: it begins at once on recovery, and its overdue timer does not end it."""
    calls: list[int] = []
    begun = asyncio.Event()

    async def flaky() -> int:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ValueError("not yet")
        begun.set()
        for _ in range(50):
            await asyncio.sleep(0)
        return len(calls)

    @durable.function()
    async def f(ctx: Context) -> int:
        return await ctx.step.run("flaky", flaky)

    async def story() -> None:
        async with Lab([f]) as lab:
            run = await lab.start(f)
            await lab.engine.close()
            lab.clock.advance("1h")
            await lab.engine.open()
            await begun.wait()
            await lab.settle()
            assert await run.result() == 2

    asyncio.run(story())


# Cancelling in time (R27).


def test_a_cancel_with_a_timeout_holds_until_then(between: Between) -> None:
    """R27: the event cancels within the timeout from the run's opening, and no longer at its end."""

    @durable.function("go", cancel=[Cancel("stop", timeout="1h")])
    async def f(ctx: Context) -> str:
        await ctx.step.sleep("work", "1d")
        return "done"

    async def story() -> None:
        async with Lab([f]) as lab:
            (early,) = await lab.send("go")
            await lab.advance(timedelta(hours=1) - MICROSECOND)
            await between(lab)
            await lab.send("stop")
            assert (await early.info()).status == "cancelled"
            (late,) = await lab.send("go")
            await between(lab)
            await lab.advance("1h")
            await lab.send("stop")
            await between(lab)
            assert await lab.result(late) == "done"

    asyncio.run(story())


# Invokes in time (R24).


@durable.function()
async def slow(ctx: Context) -> str:
    await ctx.step.sleep("work", "2h")
    return "slow"


@durable.function()
async def parent(ctx: Context) -> Any:
    try:
        return await ctx.step.invoke("child", function=slow, timeout=ctx.event.data["timeout"])
    except InvokeTimeoutError as error:
        return [type(error).__name__, error.name, error.step_id, ctx.now()]


def test_an_invoke_that_times_out_leaves_the_child_running(between: Between) -> None:
    """R24: a timeout is `InvokeTimeoutError`; the child goes on to its own end, and wakes nobody."""

    async def story() -> None:
        async with Lab([slow, parent]) as lab:
            run = await lab.start(parent, {"timeout": "1h"})
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            assert await run.result() == ["InvokeTimeoutError"] * 2 + ["child", START + timedelta(hours=1)]
            child = await lab.engine.run(f"{run.id}/child")
            assert (await child.info()).status == "waiting"
            await between(lab)
            assert await lab.result(child) == "slow"

    asyncio.run(story())


def test_a_child_that_ends_in_time_is_not_timed_out(between: Between) -> None:
    """R24: nor does the deadline strike afterwards."""

    async def story() -> None:
        async with Lab([slow, parent]) as lab:
            run = await lab.start(parent, {"timeout": "3h"})
            await between(lab)
            await lab.advance("2h")
            await between(lab)
            await lab.advance("2h")
            assert await run.result() == "slow"

    asyncio.run(story())


def test_a_timeout_that_nobody_catches_fails_the_run_at_once() -> None:
    """R14, R24: InvokeTimeoutError is final, and the caller can read it."""

    @durable.function()
    async def careless(ctx: Context) -> Any:
        return await ctx.step.invoke("child", function=slow, timeout="1h")

    async def story() -> None:
        async with Lab([slow, careless]) as lab:
            run = await lab.start(careless)
            await lab.advance("1h")
            with pytest.raises(durable.RunFailed, match=r"InvokeTimeoutError.*did not end in time"):
                await run.result()
            assert (await run.info()).attempt == 0

    asyncio.run(story())


def test_timeouts_do_not_touch_what_an_event_opened_meanwhile() -> None:
    """R21: each run has its own time."""

    async def story() -> None:
        async with Lab([failing_until(0, timeouts=Timeouts(finish="90m"))]) as lab:
            (first,) = await lab.send("go")
            await lab.advance("1h")
            (second,) = await lab.send(Event("go"))
            await lab.advance("30m")
            assert [(await run.info()).status for run in (first, second)] == ["cancelled", "waiting"]

    asyncio.run(story())
