"""A run that is begun by a call runs in a copy of its caller's context (R35); any other in the engine's."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, LimitError
from durable.engine.opened import inside
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START

CALLER: ContextVar[Any] = ContextVar("caller", default="nobody")


async def seen() -> Any:
    return CALLER.get()


@durable.function(trigger="asked", retries=0)
async def ask(ctx: Context) -> list[Any]:
    """What the function and its handlers see, before and after a sleep."""
    told = [CALLER.get(), await ctx.step.run("first", seen)]
    CALLER.set("itself")
    await ctx.step.sleep("a while", "1h")
    return [*told, await ctx.step.run("second", seen)]


@durable.function(retries=0)
async def parent(ctx: Context) -> Any:
    CALLER.set("parent")
    return await ctx.step.invoke("child", function=ask)


async def begin(engine: Engine) -> str:
    CALLER.set("handler")
    return (await engine.start(ask)).id


@durable.function(retries=0)
async def starter(ctx: Context) -> str:
    return await ctx.step.run("begin", begin, ENGINES[ctx.run_id])


ENGINES: dict[str, Engine] = {}
TOLD: list[Any] = []


async def started(lab: Lab) -> str:
    return (await lab.engine.start(ask)).id


async def invoked(lab: Lab) -> str:
    return f"{(await lab.engine.start(parent, id='p')).id}/child"


async def begun_by_a_handler(lab: Lab) -> str:
    ENGINES["s"] = lab.engine
    id: str = await (await lab.engine.start(starter, id="s")).result()
    return id


async def opened_by_an_event(lab: Lab) -> str:
    [run] = await lab.send("asked")
    return run.id


WAYS: dict[str, tuple[Callable[[Lab], Awaitable[str]], str]] = {
    "start": (started, "test"),
    "step.invoke": (invoked, "parent"),
    "start in a handler": (begun_by_a_handler, "handler"),
    "an event": (opened_by_an_event, "nobody"),
}


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_sees_the_variables_of_who_began_it(way: str) -> None:
    async def story() -> None:
        async with Lab([ask, parent, starter]) as lab:
            CALLER.set("test")
            begin, caller = WAYS[way]
            id = await begin(lab)
            CALLER.set("changed since")
            await lab.settle()
            await lab.advance("1h")
            assert await lab.engine.result(id) == [caller, caller, "itself"]

    play(story())


@pytest.mark.parametrize("on_disk", [False, True])
def test_after_a_restart_it_is_the_engines(on_disk: bool, tmp_path: Path) -> None:
    """No record holds it: what was recorded answers as it was, the rest sees the new engine's."""

    async def story() -> None:
        async with Lab([ask], store=FileStore(tmp_path / "x.db") if on_disk else DictStore()) as lab:
            CALLER.set("test")
            run = await lab.start(ask)
            CALLER.set("who restarts")
            await lab.crash()
            await lab.advance("1h")
            assert await run.result() == ["who restarts", "test", "itself"]

    play(story())


def test_a_parked_run_goes_on_in_its_callers_context() -> None:
    async def story() -> None:
        clock = VirtualClock(START)
        async with Engine([ask], store=DictStore(), clock=clock, resident=0) as engine:
            CALLER.set("test")
            run = await engine.start(ask)
            CALLER.set("changed since")
            await engine.settled()
            assert inside(engine, "test").state.parked
            clock.advance("1h")
            assert await run.result() == ["test", "test", "itself"]

    play(story())


def test_what_is_opened_again_or_by_a_failure_has_the_engines() -> None:
    """Nobody who is still there has called: `retry` may come from anywhere, and years later."""
    seen: list[Any] = []

    @durable.function(retries=0)
    async def late(ctx: Context) -> None:
        seen.append(CALLER.get())

    @durable.function(retries=0, on_failure=late)
    async def unlucky(ctx: Context) -> None:
        seen.append(CALLER.get())
        if len(seen) == 1:
            raise ValueError("out of luck")

    async def story() -> None:
        async with Engine([unlucky, late]) as engine:
            CALLER.set("test")
            run = await engine.start(unlucky)
            with pytest.raises(durable.RunFailed):
                await run.result()
            await engine.settled()
            await engine.retry(run.id)
            await run.result()

    play(story())
    assert seen == ["test", "nobody", "nobody"]


class Held:
    """A value that is seen to go."""


@durable.function
async def quiet(ctx: Context) -> None:
    await ctx.step.sleep("a while", "1h")


@durable.function
async def told(ctx: Context) -> None:
    TOLD.append(CALLER.get())


def test_a_caller_is_kept_until_the_run_ends_and_no_longer() -> None:
    async def story() -> None:
        async with Lab([quiet]) as lab:
            held = Held()
            CALLER.set(held)
            gone = weakref.ref(held)
            run = await lab.start(quiet)
            CALLER.set("nobody")
            del held
            gc.collect()
            assert gone() is not None  # the function may be called again
            await lab.advance("1h")
            await run.result()
            gc.collect()
            assert gone() is None

    play(story())


def test_a_start_that_is_refused_keeps_nothing() -> None:
    async def story() -> None:
        async with Engine([ask], limits=durable.Limits(event_bytes=200)) as engine:
            CALLER.set("test")
            with pytest.raises(LimitError):
                await engine.start(ask, {"text": "x" * 500})
            again = [await engine.start(ask, id="one"), await engine.start(ask, id="one")]
            assert len({run.id for run in again}) == 1
            assert list(inside(engine, "test").parts.callers.of) == ["one"]

    play(story())


def test_variables_that_compare_in_no_way_are_told_apart() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise TypeError("it compares with nothing")

        __hash__ = None  # type: ignore[assignment]

    async def story() -> None:
        async with Lab([told]) as lab:
            for odd in (Odd(), Odd()):
                CALLER.set(odd)
                await lab.start(told, id=str(id(odd)))
                assert TOLD.pop() is odd

    play(story())
