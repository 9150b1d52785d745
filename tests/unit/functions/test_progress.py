"""S9: a handler tells how far it is, which is shown while it runs and recorded nowhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import pytest

import durable
from durable.testing import Lab

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_a_handler_tells_is_shown_while_it_runs_and_leaves_no_record() -> None:
    going, told = asyncio.Event(), asyncio.Event()

    async def resize(count: int) -> int:
        for number in range(count):
            durable.progress(number + 1, count, "pictures")
        told.set()
        await going.wait()
        return count

    @durable.function
    async def album(ctx: durable.Context) -> int:
        return await ctx.step.run("resize", resize, 1_200)

    store = durable.DictStore()
    async with durable.Engine([album], store=store) as engine:
        run = await engine.start(album, id="album")
        await told.wait()
        before = len(store.mapping)
        step = (await run.info()).steps["resize"]
        assert step.progress == durable.Progress(1_200, 1_200, "pictures")
        assert "1,200 of 1,200, pictures" in str(await run.info())
        assert len(store.mapping) == before
        going.set()
        assert await run.result() == 1_200
        assert (await run.info()).steps["resize"].progress is None


@pytest.mark.parametrize("threads", [False, True])
async def test_a_blocking_handler_tells_it_from_its_thread(threads: bool) -> None:
    infos: list[durable.StepInfo] = []
    told, seen = threading.Event(), threading.Event()

    def copy() -> None:
        durable.progress(0.5)
        told.set()
        if threads:
            assert seen.wait(30)

    @durable.function
    async def backup(ctx: durable.Context) -> None:
        await ctx.step.run("copy", copy)

    async with durable.Engine([backup]) as engine:
        run = await engine.start(backup)
        while not told.is_set():
            await asyncio.sleep(0)
        if threads:
            infos.append((await run.info()).steps["copy"])
            seen.set()
        await run.result()
    assert [info.progress for info in infos] == [durable.Progress(0.5)] * threads


async def test_each_try_tells_its_own_and_a_failed_one_nothing() -> None:
    async def load() -> str:
        if not durable.current_step().attempt:
            durable.progress(3, 10)
            raise ConnectionError("away")
        return "done"

    @durable.function(backoff=durable.Backoff(first="1m"))
    async def etl(ctx: durable.Context) -> str:
        return await ctx.step.run("load", load)

    async with Lab([etl]) as lab:
        run = await lab.start(etl)
        step = (await run.info()).steps["load"]
        assert (step.status, step.progress) == ("retrying", None)
        assert await lab.result(run) == "done"


async def test_what_a_failed_try_has_told_is_not_shown_for_the_next() -> None:
    """Nor while something still holds the failed one."""
    going, again, held = asyncio.Event(), asyncio.Event(), list[Context]()

    async def load() -> None:
        if not durable.current_step().attempt:
            durable.progress(3, 10)
            held.append(copy_context())
            raise ConnectionError("away")
        again.set()
        await going.wait()

    @durable.function(backoff=durable.Backoff(first="1ms"))
    async def etl(ctx: durable.Context) -> None:
        await ctx.step.run("load", load)

    async with durable.Engine([etl]) as engine:
        run = await engine.start(etl)
        await again.wait()
        step = (await run.info()).steps["load"]
        assert (step.status, step.progress) == ("running", None)
        going.set()
        await run.result()


async def test_steps_of_the_same_key_do_not_mix() -> None:
    going, telling = asyncio.Event(), asyncio.Semaphore(0)

    async def load(done: int) -> None:
        durable.progress(done)
        telling.release()
        await going.wait()

    @durable.function
    async def etl(ctx: durable.Context) -> None:
        await asyncio.gather(*(ctx.step.run("load", load, 10 * ctx.event.data["day"] + n) for n in range(2)))

    async with durable.Engine([etl]) as one, durable.Engine([etl]) as other:
        runs = [await engine.start(etl, {"day": day}, id="same") for day, engine in ((1, one), (2, other))]
        for _ in range(4):
            await telling.acquire()
        shown = [[step.progress for step in (await run.info()).steps.values()] for run in runs]
        assert shown == [[durable.Progress(10), durable.Progress(11)], [durable.Progress(20), durable.Progress(21)]]
        going.set()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((-1,), ValueError, "done of durable.progress must be a number, zero or more"),
        ((True,), TypeError, "not True"),
        (("40%",), TypeError, "not '40%'"),
        ((float("nan"),), ValueError, "not nan"),
        ((1, float("inf")), ValueError, "total of durable.progress"),
        ((1, 2, 3), TypeError, "note of durable.progress"),
        ((1, 2, "x" * 1_025), durable.LimitError, "note of durable.progress is 1,025 bytes"),
        ((1, 2, "\ud800"), ValueError, "surrogate"),
    ],
)
async def test_wrong_numbers_and_notes_are_refused_at_once(
    arguments: tuple[Any, ...], error: type[Exception], says: str
) -> None:
    @durable.function
    async def etl(ctx: durable.Context) -> None:
        await ctx.step.run("load", durable.progress, *arguments)

    async with Lab([etl]) as lab:
        run = await lab.start(etl)
        info = await run.info()
        assert (info.status, info.steps["load"].attempts) == ("failed", 1)  # R13a: not tried again
        assert info.error is not None and error.__name__ in str(info.error) and says in str(info.error)


@pytest.mark.parametrize("where", ["outside", "in a function"])
async def test_outside_a_handler_it_is_refused(where: str) -> None:
    @durable.function
    async def etl(ctx: durable.Context) -> None:
        durable.progress(1)

    call: Callable[[], object] = lambda: durable.progress(1)  # noqa: E731
    if where == "outside":
        with pytest.raises(RuntimeError, match="is for the handler of a step"):
            call()
        return
    async with Lab([etl]) as lab:
        run = await lab.start(etl)
        assert "is for the handler of a step" in str((await run.info()).error)
