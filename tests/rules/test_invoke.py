"""Invokes: a child run, its own retries, and what of it reaches the parent (rule R24)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import durable
from durable import Backoff, Context, Event, StepError
from durable.testing import Lab

START = datetime(2030, 1, 1, tzinfo=UTC)
Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


async def opened(lab: Lab, function: str) -> list[durable.RunInfo]:
    return await lab.engine.runs(function=function)


@attrs.frozen
class Sum:
    """What a child returns."""

    total: int
    when: datetime


@durable.function("add", retries=2, backoff=Backoff("1m", 1.0, jitter=0))
async def add(ctx: Context) -> Sum:
    """Add numbers; each attempt of the child is its own."""
    await ctx.step.sleep("pause", "1h")
    if ctx.attempt < ctx.event.data.get("fails", 0):
        raise ValueError(f"attempt {ctx.attempt}")
    return Sum(sum(ctx.event.data["numbers"]), ctx.now())


@durable.function()
async def calls(ctx: Context) -> Any:
    """Invoke by function or by id, as the event says; tell of an error."""
    name = ctx.event.data.get("by_id")
    try:
        value = await ctx.step.invoke("sum", function=name or add, data=ctx.event.data["with"])
    except StepError as error:
        return [error.name, error.message, error.step_id]
    return [type(value).__name__, value.total, value.when]


@pytest.mark.parametrize("by_id", [None, "add"])
def test_a_child_is_opened_by_function_or_by_id_and_its_result_is_typed(by_id: str | None, between: Between) -> None:
    """R24: the child's event is `durable/function.invoked` with the data; the result is typed by its annotation."""

    async def story() -> None:
        async with Lab([calls, add]) as lab:
            run = await lab.start(calls, {"by_id": by_id, "with": {"numbers": [1, 2], "fails": 2}})
            await between(lab)
            child = await (await lab.engine.run(f"{run.id}/sum")).info()
            assert (child.function_id, child.event.name) == ("add", "durable/function.invoked")
            assert child.event.data == {"numbers": [1, 2], "fails": 2}
            await lab.advance("62m")
            await between(lab)
            assert await run.result() == ["Sum", 3, START.replace(hour=1)]
            assert (await (await lab.engine.run(child.id)).info()).attempt == 2

    asyncio.run(story())


def test_a_childs_failure_reaches_the_parent_and_is_not_retried(between: Between) -> None:
    """R24: a child's failure is a `StepError` with its name and message, after the child's own retries."""

    async def story() -> None:
        async with Lab([calls, add]) as lab:
            run = await lab.start(calls, {"with": {"numbers": [], "fails": 9}})
            await between(lab)
            await lab.advance("62m")
            await between(lab)
            assert await run.result() == ["ValueError", "attempt 2", "sum"]
            assert len(await opened(lab, "add")) == 1

    asyncio.run(story())


def test_a_cancelled_child_is_an_error_of_the_parent(between: Between) -> None:
    """R24: cancellation is a `StepError`, never a value that looks like success."""

    async def story() -> None:
        async with Lab([calls, add]) as lab:
            run = await lab.start(calls, {"with": {"numbers": []}})
            await between(lab)
            await (await lab.engine.run(f"{run.id}/sum")).cancel()
            await lab.settle()
            await between(lab)
            name, message, key = await run.result()
            assert (name, key) == ("RunCancelled", "sum") and "by hand" in message

    asyncio.run(story())


def test_an_unknown_function_is_an_error_that_is_not_retried(between: Between) -> None:
    """R24: the message says what to do; the step is recorded and not tried again."""

    async def story() -> None:
        async with Lab([calls]) as lab:
            run = await lab.start(calls, {"by_id": "nobody", "with": {}})
            await between(lab)
            name, message, key = await run.result()
            assert (name, key) == ("LookupError", "sum") and "Engine(functions=[...])" in message

    asyncio.run(story())


def test_cancelling_the_parent_leaves_the_child_running(between: Between) -> None:
    """R24: it goes on to its end, which wakes nobody."""

    async def story() -> None:
        async with Lab([calls, add]) as lab:
            run = await lab.start(calls, {"with": {"numbers": [4]}})
            await between(lab)
            assert await run.cancel()
            await between(lab)
            await lab.advance("1h")
            child = await lab.engine.run(f"{run.id}/sum")
            assert (await child.result()).total == 4
            assert (await run.info()).status == "cancelled"

    asyncio.run(story())


def test_the_triggers_of_an_invoked_function_are_not_asked() -> None:
    """R24: nor does its event open a run of anyone else."""

    @durable.function([durable.TriggerEvent("never", if_exp="event.data.n == 1"), "durable/function.invoked"])
    async def child(ctx: Context) -> str:
        return ctx.event.name

    @durable.function()
    async def f(ctx: Context) -> str:
        return await ctx.step.invoke("child", function=child, data={"n": 2})

    async def story() -> None:
        async with Lab([f]) as lab:
            assert await lab.result(await lab.start(f)) == "durable/function.invoked"
            assert len(await opened(lab, "child")) == 1

    asyncio.run(story())


@durable.function()
async def countdown(ctx: Context) -> list[str]:
    """Invoke itself until it is done."""
    left = ctx.event.data["left"]
    if left == 0:
        await ctx.step.sleep("deep", "1h")
        return [ctx.run_id]
    return [ctx.run_id, *await ctx.step.invoke("deeper", function=countdown, data={"left": left - 1})]


def test_a_function_invokes_itself_ten_deep(between: Between) -> None:
    """R24: recursion; each child's id derives from its parent's."""

    async def story() -> None:
        async with Lab([countdown]) as lab:
            run = await lab.start(countdown, {"left": 10}, id="r")
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            assert await run.result() == ["r" + "/deeper" * depth for depth in range(11)]

    asyncio.run(story())


def test_children_and_events_of_steps_with_a_slash_keep_their_own_runs() -> None:
    """R24: the step "a/b" and the step "b" of the child "a" must not open one run between them."""

    @durable.function("e")
    async def leaf(ctx: Context) -> list[Any]:
        return [ctx.run_id, ctx.event.data]

    @durable.function()
    async def middle(ctx: Context) -> Any:
        await ctx.step.send_event("s", Event("e", {"from": ctx.run_id}))
        return await ctx.step.invoke("b", function=leaf, data={"from": ctx.run_id})

    @durable.function()
    async def top(ctx: Context) -> Any:
        sent = ctx.step.send_event("a/s", Event("e", {"from": "top"}))
        direct = ctx.step.invoke("a/b", function=leaf, data={"from": "top"})
        failing = ctx.step.invoke("failure", function=leaf, data={"from": "failure"})
        return await asyncio.gather(direct, ctx.step.invoke("a", function=middle), failing, sent)

    async def story() -> None:
        async with Lab([leaf, middle, top]) as lab:
            run = await lab.start(top, id="r")
            direct, nested, failing, _ = await run.result()
            assert [direct[1], nested[1], failing[1]] == [{"from": "top"}, {"from": "r/a"}, {"from": "failure"}]
            assert len({direct[0], nested[0], failing[0], "r/failure"}) == 4
            assert len(await opened(lab, "leaf")) == 5

    asyncio.run(story())
