"""Faults as data, and what the Lab says of a run that waits for something that does not come."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Entry, FileStore, Store, StoreError
from durable.testing import Dies, FailingStore, Lab, StuckError
from durable.testing.lab import START

EFFECTS: list[str] = []


async def charge(amount: int) -> int:
    EFFECTS.append(durable.current_step().idempotency_key)
    return amount * 2


def blocking(amount: int) -> int:
    EFFECTS.append(durable.current_step().idempotency_key)
    return amount * 2


@durable.function("order")
async def buying(ctx: Context) -> list[int]:
    first = await ctx.step.run("charge", charge, 1)
    await ctx.step.sleep("night", "8h")
    return [first, await ctx.step.run("again", blocking, 2)]


# A process that dies in a handler.


@pytest.mark.parametrize("step", ["charge", "again"])
@pytest.mark.parametrize(("when", "effects"), [("before", 2), ("after", 3)])
def test_a_process_that_dies_in_a_handler_comes_again_and_calls_it_again(step: str, when: Any, effects: int) -> None:
    """R1: after its effect the handler runs twice, under one idempotency key; no other handler does."""
    EFFECTS.clear()

    async def story() -> None:
        async with Lab([buying], stubs={step: Dies(when)}) as lab:
            before = lab.engine
            assert await lab.result(await lab.start(buying)) == [2, 4]
            assert lab.engine is not before
            assert lab.calls == {"charge": 1, "again": 1, step: 2}
        assert len(EFFECTS) == effects and len(set(EFFECTS)) == 2

    asyncio.run(story())


def test_a_process_dies_as_often_as_is_asked_for() -> None:
    EFFECTS.clear()

    async def story() -> None:
        async with Lab([buying], stubs={"charge": [Dies("after"), Dies(), 5], "again": Dies(times=3)}) as lab:
            assert await lab.result(await lab.start(buying)) == [5, 4]
            assert lab.calls == {"charge": 3, "again": 4}

    asyncio.run(story())


def test_a_fault_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match='"before" or "after"'):
        Dies("during")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        Dies(times=0)
    with pytest.raises(ValueError, match="counted from 1"):
        FailingStore(DictStore(), at=0)


# A store that fails.


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_store_fails_at_one_append_and_a_crash_later_the_run_goes_on(
    at: int, kept: bool, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R31: everyone gets the StoreError; after a restart the run goes on from what is there."""
    EFFECTS.clear()

    async def story() -> None:
        inner: Store = DictStore() if kind == "dict" else FileStore(tmp_path / "x.db", durability="none")
        store = FailingStore(inner, at=at, kept=kept)
        async with Lab([buying], store=store) as lab:
            failures = 0
            for _ in range(2):
                try:
                    assert await lab.result(await lab.start(buying, id="r")) == [2, 4]
                except StoreError as error:
                    failures += 1
                    assert f"append {at} failed" in str(error)
                    with pytest.raises(StoreError, match=f"append {at} failed"):
                        await lab.send("e")
                    await lab.crash()
            assert failures == (store.appends >= at) and await lab.result(await lab.engine.run("r")) == [2, 4]

    asyncio.run(story())
    assert 2 <= len(EFFECTS) <= 3


def test_what_a_failed_append_was_given_is_kept_or_not() -> None:
    async def story() -> None:
        for kept, expected in ((True, ["one", "two"]), (False, ["one"])):
            store = FailingStore(DictStore(), at=2, kept=kept)
            await store.open()
            await store.append([Entry("r", "k", "one")])
            with pytest.raises(StoreError, match="its entries are kept" if kept else "nothing of it is kept"):
                await store.append([Entry("r", "k", "two")])
            assert [entry.body async for entry in store.history("r")] == expected

    asyncio.run(story())


# What each run waits for.


async def stuck_text(lab: Lab, run: durable.Run[Any]) -> str:
    with pytest.raises(StuckError) as caught:
        await lab.result(run)
    return str(caught.value)


def test_a_stuck_error_says_which_events_came_near_and_why_they_did_not_match() -> None:
    """Too early, another value, no value, an expression that is not true, a misspelt name."""

    @durable.function
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("child", function="absent")

    @durable.function
    async def absent(ctx: Context) -> None:
        await ctx.step.sleep("s", 1)

    @durable.function(cancel=[durable.Cancel("shop/order.paid", match="data.id")])
    async def waiting(ctx: Context) -> None:
        await ctx.step.wait_for_event("paid", event="shop/order.paid", timeout="90d", match="data.id")
        await ctx.step.wait_for_event("big", event="shop/order.big", timeout="90d", if_exp="async.data.sum > 10")

    async def story() -> None:
        store = DictStore()
        async with Lab([parent, absent], store=store) as lab:
            await lab.start(parent, id="p")
        async with Lab([parent, waiting], store=store) as lab:
            await lab.engine.start(waiting, {"id": 1}, id="w")
            for name, data in [("paid", {"id": 2}), ("paid", {}), ("payed", {"id": 1})]:
                await lab.send(f"shop/order.{name}", data)
            text = await lab._stuck("p")
        paid = "event 'shop/order.paid'"
        expected = [
            "run 'p' of function 'parent' waits: step 'child' for the end of run 'p/child'; the next deadline is at",
            "run 'p/child' of function 'absent' waits: step 's' for 2030-01-01 00:00:01+00:00; its function is not in",
            "run 'w' of function 'waiting' waits: step 'paid' for event 'shop/order.paid', match 'data.id'",
            f"{paid} did not answer step 'paid' of run 'w': async.data.id == 1 said no: async.data.id is 2",
            f"{paid} did not answer step 'paid' of run 'w': async.data.id == 1 said no: it has no 'data.id': there is "
            "nothing in 'data'",
            f"{paid} did not answer the Cancel of run 'w': async.data.id == 1 said no: async.data.id is 2",
            "event 'shop/order.payed' was sent, but",
            "is for event 'shop/order.paid'",
        ]
        for part in expected:
            assert part in text, text

    asyncio.run(story())


def test_a_stuck_error_names_an_expression_and_an_event_that_came_too_early() -> None:
    @durable.function
    async def waiting(ctx: Context) -> None:
        await ctx.step.sleep("first", "1h")
        await ctx.step.wait_for_event("big", event="big", timeout="90d", if_exp="async.data.sum > 10")

    async def story() -> None:
        async with Lab([waiting]) as lab:
            await lab.start(waiting, id="w")
            await lab.send("big", {"sum": 11})
            await lab.advance("1h")
            await lab.send("big", {"sum": 10})
            text = await lab._stuck("w")
        assert "event 'big' did not answer step 'big' of run 'w': it came before the wait began" in text
        assert (
            "event 'big' did not answer step 'big' of run 'w': async.data.sum > 10 said no: async.data.sum is 10"
            in text
        )

    asyncio.run(story())


def test_a_run_that_nothing_can_bring_on_is_a_stuck_error() -> None:
    @durable.function
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("child", function="child")

    @durable.function
    async def child(ctx: Context) -> None:
        await ctx.step.invoke("grandchild", function="grandchild")

    @durable.function
    async def grandchild(ctx: Context) -> None:
        await ctx.step.sleep("s", 1)

    async def story() -> None:
        store = DictStore()
        async with Lab([parent, child, grandchild], store=store) as lab:
            await lab.start(parent, id="r")
        async with Lab([parent, child], store=store) as lab:
            text = await stuck_text(lab, await lab.engine.run("r"))
        assert "step 'child' for the end of run 'r/child'; nothing is due" in text
        assert "run 'r/child' of function 'child' waits: step 'grandchild' for the end of" in text

    asyncio.run(story())


# Where Labs are used.


class InUnittest(unittest.IsolatedAsyncioTestCase):
    """The Lab in the standard library's tests: opened in one task, used in another, closed in a third."""

    async def asyncSetUp(self) -> None:
        self.lab = Lab([buying])
        await self.lab.__aenter__()

    async def asyncTearDown(self) -> None:
        await self.lab.__aexit__(None, None, None)

    async def test_it_runs(self) -> None:
        run = await self.lab.start(buying)
        await self.lab.advance("8h")
        await self.lab.crash()
        self.assertEqual(await run.result(), [2, 4])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def lab(anyio_backend: str) -> AsyncIterator[Lab]:
    async with Lab([buying]) as lab:
        yield lab


@pytest.mark.anyio
async def test_a_lab_can_be_a_fixture_of_anyios_plugin(lab: Lab) -> None:
    run = await lab.start(buying)
    assert await lab.result(run) == [2, 4] and lab.clock.now() == START + timedelta(hours=8)


def test_a_lab_is_opened_used_and_closed_in_different_tasks() -> None:
    """As the cells of a notebook are."""

    async def cells() -> None:
        lab = Lab([buying])
        await asyncio.create_task(lab.__aenter__())
        run = await asyncio.create_task(lab.start(buying))
        await asyncio.create_task(lab.crash())
        assert await asyncio.create_task(lab.result(run)) == [2, 4]
        await asyncio.create_task(lab.__aexit__(None, None, None))

    asyncio.run(cells())
