"""Deadlines and what counts from when (rules R17 and R19), and races of waits: who wins, and what the loser leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

import durable
from durable import Context, DictStore, Engine
from durable.testing import Lab, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


@attrs.define
class LateClock:
    """A clock that can be set to any time, and whose alarms never ring."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def call_at(self, when: datetime, callback: Callable[[], object]) -> LateClock:
        return self

    def cancel(self) -> None:
        pass


# Deadlines (R17).


@durable.function("go")
async def sleeper(ctx: Context) -> datetime:
    await ctx.step.sleep("a", "36h")
    return ctx.now()


@pytest.mark.parametrize("downtime", ["35h", "36h", "400d"])
def test_a_sleep_keeps_its_absolute_deadline_over_a_restart(downtime: str) -> None:
    """R17: deadlines survive restarts: a sleep that ended while the process was down ends at once on recovery."""

    async def story() -> None:
        store, clock = DictStore(), VirtualClock(START)
        async with Engine([sleeper], store=store, clock=clock) as engine:
            run = await engine.start(sleeper)
            await engine.settled()
        clock.advance(downtime)
        async with Lab([sleeper], store=DictStore(store.mapping), start=clock.now()) as lab:
            handle = await lab.engine.run(run.id)
            if downtime == "35h":
                assert list((await handle.info()).waiting_for.values()) == ["2030-01-02 12:00:00+00:00"]
                await lab.advance("1h")
            assert await handle.result() == max(clock.now(), START + 36 * HOUR)

    asyncio.run(story())


def test_a_deadline_is_the_same_instant_in_every_zone() -> None:
    """R17: stored in UTC; an aware datetime of any zone is that instant."""

    @durable.function()
    async def f(ctx: Context) -> datetime:
        from_utc = datetime.fromisoformat("2030-01-01T09:00:00+07:00")
        await ctx.step.sleep_until("a", from_utc)
        return ctx.now()

    async def story() -> None:
        async with Lab([f]) as lab:
            assert await lab.result(await lab.start(f)) == START + 2 * HOUR

    asyncio.run(story())


def test_a_timer_never_fires_early(between: Between) -> None:
    """R17: not a microsecond before its deadline, however often the engine looks."""

    async def story() -> None:
        async with Lab([sleeper]) as lab:
            run = await lab.start(sleeper)
            for step in (HOUR, 35 * HOUR - timedelta(microseconds=1)):
                await lab.advance(step)
                await between(lab)
                assert (await run.info()).status == "waiting"
            await lab.advance(timedelta(microseconds=1))
            assert await run.result() == START + 36 * HOUR

    asyncio.run(story())


def test_the_last_microsecond_is_not_early_on_a_clock_that_wakes_too_soon() -> None:
    """R17: who wakes the engine early finds nothing due."""

    async def story() -> None:
        clock = LateClock()
        async with Engine([sleeper], clock=clock) as engine:
            run = await engine.start(sleeper)
            await engine.settled()
            clock.time = START + 36 * HOUR - timedelta(microseconds=1)
            await engine.settled()
            assert (await run.info()).status == "waiting"
            clock.time = START + 36 * HOUR
            await engine.settled()
            assert (await run.info()).status == "completed"

    asyncio.run(story())


# What counts from when (R19).


def test_a_wait_a_sleep_and_an_invoke_begin_when_they_are_called(between: Between) -> None:
    """R19: posted when the method is called, not when awaited, and their deadlines count from there."""

    @durable.function()
    async def child(ctx: Context) -> datetime:
        await ctx.step.sleep("c", "30m")
        return ctx.now()

    @durable.function()
    async def f(ctx: Context) -> list[Any]:
        with ExitStack() as held:
            sleep = held.enter_context(closing(ctx.step.sleep("s", "2h")))
            answered = held.enter_context(closing(ctx.step.wait_for_event("w", event="e", timeout="3h")))
            timed_out = held.enter_context(closing(ctx.step.wait_for_event("t", event="other", timeout="30m")))
            invoked = held.enter_context(closing(ctx.step.invoke("i", function=child)))
            await ctx.step.sleep("first", "1h")
            seen = [await timed_out, await invoked, (await answered).data["n"], ctx.now()]  # type: ignore[union-attr]
            await sleep
            return [*seen, ctx.now()]

    async def story() -> None:
        async with Lab([f, child]) as lab:
            run = await lab.start(f)
            await between(lab)
            await lab.advance("10m")
            await lab.send("e", {"n": 7})
            await between(lab)
            await lab.advance("50m")
            await between(lab)
            await lab.send("other")
            await lab.advance("1h")
            assert await run.result() == [None, START + HOUR / 2, 7, START + HOUR, START + 2 * HOUR]

    asyncio.run(story())


def test_a_run_and_a_send_act_when_they_are_first_awaited(between: Between) -> None:
    """R19: `run` and the sends act when first awaited."""

    @durable.function()
    async def f(ctx: Context) -> Any:
        with ExitStack() as held:
            work = held.enter_context(closing(ctx.step.run("work", lambda: 5)))
            sends = held.enter_context(closing(ctx.step.send_event("send", durable.Event("e"))))
            signals = held.enter_context(closing(ctx.step.send_signal("signal", "s", 1)))
            await ctx.step.sleep("first", "1h")
            await sends
            return await work, await signals

    @durable.function("e")
    async def heard(ctx: Context) -> datetime:
        signal = await ctx.step.wait_for_signal("s", signal="s", timeout="1h")
        assert signal is not None and signal.data == 1
        return ctx.now()

    async def story() -> None:
        async with Lab([f, heard]) as lab:
            run = await lab.start(f)
            await between(lab)
            assert lab.calls["work"] == 0 and len(await lab.engine.runs()) == 1
            await lab.advance("1h")
            await between(lab)
            (other,) = [info for info in await lab.engine.runs() if info.function_id == "heard"]
            assert (other.output, lab.calls["work"]) == (START + HOUR, 1)
            assert await run.result() == (5, other.id)

    asyncio.run(story())


def test_a_step_whose_coroutine_is_closed_unawaited_is_cancelled(between: Between) -> None:
    """R19: closed without being awaited, it is freed: it takes no event, holds no signal, and is never due."""

    @durable.function()
    async def f(ctx: Context) -> Any:
        unused = [
            ctx.step.wait_for_event("w", event="e", timeout="1d"),
            ctx.step.wait_for_signal("s", signal="s", timeout="1d"),
            ctx.step.sleep("z", "1h"),
            ctx.step.run("r", lambda: 1),
        ]
        for step in unused:
            step.close()
        signal = await ctx.step.wait_for_signal("again", signal="s", timeout="1d")
        event = await ctx.step.wait_for_event("next", event="e", timeout="1d")
        return (signal and signal.data), (event and event.data)

    async def story() -> None:
        async with Lab([f]) as lab:
            run = await lab.start(f)
            await between(lab)
            assert list((await run.info()).waiting_for) == ["again"]
            assert await lab.signal("s", 1) == run.id
            await between(lab)
            await lab.advance("2h")
            await lab.send("e", {"n": 1})
            assert await run.result() == (1, {"n": 1})
            steps = (await run.info()).steps
            assert {key: steps[key].status for key in steps} == {
                **dict.fromkeys(("w", "s", "z"), "cancelled"),
                **dict.fromkeys(("again", "next"), "completed"),
            }

    asyncio.run(story())


def test_what_arrives_after_the_deadline_does_not_answer_although_its_timer_is_late() -> None:
    """R19: an event that arrives after a wait's deadline does not answer it, even if its timer has yet to fire; R23."""

    @durable.function()
    async def f(ctx: Context) -> Any:
        event = ctx.step.wait_for_event("w", event="e", timeout="1h")
        return await asyncio.gather(event, ctx.step.wait_for_signal("s", signal="s", timeout="1h"))

    async def story() -> None:
        clock = LateClock()
        async with Engine([f], clock=clock) as engine:
            run = await engine.start(f)
            await engine.settled()
            clock.time = START + HOUR
            await engine.send("e")
            assert await engine.send_signal("s", 1) is None
            await engine.settled()
            assert await run.result() == [None, None]

    asyncio.run(story())


def test_the_time_of_a_run_never_goes_back() -> None:
    """R19: `ctx.now()` never goes back within a run, although the clock does; and it is the same on replay."""
    seen: list[list[datetime]] = []

    @durable.function()
    async def f(ctx: Context) -> None:
        seen.append([ctx.now()])
        for _ in range(3):
            await ctx.step.wait_for_event("w", event="e", timeout="9d")
            seen[-1].append(ctx.now())

    async def story() -> None:
        clock, store = LateClock(), DictStore()
        async with Engine([f], clock=clock, store=store) as engine:
            await engine.start(f)
            for hours in (2, -5):
                await engine.settled()
                clock.time = START + hours * HOUR
                await engine.send("e")
            await engine.settled()
        async with Engine([f], clock=clock, store=DictStore(store.mapping)) as engine:
            await engine.settled()
        assert seen == [[START, START + 2 * HOUR, START + 2 * HOUR]] * 2

    asyncio.run(story())


# Races of waits.


@durable.function()
async def race(ctx: Context) -> list[Any]:
    """Wait for an answer in two ways, cancel the loser, and then wait for it in earnest."""
    yes = asyncio.create_task(ctx.step.wait_for_event("event", event="answer", timeout="3d"))
    no = asyncio.create_task(ctx.step.wait_for_signal("signal", signal="answer", timeout="3d"))
    done, lost = await asyncio.wait([yes, no], return_when=asyncio.FIRST_COMPLETED)
    for task in lost:
        task.cancel()
    first = done.pop().result()
    await ctx.step.sleep("pause", "1h")
    event = await ctx.step.wait_for_event("event", event="answer", timeout="1d")
    signal = await ctx.step.wait_for_signal("signal", signal="answer", timeout="1d")
    return [first and first.data, event and event.data, signal and signal.data]


@pytest.mark.parametrize("winner", ["event", "signal"])
def test_the_loser_of_a_race_of_waits_is_freed_and_never_takes_an_event(winner: str, between: Between) -> None:
    """R9, R19, R23: not live, not after a crash, and not with the run rebuilt after every delivery."""

    async def answer(lab: Lab, kind: str, data: Any) -> None:
        if kind == "event":
            await lab.send("answer", {"n": data})
        else:
            await lab.signal("answer", {"n": data})
        await between(lab)

    async def story() -> None:
        async with Lab([race]) as lab:
            run = await lab.start(race)
            await between(lab)
            await answer(lab, winner, 1)
            other = "signal" if winner == "event" else "event"
            assert list((await run.info()).waiting_for) == ["pause"]
            assert await lab.engine.send_signal("answer", {"n": 0}) is None
            await answer(lab, other, 0)
            await lab.advance("1h")
            await between(lab)
            await answer(lab, "event", 2)
            await answer(lab, "signal", 3)
            assert await run.result() == [{"n": 1}, {"n": 2}, {"n": 3}]
            statuses = [(step.kind, step.status) for step in (await run.info()).steps.values()]
            assert (f"wait_for_{other}", "cancelled") in statuses and len(statuses) == 5

    asyncio.run(story())


def test_a_race_that_nobody_answers_ends_for_both(between: Between) -> None:
    """R5, R19: both time out in one tick; the same result live and on replay."""

    async def story() -> None:
        async with Lab([race]) as lab:
            run = await lab.start(race)
            await between(lab)
            await lab.advance("3d")
            await between(lab)
            assert await lab.result(run) == [None, None, None]

    asyncio.run(story())


def test_the_answer_of_a_loser_that_was_not_delivered_yet_is_dropped(between: Between) -> None:
    """R9: one event answers both sides of the race; what the loser got is dropped, live and on replay."""

    @durable.function()
    async def both(ctx: Context) -> list[Any]:
        tasks = [asyncio.create_task(ctx.step.wait_for_event(k, event="e", timeout="1d")) for k in "ab"]
        done, lost = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in lost:
            task.cancel()
        await ctx.step.sleep("pause", "1h")
        await asyncio.gather(*lost, return_exceptions=True)
        return [[task in done for task in tasks], [None for task in lost if task.cancelled()]]

    async def story() -> None:
        async with Lab([both]) as lab:
            run = await lab.start(both)
            await between(lab)
            await lab.send("e")
            await between(lab)
            assert await lab.result(run) == [[True, False], [None]]

    asyncio.run(story())
