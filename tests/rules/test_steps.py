"""Rules R1 to R4: a finished step, when its outcome is seen, what is received, how it is found again."""

from __future__ import annotations

import asyncio
from typing import Any

import durable
from durable import Context, DictStore
from durable.testing import Lab
from tests.support.lives import RAN, Life, finished, note, rounds, same_lives


class GatedStore(DictStore):
    """A store whose appends wait for a gate, as a disk lets one wait."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def open(self) -> None:
        self.gate.set()
        await super().open()

    async def append(self, entries: Any) -> None:
        await self.gate.wait()
        await super().append(entries)


def keys(life: Life) -> list[str]:
    return list(life.info.steps)


# R1, R2, R3


def test_a_finished_step_never_runs_again_and_returns_its_recorded_value() -> None:
    """R1: live, after a crash at every advance, and cut after every write (`same_lives` looks for repeated calls)."""

    @durable.function
    async def counting(ctx: Context) -> list[Any]:
        got = []
        for number in range(4):
            got.append(await ctx.step.run("one", note, number))
            await ctx.step.sleep("between", "1h")
        return got

    life = same_lives(counting)
    assert life.ending == [0, 1, 2, 3]


def test_a_recorded_value_stands_even_if_the_handler_would_return_another_now() -> None:
    """R1: on replay the recorded value is returned, the handler is not called."""
    world = ["before"]

    @durable.function
    async def reading(ctx: Context) -> str:
        value: str = await ctx.step.run("read", lambda: world[0])
        await ctx.step.sleep("night", "8h")
        return value

    async def story() -> None:
        async with Lab([reading]) as lab:
            run = await lab.start(reading)
            world[0] = "after"
            await lab.crash()
            assert await lab.result(run) == "before"
            assert lab.calls["read"] == 1

    asyncio.run(story())


def test_the_function_does_not_see_an_outcome_before_it_is_durable() -> None:
    """R2: while the append hangs, the function stands still, and the next step does not begin."""
    store, seen = GatedStore(), []

    @durable.function
    async def two(ctx: Context) -> str:
        seen.append(await ctx.step.run("first", close_gate))
        return await ctx.step.run("second", note, "done")

    async def close_gate() -> str:
        store.gate.clear()
        return "value"

    async def story() -> None:
        RAN.clear()
        async with Lab([two], store=store) as lab:
            starting = asyncio.ensure_future(lab.start(two, id="r"))
            await rounds()
            assert not seen and not RAN and not finished(store.mapping)
            store.gate.set()
            assert await lab.result(await starting) == "done"
            assert seen == ["value"]

    asyncio.run(story())


def test_an_outcome_that_was_lost_with_the_process_was_seen_by_nobody() -> None:
    """R2: a crash before the append has ended: the handler runs again, and only then the function goes on."""
    store, seen, calls = GatedStore(), [], []

    @durable.function
    async def one(ctx: Context) -> Any:
        value = await ctx.step.run("first", count)
        seen.append(value)
        return value

    async def count() -> int:
        calls.append(1)
        if len(calls) == 1:
            store.gate.clear()
        return len(calls)

    async def story() -> None:
        async with Lab([one], store=store) as lab:
            await lab.engine.start(one, id="r")
            await rounds()
            assert calls == [1] and not seen
            await lab.crash()
            run = await lab.engine.run("r")
            assert await lab.result(run) == 2
            assert seen == [2]

    asyncio.run(story())


def test_the_function_receives_the_decoded_record_never_the_object_itself() -> None:
    """R3: what the handler keeps and changes afterwards, the function never sees."""
    kept: list[Any] = []

    @durable.function
    async def receiving(ctx: Context) -> Any:
        value = await ctx.step.run("make", make)
        assert all(value is not one for one in kept)
        if kept:
            kept[-1].append("changed behind its back")
        await ctx.step.sleep("a while", 1)
        value.append(await ctx.step.run("then", note, 2))
        return value

    def make() -> list[Any]:
        kept.append([1])
        return kept[-1]

    assert same_lives(receiving).ending == [1, 2]


def test_the_events_data_is_the_executions_own_copy() -> None:
    """R3: what the function changes in its event is not there after a crash, nor in what the run is shown with."""

    @durable.function
    async def changing(ctx: Context) -> list[Any]:
        ctx.event.data["list"].append("mine")
        await ctx.step.sleep("a while", 1)
        return list(ctx.event.data["list"])

    given = {"list": ["given"]}
    life = same_lives(changing, given)
    assert life.ending == ["given", "mine"]
    assert life.info.event.data == {"list": ["given"]} == given


def test_nobody_else_can_change_what_an_attempt_sees() -> None:
    """R3: neither through the data that was given, nor through what the run is shown with, nor an earlier attempt."""

    @durable.function
    async def reading(ctx: Context) -> Any:
        seen = list(ctx.event.data["list"])
        ctx.event.data["list"].append("by the function")
        await ctx.step.sleep("a while", 1)
        if ctx.attempt == 0:
            raise RuntimeError("call me again")
        return [seen, ctx.event.data["list"]]

    async def story() -> None:
        async with Lab([reading]) as lab:
            given: dict[str, Any] = {"list": [1]}
            run = await lab.start(reading, given)
            given["list"].append("by the sender")
            (await run.info()).event.data["list"].append("by a reader")
            assert (await run.info()).event.data == {"list": [1]}
            assert await lab.result(run) == [[1], [1, "by the function"]]

    asyncio.run(story())


def test_what_a_run_returned_is_decoded_for_each_who_asks() -> None:
    """R3: the run's own value too is its record, not an object that two callers share."""

    @durable.function
    async def listing(ctx: Context) -> list[int]:
        return [1]

    async def story() -> None:
        async with Lab([listing]) as lab:
            run = await lab.start(listing)
            (await lab.result(run)).append(2)
            assert await lab.result(run) == [1]

    asyncio.run(story())


# R4


def test_repeats_are_numbered_and_skip_a_users_own_numbers() -> None:
    """R4: the id, then `id:1`, `id:2`, skipping keys that the branch already uses."""

    @durable.function
    async def repeating(ctx: Context) -> list[str]:
        ids = ["user:1", "user", "user", "user", "user:1", "other:2", "other", "other", "other"]
        ids += ["late", "late", "late:1", "late"]  # the number that was given is the user's own afterwards
        return [await ctx.step.run(id, note, f"{number} {id}") for number, id in enumerate(ids)]

    life = same_lives(repeating)
    assert keys(life) == [
        "user:1", "user", "user:2", "user:3", "user:1:1", "other:2", "other", "other:1", "other:3",
        "late", "late:1", "late:1:1", "late:2",
    ]  # fmt: skip
    assert life.ending == [step.output for step in life.info.steps.values()]


def test_keys_are_counted_when_the_method_is_called_not_when_awaited() -> None:
    """R4: awaiting in another order changes nothing."""

    @durable.function
    async def crossing(ctx: Context) -> list[str]:
        first, second = ctx.step.run("x", note, "first"), ctx.step.run("x", note, "second")
        return [await second, await first]

    life = same_lives(crossing)
    assert life.ending == ["second", "first"]
    assert {key: step.output for key, step in life.info.steps.items()} == {"x": "first", "x:1": "second"}


def test_parallel_branches_with_the_same_ids_never_exchange_results() -> None:
    """R4: a task's steps carry its branch's prefix, whatever the order in which the branches come to them."""

    @durable.function
    async def branching(ctx: Context) -> list[Any]:
        async def branch(name: str, wait: int) -> list[str]:
            await ctx.step.sleep("wait", wait)
            first = await ctx.step.run("same", note, f"{name} 1")
            await ctx.step.sleep("wait", 10 - wait)
            return [first, await ctx.step.run("same", note, f"{name} 2")]

        own = await ctx.step.run("same", note, "main")
        waits = enumerate((3, 1, 2))
        return [own, *await asyncio.gather(*(branch(f"b{number}", wait) for number, wait in waits))]

    life = same_lives(branching)
    assert life.ending == ["main", ["b0 1", "b0 2"], ["b1 1", "b1 2"], ["b2 1", "b2 2"]]
    same = {key for key in keys(life) if key.endswith(("same", "same:1"))}
    assert same == {"same", *(f"{number}»{id}" for number in range(3) for id in ("same", "same:1"))}


def test_nested_branches_have_nested_prefixes() -> None:
    """R4: a branch of a branch."""

    @durable.function
    async def nesting(ctx: Context) -> Any:
        async def inner(name: str) -> str:
            return await ctx.step.run("x", note, name)

        async def outer(name: str) -> Any:
            before = await ctx.step.run("x", note, name)
            return [before, *await asyncio.gather(inner(f"{name}a"), inner(f"{name}b"))]

        return await asyncio.gather(outer("A"), outer("B"))

    life = same_lives(nesting)
    assert life.ending == [["A", "Aa", "Ab"], ["B", "Ba", "Bb"]]
    assert set(keys(life)) == {"0»x", "0.0»x", "0.1»x", "1»x", "1.0»x", "1.1»x"}


def test_all_of_a_group_end_before_the_group_does_also_where_the_first_fails() -> None:
    """Group.parallel: the error is raised when nothing of the group is left running."""

    async def broken() -> None:
        raise ValueError("broken")

    @durable.function(retries=0)
    async def grouping(ctx: Context) -> list[str]:
        ended: list[str] = []

        async def later() -> None:
            await rounds(9)
            ended.append(await ctx.step.run("later", note, "later"))

        try:
            await ctx.group.parallel(
                [lambda: ctx.step.run(durable.StepOptions("broken", retries=0), broken), later],
            )
        except durable.StepError:
            return list(ended)
        return []

    assert same_lives(grouping).ending == ["later"]


def test_no_step_id_can_spell_a_branchs_prefix() -> None:
    """R4: the prefix is one that no step id can spell."""

    @durable.function(retries=0)
    async def spelling(ctx: Context) -> None:
        await ctx.step.run("0»x", note)

    assert same_lives(spelling).ending == ("ValueError", "a step's id must not be empty or hold '»', not '0»x'")
