"""Rule R8: what happens to steps, tasks and handlers when a function or an attempt ends, and what is recorded then."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, StepError
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from tests.support.lives import RAN, finished, note, records, rounds, same_lives


def kinds(store: DictStore) -> list[str]:
    return [type(record).__name__ for record in records(store.mapping)]


def test_control_flow_is_never_an_exception_that_code_catches() -> None:
    """R8: `except Exception` around a step sees nothing of sleeping, waiting, crashing and replaying."""
    caught: list[Exception] = []

    @durable.function
    async def catching(ctx: Context) -> str:
        try:
            await ctx.step.run("first", note)
            await ctx.step.sleep("night", "8h")
            await ctx.step.wait_for_event("answer", event="never", timeout="1h")
            await asyncio.gather(ctx.step.run("a", note), ctx.step.sleep("b", 1))
        except Exception as error:
            caught.append(error)
        return "done"

    assert same_lives(catching).ending == "done"
    assert caught == []


def test_a_function_that_returns_cancels_its_waiting_tasks_and_says_which(caplog: pytest.LogCaptureFixture) -> None:
    """R8: tasks seen calling its steps are cancelled, which records nothing; the log names run and steps."""
    cancelled = []

    @durable.function
    async def leaving(ctx: Context) -> str:
        async def side() -> None:
            try:
                await ctx.step.sleep("left alone", "1d")
            except asyncio.CancelledError:
                cancelled.append("side")
                raise

        task = asyncio.ensure_future(side())
        await ctx.step.run("main", note)
        assert not task.done()
        return "gone"

    async def story() -> None:
        store = DictStore()
        async with Lab([leaving], store=store) as lab:
            run = await lab.start(leaving, id="r")
            assert await lab.result(run) == "gone"
            assert cancelled == ["side"]
            assert finished(store.mapping) == {"main"}
            assert lab.clock.next_due() is None  # the sleep's timer went with the run
            (text,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
            assert "'r'" in text and "'0»left alone'" in text and "cancelled" in text

    asyncio.run(story())


@pytest.mark.parametrize("end", ["return", "raise"])
def test_what_a_finishing_handler_returns_is_recorded_before_the_end(end: str) -> None:
    """R8: running handlers end, and what a finished one returned is recorded; then the end is posted."""

    async def shielding() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "the effect was done"

    @durable.function(retries=0)
    async def leaving(ctx: Context) -> None:
        task = asyncio.ensure_future(ctx.step.run("side", shielding))
        await ctx.step.sleep("a while", 1)
        if end == "raise":
            raise RuntimeError("over")
        assert not task.done()

    async def story() -> None:
        store = DictStore()
        async with Lab([leaving], store=store) as lab:
            await lab.engine.start(leaving, id="r")
            await rounds()
            lab.clock.advance(1)
            await rounds()
            assert kinds(store)[-2:] == ["StepClosed", "RunClosed"]
            info = await lab.engine.info("r")
            assert info.steps["side"].output == "the effect was done"
            assert info.status == ("failed" if end == "raise" else "completed")

    asyncio.run(story())


def test_a_handler_that_ends_by_being_cancelled_records_nothing() -> None:
    """R8: it is not a try that failed either."""

    @durable.function
    async def leaving(ctx: Context) -> None:
        task = asyncio.ensure_future(ctx.step.run("side", asyncio.Event().wait))
        await ctx.step.sleep("a while", 1)
        assert not task.done()

    async def story() -> None:
        store = DictStore()
        async with Lab([leaving], store=store) as lab:
            await lab.engine.start(leaving, id="r")
            await rounds()
            lab.clock.advance(1)
            await rounds()
            assert kinds(store) == ["RunOpened", "StepOpened", "StepClosed", "RunClosed"]

    asyncio.run(story())


@pytest.mark.parametrize("how", ["close", "crash", "cancel"])
def test_cleanup_in_finally_records_nothing_when_the_runtime_ends_a_run(how: str) -> None:
    """R8: a refused step call raises CancelledError, so `finally:` blocks record nothing."""
    seen: list[str] = []

    @durable.function
    async def tidy(ctx: Context) -> str:
        try:
            await ctx.step.sleep("night", "8h")
        except asyncio.CancelledError:
            await ctx.step.run("on cancel", note)
        finally:
            try:
                await ctx.step.run("cleanup", note)
            except asyncio.CancelledError:
                seen.append("refused")
                raise
        return "slept"

    async def story() -> None:
        RAN.clear()
        store = DictStore()
        async with Lab([tidy], store=store) as lab:
            run = await lab.start(tidy, id="r")
            if how == "crash":
                await lab.crash()
            elif how == "cancel":
                assert await run.cancel()
        assert "refused" in seen and RAN == [] and finished(store.mapping) == set()
        if how != "cancel":
            async with Lab([tidy], store=DictStore(store.mapping)) as lab:
                assert await lab.result(await lab.engine.run("r")) == "slept"
                assert RAN == ["cleanup"]

    asyncio.run(story())


def test_what_a_function_returns_or_raises_after_its_session_refused_is_not_recorded() -> None:
    """R8: swallowing the cancelling at close does not complete the run, nor fail it."""
    endings = iter(["return", "raise", "finish"])

    @durable.function(retries=0)
    async def swallowing(ctx: Context) -> str:
        how = next(endings)
        try:
            await ctx.step.sleep("night", "8h")
        except asyncio.CancelledError:
            if how == "raise":
                raise RuntimeError("not recorded") from None
        return how

    async def story() -> None:
        mapping: dict[str, Any] = {}
        for _ in range(2):
            async with Lab([swallowing], store=DictStore(mapping)) as lab:
                await lab.start(swallowing, id="r")
                assert (await lab.engine.info("r")).status == "waiting"
        async with Lab([swallowing], store=DictStore(mapping)) as lab:
            assert await lab.result(await lab.engine.run("r")) == "finish"

    asyncio.run(story())


def test_a_loop_that_swallows_its_cancelling_cannot_block_the_event_loop() -> None:
    """R8: a refused step call yields once."""
    let_go: list[bool] = []
    refusals = 0

    @durable.function
    async def stubborn(ctx: Context) -> None:
        nonlocal refusals
        while not let_go:
            try:
                await ctx.step.sleep("nap", "1h")
            except asyncio.CancelledError:
                refusals += 1

    async def story() -> None:
        engine = Engine([stubborn], clock=VirtualClock(START))
        await engine.open()
        await engine.start(stubborn)
        await engine.settled()
        closing = asyncio.ensure_future(engine.close())
        await rounds(100)
        assert 10 < refusals <= 101
        let_go.append(True)
        await closing

    asyncio.run(story())


def test_an_attempt_that_ends_leaves_nothing_running_for_the_next() -> None:
    """R8: however an attempt ends: its tasks are cancelled, which records nothing, and the next attempt finds the
    step as it was."""

    @durable.function
    async def twice(ctx: Context) -> datetime:
        task = asyncio.ensure_future(ctx.step.sleep("side", "1h"))
        await ctx.step.run("main", note)
        if ctx.attempt == 0:
            raise RuntimeError("again")
        await task
        return ctx.now()

    life = same_lives(twice)
    assert life.ending == START + timedelta(hours=1)  # R9: counted from the first attempt's call
    assert life.info.attempt == 1


def test_errors_of_steps_are_exceptions_and_can_be_caught() -> None:
    """R8, R13: the counterpart: what a handler raises is no control flow."""

    async def fail() -> None:
        raise ValueError("broken")

    @durable.function(retries=0)
    async def catching(ctx: Context) -> str:
        try:
            await ctx.step.run("fails", fail)
        except StepError as error:
            return error.name
        return "nothing"

    assert same_lives(catching).ending == "ValueError"
