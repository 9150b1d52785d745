"""Steps that the code cancels, or that are refused: what is recorded of them, and what is not (R8, R9, R19)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from durable import Backoff, Context, DictStore, FileStore, StepOptions, function
from durable.journal.records import RunClosed, StepClosed, StepOpened
from durable.testing import Lab
from tests.support.retold import again, live, outcomes, record, records, store_of, value


def test_a_posted_outcome_that_was_not_delivered_is_dropped_when_the_code_cancels() -> None:
    """R9: live, and on replay."""

    @function
    async def dropping(ctx: Context) -> str:
        second = asyncio.create_task(ctx.step.run("second", value, "posted", rounds=3))
        first = asyncio.create_task(ctx.step.run("first", value))
        await first
        second.cancel()  # its outcome is in the turn after that of the first
        await asyncio.wait([second])
        return "cancelled" if second.cancelled() else second.result()

    async def story() -> None:
        result, entries, _ = await live(dropping)
        assert result == "cancelled"
        assert outcomes(entries) == {"first": ("Ok", 1), "second": ("Ok", 2)}
        replayed, left, lab = await again(dropping, entries)
        assert (replayed, lab.calls["second"]) == ("cancelled", 0)
        assert outcomes(left) == outcomes(entries)

    asyncio.run(story())


def test_a_turn_waits_until_a_recorded_cancelling_is_repeated() -> None:
    """R9: what cancels here comes from outside the steps, as a clock does, and comes later on replay."""
    seen: list[str] = []
    outside: list[asyncio.Event] = []

    @function
    async def cancelled_from_outside(ctx: Context) -> str:
        outside[:] = [asyncio.Event()]
        if seen:  # a replay: no step is pending, so that the lab does not give the word before it has come
            asyncio.get_running_loop().call_later(0.01, outside[0].set)
        patient = asyncio.create_task(ctx.step.sleep("patient", "1d"))
        patient.add_done_callback(lambda _: seen.append("slept"))
        never = asyncio.create_task(ctx.step.wait_for_event("never", event="never", timeout="2d"))
        await outside[0].wait()
        assert seen in ([], ["gave up", "slept"])  # although the sleep is recorded by now
        never.cancel()
        seen.append("gave up")
        await patient
        return "done"

    async def story() -> None:
        async with Lab([cancelled_from_outside]) as lab:
            run = await lab.start(cancelled_from_outside, id="r")
            outside[0].set()
            await lab.advance("1d")
            assert await lab.result(run) == "done"
            entries = await record(lab)
        assert outcomes(entries) == {"never": ("Cancelled", 0), "patient": ("Ok", 1)}
        left = [entry for entry in entries if entry.kind != RunClosed.__name__]
        async with Lab([cancelled_from_outside], store=await store_of(left)) as lab:
            assert await lab.result(await lab.engine.run("r")) == "done"

    asyncio.run(story())
    assert seen == ["gave up", "slept"] * 2


@pytest.mark.parametrize("kind", [DictStore, FileStore])
@pytest.mark.parametrize("how", ["opened again", "another attempt", "changed code"])
def test_what_comes_late_may_lead_to_a_recorded_cancelling(how: str, kind: Any, tmp_path: Path) -> None:
    """R9, R14, R32: an outcome whose turn was delivered before it was asked for waits for no other."""
    seconds: list[bool] = []

    def work() -> str:
        if not seconds:
            raise ValueError("not yet")
        return "mended"

    @function(retries=1 if how == "another attempt" else 0, backoff=Backoff(first="1m", jitter=0))
    async def racing(ctx: Context) -> Any:
        is_second = bool(ctx.attempt or seconds)
        if how == "opened again":  # it fails at first: when it has run anew, what came after it stands before it
            await asyncio.wait([asyncio.ensure_future(ctx.step.run(StepOptions("before", retries=0), work))])
        elif is_second:
            await ctx.step.run("before", value, rounds=1)
        first = asyncio.create_task(ctx.step.sleep("first", "1s"))
        loser = asyncio.create_task(ctx.step.sleep(f"loser {is_second}", "1d"))
        await first
        loser.cancel()
        await asyncio.wait([loser])
        if not is_second and how != "changed code":
            raise RuntimeError("not yet")
        event = await ctx.step.wait_for_event("end", event="end", timeout="1d")
        return [loser.cancelled(), event is not None]

    async def story() -> None:
        store = DictStore() if kind is DictStore else FileStore(tmp_path / "x.db")
        async with Lab([racing], store=store) as lab:
            run = await lab.start(racing, id="r")
            await lab.advance("1h")
            seconds.append(True)
            if how == "opened again":
                await lab.engine.retry("r")
            elif how == "changed code":
                await lab._restart()
            await lab.settle()
            cancelled = outcomes(await record(lab))["loser True"]
            assert cancelled[0] == "Cancelled"
            for _ in range(2):
                await lab.crash()
                assert (await run.info()).waiting_for.keys() == {"end"}
            await lab.send("end")
            assert await lab.result(run) == [True, True]
            assert outcomes(await record(lab))["loser True"] == cancelled

    asyncio.run(story())


def test_a_cancelled_step_is_pending_on_replay_and_its_handler_does_not_run_again() -> None:
    """R9, R1."""

    @function
    async def cancelling(ctx: Context) -> str:
        loser = asyncio.create_task(ctx.step.run("loser", asyncio.Event().wait))
        await ctx.step.run("winner", value, rounds=2)
        loser.cancel()
        await asyncio.wait([loser])
        return await ctx.step.run("after", value, "after", rounds=1)

    async def story() -> None:
        result, entries, _ = await live(cancelling)
        assert (result, outcomes(entries)["loser"]) == ("after", ("Cancelled", 1))
        replayed, left, lab = await again(cancelling, entries)
        assert (replayed, outcomes(left)) == ("after", outcomes(entries))
        assert not lab.calls

    asyncio.run(story())


def test_a_cancelled_wait_takes_no_event() -> None:
    """R9."""

    @function
    async def waiting(ctx: Context) -> Any:
        loser = asyncio.create_task(ctx.step.wait_for_event("a", event="e", timeout="1d"))
        await ctx.step.run("b", value, rounds=1)
        loser.cancel()
        event = await ctx.step.wait_for_event("a", event="e", timeout="1d")
        assert event is not None
        return event.data["n"]

    async def story() -> None:
        async def drive(lab: Lab) -> None:
            await lab.crash()
            await lab.send("e", {"n": 1})

        result, entries, _ = await live(waiting, drive)
        assert (result, [one.key for one in records(entries, StepClosed)].count("a:1")) == (1, 1)

    asyncio.run(story())


@pytest.mark.parametrize("how", ["closed", "dropped", "cancelled before it began"])
def test_a_step_that_is_never_awaited_is_cancelled(how: str) -> None:
    """R19: its wait is freed, and nothing waits for it on replay."""

    @function
    async def careless(ctx: Context) -> str:
        wait: Any = ctx.step.wait_for_event("unused", event="e", timeout="1d")
        if how == "cancelled before it began":
            task = asyncio.create_task(wait)
            task.cancel()
            del task
        elif how == "closed":
            wait.close()
        else:
            with pytest.warns(RuntimeWarning, match="never awaited"):
                del wait
        wait = None
        return await ctx.step.run("a", value, "went on", rounds=1)

    async def story() -> None:
        result, entries, _ = await live(careless)
        assert result == "went on"
        assert outcomes(entries)["unused"][0] == "Cancelled"
        assert [one.key for one in records(entries, StepOpened)] == ["unused"]
        assert (await again(careless, entries))[0] == "went on"

    asyncio.run(story())


def test_steps_in_finally_record_nothing_after_the_session_refused() -> None:
    """R8: neither when the process dies nor when the function returns with a task left."""

    @function
    async def cleaning(ctx: Context) -> str:
        async def side() -> None:
            try:
                await ctx.step.sleep("long", "1d")
            finally:
                await ctx.step.run("cleanup", value)

        task = asyncio.create_task(side())
        await ctx.step.sleep("short", "1h")
        assert not task.done()
        return "left"

    async def story() -> None:
        result, entries, lab = await live(cleaning, lambda lab: lab.crash())
        assert (result, lab.calls["cleanup"]) == ("left", 0)
        assert list(outcomes(entries)) == ["short"]

    asyncio.run(story())


@pytest.mark.parametrize("ends", ["crash", "cancel", "close"])
def test_a_loop_that_swallows_its_cancelling_does_not_hang_the_engine(ends: str) -> None:
    """R8: a refused step yields once and raises CancelledError, so the loop goes round and the engine goes on; after
    the tenth it answers no more, so that it does not spin. Cancelled in there, it is refused once more."""
    ticks, swallowed = [0], []

    @function
    async def stubborn(ctx: Context) -> None:
        while len(swallowed) < 50:
            try:
                await ctx.step.sleep("a", "1d")
            except asyncio.CancelledError:
                swallowed.append(ticks[0])

    async def tick() -> None:
        while True:
            await asyncio.sleep(0)
            ticks[0] += 1

    async def story() -> None:
        ticking = asyncio.create_task(tick())
        async with Lab([stubborn]) as lab:
            run = await lab.start(stubborn, id="r")
            if ends == "crash":
                await lab.crash()
                await run.cancel()
            elif ends == "cancel":
                assert await run.cancel()
        ticking.cancel()
        lives = 2 if ends == "crash" else 1
        assert len(set(swallowed)) == len(swallowed) and 11 * lives <= len(swallowed) <= 13 * lives

    asyncio.run(asyncio.wait_for(story(), 4))


def test_a_task_that_cleans_up_is_cancelled_although_the_function_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R8: a TaskGroup that is ending passes no second cancelling on; the engine cancels every task it has seen."""

    @function
    async def grouped(ctx: Context) -> None:
        async def child() -> None:
            try:
                await ctx.step.sleep("a", "1d")
            finally:
                await ctx.step.sleep("cleanup", "1d")

        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await ctx.step.run("b", value, rounds=1)
            raise ValueError("ends the group")

    async def story() -> None:
        async with Lab([grouped]) as lab:
            run = await lab.start(grouped, id="r")
            assert list((await run.info()).waiting_for) == ["0»cleanup"]

    with caplog.at_level(logging.ERROR, "durable"):
        asyncio.run(asyncio.wait_for(story(), 4))
    assert not caplog.messages


def test_a_crash_in_any_round_leaves_no_coroutine_behind() -> None:
    """R8: nor one of a handler whose task had not begun; a coroutine that is never awaited is a warning."""

    @function
    async def busy(ctx: Context) -> list[str]:
        steps = [ctx.step.run("a", value, "a", rounds=number) for number in range(4)]
        return await asyncio.gather(*steps, ctx.step.run("b", lambda: value("b")))

    async def story(rounds: int) -> None:
        async with Lab([busy]) as lab:
            await lab.engine.start(busy, id="r")
            await value(rounds=rounds)
            await lab.crash()
            assert await lab.result(await lab.engine.run("r")) == ["a", "a", "a", "a", "b"]

    for rounds in range(12):
        asyncio.run(story(rounds))


def test_a_wait_that_an_earlier_attempt_cancelled_opens_anew_with_its_deadline() -> None:
    """R9: after a function retry a wait opens anew with its recorded deadline."""

    @function(retries=1)
    async def retried(ctx: Context) -> str:
        loser = asyncio.create_task(ctx.step.sleep("a", "1h"))
        await ctx.step.run("b", value, rounds=1)
        if ctx.attempt == 0:
            loser.cancel()
            await asyncio.wait([loser])
            raise RuntimeError("again")
        await loser
        return "slept"

    async def story() -> None:
        result, entries, _ = await live(retried)
        opened = records(entries, StepOpened)
        assert (result, len(opened), len({one.wait.until for one in opened})) == ("slept", 2, 1)

    asyncio.run(story())
