"""An engine that has nothing to do does nothing: it wakes its loop at most once in 30 s, however many runs wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.timers import TimerWheel
from tests.bench.idle import CountingLoop, SkippingClock

RUNS = 2_000  # `python -m tests.bench --more idle` does the same with 10,000, for 30 s of real time


@durable.function("idle/began")
async def sleeper(ctx: durable.Context) -> None:
    """Sleep for days, each run for a little longer than the one before it."""
    await ctx.step.sleep("days", timedelta(days=1, seconds=ctx.event.data["number"]))


@durable.function("idle/began")
async def listener(ctx: durable.Context) -> None:
    """Wait for an event that nobody sends."""
    await ctx.step.wait_for_event("answer", event="idle/answer", timeout="7d", match="data.number")


@durable.function("idle/began")
async def worker(ctx: durable.Context) -> None:
    """Call a blocking handler, whose thread stays for a while, then sleep."""
    await ctx.step.run("blocking", int)
    await ctx.step.sleep("days", "2d")


@durable.function("idle/began")
async def brancher(ctx: durable.Context) -> None:
    """Sleep for days in two tasks, which is nothing to be parked in."""
    await asyncio.gather(ctx.step.sleep("days", "2d"), ctx.step.sleep("more days", "3d"))


@durable.function([durable.TriggerEvent("idle/began"), durable.TriggerCron("0 0 29 2 *"), durable.TriggerEvery("365d")])
async def ticker(ctx: durable.Context) -> None:
    """Sleep for days, and tick once in years."""
    await ctx.step.sleep("days", "2d")


async def wake_ups(
    loop: CountingLoop, functions: list[durable.Function[Any]], store: Path | None, runs: int, resident: int = 10_000
) -> int:
    async with durable.Engine(functions, store=store, clock=SkippingClock(loop), resident=resident) as engine:
        await engine.send([durable.Event("idle/began", {"number": number}) for number in range(runs)])
        await engine.settled()
        await loop.wake_ups_in(60, skipping=True)  # threads that a handler needed have ended by then
        found = await loop.wake_ups_in(30, skipping=True)
        assert len(await engine.runs(status="waiting", limit=3)) == 3
        return found


def counted(functions: list[durable.Function[Any]], store: Path | None, runs: int, **options: Any) -> int:
    loop = CountingLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(wake_ups(loop, functions, store, runs, **options))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_an_engine_with_thousands_of_waiting_runs_wakes_up_at_most_once_in_30_seconds(tmp_path: Path) -> None:
    """Section 9: idle. Timers share one armed callback; nothing is polled, in the loop or in the store's threads."""
    assert counted([sleeper, listener], tmp_path / "idle.db", RUNS // 2) <= 1


def test_ten_thousand_timers_wake_the_loop_at_most_once_in_30_seconds() -> None:
    """Section 9: idle. One callback is armed for all of them, for hops of 30 s."""

    async def story(loop: CountingLoop) -> int:
        clock = SkippingClock(loop)
        timers: TimerWheel[int] = TimerWheel(clock, None, loop.call_soon)
        for number in range(10_000):
            timers.set(number, clock.now() + timedelta(days=1, seconds=number))
        await loop.wake_ups_in(60, skipping=True)
        found = await loop.wake_ups_in(300, skipping=True)
        assert len(timers) == 10_000
        timers.close()
        return found

    loop = CountingLoop()
    try:
        assert loop.run_until_complete(story(loop)) <= 10
    finally:
        loop.close()


def test_an_engine_on_a_dict_wakes_up_at_most_once_in_30_seconds() -> None:
    assert counted([sleeper, listener], None, 50) <= 1


def test_between_two_ticks_nothing_wakes_the_loop_but_one_hop_in_30_seconds(tmp_path: Path) -> None:
    """F9: all schedules share one timer."""
    assert counted([ticker], tmp_path / "idle.db", 5) <= 1


@pytest.mark.parametrize("function", [sleeper, brancher])
def test_looking_for_runs_to_park_comes_to_an_end(function: durable.Function[Any]) -> None:
    """Section 9: idle, also where more runs keep their coroutine than were asked for."""
    assert counted([function], None, 5, resident=0) <= 1


def test_threads_of_blocking_handlers_wake_nothing_once_they_have_ended(tmp_path: Path) -> None:
    assert counted([worker], tmp_path / "idle.db", 50) <= 1


def test_an_idle_loop_wakes_up_on_time_for_a_sleep_that_ends_in_between() -> None:
    """R17: idling must not be had by not waking up at all."""

    async def story(loop: CountingLoop) -> timedelta:
        clock = SkippingClock(loop)
        async with durable.Engine([nap], clock=clock) as engine:
            began = clock.now()
            await engine.start(nap)
            await engine.settled()
            await loop.wake_ups_in(50, skipping=True)
            (info,) = await engine.runs(status="completed")
            assert info.ended_at is not None
            return info.ended_at - began

    loop = CountingLoop()
    try:
        took = loop.run_until_complete(story(loop))
    finally:
        loop.close()
    assert timedelta(seconds=45) <= took < timedelta(seconds=45.05)


@durable.function
async def nap(ctx: durable.Context) -> None:
    """Sleep for longer than a loop's timer is ever armed."""
    await ctx.step.sleep("nap", 45)


def test_a_loop_that_has_others_to_serve_goes_round_while_thousands_of_runs_come_and_go() -> None:
    """Section 1: a daemon's engine never blocks the loop: it reads, begins and ends runs a few at a time."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def story() -> list[int]:
        nonlocal turns
        store = durable.DictStore()
        async with durable.Engine([sleeper], store=store) as engine:
            await engine.send([durable.Event("idle/began", {"number": number}) for number in range(RUNS)])
            await engine.settled()
        engine = durable.Engine([sleeper], store=durable.DictStore(store.mapping))
        ticking = asyncio.create_task(tick())
        counts = []
        for work in (engine.open, engine.settled, engine.close):
            turns = 0
            await work()
            counts.append(turns)
        ticking.cancel()
        return counts

    opening, settling, closing = asyncio.run(story())
    assert opening >= RUNS / 100 and settling >= RUNS / 100 and closing >= RUNS / 100
