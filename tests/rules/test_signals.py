"""Signals: one run waits, one sender is told which (rule R23)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

import durable
from durable import Context, Engine, Signal, SignalConflictError
from durable.testing import Lab
from tests.rules.test_time import LateClock

Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


@durable.function()
async def waits(ctx: Context) -> Any:
    """Wait for the signal that the event names, and tell what came."""
    conflict = ctx.event.data.get("on_conflict", "fail")
    try:
        signal = await ctx.step.wait_for_signal("w", signal="s", timeout="1h", on_conflict=conflict)
    except SignalConflictError as error:
        await ctx.step.sleep("after", "1h")
        return [type(error).__name__, error.name, error.step_id, error.message]
    return signal and [type(signal).__name__, signal.name, signal.data]


@durable.function()
async def sends(ctx: Context) -> str | None:
    return await ctx.step.send_signal("send", "s", ctx.event.data)


def test_a_signal_goes_to_the_one_run_that_waits_and_the_answer_says_which(between: Between) -> None:
    """R23: to the one run waiting for it, and the answer says which; once."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            run = await lab.start(waits)
            await between(lab)
            assert await lab.signal("other", 1) is None
            assert await lab.signal("s", {"n": (1, 2)}) == run.id
            await between(lab)
            assert await lab.signal("s", 2) is None
            assert await run.result() == ["Signal", "s", {"n": (1, 2)}]

    asyncio.run(story())


def test_a_signal_that_nobody_waits_for_is_not_kept(between: Between) -> None:
    """R23: to none, `None`, and it is not kept; a timeout gives `None`."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            assert await lab.signal("s", 1) is None
            await between(lab)
            run = await lab.start(waits)
            await between(lab)
            assert (await run.info()).status == "waiting"
            await lab.advance("1h")
            assert await lab.signal("s", 1) is None
            assert await run.result() is None

    asyncio.run(story())


def test_a_step_sends_a_signal_once_and_is_told_who_received_it(between: Between) -> None:
    """R22, R23: the answer is recorded with the step: after a crash it is the same, and nobody is signalled again."""

    async def story() -> None:
        async with Lab([waits, sends]) as lab:
            run = await lab.start(waits)
            await between(lab)
            sender, late = await lab.start(sends, {"n": 1}), await lab.start(sends, {"n": 2})
            again = await lab.start(waits)
            await between(lab)
            assert await sender.result() == run.id
            assert await late.result() is None
            assert await run.result() == ["Signal", "s", {"n": 1}]
            assert (await again.info()).status == "waiting"

    asyncio.run(story())


def test_a_second_waiter_fails_its_step_and_the_first_goes_on_waiting(between: Between) -> None:
    """R23: a second waiter is a `SignalConflictError` that fails its step, recorded and not retried."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            first = await lab.start(waits)
            await between(lab)
            second = await lab.start(waits)
            await between(lab)
            assert (await second.info()).steps["w"].status == "failed"
            assert await lab.signal("s", 1) == first.id
            await lab.advance("1h")
            await between(lab)
            kind, name, key, message = await second.result()
            assert (kind, name, key) == ("SignalConflictError", "SignalConflictError", "w")
            assert first.id in message and "replace" in message
            third = await lab.start(waits)
            assert await lab.signal("s", 3) == third.id

    asyncio.run(story())


def test_a_waiter_that_replaces_takes_the_signal_over(between: Between) -> None:
    """R23: with `on_conflict="replace"` the earlier waiter gets `None` at once."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            first = await lab.start(waits)
            await between(lab)
            second = await lab.start(waits, {"on_conflict": "replace"})
            await between(lab)
            assert await first.result() is None
            assert await lab.signal("s", 1) == second.id
            await between(lab)
            assert await second.result() == ["Signal", "s", 1]

    asyncio.run(story())


def test_the_deadline_of_a_replaced_waiter_does_not_strike_the_new_one(between: Between) -> None:
    """R23, R19: each wait has its own deadline."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            await lab.start(waits)
            await lab.advance("30m")
            await between(lab)
            second = await lab.start(waits, {"on_conflict": "replace"})
            await lab.advance("45m")
            await between(lab)
            assert await lab.signal("s", 1) == second.id

    asyncio.run(story())


@pytest.mark.parametrize("ending", ["cancel", "answer", "time out"])
def test_a_wait_that_has_ended_leaves_the_signal_free(ending: str, between: Between) -> None:
    """R23, R27: the next waiter is no conflict."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            first = await lab.start(waits)
            await between(lab)
            if ending == "cancel":
                await first.cancel()
            elif ending == "answer":
                await lab.signal("s")
            else:
                await lab.advance("1h")
            await between(lab)
            second = await lab.start(waits)
            await between(lab)
            assert await lab.signal("s", 2) == second.id

    asyncio.run(story())


def test_a_waiter_whose_time_is_over_does_not_take_the_signal_along() -> None:
    """R19, R23: its deadline has passed but its timer is late: the next waiter is no conflict, and stays."""

    async def story() -> None:
        clock = LateClock()
        async with Engine([waits], clock=clock) as engine:
            first = await engine.start(waits)
            await engine.settled()
            clock.time += timedelta(hours=1)
            second = await engine.start(waits)
            while not (await second.info()).waiting_for:
                await asyncio.sleep(0)
            assert (await first.info()).status == "waiting"
            await engine.settled()
            assert await first.result() is None
            assert await engine.send_signal("s", 1) == second.id

    asyncio.run(story())


def test_one_run_cannot_wait_twice_for_one_signal() -> None:
    """R23: also two waits of one run are a conflict; uncaught it fails the run at once (R14)."""

    @durable.function()
    async def twice(ctx: Context) -> Any:
        return await asyncio.gather(
            ctx.step.wait_for_signal("a", signal="s", timeout="1h"),
            ctx.step.wait_for_signal("b", signal="s", timeout="1h"),
        )

    async def story() -> None:
        async with Lab([twice]) as lab:
            run = await lab.start(twice)
            info = await run.info()
            assert info.error is not None
            assert (info.status, info.error.name, info.attempt) == ("failed", "SignalConflictError", 0)

    asyncio.run(story())


def test_what_no_signal_can_be_is_refused_at_the_call() -> None:
    """R23, R28: names and data are checked before anything is recorded."""

    async def story() -> None:
        async with Lab([waits]) as lab:
            await lab.start(waits)
            with pytest.raises(TypeError):
                await lab.signal(3)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="empty"):
                await lab.signal("")
            with pytest.raises(durable.CodecError):
                await lab.signal("s", object())
            with pytest.raises(durable.LimitError, match="signal 's'"):
                await lab.signal("s", "x" * 600_000)
            assert Signal("s", 1) == Signal("s", 1)

    asyncio.run(story())
