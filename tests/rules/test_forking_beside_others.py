"""Forks (S5) beside other runs: who waits for the same, who was invoked, who sends, who cancels."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import durable
from durable import Context, Event, RunCancelled, RunFailed, Signal, Timeouts
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.forked import broken, calls, forget, mended, work


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    forget()


def test_a_closed_wait_of_a_fork_takes_nothing_from_those_that_wait_now() -> None:
    """S5: another run may wait for the same signal."""

    @durable.function
    async def asking(ctx: Context) -> Any:
        answer = await ctx.step.wait_for_signal("ask", signal="answer", timeout="1d")
        return answer and answer.data, await ctx.step.run("last", work, 1)

    async def story() -> None:
        async with Lab([asking]) as lab:
            old = await lab.start(asking, id="old")
            assert await lab.signal("answer", "first") == "old"
            assert await lab.result(old) == ("first", 1)
            other = await lab.start(asking, id="other")
            assert await lab.result(await lab.engine.fork("old", before="last")) == ("first", 1)
            given = await lab.engine.fork("old", steps={"ask": Signal("answer", "given")})
            assert await lab.result(given) == ("given", 1)
            assert await lab.result(await lab.engine.fork("old", steps={"ask": None})) == (None, 1)
            assert await lab.signal("answer", "second") == "other" and await lab.result(other) == ("second", 1)

    asyncio.run(story())


def test_an_event_stands_in_place_of_the_one_that_answered() -> None:
    """S5: without an id and a time it gets them as any event does."""

    @durable.function
    async def asking(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("ask", event="answer", timeout="1d")

    async def story() -> None:
        async with Lab([asking]) as lab:
            old = await lab.start(asking, id="old")
            await lab.advance("1h")
            await lab.send("answer", {"n": 1}, id="e")
            assert (await lab.result(old)).data == {"n": 1}
            event = await lab.result(await lab.engine.fork("old", steps={"ask": Event("answer", {"n": 2})}))
            assert event.data == {"n": 2} and event.id and event.ts == START + timedelta(hours=1)
            with pytest.raises(TypeError, match="must be an Event, or None for a timeout"):
                await lab.engine.fork("old", steps={"ask": {"n": 2}})

    asyncio.run(story())


def test_a_fork_has_nothing_to_do_with_the_children_of_the_old_run(caplog: pytest.LogCaptureFixture) -> None:
    """R24, R32: a fork that fails and is opened again opens its own."""

    @durable.function(retries=0)
    async def child(ctx: Context) -> str:
        return await ctx.step.run("work", broken)

    @durable.function(retries=0)
    async def parent(ctx: Context) -> Any:
        try:
            await ctx.step.invoke("child", function=child)
        except durable.StepError:
            await ctx.step.run("note", work, "failed")
        return await ctx.step.run("last", broken)

    async def story() -> None:
        async with Lab([parent, child]) as lab:
            old = await lab.start(parent, id="old")
            with pytest.raises(RunFailed):
                await lab.result(old)
            record = (await lab.engine.info("old/child")).record
            caplog.clear()
            new = await lab.engine.fork("old", before="last", id="new")
            assert "child" not in caplog.text, "it was told of the old run"
            with pytest.raises(RunFailed):
                await lab.result(new)
            assert (await new.info()).steps["child"].status == "failed" and len(
                await lab.engine.runs(function=child)
            ) == 1
            mended[:] = ["work", "last"]
            await lab.engine.retry("new")
            assert await lab.result(new) == "mended"
            assert (await lab.engine.info("old/child")).record == record
            assert {run.id for run in await lab.engine.runs(function=child)} == {"old/child", "new/child~r1"}

    asyncio.run(story())


def test_timeouts_and_cancel_rules_of_a_fork_count_from_its_own_opening() -> None:
    """R21, R27."""

    @durable.function(timeouts=Timeouts(start="1h", finish="2h"), cancel=durable.Cancel("stop", match="data.n"))
    async def bounded(ctx: Context) -> None:
        await ctx.step.run("first", work, 1)
        await ctx.step.sleep("night", "8h")

    async def story() -> None:
        async with Lab([bounded]) as lab:
            with pytest.raises(RunCancelled):
                await lab.result(await lab.start(bounded, {"n": 1}, id="old"))
            await lab.advance("9d")
            new = await lab.engine.fork("old", before="night")
            await lab.advance("119m")
            assert (await new.info()).status == "waiting"
            await lab.advance("1m")
            assert (await new.info()).status == "cancelled"
            other = await lab.engine.fork("old", before="night", data={"n": 2})
            await lab.send("stop", {"n": 1})
            assert (await other.info()).status == "waiting"
            await lab.send("stop", {"n": 2})
            assert (await other.info()).status == "cancelled"

    asyncio.run(story())


def test_idempotency_is_passed_by_and_a_failure_handler_is_called_for_a_fork_too() -> None:
    """S5, R15, R21."""

    @durable.function(idempotency="event.data.cart")
    async def failed(ctx: Context) -> str:
        return str(ctx.event.data["run_id"])

    @durable.function("cart", idempotency="event.data.cart", retries=0, on_failure=failed.code)
    async def buying(ctx: Context) -> None:
        await ctx.step.run("first", work, 1)
        await ctx.step.run("last", broken)

    async def story() -> None:
        async with Lab([buying]) as lab:
            (old,) = await lab.send("cart", {"cart": 7})
            assert await lab.send("cart", {"cart": 7}) == []
            new = await lab.engine.fork(old.id)
            await lab.settle()
            assert calls == ["first", "last", "last"]
            handler = await lab.engine.run(f"{new.id}/failure")
            assert await lab.result(handler) == new.id
            again = await lab.engine.fork(handler.id)
            assert await lab.result(again) == new.id

    asyncio.run(story())
