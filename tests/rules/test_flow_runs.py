"""F1 with counts="runs": so many runs at a time, from first call to end. F6: who of those that wait goes first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, DictStore, Priority, Throttle
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import Snapshots, records

pytestmark = pytest.mark.anyio

BEGUN: list[Any] = []


def sleeper(limit: Any, *, hours: int = 1, id: str = "sleeper", **options: Any) -> durable.Function[Any]:
    @durable.function("go", id=id, concurrency=limit, **options)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        await ctx.step.run("begin", BEGUN.append, n)
        await ctx.step.sleep("s", f"{hours}h")
        return n

    BEGUN.clear()
    return function


ONE = Concurrency(1, counts="runs")


async def test_a_run_that_sleeps_holds_its_slot_until_its_end() -> None:
    async with Lab([function := sleeper(Concurrency(2, counts="runs"))]) as lab:
        runs = [await lab.start(function, {"n": n}) for n in range(5)]
        assert BEGUN == [0, 1]
        assert [(await run.info()).status for run in runs] == ["waiting", "waiting", "queued", "queued", "queued"]
        await lab.advance("1h")
        assert BEGUN == [0, 1, 2, 3]
        assert await lab.result(runs[4]) == 4


async def test_slots_are_free_after_a_failure_and_a_cancelling_and_are_taken_again_by_a_retry() -> None:
    async def fail(n: int) -> None:
        BEGUN.append(n)
        if n == 0 and BEGUN.count(0) == 1:
            raise durable.NonRetriableError("no")

    @durable.function(concurrency=ONE)
    async def function(ctx: Context) -> Any:
        await ctx.step.run("f", fail, ctx.event.data["n"])
        await ctx.step.sleep("s", "1h")

    BEGUN.clear()
    async with Lab([function]) as lab:
        runs = []
        for n in range(3):
            runs.append(await lab.start(function, {"n": n}))
            await lab.advance("1s")
        assert BEGUN == [0, 1]
        await lab.engine.retry(runs[0].id)
        await lab.settle()
        assert BEGUN == [0, 1] and (await runs[0].info()).status == "queued"
        await runs[1].cancel()
        await lab.settle()
        assert BEGUN == [0, 1, 0]  # it was opened before run 2
        await lab.advance("1h")
        assert BEGUN == [0, 1, 0, 2]
        assert [(await run.info()).status for run in runs] == ["completed", "cancelled", "waiting"]


async def test_parent_and_child_share_a_slot_side_by_side_through_whatever_invokes() -> None:
    trace: list[str] = []

    def named(id: str, below: list[Any], limited: bool = True) -> durable.Function[Any]:
        key = Concurrency(1, key='"tree"', scope="engine", counts="runs") if limited else None

        @durable.function(id=id, concurrency=key)
        async def function(ctx: Context) -> Any:
            await ctx.step.run("begin", trace.append, f"{id}{ctx.event.data['n']}")
            calls = [ctx.step.invoke(f"c{n}", function=one, data=dict(ctx.event.data)) for n, one in enumerate(below)]
            await asyncio.gather(*calls)
            await ctx.step.sleep("s", "1h")
            return id

        return function

    leaf = named("leaf", [])
    middle = named("middle", [leaf, leaf], limited=False)
    root = named("root", [middle, leaf])
    for crashes in (False, True):
        trace.clear()
        async with Lab([root, middle, leaf]) as lab:
            first = await lab.start(root, {"n": 0})
            second = await lab.start(root, {"n": 1})
            if crashes:
                await lab.crash()
            assert sorted(trace) == ["leaf0", "leaf0", "leaf0", "middle0", "root0"]
            await lab.advance("3h")
            assert "root1" in trace and lab.clock.now() > START
            assert (await lab.engine.info(first.id)).status == "completed"
            await lab.advance("3h")
            assert (await lab.engine.info(second.id)).status == "completed"


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_family_takes_one_of_several_slots(crashes: bool) -> None:
    two = Concurrency(2, key='"tree"', scope="engine", counts="runs")
    begun: list[int] = []

    @durable.function(concurrency=two)
    async def child(ctx: Context) -> None:
        n = ctx.event.data["n"]
        await ctx.step.run("begin", begun.append, n)
        await ctx.step.sleep("s", f"{n + 1}h")

    @durable.function(concurrency=two)
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("c", function=child, data=dict(ctx.event.data))

    async with Lab([parent, child]) as lab:
        for n in range(4):
            await lab.start(parent, {"n": n})
        if crashes:
            await lab.crash()
        for passed in ([0, 1], [0, 1, 2], [0, 1, 2, 3]):
            assert begun == passed
            await lab.advance("1h")


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_family_that_is_opened_again_and_waits_shares_one_slot(crashes: bool) -> None:
    key = Concurrency(1, key='"tree"', scope="engine", counts="runs")
    is_broken = True

    def work() -> None:
        if is_broken:
            raise durable.NonRetriableError("broken")

    @durable.function(concurrency=key)
    async def leaf(ctx: Context) -> None:
        await ctx.step.run("work", work)

    @durable.function()
    async def middle(ctx: Context) -> None:
        await ctx.step.invoke("leaf", function=leaf)

    @durable.function(concurrency=key)
    async def root(ctx: Context) -> None:
        await asyncio.gather(ctx.step.invoke("middle", function=middle), ctx.step.invoke("leaf", function=leaf))

    other = sleeper(key, id="other")
    async with Lab([leaf, middle, root, other]) as lab:
        run = await lab.start(root)
        assert (await run.info()).status == "failed"
        is_broken = False
        await lab.start(other, {"n": 0})
        await lab.engine.retry(run.id)
        await lab.settle()
        if crashes:
            await lab.crash()
        last = await lab.start(other, {"n": 1})
        await lab.advance("1h")
        assert (await lab.engine.info(run.id)).status == "completed"
        await lab.advance("1h")
        assert (await lab.engine.info(last.id)).status == "completed"


async def test_a_family_holds_its_slot_until_all_of_it_has_ended() -> None:
    @durable.function(concurrency=Concurrency(1, key='"tree"', scope="engine", counts="runs"))
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("s", "5h")

    @durable.function(concurrency=Concurrency(1, key='"tree"', scope="engine", counts="runs"))
    async def parent(ctx: Context) -> Any:
        await ctx.step.run("begin", BEGUN.append, ctx.event.data["n"])
        try:
            await ctx.step.invoke("c", function=child, timeout="1h")
        except durable.InvokeTimeoutError:
            return "gone on"

    BEGUN.clear()
    async with Lab([child, parent]) as lab:
        first = await lab.start(parent, {"n": 0})
        await lab.start(parent, {"n": 1})
        await lab.advance("2h")
        assert (await first.info()).status == "completed" and BEGUN == [0]
        await lab.crash()
        assert BEGUN == [0]
        await lab.advance("3h")
        assert BEGUN == [0, 1]


async def test_runs_that_have_begun_hold_their_slots_first_after_a_restart_even_beyond_a_lowered_limit() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([sleeper(Concurrency(3, counts="runs"))], store=DictStore(mapping)) as lab:
        for n in range(5):
            await lab.send("go", {"n": n})
        assert BEGUN == [0, 1, 2]
        await lab.advance("30m")
        now = lab.clock.now()
    async with Lab([sleeper(Concurrency(2, counts="runs"))], store=DictStore(mapping), start=now) as lab:
        assert BEGUN == []
        await lab.send("go", {"n": 5})
        assert BEGUN == []
        await lab.advance("30m")
        assert BEGUN == [3, 4]


async def test_slots_are_held_by_those_that_have_begun_after_a_crash_at_every_write() -> None:
    mapping, function = Snapshots(), sleeper(ONE)
    async with Lab([function], store=DictStore(mapping)) as lab:
        for n in range(3):
            await lab.send("go", {"n": n})
        await lab.advance("4h")
    for taken in mapping.taken:
        store = DictStore(taken)
        latest = max([one.at for one in records(taken)], default=START)
        async with Lab([function], store=store, start=latest) as lab:
            await lab.advance("5h")
        begun: list[str] = []
        for one in records(store.mapping):
            name = type(one).__name__
            if name == "RunAdmitted":
                begun.append(one.run)
                assert len(begun) == 1
            elif name == "RunClosed":
                begun.remove(one.run)
        assert not begun


@pytest.mark.parametrize("resident", [0, 10_000])
async def test_parked_runs_hold_their_slots(resident: int) -> None:
    function = sleeper(Concurrency(2, counts="runs"))
    store = DictStore()
    lab = Lab([function], store=store)
    async with durable.Engine([function], store=store, clock=lab.clock, resident=resident) as engine:
        for n in range(6):
            await engine.send("go", {"n": n})
        await engine.settled()
        assert sorted(BEGUN) == [0, 1]
        for expected in (4, 6):
            lab.clock.advance("1h")
            await engine.settled()
            assert len(BEGUN) == expected


async def test_both_kinds_of_limit_and_a_throttle_hold_at_once() -> None:
    limits = [Concurrency(2, counts="runs"), Concurrency(1, key="event.data.k", counts="runs")]
    async with Lab([sleeper(limits, hours=10, throttle=Throttle(1, "1h"))]) as lab:
        for n, k in enumerate("aabc"):
            await lab.send("go", {"n": n, "k": k})
        assert BEGUN == [0]
        await lab.advance("1h")
        assert BEGUN == [0, 2]
        await lab.advance("8h")
        assert BEGUN == [0, 2]
        await lab.advance("1h")  # run 0 has ended, so run 1 goes before run 3
        assert BEGUN == [0, 2, 1]
        await lab.advance("1h")
        assert BEGUN == [0, 2, 1, 3]


async def test_an_option_that_is_gone_lets_all_go_and_one_that_is_new_bounds_those_that_have_not_begun() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([sleeper(ONE, hours=9)], store=DictStore(mapping)) as lab:
        for n in range(3):
            await lab.send("go", {"n": n})
        assert BEGUN == [0]
    async with Lab([sleeper(None, hours=9)], store=DictStore(mapping)) as lab:
        assert BEGUN == [1, 2]
        await lab.send("go", {"n": 3})
    async with Lab([sleeper(ONE, hours=9)], store=DictStore(mapping)) as lab:
        await lab.send("go", {"n": 4})
        assert BEGUN == []
        await lab.advance("9h")
        assert BEGUN == [4]


async def test_a_function_that_is_defined_again_bounds_its_runs_anew() -> None:
    async with Lab([sleeper(ONE)]) as lab:
        for n in range(4):
            await lab.send("go", {"n": n})
        assert BEGUN == [0]
        await lab.engine.start(sleeper(Concurrency(3, counts="runs")), {"n": 4})
        await lab.settle()
        assert BEGUN == [1, 2]


@pytest.mark.parametrize("redefined", [False, True])
async def test_a_pause_or_a_new_definition_leaves_everybody_their_place(redefined: bool) -> None:
    limit = Concurrency(1, '"all"', "engine", "runs")
    async with Lab([sleeper(limit, id="one"), sleeper(limit, id="two")]) as lab:
        for number, name in enumerate(("one", "one", "two", "one", "two")):  # all in the same instant
            await lab.start(name, {"n": number}, id=f"{number}")
        if redefined:
            await lab.start(sleeper(limit, id="one"), {"n": 5}, id="5")
        else:
            await lab.engine.pause("one")
            await lab.engine.resume("one")
        await lab.advance("12h")
        runs = await lab.engine.runs()
        begun = sorted(runs, key=lambda info: info.steps["begin"].ended_at or START)
        assert [info.id for info in begun] == ["0", "1", "2", "3", "4", "5"][: len(runs)]


# F6


@pytest.mark.parametrize("together", [False, True])
async def test_a_priority_orders_those_who_wait_and_delays_nobody_where_nobody_waits(together: bool) -> None:
    events = [durable.Event("go", {"n": n, "p": p}) for n, p in enumerate([-600, 0, 5, 5.5, -1, 10_000, 700])]
    async with Lab([sleeper(ONE, priority=Priority("event.data.p"))]) as lab:
        for sent in [events] if together else events:
            await lab.send(sent)
            assert BEGUN == [0]
        await lab.advance("10h")
        assert BEGUN == [0, 5, 6, 3, 2, 1, 4]


async def test_a_priority_is_so_many_seconds_of_having_come_earlier() -> None:
    async with Lab([sleeper(ONE, hours=2, priority=Priority("event.data.p"))]) as lab:
        await lab.send("go", {"n": 0, "p": 0})
        await lab.send("go", {"n": 1, "p": 0})
        await lab.advance("60s")
        for n, p in ((2, 59), (3, 61), (4, 60)):
            await lab.send("go", {"n": n, "p": p})
        await lab.advance("20h")
        assert BEGUN == [0, 3, 1, 4, 2]


@pytest.mark.parametrize("value", [None, "5", True, [1], {"a": 1}])
async def test_what_is_no_number_counts_as_0_and_warns_once(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Lab([sleeper(ONE, priority=Priority("event.data.p"))]) as lab:
        for n, p in enumerate([0, 0, value, value, 1]):
            await lab.send("go", {"n": n, "p": p})
        await lab.advance("10h")
        assert BEGUN == [0, 4, 1, 2, 3]
    assert sum("the priority of function 'sleeper' counts as 0" in one.getMessage() for one in caplog.records) == 1


async def test_a_priority_is_evaluated_once_and_recorded_with_the_opening() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([sleeper(ONE, priority=Priority("event.data.p"))], store=DictStore(mapping)) as lab:
        for n, p in enumerate([0, 1, 2.5]):
            await lab.send("go", {"n": n, "p": p})
    assert [one.priority for one in records(mapping) if type(one).__name__ == "RunOpened"] == [0, 1, 2.5]
    other = sleeper(ONE, priority=Priority("-event.data.p"))
    async with Lab([other], store=DictStore(mapping)) as lab:
        await lab.advance("4h")
        assert BEGUN == [2, 1]


async def test_priorities_order_tries_and_starts_too() -> None:
    order: list[Any] = []

    @durable.function("go", throttle=Throttle(1, "1h"), priority=Priority("event.data.p"))
    async def started(ctx: Context) -> None:
        order.append(ctx.event.data["p"])

    @durable.function("go", throttle=Throttle(1, "1h", counts="steps"), priority=Priority("event.data.p"))
    async def tried(ctx: Context) -> None:
        await ctx.step.run("s", order.append, ctx.event.data["p"])

    for function in (started, tried):
        order.clear()
        async with Lab([function]) as lab:
            for p in (0, 1, 3, 2):
                await lab.send("go", {"p": p})
            await lab.advance("4h")
        assert order == [0, 3, 2, 1]
