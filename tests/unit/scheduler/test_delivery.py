"""Delivery, told directly: what a run sees, and in which order, live and on replay (R4, R5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from durable import Context, DictStore, StepOptions, function
from durable.journal.codec.write import read, write
from durable.journal.records import StepClosed, StepOpened
from durable.stores.store import Entry
from durable.testing import Lab
from tests.support.retold import again, live, outcomes, record, records, value


class HeldStore(DictStore):
    """A store whose commits wait for a gate."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def append(self, entries: Sequence[Entry]) -> None:
        await self.gate.wait()
        await super().append(entries)


class SlowStore(DictStore):
    """A store whose commits take a while: other code goes on meanwhile, and comes to stand still."""

    immediate = False

    async def append(self, entries: Sequence[Entry]) -> None:
        await value(rounds=300)
        await super().append(entries)


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


def test_an_outcome_is_not_delivered_before_it_is_durable() -> None:
    """R2: however long the commit takes."""
    seen: list[str] = []

    async def story() -> None:
        store = HeldStore()

        async def work() -> None:
            store.gate.clear()
            await asyncio.sleep(0)

        @function
        async def waiting(ctx: Context) -> None:
            await ctx.step.run("a", work)
            seen.append("a")

        store.gate.set()
        async with Lab([waiting], store=store) as lab:
            run = await lab.engine.start(waiting)
            await value(rounds=500)
            assert not seen
            store.gate.set()
            await run.result(5)
        assert seen == ["a"]

    asyncio.run(story())


def test_a_background_task_that_steps_late_and_from_deep_below_is_seen_alike() -> None:
    """R5: how far it got must not depend on how long a commit takes."""

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


def test_a_task_that_dives_to_its_first_step_while_main_goes_on_is_seen_alike() -> None:
    """R5: 30 deep, also where no task but main has stepped so far."""

    @function
    async def main(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def dive(depth: int) -> None:
            if depth:
                await asyncio.create_task(dive(depth - 1))
                return
            await ctx.step.run("below", value)
            seen.append("below")

        await ctx.step.run("a", value, rounds=1)
        task = asyncio.create_task(dive(28))
        await ctx.step.run("b", value, rounds=50)
        seen.append("b")
        await task
        return seen

    async def story() -> None:
        result, entries, _ = await live(main)
        assert result == ["below", "b"]
        for _ in range(2):
            replayed, _, lab = await again(main, entries)
            assert replayed == result
            assert not lab.calls

    asyncio.run(story())


@pytest.mark.parametrize("how", ["wait", "call_later"])
def test_code_that_polls_its_tasks_sees_the_same_on_replay(how: str) -> None:
    """R5: a timer that is due already is something the loop has still to call."""

    @function
    async def polling(ctx: Context) -> list[int]:
        loop = asyncio.get_running_loop()

        async def done(tasks: list[asyncio.Task[Any]]) -> int:
            if how == "wait":
                return len((await asyncio.wait(tasks, timeout=0))[0])
            polled = loop.create_future()
            loop.call_later(0, polled.set_result, None)
            await polled
            return sum(task.done() for task in tasks)

        await ctx.step.run("x", value)
        tasks = [asyncio.create_task(ctx.step.run("s", value, rounds=1)) for _ in range(2)]
        for _ in range(3):
            await asyncio.sleep(0)
        seen = [await done(tasks) for _ in range(4)]
        await ctx.step.run(f"after {seen}", value)
        await asyncio.gather(*tasks)
        return seen

    async def story() -> None:
        store = SlowStore()
        async with Lab([polling], store=store) as lab:
            result = await lab.result(await lab.start(polling, id="r"))
            entries = await record(lab)
        replayed, _, lab = await again(polling, entries)
        assert replayed == result
        assert not lab.calls

    asyncio.run(story())


def test_a_step_from_deep_below_is_waited_for_on_replay(caplog: pytest.LogCaptureFixture) -> None:
    """Section 5, 3: a record that goes on with a step 25 tasks down is no sign of changed code."""

    @function
    async def diving(ctx: Context) -> str:
        async def dive(depth: int) -> str:
            if depth:
                return await asyncio.create_task(dive(depth - 1))
            return await ctx.step.run("a", value, "from below", rounds=1)

        await ctx.step.run("a", value, rounds=1)
        return await dive(25)

    async def story() -> None:
        result, entries, _ = await live(diving)
        assert (await again(diving, entries))[0] == result == "from below"

    with caplog.at_level(logging.WARNING, "durable"):
        asyncio.run(story())
    assert not caplog.messages


def test_a_completion_below_25_gathers_comes_up_before_the_next_turn() -> None:
    """R5: no task of the function's own calls a step, but it is gather that awaits them."""

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


def test_a_step_call_lets_the_next_turn_wait_as_long_again() -> None:
    """Section 5, 2: quiet is counted from the last call, so what a call sets off comes before the next turn."""

    @function
    async def calling(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def side() -> None:
            await ctx.step.run("late", value, rounds=9)
            seen.append("late")

        late = asyncio.create_task(side())
        await ctx.step.run("first", value, rounds=1)
        await value(rounds=60)
        called = ctx.step.run("called", value)
        await value(rounds=60)
        seen.append("main")
        await asyncio.gather(late, called)
        return seen

    async def story() -> None:
        result, entries, _ = await live(calling)
        assert result == ["main", "late"]
        assert (await again(calling, entries))[0] == result

    asyncio.run(story())


def test_an_outcome_that_is_claimed_late_is_delivered_then(caplog: pytest.LogCaptureFixture) -> None:
    """Section 5, 3: the code awaits something outside a step before it comes to a recorded one."""

    @function
    async def outside(ctx: Context) -> list[str]:
        await value(rounds=300)
        return [await ctx.step.run(step_id, value, step_id, rounds=1) for step_id in "ab"]

    async def story() -> None:
        result, entries, _ = await live(outside)
        replayed, _, lab = await again(outside, entries)
        assert replayed == result == ["a", "b"] and not lab.calls

    with caplog.at_level(logging.WARNING, "durable"):
        asyncio.run(story())
    assert ["its record goes on with step 'a'" in text for text in caplog.messages] == [True]


def test_what_is_claimed_late_comes_before_the_turns_after_it_live_and_on_replay() -> None:
    """R32: after a failed step, which is done anew, the code comes to what is recorded already."""
    mended: list[bool] = []

    def work() -> None:
        if not mended:
            raise ValueError("not yet")

    @function(retries=0)
    async def ordered(ctx: Context) -> list[str]:
        order: list[str] = []

        async def told(step: Awaitable[Any], name: str) -> None:
            await step
            order.append(name)

        failed = asyncio.ensure_future(ctx.step.run(StepOptions("mended", retries=0), work))
        await asyncio.wait([failed])
        new = [told(ctx.step.run("new", value, rounds=1), "new")] if failed.exception() is None else []
        await asyncio.gather(*new, told(ctx.step.sleep("late", "1s"), "late"))
        if failed.exception() is not None:
            raise RuntimeError("not yet")
        await ctx.step.wait_for_event("end", event="end", timeout="1d")
        return order

    async def story() -> None:
        async with Lab([ordered]) as lab:
            run = await lab.start(ordered, id="r")
            await lab.advance("1h")
            mended.append(True)
            await lab.engine.retry("r")
            await lab.settle()
            await lab.crash()
            await lab.send("end")
            assert await lab.result(run) == ["late", "new"]

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
    """R5: its handler suspended when it ran first; in the next process it does not."""
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
