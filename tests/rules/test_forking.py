"""Forks (S5): a new run begins with what another had finished."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

import durable
from durable import (
    Backoff,
    CodecError,
    Context,
    DictStore,
    Engine,
    FileStore,
    LimitError,
    Limits,
    RunFailed,
    StepError,
    current_step,
)
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from tests.support.forked import (
    MakeStore,
    broken,
    calls,
    crashing_or_not,
    forget,
    mended,
    on_each_store,
    suspending,
    work,
)


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    forget()


@attrs.frozen
class Receipt:
    """What a charge returns."""

    cents: int


async def charge(cents: int) -> Receipt:
    calls.append(current_step().key)
    return Receipt(cents)


@durable.function
async def order(ctx: Context) -> Any:
    paid = await ctx.step.run("charge", charge, ctx.event.data.get("cents", 100))
    await ctx.step.sleep("cool off", "1h")
    cooled = ctx.now()
    packed = await ctx.step.run("pack", suspending, ctx.random.random())
    shipped = await ctx.step.run("ship", suspending, f"ship {paid.cents}")
    return paid.cents, packed, shipped, cooled


@on_each_store
@crashing_or_not
def test_a_fork_begins_with_what_was_finished_before_a_step(store: MakeStore, crashing: bool, tmp_path: Path) -> None:
    """S5: only what remains is done; the old run stays as it is."""

    async def story() -> None:
        async with Lab([order], store=store(tmp_path)) as lab:
            old = await lab.start(order, id="old")
            first = await lab.result(old)
            before = (await old.info()).record
            assert calls == ["charge", "pack", "ship"]
            calls.clear()
            await lab.advance("5d")
            run = await lab.engine.fork("old", before="ship")
            info = await run.info()
            assert info.forked_from == "old" and info.opened_at == lab.clock.now() and info.id not in ("old", "")
            assert list(info.steps)[:3] == ["charge", "cool off", "pack"]
            whole = (await old.info()).steps
            assert [info.steps[key] for key in ("charge", "cool off", "pack")] == [*whole.values()][:3]
            shown = str(info).split("\n")
            assert f"run {info.id} of order: forked from old, " in shown[0] and "|  -5.04 d: run completed" in shown[1]
            if crashing:
                await lab.crash()
            assert await lab.result(run) == first
            assert calls == ["ship"]
            assert (await old.info()).record == before and (await old.info()).forked_from is None

    asyncio.run(story())


@on_each_store
def test_all_of_a_fork_is_one_write(store: MakeStore, tmp_path: Path) -> None:
    """S5: the opening and the copied ends are appended together."""

    class Watched(FileStore):
        groups: ClassVar[list[list[str]]] = []

        async def append(self, entries: Any) -> None:
            self.groups.append([f"{entry.run} {entry.kind}" for entry in entries])
            await super().append(entries)

    async def story() -> None:
        async with Lab([order], store=Watched(tmp_path / "y.db", durability="none")) as lab:
            await lab.result(await lab.start(order, id="old"))
            Watched.groups.clear()
            await lab.engine.fork("old", before="ship", id="new")
            assert Watched.groups[0] == ["new RunOpened"] + ["new StepClosed"] * 3 + ["new RunAdmitted"]

    asyncio.run(story())


def test_a_fork_has_the_randomness_and_the_time_of_the_old_run() -> None:
    """S5: `ctx.random` and, up to the first new outcome, `ctx.now()`; what is new has ids of its own."""
    seen: list[Any] = []

    @durable.function
    async def child(ctx: Context) -> str:
        return ctx.run_id

    @durable.function
    async def looking(ctx: Context) -> Any:
        begun, number = ctx.now(), ctx.random.random()
        await ctx.step.sleep("nap", "1h")
        seen.append((begun, number, ctx.now(), ctx.event))
        own = await ctx.step.run("own", lambda: (current_step().run_id, current_step().idempotency_key))
        return own, await ctx.step.invoke("child", function=child), ctx.now()

    async def story() -> None:
        async with Lab([looking, child]) as lab:
            (old,) = (await lab.result(await lab.start(looking, {"a": 1}, id="old")),)
            await lab.advance("1d")
            one = await lab.engine.fork("old", before="own")
            await lab.advance("1d")
            two = await lab.engine.fork(one.id, before="own")
            results = [await lab.result(one), await lab.result(two)]
            assert seen[0] == seen[1] == seen[2]
            assert (await two.info()).forked_from == one.id
            for run, (own, invoked, ended) in zip([one, two], results, strict=True):
                assert own[0] == run.id and invoked == f"{run.id}/child" and ended > old[2]
            assert len({result[0][1] for result in [old, *results]}) == 3
            whole = await lab.engine.fork(one.id)
            assert (await lab.result(whole))[1] == f"{one.id}/child"

    asyncio.run(story())


@durable.function(retries=0, backoff=Backoff(jitter=0))
async def fragile(ctx: Context) -> Any:
    first = await ctx.step.run("first", work, 1)
    try:
        caught = await ctx.step.run("caught", broken)
    except StepError as error:
        caught = error.name
    last = await ctx.step.run("last", suspending, 2)
    return first, caught, last, await ctx.step.run("broken", broken)


def test_without_a_step_a_fork_begins_with_all_that_ended_well() -> None:
    """S5: failures begin anew; with `before` those that the code had caught by then are kept."""

    async def story() -> None:
        async with Lab([fragile]) as lab:
            old = await lab.start(fragile, id="old")
            with pytest.raises(RunFailed):
                await lab.result(old)
            calls.clear()
            mended[:] = ["broken"]
            run = await lab.engine.fork("old")
            assert await lab.result(run) == (1, "NonRetriableError", 2, "mended")
            assert calls == ["caught", "broken"]
            calls.clear()
            run = await lab.engine.fork("old", before="broken")
            assert await lab.result(run) == (1, "NonRetriableError", 2, "mended")
            assert calls == ["broken"]
            calls.clear()
            run = await lab.engine.fork("old", steps={"caught": "given", "broken": "too"})
            assert await lab.result(run) == (1, "given", 2, "too") and calls == []

    asyncio.run(story())


@on_each_store
@crashing_or_not
def test_given_values_stand_in_place_of_outcomes(store: MakeStore, crashing: bool, tmp_path: Path) -> None:
    """S5: an instance comes back by its own class, live and after a crash."""

    async def story() -> None:
        async with Lab([order], store=store(tmp_path)) as lab:
            await lab.result(await lab.start(order, id="old"))
            calls.clear()
            run = await lab.engine.fork("old", before="ship", steps={"charge": Receipt(42), "pack": "by hand"})
            if crashing:
                await lab.crash()
            assert (await lab.result(run))[:3] == (42, "by hand", "ship 42")
            assert calls == ["ship"]
            run = await lab.engine.fork("old", before="charge", data={"cents": 7})
            if crashing:
                await lab.crash()
            assert (await lab.result(run))[0] == 7
            event = (await lab.engine.info(run.id)).event
            assert event.data == {"cents": 7} and event.id == "old"

    asyncio.run(story())


def test_wrong_arguments_are_refused_before_anything_is_recorded() -> None:
    """S5: a KeyError lists the keys there are."""

    async def refused(lab: Lab, error: type[Exception], words: str, run: str = "old", **asked: Any) -> None:
        with pytest.raises(error) as raised:
            await lab.engine.fork(run, **asked)
        assert words in str(raised.value)

    async def story() -> None:
        store = DictStore()
        async with Lab([order], store=store) as lab:
            await lab.result(await lab.start(order, id="old"))
            count = len(store.mapping)
            before = str(store.mapping)
            await refused(lab, KeyError, "there is no run 'nobody'", run="nobody")
            keys = "there are 'charge', 'cool off', 'pack', 'ship'"
            await refused(lab, KeyError, f"run 'old' has no record of step 'shop': {keys}", before="shop")
            words = (
                "run 'old' has no outcome of step 'ship' before step 'pack' to replace: there are 'charge', 'cool off'"
            )
            await refused(lab, KeyError, words, before="pack", steps={"ship": 1})
            await refused(lab, KeyError, f"has no outcome of step 'x' to replace: {keys}", steps={"x": 1})
            await refused(lab, KeyError, "there is none yet", before="charge", steps={"charge": 1})
            await refused(lab, TypeError, "before must be a step's key, not 3 (int)", before=3)
            await refused(lab, TypeError, "steps must map step keys to values, not ['pack'] (list)", steps=["pack"])
            await refused(lab, TypeError, "a key of steps must be a step's key, not 1 (int)", steps={1: 2})
            await refused(lab, TypeError, "must be a mapping, not [1]", data=[1])
            await refused(lab, ValueError, "must not be empty or hold '/'", id="a/b")
            await refused(lab, CodecError, "$: a builtins.object cannot be kept", steps={"pack": object()})
            await refused(
                lab, TypeError, "'cool off' for fork must be None, since it is a sleep", steps={"cool off": 1}
            )
            assert len(store.mapping) == count and str(store.mapping) == before
        async with Lab([], store=store, start=START + timedelta(days=1)) as lab:
            await refused(lab, LookupError, "'order'")

    asyncio.run(story())


def test_a_value_or_a_fork_that_is_too_large_is_refused() -> None:
    """R28."""

    async def story() -> None:
        store, clock = DictStore(), VirtualClock(START)
        async with Engine([order], store=store, clock=clock) as engine:
            run = await engine.start(order, id="old")
            await engine.settled()
            clock.advance("1h")
            await run.result()
        async with Engine([order], store=store, clock=clock, limits=Limits(10, 30, 40, 9)) as engine:
            with pytest.raises(LimitError, match="the value of step 'pack' for fork is 42 bytes, the limit is 30"):
                await engine.fork("old", steps={"pack": "x" * 40})
            with pytest.raises(LimitError, match="the state of run 'new' would be"):
                await engine.fork("old", steps={"pack": "x" * 20}, id="new")
            with pytest.raises(LimitError, match="the data for function 'order' are"):
                await engine.fork("old", before="charge", data={"cents": 100_000})
            assert [run.id for run in await engine.runs()] == ["old"]

    asyncio.run(story())


def test_an_id_begins_a_fork_once() -> None:
    """As `start(id=)`: the same fork again is the same run, another one is a ValueError."""

    async def story() -> None:
        async with Lab([order]) as lab:
            await lab.result(await lab.start(order, id="old"))
            asked: dict[str, Any] = {"before": "ship", "steps": {"pack": "given"}, "id": "new"}
            runs = await asyncio.gather(*[lab.engine.fork("old", **asked) for _ in range(3)])
            await lab.result(runs[0])
            assert {run.id for run in [*runs, await lab.engine.fork("old", **asked)]} == {"new"}
            assert len(await lab.engine.runs()) == 2 and calls.count("ship") == 2
            await lab.engine.fork("old", steps={"pack": {"a": 1, "b": 2}, "ship": 1}, id="both")
            both = await lab.engine.fork("old", steps={"ship": 1, "pack": {"b": 2, "a": 1}}, id="both")  # as dicts do
            await lab.result(both)
            with pytest.raises(ValueError, match="'both' exists and is not this fork"):
                await lab.engine.fork("old", steps={"pack": {"a": True, "b": 2}, "ship": 1}, id="both")
            others: list[dict[str, Any]] = [
                {"before": "pack", "steps": {}},
                {"steps": {"pack": 2}},
                {"data": {"cents": 1}},
                {"id": "old"},
            ]
            for other in others:
                with pytest.raises(ValueError, match="exists and is not this fork: give the fork an id of its own"):
                    await lab.engine.fork("old", **{**asked, **other})
            with pytest.raises(ValueError, match="'new' exists and is not this fork"):
                await lab.engine.fork("new", **asked)

    asyncio.run(story())
