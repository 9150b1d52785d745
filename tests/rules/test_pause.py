"""A paused function begins no run, and its ticks count as missed; a backfill opens each tick of the past once. F10"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, Timeouts, TriggerCron, TriggerEvent, TriggerEvery
from durable.testing import Lab, VirtualClock

pytestmark = pytest.mark.anyio
START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def tick(hours: float, function: str = "job") -> str:
    return f"cron/{function}/{(START + hours * HOUR).replace(tzinfo=None).isoformat()}Z"


@durable.function([TriggerEvent("go"), TriggerCron("@hourly")])
async def job(ctx: Context) -> str:
    return await ctx.step.run("work", lambda: "done")


def hourly(missed: Any) -> Any:
    @durable.function(TriggerCron("@hourly", missed=missed), id="job")
    async def code(ctx: Context) -> None:
        await ctx.step.run("work", lambda: None)

    return code


async def statuses(lab: Lab) -> dict[str, str]:
    return {run.id: run.status for run in await lab.engine.runs()}


async def test_while_a_function_is_paused_events_starts_and_invokes_open_runs_that_stay_queued() -> None:
    @durable.function
    async def parent(ctx: Context) -> Any:
        return await ctx.step.invoke("child", function=job)

    async with Lab([job, parent]) as lab:
        assert await lab.engine.pause(job) and not await lab.engine.pause("job")
        runs = [*await lab.send("go"), await lab.start(job, id="by-hand"), await lab.start(parent, id="parent")]
        assert [(await run.info()).status for run in runs] == ["queued", "queued", "waiting"]
        assert (await lab.engine.info("parent/child")).status == "queued"
        await lab.advance("30m")
        assert await lab.engine.resume(job) and not await lab.engine.resume("job")
        await lab.settle()
        assert set((await statuses(lab)).values()) == {"completed"}


async def test_runs_that_have_begun_go_on() -> None:
    @durable.function
    async def long(ctx: Context) -> str:
        await ctx.step.sleep("s", "1h")
        return await ctx.step.run("after", lambda: "done")

    async with Lab([long]) as lab:
        run = await lab.start(long)
        await lab.engine.pause(long)
        await lab.crash()
        assert await lab.result(run) == "done"


async def test_a_run_whose_first_handler_runs_at_the_pause_goes_on_after_a_crash() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    @durable.function
    async def busy(ctx: Context) -> str:
        return await ctx.step.run("work", hang)

    store = DictStore()
    first = Engine([busy], store=store, clock=VirtualClock(START))
    await first.open()
    run = await first.start(busy, id="busy")
    while (await run.info()).status != "running":
        pass
    await first.pause(busy)
    async with Lab([busy], store=store, stubs={"work": "done"}) as lab:
        assert (await lab.engine.info("busy")).status == "completed"
    await first.close()


async def test_a_pause_survives_a_restart_and_holds_what_was_queued() -> None:
    store = DictStore()
    async with Lab([job], store=store) as lab:
        await lab.engine.pause(job)
        await lab.start(job, id="held")
    for _ in range(2):
        async with Lab([job], store=store) as lab:
            assert (await lab.engine.info("held")).status == "queued"
            await lab.crash()
            assert not await lab.engine.pause(job)
    async with Lab([job], store=store) as lab:
        await lab.engine.resume(job)
        await lab.crash()
        assert (await lab.engine.info("held")).status == "completed"
        await lab.start(job, id="later")
        assert (await lab.engine.info("later")).status == "completed"


async def test_what_waits_for_a_start_when_the_pause_comes_waits_on() -> None:
    @durable.function(throttle=durable.Throttle(1, "1h"))
    async def slow(ctx: Context) -> None:
        await ctx.step.run("work", lambda: None)

    async with Lab([slow]) as lab:
        for n in range(3):
            await lab.start(slow, id=f"r{n}")
        await lab.engine.pause(slow)
        await lab.advance("3h")
        assert await statuses(lab) == {"r2": "queued", "r1": "queued", "r0": "completed"}
        await lab.engine.resume(slow)
        await lab.settle()
        assert await statuses(lab) == {"r2": "queued", "r1": "completed", "r0": "completed"}
        await lab.advance("1h")
        assert (await statuses(lab))["r2"] == "completed"


MISSED = {"last": [tick(4)], "skip": [], "all": [tick(2), tick(3), tick(4)]}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("missed", MISSED)
async def test_ticks_of_a_paused_function_are_decided_at_the_resume(missed: Any, restart: bool) -> None:
    store = DictStore()
    async with Lab([hourly(missed)], store=store) as lab:
        await lab.advance("1h")
        await lab.engine.pause("job")
        await lab.advance("90m")
        if restart:
            await lab.crash()
        await lab.advance("90m")
        assert list(await statuses(lab)) == [tick(1)]
        await lab.engine.resume("job")  # at the very instant of a tick, which counts as missed
        assert sorted(await statuses(lab)) == [tick(1), *MISSED[missed]]
        await lab.crash()
        await lab.advance("1h")
        assert sorted(await statuses(lab)) == [tick(1), *MISSED[missed], tick(5)]


async def test_a_resume_and_its_missed_ticks_are_one_write() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([hourly("all")], store=DictStore(mapping)) as lab:
        await lab.engine.pause("job")
        await lab.advance("3h")
        await lab.engine.resume("job")
    [batch] = [
        batch
        for key, batch in mapping.items()
        if key.startswith("batch/") and any(fact[2] == "FunctionResumed" for fact in batch)
    ]
    assert [fact[2] for fact in batch].count("RunOpened") == 3


async def test_the_time_to_start_stands_still_while_paused() -> None:
    @durable.function(timeouts=Timeouts(start="1h"))
    async def timed(ctx: Context) -> str:
        return await ctx.step.run("work", lambda: "done")

    async with Lab([timed]) as lab:
        await lab.engine.pause(timed)
        run = await lab.start(timed, id="held")
        await lab.advance("5h")
        await lab.crash()
        await lab.advance("5h")
        assert (await run.info()).status == "queued"
        await lab.engine.resume(timed)
        assert await lab.result(run) == "done"


async def test_of_the_time_to_start_only_the_pauses_are_left_out() -> None:
    @durable.function(timeouts=Timeouts(start="3h"), throttle=durable.Throttle(1, "30d"))
    async def timed(ctx: Context) -> None:
        await ctx.step.run("work", lambda: None)

    async with Lab([timed]) as lab:
        await lab.start(timed, id="first")
        run = await lab.start(timed, id="waits")
        for _ in range(2):
            await lab.advance("1h")
            await lab.engine.pause(timed)
            await lab.advance("10h")
            await lab.engine.resume(timed)
            await lab.crash()
        await lab.advance("59m")
        assert (await run.info()).status == "queued"
        await lab.advance("1m")
        info = await run.info()
        assert (info.status, info.ended_at) == ("cancelled", START + 23 * HOUR)


async def test_an_unknown_function_is_a_lookup_error() -> None:
    async with Lab([job]) as lab:
        for call in (lab.engine.pause, lab.engine.resume, lambda name: lab.engine.backfill(name, START, START)):
            with pytest.raises(LookupError, match="there is no function 'jbo' in this engine: is 'job' meant"):
                await call("jbo")


# Backfill.


async def test_a_backfill_opens_each_tick_once_and_returns_the_runs_of_all() -> None:
    async with Lab([hourly("last")]) as lab:
        await lab.advance("2h")
        runs = await lab.engine.backfill("job", START - 2 * HOUR, START + 2 * HOUR)
        assert [run.id for run in runs] == [tick(-2), tick(-1), tick(0), tick(1)]
        await lab.settle()
        assert await statuses(lab) == {tick(n): "completed" for n in (2, 1, -2, -1, 0)} | {}
        again = await lab.engine.backfill("job", START - 2 * HOUR, START + 2 * HOUR)
        assert again == runs and len(await statuses(lab)) == 5


@pytest.mark.parametrize(
    ("after", "before", "ticks"),
    [(0, 0, []), (0, 1, [0]), (0, 1.01, [0, 1]), (0.01, 2, [1]), (1, 0, []), (-0.5, 0, [])],
)
async def test_a_backfill_takes_its_beginning_and_not_its_end(after: float, before: float, ticks: list[int]) -> None:
    async with Lab([hourly("last")]) as lab:
        runs = await lab.engine.backfill("job", START + after * HOUR, START + before * HOUR)
        assert [run.id for run in runs] == [tick(n) for n in ticks]


@pytest.fixture(params=["dict", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    yield DictStore() if request.param == "dict" else FileStore(tmp_path / "s.db", durability="none")


async def test_a_tick_that_was_filled_in_is_not_opened_again_by_a_resume_or_a_clock(store: Any) -> None:
    async with Lab([hourly("all")], store=store) as lab:
        await lab.engine.pause("job")
        await lab.advance("3h")
        await lab.engine.backfill("job", START + 2 * HOUR, START + 6 * HOUR)  # two of them are still to come
        await lab.engine.resume("job")
        await lab.settle()
        assert sorted(await statuses(lab)) == [tick(n) for n in range(1, 6)]
        await lab.crash()
        await lab.advance("4h")
        assert sorted(await statuses(lab)) == [tick(n) for n in range(1, 8)]
        assert {info.attempt for info in await lab.engine.runs()} == {0}


async def test_a_backfill_of_a_year_of_hours_opens_each_once(store: Any) -> None:
    @durable.function(TriggerEvery("8h"), id="job")
    async def quick(ctx: Context) -> None:
        return None

    async with Lab([quick], store=store) as lab:
        runs = await lab.engine.backfill(quick, START - timedelta(days=365), START)
        assert len({run.id for run in runs}) == 365 * 3
        await lab.settle()
        assert len(await lab.engine.runs(limit=2_000)) == 365 * 3


async def test_a_backfill_of_a_paused_function_is_queued() -> None:
    async with Lab([hourly("skip")]) as lab:
        await lab.engine.pause("job")
        [run] = await lab.engine.backfill("job", START - HOUR, START)
        await lab.settle()
        assert (await run.info()).status == "queued"


async def test_naive_instants_are_refused() -> None:
    async with Lab([job]) as lab:
        with pytest.raises(ValueError, match="after of a backfill must say its time zone"):
            await lab.engine.backfill(job, datetime(2030, 1, 1), START)
