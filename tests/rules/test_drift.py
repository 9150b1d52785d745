"""Rules R6 and R7: code that asks for something else than what is recorded, and steps where there can be none."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import pytest

import durable
from durable import Context, DriftError, NestedStepError, RunFailed, StepError, StepOptions
from durable.testing import Lab
from tests.support.lives import note, same_lives

# R6


async def drifted(old: Any, new: Any, *, between: Any = None) -> tuple[Any, Lab, Any]:
    """Let `old` run until it sleeps, crash, and let `new` take its place; return how the run ended."""
    version = [old]

    @durable.function
    async def changing(ctx: Context) -> Any:
        return await version[0](ctx)

    async with Lab([changing]) as lab:
        run = await lab.start(changing, id="r")
        version[0] = new
        await lab.crash()
        try:
            outcome = await lab.result(run)
        except RunFailed as failure:
            outcome = failure.error
        if between is not None:
            version[0] = between
            await lab.engine.retry("r")
            outcome = outcome, await lab.result(run)
        return outcome, lab, await lab.engine.info("r")


async def recorded_run(ctx: Context) -> Any:
    value = await ctx.step.run("charge", note, 7)
    await ctx.step.sleep("night", "8h")
    return value


def test_a_step_recorded_as_another_kind_fails_the_run_and_says_everything() -> None:
    """R6: which run and step, what is recorded, what is asked, what to do; without retry."""

    async def asks_sleep(ctx: Context) -> Any:
        await ctx.step.sleep("charge", 1)

    error, _, info = asyncio.run(drifted(recorded_run, asks_sleep))
    assert error.name == "DriftError" and info.status == "failed" and info.attempt == 0
    assert error.message == (
        "step 'charge' of run 'r' is recorded as a run, but the code asks for a sleep: give the step a new id"
    )


@attrs.frozen
class Point:
    x: int
    y: int


@attrs.frozen
class Line:
    x: int


def make_point() -> Point:
    return Point(1, 2)


def make_line() -> Line:
    return Line(1)


def test_a_value_that_no_longer_fits_its_type_is_a_drift() -> None:
    """R6: which run and step, what is recorded, what to do."""

    async def point(ctx: Context) -> Any:
        made = await ctx.step.run("make", make_point)
        await ctx.step.sleep("night", "8h")
        return made.x

    async def line(ctx: Context) -> Any:
        return (await ctx.step.run("make", make_line)).x

    error, lab, info = asyncio.run(drifted(point, line))
    assert error.name == "DriftError" and info.status == "failed" and lab.calls["make"] == 1
    for part in ("'make'", "'r'", "Point", "new id"):
        assert part in error.message, error.message


@pytest.mark.parametrize("caught", [DriftError, Exception, BaseException])
def test_no_except_goes_on_past_a_drift(caught: type[BaseException]) -> None:
    """R6: the session refuses at once: what the code does after catching it is not done, nor is what it returns."""

    async def stubborn(ctx: Context) -> Any:
        try:
            await ctx.step.sleep("charge", 1)
        except caught:
            with pytest.raises(asyncio.CancelledError):
                await ctx.step.run("go on", note)
        return "as if nothing had been"

    error, lab, info = asyncio.run(drifted(recorded_run, stubborn))
    assert error.name == "DriftError" and "go on" not in info.steps and lab.calls["go on"] == 0


def test_a_drift_in_a_task_of_its_own_fails_the_run_too() -> None:
    """R6: at once, even if main never looks at the task."""

    async def hidden(ctx: Context) -> Any:
        async def side() -> None:
            await asyncio.sleep(0)
            await ctx.step.run("0 is another branch", note)
            await ctx.step.wait_for_event("x", event="e", timeout=1)

        task = asyncio.ensure_future(side())
        await ctx.step.sleep("long", "9d")
        return await task

    async def before(ctx: Context) -> Any:
        async def side() -> None:
            await ctx.step.run("0 is another branch", note)
            await ctx.step.sleep("x", "10d")

        task = asyncio.ensure_future(side())
        await ctx.step.sleep("long", "9d")
        return await task

    error, _, info = asyncio.run(drifted(before, hidden))
    assert error.name == "DriftError" and "'0»x'" in error.message
    assert info.ended_at == info.opened_at  # at once: no time has passed


def test_a_drifted_run_goes_on_when_the_code_is_mended() -> None:
    """R6: R32 reopens it."""

    async def asks_sleep(ctx: Context) -> Any:
        await ctx.step.sleep("charge", 1)

    (error, value), lab, _ = asyncio.run(drifted(recorded_run, asks_sleep, between=recorded_run))
    assert error.name == "DriftError" and value == 7 and lab.calls["charge"] == 1


def test_a_drift_is_found_live_after_the_function_was_defined_again() -> None:
    """R6: a cell run again while a run waits for its next attempt."""

    def define(kind: str) -> Any:
        async def cell(ctx: Context) -> None:
            if kind == "run":
                await ctx.step.run("x", note)
            else:
                await ctx.step.sleep("x", 1)
            raise RuntimeError("try the function again")

        return durable.function(id="cell")(cell)

    async def story() -> None:
        async with Lab([define("run")]) as lab:
            run = await lab.start("cell", id="r")
            await lab.start(define("sleep"), id="another")
            with pytest.raises(RunFailed, match=r"step 'x' of run 'r' is recorded as a run, but .* asks for a sleep"):
                await lab.result(run)

    asyncio.run(story())


def test_a_step_that_is_new_in_the_code_simply_runs() -> None:
    """R6: before and after the recorded ones."""

    async def with_more(ctx: Context) -> Any:
        got = [await ctx.step.run("new before", note, "a"), await ctx.step.run("charge", note)]
        await ctx.step.sleep("night", "8h")
        return [*got, await ctx.step.run("new after", note, "b")]

    value, lab, _ = asyncio.run(drifted(recorded_run, with_more))
    assert value == ["a", 7, "b"] and lab.calls["charge"] == 1


def test_recorded_steps_that_nobody_asks_for_are_only_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """R6."""

    async def forgetful(ctx: Context) -> Any:
        await ctx.step.sleep("night", "8h")
        return "fine"

    with caplog.at_level(logging.INFO, "durable"):
        value, _, _ = asyncio.run(drifted(recorded_run, forgetful))
    told = [record.getMessage() for record in caplog.records if "charge" in record.getMessage()]
    assert value == "fine" and len(told) == 1 and "'r'" in told[0]


# R7


@pytest.mark.parametrize("threads", ["inline", "threads"])
def test_a_step_inside_a_handler_is_an_error_that_is_not_retried(threads: str) -> None:
    """R7: async and blocking handlers; the message names both steps and the run."""

    @durable.function
    async def nesting(ctx: Context) -> list[Any]:
        async def asynchronous() -> None:
            await ctx.step.run("inner", note)

        def blocking() -> None:
            ctx.step.sleep("inner", 1)

        got = []
        for id, handler in (("async", asynchronous), ("sync", blocking)):
            try:
                await ctx.step.run(id, handler)
            except StepError as error:
                got.append((error.name, error.message))
        return got

    async def story() -> None:
        async with Lab([nesting], threads=threads == "threads") as lab:
            run = await lab.start(nesting, id="r")
            await lab.crash()
            got = await lab.result(run)
            assert got == [
                (NestedStepError.__name__, f"step 'inner' is called inside the handler of step {id!r} of run 'r': "
                 "call it from the function, before or after that step")
                for id in ("async", "sync")
            ]  # fmt: skip
            assert lab.calls == {"async": 1, "sync": 1}
            assert list((await run.info()).steps) == ["async", "sync"]

    asyncio.run(story())


def test_a_nested_step_fails_its_run_when_uncaught() -> None:
    """R7, R14."""

    @durable.function
    async def nesting(ctx: Context) -> None:
        await ctx.step.run(StepOptions("outer", retries=9), lambda: ctx.step.run("inner", note))

    life = same_lives(nesting)
    assert life.ending[0] == "NestedStepError" and life.info.attempt == 0
    assert life.info.steps["outer"].attempts == 1


def test_a_recorded_value_of_another_kind_than_the_annotation_says_now_is_drift() -> None:
    """R6: plain values too, not only classes."""

    def text() -> str:
        return "seven"

    def number() -> int:
        return 7

    def function(handler: Any) -> durable.Function[Any]:
        @durable.function
        async def counts(ctx: durable.Context) -> Any:
            value = await ctx.step.run("count", handler)
            await ctx.step.sleep("nap", "1h")
            return value

        return counts

    async def story() -> None:
        store = durable.DictStore()
        async with Lab([function(text)], store=store) as lab:
            await lab.start("counts", id="r")
        async with Lab([function(number)], store=store) as lab:
            with pytest.raises(durable.RunFailed, match="'count' of run 'r' no longer fits its type"):
                await lab.result(await lab.engine.run("r"))

    asyncio.run(story())
