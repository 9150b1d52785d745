"""Two engines over one DictStore: the newcomer takes over, and the older one stops with words. R29"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

import durable
from durable.testing import FailingStore

_begun: list[str] = []
_ended: list[str] = []


@durable.function
async def work(ctx: durable.Context) -> str:
    """Wait for an event in its first step, so that its engine can be overtaken there."""

    async def wait() -> str:
        _begun.append(ctx.run_id)
        await _gate.wait()
        return "first"

    first = await ctx.step.run("first", wait)
    await ctx.step.run("second", lambda: _ended.append(ctx.run_id))
    return first


_gate: asyncio.Event
STORES: list[Callable[[], Any]] = [durable.DictStore, lambda: FailingStore(durable.DictStore(), at=1_000)]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global _gate
    _gate = asyncio.Event()
    _begun.clear()
    _ended.clear()


@pytest.mark.parametrize("make", STORES)
def test_the_newcomer_goes_on_with_the_runs_and_the_older_engine_stops(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        store = make()
        older, newer = durable.Engine([work], store=store), durable.Engine([work], store=store)
        await older.open()
        run = await older.start(work, id="r")
        waiting = asyncio.ensure_future(run.result())
        while not _begun:
            await asyncio.sleep(0)
        await newer.open()
        while len(_begun) < 2:
            await asyncio.sleep(0)
        _gate.set()
        with pytest.raises(durable.StoreError, match="another engine has opened the same store"):
            await waiting
        assert await (await newer.run("r")).result() == "first"
        for ask in (older.send("a/b"), older.runs(), older.start(work), older.settled()):
            with pytest.raises(durable.StoreError, match="another engine has opened the same store"):
                await ask
        await older.close()
        assert await newer.invoke(work) == "first"
        await newer.close()

    asyncio.run(story())
    assert _ended == ["r", _ended[1]]
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "the engine stops" in said and "another engine has opened the same store" in said


def test_an_older_engine_that_only_listens_is_told_at_its_next_call_and_closing_it_harms_nobody() -> None:
    async def story() -> None:
        store = durable.DictStore()
        older, newer = durable.Engine([work], store=store), durable.Engine([work], store=store)
        await older.open()
        await newer.open()
        with pytest.raises(durable.StoreError, match="another engine"):
            await older.runs()
        await older.close()
        _gate.set()
        assert await newer.invoke(work) == "first"
        await newer.close()
        await older.open()  # the store was given back: nobody is in the way any more
        assert [info.status for info in await older.runs()] == ["completed"]
        await older.close()

    asyncio.run(story())


def test_each_of_several_takes_over_from_the_one_before() -> None:
    async def story() -> None:
        store = durable.DictStore()
        engines = [durable.Engine([work], store=store) for _ in range(4)]
        for engine in engines:
            await engine.open()
        for engine in engines[:-1]:
            with pytest.raises(durable.StoreError, match="another engine"):
                await engine.send("a/b", id="mine")
        await engines[-1].send("a/b", id="mine")
        for engine in reversed(engines):
            await engine.close()

    asyncio.run(story())


def test_a_newcomer_in_another_loop_takes_over_too() -> None:
    """A notebook whose loop was restarted, a test that left its engine open."""
    store = durable.DictStore()
    older = durable.Engine([work], store=store)

    async def leave() -> None:
        await older.open()
        await older.send("a/b", id="mine")

    async def take() -> str:
        _gate.set()
        async with durable.Engine([work], store=store) as newer:
            return await newer.invoke(work)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    assert asyncio.run(take()) == "first"
    loop.run_until_complete(older.close())
    loop.close()
