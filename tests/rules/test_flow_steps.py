"""F1 and F2 with counts="steps": so many tries of handlers run at a time, or begin in a period; the others wait."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, DictStore, StepOptions
from durable.testing import Lab
from tests.support.lives import Snapshots, records, rounds
from tests.support.tries import Work, crashed, worker

pytestmark = pytest.mark.anyio


async def test_so_many_handlers_run_at_a_time_and_the_others_begin_in_the_order_of_opening() -> None:
    work = Work()
    async with durable.Engine([worker(work, concurrency=2)]) as engine:
        for n in range(5):
            await engine.send("work", {"n": n})
        await rounds()
        assert list(work.running) == [0, 1]
        await work.end(1)
        assert list(work.running) == [0, 2]
        await work.end(0, 2)
        assert list(work.running) == [3, 4]
        await work.end(3, 4)
        await engine.settled()
        assert work.order == [0, 1, 2, 3, 4] and work.most == 2


async def test_what_sleeps_waits_or_stands_before_its_next_try_holds_no_slot() -> None:
    tried: list[Any] = []

    async def handler(n: int) -> int:
        tried.append(n)
        if tried.count(n) == 1:
            raise durable.RetryAfterError("later", "1h")
        return n

    @durable.function("work", concurrency=1)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        await ctx.step.sleep("s", "1m")
        await ctx.step.run("work", handler, n)
        return await ctx.step.wait_for_event("e", event="never", timeout="1d")

    async with Lab([function]) as lab:
        for n in range(3):
            await lab.send("work", {"n": n})
        assert tried == []
        await lab.advance("1m")
        assert tried == [0, 1, 2]
        await lab.advance("1h")
        assert tried == [0, 1, 2, 0, 1, 2]


async def test_keys_have_slots_of_their_own_and_do_not_hold_each_other_up() -> None:
    work = Work()
    async with durable.Engine([worker(work, concurrency=Concurrency(1, key="event.data.k"))]) as engine:
        for n, k in enumerate(["a", "a", "b", 1, "1", None, None, 1.0]):
            await engine.send("work", {"n": n, "k": k})
        await rounds()
        assert list(work.running) == [0, 2, 3, 4, 5]
        await work.end(0, 3)
        assert sorted(work.running) == [1, 2, 4, 5, 7]


async def test_two_limits_must_both_have_room() -> None:
    work = Work()
    limits = [Concurrency(3), Concurrency(1, key="event.data.k")]
    async with durable.Engine([worker(work, concurrency=limits)]) as engine:
        for n, k in enumerate("aabbbcd"):
            await engine.send("work", {"n": n, "k": k})
        await rounds()
        assert list(work.running) == [0, 2, 5]
        await work.end(5)
        assert list(work.running) == [0, 2, 6]
        await work.end(2)
        assert list(work.running) == [0, 6, 3]
        await work.end(0, 6)
        assert list(work.running) == [3, 1]


async def test_functions_that_spell_the_same_key_share_the_slots_of_the_engine() -> None:
    work = Work()
    shared = Concurrency(2, key='"api"', scope="engine")

    def named(id: str, concurrency: Any) -> durable.Function[Any]:
        @durable.function(id=id, concurrency=concurrency)
        async def function(ctx: Context) -> Any:
            return await ctx.step.run("work", work, (id, ctx.event.data["n"]))

        return function

    functions = [named("one", shared), named("two", shared), named("three", Concurrency(2, key='"api"'))]
    async with durable.Engine(functions) as engine:
        for n in range(2):
            for function in functions:
                await engine.start(function, {"n": n})
        await rounds()
        assert sorted(work.running) == [("one", 0), ("three", 0), ("three", 1), ("two", 0)]
        await work.end(("one", 0))
        assert ("one", 1) in work.running and ("two", 1) not in work.running


async def test_functions_may_share_slots_under_different_limits() -> None:
    work = Work()

    def named(id: str, limit: int) -> durable.Function[Any]:
        @durable.function(id=id, concurrency=Concurrency(limit, key='"api"', scope="engine"))
        async def function(ctx: Context) -> Any:
            return await ctx.step.run("work", work, (id, ctx.event.data["n"]))

        return function

    narrow, wide = named("narrow", 1), named("wide", 3)
    async with durable.Engine([narrow, wide]) as engine:
        for n in range(2):
            for function in (narrow, wide):
                await engine.start(function, {"n": n})
        await rounds()
        assert list(work.running) == [("narrow", 0), ("wide", 0), ("wide", 1)]
        await work.end(("wide", 0), ("wide", 1))
        assert list(work.running) == [("narrow", 0)]
        await work.end(("narrow", 0))
        assert list(work.running) == [("narrow", 1)]


async def test_the_branches_of_one_run_wait_in_the_order_of_their_calls() -> None:
    work = Work()

    @durable.function(concurrency=1)
    async def fans(ctx: Context) -> Any:
        return await ctx.group.parallel([lambda n=n: ctx.step.run(f"s{n}", work, n) for n in range(3)])

    async with durable.Engine([fans]) as engine:
        run = await engine.start(fans)
        for n in range(3):
            await rounds()
            assert list(work.running) == [n]
            await work.end(n)
        assert list(await run.result()) == [0, 1, 2]


@pytest.mark.parametrize("how", ["cancelled run", "cancelled step", "failed try", "timed out", "ended in time"])
async def test_a_slot_is_free_when_the_handler_has_ended_in_whatever_way(how: str) -> None:
    work = Work()

    @durable.function("work", retries=0, concurrency=1)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        timeout = "1m" if how == "timed out" and n == 0 else None
        step = asyncio.ensure_future(ctx.step.run(StepOptions("work", timeout=timeout), work, n))
        if how == "cancelled step" and n == 0:
            await ctx.step.sleep("s", "1m")
            step.cancel()
            await asyncio.wait([step])
            return await ctx.step.sleep("t", "1d")
        return await step

    async with Lab([function]) as lab:
        first = await lab.engine.start(function, {"n": 0})
        second = await lab.engine.start(function, {"n": 1})
        await rounds()
        assert list(work.running) == [0]
        if how == "cancelled run":
            await first.cancel()
        elif how == "failed try":
            work.running[0].set_exception(ValueError("no"))
        elif how == "ended in time":
            work.running[0].set_result(0)
        else:
            lab.clock.advance("1m")
        await rounds()
        assert list(work.running) == [1]
        await work.end(1)
        assert await second.result() == 1


async def test_a_thread_holds_its_slot_until_it_has_really_ended() -> None:
    going, entered, ran = threading.Event(), threading.Event(), []

    def blocks(n: int) -> int:
        ran.append(n)
        if n == 0:
            entered.set()
            going.wait(10)
        return n

    @durable.function("work", retries=0, concurrency=1)
    async def function(ctx: Context) -> Any:
        return await ctx.step.run("work", blocks, ctx.event.data["n"])

    async with durable.Engine([function]) as engine:
        first = await engine.start(function, {"n": 0})
        second = await engine.start(function, {"n": 1})
        await asyncio.to_thread(entered.wait, 10)
        assert await first.cancel()
        await rounds()
        assert ran == [0]
        going.set()
        assert await second.result() == 1 and ran == [0, 1]


async def test_a_thread_holds_its_slot_also_after_its_try_was_given_up() -> None:
    going, entered = threading.Event(), threading.Event()

    def blocks(n: int) -> int:
        if n == 0:
            entered.set()
            going.wait(10)
        return n

    @durable.function("work", retries=0, concurrency=1)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        return await ctx.step.run(StepOptions("work", timeout="1m" if n == 0 else None), blocks, n)

    async with Lab([function], threads=True) as lab:
        first = await lab.engine.start(function, {"n": 0})
        second = await lab.engine.start(function, {"n": 1})
        await asyncio.to_thread(entered.wait, 10)
        lab.clock.advance("1m")
        await rounds()
        assert (await first.info()).status == "failed"
        assert list((await second.info()).waiting_for) == ["work"]
        going.set()
        assert await second.result() == 1


async def test_a_cancelled_run_that_waits_for_a_slot_leaves_the_queue() -> None:
    work = Work()
    async with durable.Engine([function := worker(work, concurrency=1)]) as engine:
        runs = [await engine.start(function, {"n": n}) for n in range(3)]
        await rounds()
        assert await runs[1].cancel("not now")
        await rounds()
        await work.end(0)
        assert list(work.running) == [2]


@pytest.mark.parametrize(
    ("limit", "running"),
    [
        (3, [0, 1, 2]),
        (None, [0, 1, 2, 3, 4]),
        (Concurrency(1, '"other"', "engine"), [0]),
        ([Concurrency(4), Concurrency(2, '"other"', "engine")], [0, 1]),
    ],
)
async def test_a_function_that_is_defined_again_bounds_the_tries_of_its_runs_anew(
    limit: Any, running: list[int]
) -> None:
    work = Work()
    async with durable.Engine([function := worker(work, concurrency=1)]) as engine:
        for n in range(4):
            await engine.start(function, {"n": n})
        await rounds()
        assert list(work.running) == [0]
        await engine.start(worker(work, concurrency=limit), {"n": 4})
        await rounds()
        assert list(work.running) == running
        for n in range(5):
            await work.end(n)
        await engine.settled()
        assert work.order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, Concurrency(1, '"all"', "engine"), Concurrency(1, "event.data.k")])
async def test_handlers_that_run_when_a_new_definition_bounds_them_hold_slots_until_they_end(limit: Any) -> None:
    work = Work()
    async with durable.Engine([function := worker(work)]) as engine:
        for n in range(2):
            await engine.start(function, {"n": n})
        await rounds()
        for n in (2, 3):
            await engine.start(worker(work, concurrency=limit), {"n": n})
        await rounds()
        assert list(work.running) == [0, 1]
        await work.end(0)
        assert list(work.running) == [1]
        await work.end(1)
        assert list(work.running) == [2]
        await work.end(2)
        assert list(work.running) == [3]


async def test_a_new_definition_that_counts_by_another_key_moves_who_runs_to_its_slots() -> None:
    work = Work()
    async with durable.Engine([function := worker(work, concurrency=Concurrency(1, "event.data.a"))]) as engine:
        for n, (a, b) in enumerate([(1, 1), (2, 2), (3, 1)]):
            await engine.start(function, {"n": n, "a": a, "b": b})
        await rounds()
        again = worker(work, concurrency=Concurrency(1, "event.data.b"))
        for n, (a, b) in enumerate([(1, 2), (1, 3)], 3):
            await engine.start(again, {"n": n, "a": a, "b": b})
        await rounds()
        assert list(work.running) == [0, 1, 2, 4]
        await work.end(0)
        assert list(work.running) == [1, 2, 4]  # two hold the slot of b = 1, none of them that of b = 2
        await work.end(1)
        assert list(work.running) == [2, 4, 3]


@pytest.mark.parametrize(
    ("limit", "running"), [(1, [0]), (None, [0, 1, 2, 3]), (Concurrency(1, "event.data.k"), [0, 1])]
)
async def test_after_a_restart_tries_are_bounded_by_what_the_function_declares_then(
    limit: Any, running: list[int]
) -> None:
    before, after = Work(), Work()
    async with Lab([worker(before, concurrency=3)]) as lab:
        for n in range(4):
            await lab.engine.start("worker", {"n": n, "k": min(n, 1)})
        await rounds()
        assert list(before.running) == [0, 1, 2]
        lab._functions = [worker(after, concurrency=limit)]
        await crashed(lab)
        assert list(after.running) == running


async def test_a_new_definition_with_a_lower_limit_lets_nobody_in_until_there_is_room() -> None:
    work = Work()
    async with durable.Engine([function := worker(work, concurrency=3)]) as engine:
        for n in range(4):
            await engine.start(function, {"n": n})
        await rounds()
        await engine.start(worker(work, concurrency=1), {"n": 4})
        await rounds()
        await work.end(0, 1)
        assert list(work.running) == [2]
        await work.end(2)
        assert list(work.running) == [3]


async def test_a_try_that_waits_for_a_slot_has_not_begun_and_writes_nothing() -> None:
    work, mapping = Work(), Snapshots()
    async with durable.Engine([function := worker(work, concurrency=1)], store=DictStore(mapping)) as engine:
        await engine.start(function, {"n": 0})
        run = await engine.start(function, {"n": 1})
        await rounds()
        info = await run.info()
        assert info.status == "waiting" and "work" not in info.steps
        assert [type(one).__name__ for one in records(mapping)] == ["RunOpened", "RunOpened"]
        await work.end(0)
        await work.end(1)
        await run.result()
        assert {type(one).__name__ for one in records(mapping)} == {"RunOpened", "StepClosed", "RunClosed"}
