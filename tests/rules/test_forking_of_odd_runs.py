"""Forks (S5) of runs that raced, were opened again, still run, are parked, or wait for what others wait for, too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Context,
    Engine,
    RunCancelled,
    RunFailed,
    current_step,
)
from durable.journal.codec.write import read
from durable.journal.records import Cancelled, StepClosed
from durable.testing import Lab, VirtualClock, replay
from durable.testing.lab import START
from tests.support.forked import (
    MakeStore,
    broken,
    calls,
    crashing_or_not,
    endless,
    forget,
    mended,
    on_each_store,
    suspending,
)


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    forget()


@durable.function
async def racing(ctx: Context) -> Any:
    """Cancel the loser of a race, if the first step says so."""
    way = await ctx.step.run("way", suspending, "cancel")
    loser = asyncio.ensure_future(ctx.step.run("loser", endless if way == "cancel" else (lambda: "won after all")))
    wait = asyncio.ensure_future(ctx.step.wait_for_event("wait", event="never", timeout="9d"))
    winner = await ctx.step.run("winner", suspending, 1)
    if way == "cancel":
        loser.cancel()
        wait.cancel()
        lost: Any = None
    else:
        lost = await loser
    return way, winner, lost, await ctx.step.run("last", suspending, 2)


@on_each_store
@crashing_or_not
def test_the_loser_of_a_race_stays_cancelled_in_a_fork(store: MakeStore, crashing: bool, tmp_path: Path) -> None:
    """R9: its handler is not called again, and its wait takes no event."""

    async def story() -> None:
        async with Lab([racing], store=store(tmp_path)) as lab:
            first = await lab.result(await lab.start(racing, id="old"))
            assert sorted(calls) == ["last", "loser", "way", "winner"]
            calls.clear()
            run = await lab.engine.fork("old", before="last")
            if crashing:
                await lab.crash()
            assert await lab.send("never") == []
            assert await lab.result(run) == first and calls == ["last"]

    asyncio.run(story())


@on_each_store
@crashing_or_not
def test_where_an_outcome_is_replaced_the_code_need_not_cancel_again(
    store: MakeStore, crashing: bool, tmp_path: Path
) -> None:
    """S5: a recorded cancelling would hold up the run for ever, if the code goes another way."""

    async def story() -> None:
        async with Lab([racing], store=store(tmp_path)) as lab:
            await lab.result(await lab.start(racing, id="old"))
            calls.clear()
            run = await lab.engine.fork("old", before="last", steps={"way": "join"})
            if crashing:
                await lab.crash()
            assert await lab.result(run) == ("join", 1, "won after all", 2) and calls == ["last"]

    asyncio.run(story())


@pytest.mark.parametrize("asked", [{"data": {"way": "join"}, "before": "last"}, {}])
def test_where_the_data_are_replaced_or_a_failure_is_left_out_no_cancelling_is_kept(asked: dict[str, Any]) -> None:
    """S5: as where an outcome is replaced."""

    @durable.function
    async def racing_after(ctx: Context) -> Any:
        try:
            way = await ctx.step.run("way", broken) if not ctx.event.data else ctx.event.data["way"]
        except durable.StepError:
            way = "cancel"
        loser = asyncio.ensure_future(ctx.step.run("loser", endless if way == "cancel" else (lambda: "won after all")))
        winner = await ctx.step.run("winner", suspending, 1)
        if way == "cancel":
            loser.cancel()
            await ctx.step.sleep("gap", 1)
            return way, winner, await ctx.step.run("last", broken)
        return way, winner, await loser

    async def story() -> None:
        async with Lab([racing_after]) as lab:
            with pytest.raises(RunFailed):
                await lab.result(await lab.start(racing_after, id="old"))
            mended[:] = ["way"]
            run = await lab.engine.fork("old", **asked)
            assert await lab.result(run) == (asked.get("data", {}).get("way", "mended"), 1, "won after all")
            assert calls.count("winner") == 1

    asyncio.run(story())


def test_what_a_fork_does_anew_comes_after_all_that_it_begins_with() -> None:
    """S5: however fast it is now; else two would win a race that one has won."""
    rounds = [600]

    async def slower() -> None:
        for _ in range(rounds[0]):
            await asyncio.sleep(0)

    @durable.function
    async def racing_later(ctx: Context) -> list[str]:
        async def fast() -> None:
            for _ in range(3):
                await ctx.step.run("fast", suspending, 1)

        tasks = [asyncio.create_task(fast()), asyncio.create_task(ctx.step.run("slow", slower))]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(tasks)
        return [name for name, task in zip(("fast", "slow"), tasks, strict=True) if task in done]

    async def story() -> None:
        async with Lab([racing_later]) as lab:
            old = await lab.start(racing_later, id="old")
            assert await lab.result(old) == ["fast"]
            rounds[0] = 0
            [slow] = [key for key in (await old.info()).steps if key.endswith("slow")]
            assert await lab.result(await lab.engine.fork("old", before=slow)) == ["fast"]

    asyncio.run(story())


def test_a_step_begins_with_its_first_record_of_any_kind() -> None:
    """S5: what ended between its first try and its end is not copied."""

    async def flaky() -> str:
        calls.append("flaky")
        if current_step().attempt == 0:
            raise OSError("try again")
        return "mended"

    @durable.function(backoff=Backoff("10s", jitter=0))
    async def beside(ctx: Context) -> Any:
        first = asyncio.create_task(ctx.step.run("flaky", flaky))
        await ctx.step.sleep("nap", "5s")
        return await ctx.step.run("between", suspending, 1), await first

    async def story() -> None:
        async with Lab([beside]) as lab:
            result = await lab.result(await lab.start(beside, id="old"))
            calls.clear()
            assert await lab.result(await lab.engine.fork("old", before="flaky")) == result
            assert calls == ["flaky", "between", "flaky"]
            assert await lab.result(await lab.engine.fork("old", before="between")) == result
            assert calls.count("flaky") == 4 and calls.count("between") == 2

    asyncio.run(story())


def test_the_records_of_a_fork_have_turns_without_gaps() -> None:
    """What a cancelling follows is numbered anew with them."""

    async def story() -> None:
        async with Lab([racing]) as lab:
            await lab.result(await lab.start(racing, id="old"))
            run = await lab.engine.fork("old", before="last")
            record = (await lab.engine.info(run.id)).record
            ends = [one for one in (read(entry.kind, entry.body) for entry in record) if isinstance(one, StepClosed)]
            assert [(end.key, end.turn) for end in ends if isinstance(end.outcome, Cancelled)] == [
                ("loser", 2),
                ("wait", 2),
            ]

    asyncio.run(story())


@durable.function(retries=0)
async def twice(ctx: Context) -> Any:
    first = await ctx.step.run("first", suspending, 1)
    beside = asyncio.ensure_future(ctx.step.run("beside", suspending, 2))
    middle = await ctx.step.run("middle", broken)
    return first, middle, await beside, await ctx.step.run("last", broken)


@on_each_store
def test_a_run_that_was_opened_again_is_forked_as_it_was_at_each_step(store: MakeStore, tmp_path: Path) -> None:
    """R32: a failed step that has been done anew leaves a gap in the turns."""

    async def story() -> None:
        async with Lab([twice], store=store(tmp_path)) as lab:
            old = await lab.start(twice, id="old")
            for key in ("middle", "last"):
                with pytest.raises(RunFailed):
                    await lab.result(old)
                mended.append(key)
                await lab.engine.retry("old")
            assert await lab.result(old) == (1, "mended", 2, "mended")
            for before, rest in {
                "last": ["last"],
                "middle": ["beside", "last", "middle"],
                "first": None,
                None: [],
            }.items():
                calls.clear()
                run = await lab.engine.fork("old", before=before)
                assert await lab.result(run) == (1, "mended", 2, "mended")
                assert sorted(calls) == (["beside", "first", "last", "middle"] if rest is None else rest), before

    asyncio.run(story())


@durable.function
async def slow(ctx: Context) -> Any:
    first = await ctx.step.run("first", suspending, 1)
    answer = await ctx.step.wait_for_signal("ask", signal=f"answer/{ctx.run_id}", timeout="30d")
    return first, answer and answer.data, await ctx.step.run("last", suspending, 2)


@on_each_store
@pytest.mark.parametrize("state", ["live", "parked", "recovered", "cancelled"])
def test_a_run_that_has_not_completed_is_forked(store: MakeStore, state: str, tmp_path: Path) -> None:
    """S5: its open waits begin anew, with a new deadline; the old run goes on."""

    async def story() -> None:
        clock = VirtualClock(START)
        async with Engine([slow], store=store(tmp_path), clock=clock, resident=0 if state == "parked" else 9) as engine:
            old = await engine.start(slow, id="old")
            await engine.settled()
            if state == "cancelled":
                await engine.cancel("old")
            if state == "recovered":
                await engine.close()
                await engine.open()
            clock.advance("1d")
            new = await engine.fork("old", id="new")
            await engine.settled()
            assert calls == ["first"]
            assert str(START + timedelta(days=31)) in (await new.info()).waiting_for["ask"]
            assert await engine.send_signal("answer/new", "yes") == "new" and await new.result() == (1, "yes", 2)
            if state == "cancelled":
                with pytest.raises(RunCancelled):
                    await old.result()
            else:
                assert str(START + timedelta(days=30)) in (await old.info()).waiting_for["ask"]
                assert await engine.send_signal("answer/old", "no") == "old" and await old.result() == (1, "no", 2)

    asyncio.run(story())


@pytest.mark.parametrize("before", ["last", "winner", None])
def test_an_exported_fork_replays(before: str | None, tmp_path: Path) -> None:
    """H6: also one whose record begins with what is copied."""

    async def story() -> None:
        async with Lab([racing]) as lab:
            await lab.result(await lab.start(racing, id="old"))
            run = await lab.engine.fork("old", before=before)
            result = await lab.result(run)
            (await run.info()).export(tmp_path / "run.jsonl")
        info = await replay(racing, tmp_path / "run.jsonl")
        assert info.output == result and info.forked_from == "old"

    asyncio.run(story())


@on_each_store
@crashing_or_not
def test_what_the_function_failed_with_is_no_part_of_a_fork(store: MakeStore, crashing: bool, tmp_path: Path) -> None:
    """S5: tries begin anew, those of the function, too; what was cancelled in an earlier attempt is open."""

    @durable.function(retries=1, backoff=Backoff("1h", jitter=0))
    async def again(ctx: Context) -> Any:
        loser = asyncio.ensure_future(ctx.step.sleep("loser", "1d"))
        first = await ctx.step.run("first", suspending, ctx.attempt)
        loser.cancel()
        if ctx.attempt == 0:
            raise OSError("not yet")
        return first, ctx.attempt, await ctx.step.run("last", suspending, 2)

    async def story() -> None:
        async with Lab([again], store=store(tmp_path)) as lab:
            result = await lab.result(await lab.start(again, id="old"))
            assert result == (0, 1, 2)
            calls.clear()
            run = await lab.engine.fork("old", before="last")
            if crashing:
                await lab.crash()
            assert await lab.result(run) == result and calls == ["last"]

    asyncio.run(story())


def test_a_function_does_not_fork_runs_itself() -> None:
    """As `cancel` and `retry`: what comes from outside is no part of its record."""

    @durable.function(retries=0)
    async def forking(ctx: Context) -> None:
        await engines[0].fork(ctx.run_id)

    engines: list[Engine] = []

    async def story() -> None:
        async with Lab([forking]) as lab:
            engines.append(lab.engine)
            with pytest.raises(RunFailed, match="fork"):
                await lab.result(await lab.start(forking))

    asyncio.run(story())
