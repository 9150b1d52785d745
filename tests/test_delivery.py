"""Delivery, told directly: what a run sees, in which order, live and on replay (R4, R5, R8, R9, section 5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from durable import Context, DictStore, Function, function
from durable.codec import read, write
from durable.records import RunClosed, StepClosed, StepOpened
from durable.stores.store import Entry
from durable.testing import Lab


async def value(result: Any = None, *, rounds: int = 0) -> Any:
    for _ in range(rounds):
        await asyncio.sleep(0)
    return result


async def record(lab: Lab, run: str = "r") -> list[Entry]:
    return [entry async for entry in lab.engine.opened("record").store.history(run)]


async def store_of(entries: Sequence[Entry]) -> DictStore:
    store = DictStore()
    await store.open()
    await store.append(entries)
    return store


def records(entries: Sequence[Entry], kind: type) -> list[Any]:
    return [read(entry.kind, entry.body) for entry in entries if entry.kind == kind.__name__]


def outcomes(entries: Sequence[Entry]) -> dict[str, tuple[str, int | None]]:
    """Return how each step ended, and in which turn, by key."""
    closed = records(entries, StepClosed)
    return {one.key: (type(one.outcome).__name__, one.turn) for one in closed}


async def live(code: Function[Any], drive: Any = None) -> tuple[Any, list[Entry], Lab]:
    """Play a function to its end; return what it returned, the record, and the lab."""
    async with Lab([code]) as lab:
        run = await lab.start(code, id="r")
        if drive is not None:
            await drive(lab)
        return await lab.result(run), await record(lab), lab


async def again(code: Function[Any], entries: Sequence[Entry]) -> tuple[Any, list[Entry], Lab]:
    """Play a function from a record without its end."""
    left = [entry for entry in entries if entry.kind != RunClosed.__name__]
    async with Lab([code], store=await store_of(left)) as lab:
        return await lab.result(await lab.engine.run("r")), await record(lab), lab


def test_the_winner_of_a_race_is_the_same_on_replay() -> None:
    """R5: both outcomes are recorded, the later one in the order of the code."""

    @function
    async def racing(ctx: Context) -> list[int]:
        slow = asyncio.create_task(ctx.step.run("a", value, "slow", rounds=40))
        fast = asyncio.create_task(ctx.step.run("a", value, "fast", rounds=1))
        done, _ = await asyncio.wait([slow, fast], return_when=asyncio.FIRST_COMPLETED)
        await ctx.step.sleep("until both are recorded", 1)
        return [number for number, task in enumerate([slow, fast]) if task in done]

    async def story() -> None:
        result, entries, _ = await live(racing)
        assert result == [1]
        assert {one.key for one in records(entries, StepClosed)} >= {"a", "a:1"}
        replayed, _, lab = await again(racing, entries)
        assert replayed == [1]
        assert not lab.calls

    asyncio.run(story())


def test_outcomes_of_one_turn_are_delivered_together() -> None:
    """Section 5, 1: a fan-out of a hundred steps takes a few turns, not a hundred."""

    @function
    async def fan_out(ctx: Context) -> int:
        return sum(await asyncio.gather(*[ctx.step.run("a", value, 1, rounds=number % 7) for number in range(100)]))

    async def story() -> None:
        result, entries, _ = await live(fan_out)
        assert result == 100
        assert max(one.turn for one in records(entries, StepClosed)) <= 4

    asyncio.run(story())


def test_a_background_task_that_steps_late_and_from_deep_below_is_seen_alike() -> None:
    """R5, section 5: how far it got must not depend on how long a commit takes."""

    @function
    async def main(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def side(depth: int) -> None:
            if depth:
                await asyncio.create_task(side(depth - 1))
                return
            seen.append("side calls")
            await ctx.step.run("a", value, rounds=1)
            seen.append("side has stepped")

        task = asyncio.create_task(side(25))
        await ctx.step.run("a", value, rounds=1)
        seen.append("main has stepped")
        await task
        return seen

    async def story() -> None:
        result, entries, _ = await live(main)
        assert result[:2] == ["side calls", "main has stepped"]
        assert (await again(main, entries))[0] == result

    asyncio.run(story())


def test_a_completion_below_25_gathers_comes_up_before_the_next_turn() -> None:
    """R5, section 5, 2: no task of the function's own calls a step, but it is gather that awaits them."""

    @function
    async def nested(ctx: Context) -> list[str]:
        seen: list[str] = []
        deep: Any = ctx.step.run("deep", value, rounds=1)
        for _ in range(25):
            deep = asyncio.gather(deep)
        deep.add_done_callback(lambda _: seen.append("deep"))
        late = asyncio.gather(ctx.step.run("late", value, rounds=90))
        late.add_done_callback(lambda _: seen.append("late"))
        await asyncio.gather(deep, late)
        return seen

    async def story() -> None:
        result, entries, _ = await live(nested)
        assert result == ["deep", "late"]
        assert [turn for _, turn in outcomes(entries).values()] == [1, 2]
        assert (await again(nested, entries))[0] == result

    asyncio.run(story())


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
        patient = asyncio.create_task(ctx.step.sleep("patient", "1d"))
        patient.add_done_callback(lambda _: seen.append("slept"))
        never = asyncio.create_task(ctx.step.wait_for_event("never", event="never", timeout="2d"))
        await outside[0].wait()
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
            assert seen == ["gave up", "slept"]  # although the sleep is recorded
            outside[0].set()
            await lab.settle()
            assert await lab.result(await lab.engine.run("r")) == "done"

    asyncio.run(story())
    assert seen == ["gave up", "slept"] * 2


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


def test_repeats_are_numbered_and_skip_what_the_code_uses_itself() -> None:
    """R4."""

    @function
    async def counting(ctx: Context) -> list[str]:
        for step_id in ("user:1", "user", "user", "user", "user:1", "user:1"):
            await ctx.step.run(step_id, value)
        return []

    async def story() -> None:
        _, entries, _ = await live(counting)
        assert list(outcomes(entries)) == ["user:1", "user", "user:2", "user:3", "user:1:1", "user:1:2"]

    asyncio.run(story())


def test_keys_are_counted_when_the_method_is_called_not_when_it_is_awaited() -> None:
    """R4."""

    @function
    async def backwards(ctx: Context) -> list[str]:
        first, second = ctx.step.run("a", value, "first"), ctx.step.run("a", value, "second")
        return [await second, await first]

    async def story() -> None:
        result, entries, _ = await live(backwards)
        assert result == ["second", "first"]
        assert list(outcomes(entries)) == ["a:1", "a"]

    asyncio.run(story())


def test_parallel_branches_with_the_same_ids_cannot_exchange_results() -> None:
    """R4: each branch has keys of its own, however long its steps take in which process."""
    rounds = [9, 1, 5]

    @function
    async def branching(ctx: Context) -> list[list[str]]:
        async def branch(number: int) -> list[str]:
            return [await ctx.step.run("a", value, f"{number}.{one}", rounds=rounds[number]) for one in range(2)]

        return await asyncio.gather(*[branch(number) for number in range(3)])

    async def story() -> None:
        result, entries, _ = await live(branching)
        assert result == [["0.0", "0.1"], ["1.0", "1.1"], ["2.0", "2.1"]]
        for cut in range(1, len(entries)):
            rounds.reverse()
            assert (await again(branching, entries[:cut]))[0] == result

    asyncio.run(story())


def test_a_step_that_runs_again_does_not_overtake_what_is_recorded() -> None:
    """R5, section 5, 4: its handler suspended when it ran first; in the next process it does not."""
    rounds = {"first": 500, "fast": 9, "slow": 300}

    @function
    async def overtaken(ctx: Context) -> list[str]:
        ended: list[str] = []

        async def one(step_id: str) -> None:
            await value(rounds=5 if step_id == "slow" else 0)  # only the first handler of a recovered run is held up
            await ctx.step.run(step_id, value, rounds=rounds[step_id])
            ended.append(step_id)

        tasks = [asyncio.create_task(one(step_id)) for step_id in rounds]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = list(ended)
        await ctx.step.sleep("a while", 1)
        return winner

    async def story() -> None:
        result, entries, _ = await live(overtaken)
        assert result == ["fast"]
        assert [one.key for one in records(entries, StepClosed)] == ["1»fast", "2»slow", "0»first", "a while"]
        rounds["slow"] = 0
        cut = [entry.kind for entry in entries].index(StepOpened.__name__) + 1
        assert [one.key for one in records(entries[:cut], StepClosed)] == ["1»fast"]
        assert (await again(overtaken, entries[:cut]))[0] == ["fast"]

    asyncio.run(story())


def test_recorded_steps_that_the_code_no_longer_has_are_logged_once_and_block_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Section 5, 3: an outcome, a cancelling and an open wait."""
    changed = [False]

    @function
    async def changing(ctx: Context) -> str:
        if not changed[0]:
            open_wait = asyncio.create_task(ctx.step.wait_for_event("open", event="e", timeout="1d"))
            cancelled = asyncio.create_task(ctx.step.sleep("cancelled", "1d"))
            await ctx.step.run("gone", value, rounds=1)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert not open_wait.done()
        await ctx.step.run("kept", value, rounds=1)
        return await ctx.step.run("new" if changed[0] else "old", value, "through", rounds=1)

    async def story() -> None:
        result, entries, _ = await live(changing)
        assert (result, outcomes(entries)["cancelled"][0]) == ("through", "Cancelled")
        changed[0] = True
        replayed, _, lab = await again(changing, entries)
        assert (replayed, lab.calls) == ("through", {"new": 1})

    with caplog.at_level(logging.WARNING, "durable"):
        asyncio.run(story())
    assert [text for text in caplog.messages if "has not come to it again" in text] == [
        "run 'r': its record goes on with step 'gone', but the code has not come to it again: the code has changed, or "
        "awaits something outside its steps"
    ]


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
    """R8: a refused step yields once and raises CancelledError, so the loop goes round and the engine goes on."""
    turns = [0]

    @function
    async def stubborn(ctx: Context) -> None:
        while turns[0] < 50:
            try:
                await ctx.step.sleep("a", "1d")
            except asyncio.CancelledError:
                turns[0] += 1

    async def story() -> None:
        async with Lab([stubborn]) as lab:
            run = await lab.start(stubborn, id="r")
            if ends == "crash":
                await lab.crash()
                await run.cancel()
            elif ends == "cancel":
                assert await run.cancel()
        assert turns[0] == 50

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


def test_one_that_the_code_cancels_from_another_attempt_opens_anew_with_its_deadline() -> None:
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


def test_an_outcome_that_was_returned_inline_is_returned_inline_on_replay_and_no_other() -> None:
    """Section 5, 4: `turn: null`, here written by hand into a record that has turns."""

    @function
    async def inline(ctx: Context) -> list[str]:
        seen: list[str] = []
        task = asyncio.create_task(asyncio.sleep(0))
        task.add_done_callback(lambda _: seen.append("a round"))
        seen.append(await ctx.step.run("a", value, "a", rounds=1))
        seen.append(await ctx.step.run("b", value, "b", rounds=1))
        return seen

    async def story() -> None:
        result, entries, _ = await live(inline)
        assert result == ["a round", "a", "b"]
        first = next(number for number, entry in enumerate(entries) if entry.kind == StepClosed.__name__)
        closed = read(entries[first].kind, entries[first].body)
        text = write(closed).replace('"turn":1', '"turn":null')
        entries[first] = Entry("r", StepClosed.__name__, text)
        assert (await again(inline, entries))[0] == ["a", "a round", "b"]

    asyncio.run(story())
