"""F1 and F2 with counts="steps": what time, deaths and periods do to tries that wait for their turn."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, RunFailed, StepOptions, Throttle
from durable.testing import Lab
from durable.testing.lab import START
from tests.rules.test_flow_throttle import kept
from tests.support.gated import Gated
from tests.support.lives import Snapshots, records, rounds
from tests.support.tries import Work, crashed, worker

pytestmark = pytest.mark.anyio


async def test_the_time_of_a_try_counts_from_its_beginning_and_that_of_all_tries_goes_on_while_it_waits() -> None:
    work = Work()

    @durable.function("work", retries=1, backoff=durable.Backoff("1m", 1.0, jitter=0), concurrency=1)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        return await ctx.step.run(StepOptions("work", timeout="10m", within="30m"), work, n)

    async with Lab([function]) as lab:
        run = await lab.engine.start(function, {"n": 0})
        await rounds()
        other = await lab.engine.start(function, {"n": 1})
        await rounds()
        work.running[0].set_exception(ValueError("no"))
        await rounds()
        assert list(work.running) == [1]  # it has waited 0 s; run 0 comes again in a minute
        for _ in range(9):
            lab.clock.advance("1m")
            await rounds()
        assert list(work.running) == [1]
        work.running[1].set_result(1)
        assert await other.result() == 1
        await rounds()
        assert list(work.running) == [0]  # its second try has waited for 8 minutes
        lab.clock.advance("9m")
        await rounds()
        assert list(work.running) == [0]
        await work.end(0)
        assert await run.result() == 0


async def test_a_try_whose_time_of_all_tries_is_over_while_it_waits_fails_with_its_last_error() -> None:
    work = Work()

    @durable.function("work", retries=1, backoff=durable.Backoff("1m", 1.0, jitter=0), concurrency=1)
    async def function(ctx: Context) -> Any:
        n = ctx.event.data["n"]
        return await ctx.step.run(StepOptions("work", within="30m" if n == 0 else None), work, n)

    async with Lab([function]) as lab:
        run = await lab.engine.start(function, {"n": 0})
        await rounds()
        await lab.engine.start(function, {"n": 1})
        await rounds()
        work.running[0].set_exception(ValueError("no"))
        await rounds()
        lab.clock.advance("40m")
        await rounds()
        with pytest.raises(RunFailed) as failed:
            await run.result()
        assert failed.value.error.name == "ValueError" and list(work.running) == [1]
        await work.end(1)


async def test_a_slot_is_held_by_nobody_after_a_crash() -> None:
    work = Work()
    async with Lab([function := worker(work, concurrency=1)]) as lab:
        for n in range(3):
            await lab.engine.start(function, {"n": n}, id=f"r{n}")
        await rounds()
        assert list(work.running) == [0]
        await crashed(lab)
        assert list(work.running) == [0]
        await work.end(0)
        await work.end(1)
        await work.end(2)
        assert [await lab.engine.result(f"r{n}") for n in range(3)] == [0, 1, 2]


async def test_a_handler_that_waits_for_a_slot_is_not_due_when_the_process_dies() -> None:
    """R26: what only waits has not killed the process, however often that dies."""
    work = Work()
    async with Lab([function := worker(work, concurrency=1)]) as lab:
        for n in range(2):
            await lab.engine.start(function, {"n": n}, id=f"r{n}")
        await rounds()
        for _ in range(2):
            await crashed(lab)
        found = [one.run for one in records(lab._store.mapping) if type(one).__name__ == "RunResumed"]  # type: ignore[attr-defined]
        assert found == ["r0", "r0"]
        await work.end(0)
        await work.end(1)


async def test_tries_are_bounded_in_a_period_and_counted_before_the_handler_is_called() -> None:
    mapping = Snapshots()
    began: list[tuple[float, int]] = []
    labs: list[Lab] = []

    async def call() -> None:
        counted = [one for one in records(mapping) if type(one).__name__ == "Counted"]
        began.append(((labs[0].clock.now() - START) / timedelta(minutes=1), len(counted)))

    @durable.function("work", throttle=Throttle(2, "1h", counts="steps"))
    async def function(ctx: Context) -> Any:
        await ctx.group.parallel([lambda n=n: ctx.step.run(f"s{n}", call) for n in range(5)])

    labs[:] = [Lab([function], store=DictStore(mapping))]
    async with labs[0] as lab:
        await lab.result((await lab.send("work"))[0])
    assert [minute for minute, _ in began] == [0, 0, 60, 60, 120]
    assert all(counted > number for number, (_, counted) in enumerate(began))


async def test_no_handler_is_called_while_its_try_is_not_counted_in_the_store() -> None:
    store, called = Gated(), list[str]()

    @durable.function("work", throttle=Throttle(1, "1h", counts="steps"))
    async def function(ctx: Context) -> Any:
        await ctx.step.run("a", called.append, "a")
        await ctx.step.run("b", called.append, "b")

    async with Lab([function], store=store) as lab:
        await lab.send("work")
        await rounds()
        assert called == ["a"]
        store.gate.clear()
        lab.clock.advance("1h")
        await rounds()
        meanwhile = list(called)
        store.gate.set()
        await rounds()
        assert (meanwhile, called) == (["a"], ["a", "b"])


async def test_a_try_is_counted_in_the_store_before_its_handler_is_called(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.db", list[int]()

    async def call() -> None:
        seen.append(kept(path, "Counted"))

    @durable.function("work", throttle=Throttle(1, "1h", counts="steps"))
    async def function(ctx: Context) -> Any:
        await ctx.step.run("a", call)
        await ctx.step.run("b", call)

    async with Lab([function], store=durable.FileStore(path)) as lab:
        await lab.send("work")
        await lab.advance("1h")
    assert seen == [1, 2]


async def test_a_retried_try_is_one_more_call_in_its_period() -> None:
    instants: list[float] = []
    labs: list[Lab] = []

    async def call() -> None:
        instants.append((labs[0].clock.now() - START) / timedelta(minutes=1))
        if len(instants) < 4:
            raise ValueError("again")

    @durable.function(
        throttle=Throttle(2, "1h", counts="steps"), retries=5, backoff=durable.Backoff("1m", 1.0, jitter=0)
    )
    async def function(ctx: Context) -> Any:
        await ctx.step.run("s", call)

    labs[:] = [Lab([function])]
    async with labs[0] as lab:
        await lab.result(await lab.start(function))
    assert instants == [0, 1, 60, 61]


async def test_an_engine_that_closes_lets_no_waiting_try_begin() -> None:
    work = Work()
    store = DictStore()
    function = worker(work, concurrency=1)
    async with durable.Engine([function], store=store) as engine:
        for n in range(50):
            await engine.start(function, {"n": n})
        await rounds()
    assert work.order == [0] and not work.running
    async with durable.Engine([function], store=store):
        await rounds()
        assert list(work.running) == [0]
