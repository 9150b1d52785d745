"""Rules R11, R13, R14: an exception of any shape fails its step, or its run, as an error: live and after a crash.

Whatever goes wrong between a handler's end and the record of it is that step's error too; nothing hangs in silence.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable import Backoff, Context, DictStore, Engine, FileStore, RunFailed, StepError, StepOptions
from durable.journal.codec.classes import converter
from durable.journal.codec.failures import MESSAGE_BYTES, STACK_BYTES, recorded
from durable.journal.codec.values import decode, encode
from durable.testing import Lab
from tests.support.shapes import SHAPES, Make, unwilling

AT_ONCE = Backoff(first=0, jitter=0)
ALL = pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())


async def failed(lab: Lab, run: str) -> durable.RecordedError:
    """Crash, and return the error that the run failed with, read from the store."""
    with pytest.raises(RunFailed) as caught:
        await lab.result(await lab.engine.run(run))
    await lab.crash()
    info = await lab.engine.info(run)
    assert info.status == "failed" and info.error == caught.value.error
    return caught.value.error


@ALL
def test_it_is_recorded_and_can_be_kept_anywhere(make: Make) -> None:
    """R14: within its bounds, in text that every encoding holds."""
    try:
        raise make()
    except BaseException as error:
        kept = recorded(error)
    for text, limit in ((kept.name, 1_000), (kept.message, MESSAGE_BYTES), (kept.stack, STACK_BYTES)):
        assert type(text) is str and len(text.encode()) <= limit
    assert kept.name and kept.stack and len(kept.causes) <= 5
    assert decode(encode(kept), durable.RecordedError) == kept


@pytest.mark.parametrize("where", ["coroutine", "thread", "inline", "awaitable"])
@ALL
def test_it_fails_its_step_as_an_error(make: Make, where: str) -> None:
    """R11, R13: tried again, then a StepError, the same after a crash."""
    calls: list[int] = []

    def blocking() -> None:
        calls.append(durable.current_step().attempt)
        raise make()

    async def asynchronous() -> None:
        blocking()

    handler: Any = {"coroutine": asynchronous, "awaitable": lambda: asynchronous()}.get(where, blocking)

    @durable.function(retries=0)
    async def trying(ctx: Context) -> Any:
        try:
            await ctx.step.run(StepOptions("s", retries=1, backoff=AT_ONCE), handler)
        except StepError as error:
            return error.name, error.message
        return None

    async def story() -> None:
        async with Lab([trying], threads=where == "thread") as lab:
            run = await lab.start(trying)
            name, message = await lab.result(run)
            await lab.crash()
            info = await run.info()
            error = info.steps["s"].error
            assert error is not None and (error.name, error.message) == (name, message)
            assert calls in ([0], [0, 1]) and info.steps["s"].attempts == len(calls)

    asyncio.run(story())


@ALL
def test_it_fails_its_function_as_an_error(make: Make) -> None:
    """R14: the function is called again, or not; then the run has failed, and its failure handler hears of it."""
    heard: list[Any] = []

    async def told(ctx: Context) -> None:
        heard.append(ctx.event.data["error"])
        raise make()

    @durable.function(retries=1, backoff=AT_ONCE, on_failure=durable.function(retries=0)(told))
    async def raising(ctx: Context) -> None:
        await ctx.step.sleep("a while", 1)
        raise make()

    async def story() -> None:
        async with Lab([raising]) as lab:
            await lab.start(raising, id="r")
            error = await failed(lab, "r")
            assert (heard[0]["name"], heard[0]["message"]) == (error.name, error.message)
            await failed(lab, "r/failure")
            assert len(heard) == 1

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_all_of_them_at_once_leave_the_engine_and_its_threads_as_they_were(kind: str, tmp_path: Path) -> None:
    """Each on a store of its own kind, in threads, twice as many as there are; then one that works."""

    @durable.function(retries=0)
    async def one(ctx: Context) -> None:
        def fail() -> None:
            raise SHAPES[ctx.event.data["shape"]]()

        await ctx.step.run(StepOptions("s", retries=0), fail)

    @durable.function
    async def fine(ctx: Context) -> int:
        return await ctx.step.run("s", threading.get_ident)

    async def story() -> None:
        store = DictStore() if kind == "dict" else FileStore(tmp_path / "x.db", durability="none")
        async with Engine([one, fine], store=store) as engine:
            runs = [await engine.start(one, {"shape": name}) for name in [*SHAPES, *SHAPES]]
            assert len(runs) > 80
            for run in runs:
                with pytest.raises(RunFailed):
                    await run.result(60)
            assert await engine.invoke(fine, timeout=60) > 0
        async with Engine([one, fine], store=store) as engine:
            assert {info.status for info in await engine.runs(function=one, limit=1_000)} == {"failed"}

    asyncio.run(story())


def test_a_thread_outlives_errors_that_guard_themselves() -> None:
    """One thread, forty errors: where each ended a thread, nothing blocking would run any more."""

    @durable.function(retries=0)
    async def many(ctx: Context) -> int:
        def fail() -> None:
            raise unwilling("__traceback__", "__class__", "__cause__")

        threads = set()
        for _ in range(45):
            with pytest.raises(StepError):
                await ctx.step.run(StepOptions("s", retries=0), fail)
            threads.add(await ctx.step.run("fine", threading.get_ident))
        return len(threads)

    async def story() -> None:
        async with Engine([many]) as engine:
            assert await engine.invoke(many, timeout=60) == 1

    asyncio.run(story())


# Between the end and the record.


@attrs.frozen
class Kept:
    value: int


def kept() -> Kept:
    return Kept(7)


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
def test_what_a_hook_raises_fails_the_step_and_is_not_tried_again(make: Make) -> None:
    """R13a: a value that cannot be kept cannot be kept the next time either."""

    def unstructure(value: Kept) -> Any:
        raise make()

    calls: list[int] = []

    def handler() -> Kept:
        calls.append(1)
        return Kept(7)

    @durable.function(retries=3)
    async def keeping(ctx: Context) -> Any:
        if ctx.event.data["who"] == "step":
            await ctx.step.run("s", handler)
        return kept()

    keeping.code.__annotations__["return"] = Kept

    async def story() -> None:
        async with Lab([keeping]) as lab:
            for who in ("step", "function"):
                run = await lab.start(keeping, {"who": who})
                await failed(lab, run.id)
                assert (await run.info()).attempt == 0
            assert calls == [1]

    converter.register_unstructure_hook(Kept, unstructure)
    try:
        asyncio.run(story())
    finally:
        converter._unstructure_func._direct_dispatch.pop(Kept, None)
        converter._unstructure_func.clear_cache()
