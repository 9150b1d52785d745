"""`current_context()` is the function's own context in all that the function calls and starts, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

import durable
from durable import Context, Engine, current_context
from durable.testing import Lab
from tests.support.lives import note, same_lives


async def deep(id: str) -> str:
    """What a library of the user's does, which is not handed the context."""
    await asyncio.sleep(0)
    return await current_context().step.run(id, note, current_context().run_id)


@durable.function
async def calls(ctx: Context) -> list[Any]:
    assert current_context() is ctx
    found = [await deep("called")]
    found.append(await asyncio.create_task(deep("in a task")))
    found += await asyncio.gather(deep("gathered"), deep("gathered"))
    async with asyncio.TaskGroup() as group:
        begun = group.create_task(deep("in a task group"))
    async with anyio.create_task_group() as other:
        other.start_soon(deep, "in an anyio task group")
    await ctx.step.sleep("s", "1h")
    assert await asyncio.to_thread(current_context) is ctx
    numbers = [current_context().random.random(), ctx.random.random()]
    return [*found, begun.result(), await deep("after a wait"), numbers[0] != numbers[1]]


def test_a_function_and_its_tasks_have_it_live_and_after_a_crash() -> None:
    assert same_lives(calls).ending == ["r"] * 6 + [True]


def test_each_run_has_its_own() -> None:
    @durable.function
    async def child(ctx: Context) -> Any:
        return await deep("s")

    @durable.function
    async def parent(ctx: Context) -> Any:
        return [await deep("s"), await ctx.step.invoke("i", function=child), await deep("s")]

    async def story() -> None:
        async with Engine([parent, child]) as engine:
            runs = [await engine.start(parent, id=f"r{number}") for number in range(3)]
            assert [await run.result(5) for run in runs] == [[f"r{n}", f"r{n}/i", f"r{n}"] for n in range(3)]

    asyncio.run(story())


def test_a_function_that_is_called_when_a_run_has_failed_has_its_own() -> None:
    told: list[str] = []

    async def mourns(ctx: Context) -> None:
        told.append(await deep("s"))

    @durable.function(on_failure=mourns, retries=0)
    async def fails(ctx: Context) -> None:
        raise ValueError("x")

    async def story() -> None:
        async with Lab([fails]) as lab:
            await lab.start(fails, id="r")

    asyncio.run(story())
    assert told == ["r/failure"]


async def in_a_task() -> Any:
    return await asyncio.create_task(asking())


async def asking() -> Any:
    return current_context()


HANDLERS: dict[str, Callable[[], Any]] = {
    "async": asking,
    "blocking": lambda: current_context(),
    "a task of the handler's": in_a_task,
}


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("handler", HANDLERS)
def test_in_a_handler_it_is_refused(handler: str, threads: bool) -> None:
    @durable.function
    async def tries(ctx: Context) -> Any:
        with pytest.raises(durable.StepError) as refused:
            await ctx.step.run("ship", HANDLERS[handler])
        return refused.value.name, refused.value.message

    async def story() -> None:
        async with Lab([tries], threads=threads) as lab:
            name, message = await (await lab.start(tries, id="r")).result()
            assert name == "RuntimeError" and "the handler of step 'ship' of run 'r'" in message
            assert "as arguments" in message and "current_step()" in message

    asyncio.run(story())


def test_what_a_handler_or_a_function_has_left_behind_is_told_where_it_is() -> None:
    left: list[asyncio.Task[Any]] = []
    go_on: list[asyncio.Event] = []

    async def lingering() -> str:
        try:
            await go_on[0].wait()
        except asyncio.CancelledError:
            pass
        try:
            current_context()
        except RuntimeError as error:
            return str(error)
        return ""

    async def leaves() -> None:
        left.append(asyncio.create_task(lingering()))
        await asyncio.sleep(0)

    @durable.function
    async def leaving(ctx: Context) -> None:
        await ctx.step.run("ship", leaves)

    @durable.function
    async def ending(ctx: Context) -> None:
        await leaves()

    async def story() -> None:
        go_on.append(asyncio.Event())
        async with Engine([leaving, ending]) as engine:
            await engine.invoke(leaving, id="a", timeout=5)
            await engine.invoke(ending, id="b", timeout=5)
            go_on[0].set()
            said = [await task for task in left]
            assert "the handler of step 'ship' of run 'a' has left behind" in said[0]
            assert "the function 'ending' of run 'b', which has started this task, has ended" in said[1]

    asyncio.run(story())


def elsewhere() -> str:
    with pytest.raises(RuntimeError, match="current_context") as refused:
        current_context()
    return str(refused.value)


def test_outside_of_all_functions_it_is_refused() -> None:
    said = [elsewhere()]
    with ThreadPoolExecutor(1) as pool:
        said.append(pool.submit(elsewhere).result())
    said.append(contextvars.Context().run(elsewhere))

    async def story() -> None:
        said.append(elsewhere())
        async with Lab([calls]):
            said.append(elsewhere())

    asyncio.run(story())
    assert all("no function is running here; call it in the function" in text for text in said) and len(said) == 5


def test_a_thread_without_the_functions_context_has_none() -> None:
    @durable.function
    async def starts(ctx: Context) -> str:
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(elsewhere()))
        thread.start()
        thread.join()
        return said[0]

    async def story() -> None:
        async with Lab([starts]) as lab:
            assert "no function is running here" in await lab.result(await lab.start(starts))

    asyncio.run(story())


def test_a_lab_inside_a_handler_is_outside_of_it() -> None:
    @durable.function
    async def inner(ctx: Context) -> str:
        return current_context().run_id

    async def tests_it() -> str:
        async with Lab([inner]) as lab:
            return str(await lab.result(await lab.start(inner, id="inner")))

    @durable.function
    async def outer(ctx: Context) -> list[str]:
        return [await ctx.step.run("test", tests_it), current_context().run_id]

    async def story() -> None:
        async with Engine([outer]) as engine:
            assert await engine.invoke(outer, id="outer", timeout=20) == ["inner", "outer"]

    asyncio.run(story())
