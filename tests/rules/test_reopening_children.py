"""Rule R32 over the border of a run: the children that a run waited for go on with it, at whatever depth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable import Context, DictStore, Engine, RunFailed, StepError, StepOptions, current_step
from durable.journal.codec.write import read
from durable.journal.records import RunRetried, StepClosed
from durable.testing import Lab
from durable.testing.lab import START

Between = Callable[[Lab], Awaitable[None]]
calls: Counter[str] = Counter()
keys: set[str] = set()
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    keys.clear()
    broken.clear()


@pytest.fixture(params=["live", "with a crash in between", "parked"])
def lab_of(request: pytest.FixtureRequest) -> Callable[[list[Any]], tuple[Lab, Between]]:
    """Return a Lab, and what happens in it between two acts."""

    def make(functions: list[Any]) -> tuple[Lab, Between]:
        lab = Lab(functions)
        if request.param == "parked":
            lab.engine._settings = attrs.evolve(lab.engine._settings, resident=0)

        async def between(lab: Lab) -> None:
            if request.param == "with a crash in between":
                await lab.crash()
            await lab.settle()

        return lab, between

    return make


def count(name: str) -> str:
    calls[name] += 1
    return name


def work(name: str) -> str:
    """Fail while it is broken; the key by which a service knows the call must stay."""
    calls[name] += 1
    keys.add(current_step().idempotency_key)
    if name in broken:
        raise ValueError(f"{name} is broken")
    return name


@durable.function(retries=0)
async def leaf(ctx: Context) -> str:
    await ctx.step.run("before", count, "leaf before")
    return await ctx.step.run(StepOptions("work", retries=0), work, "leaf")


@durable.function(retries=0)
async def middle(ctx: Context) -> str:
    await ctx.step.run("before", count, "middle before")
    return await ctx.step.invoke("below", function=leaf)


@durable.function(retries=0)
async def top(ctx: Context) -> str:
    await ctx.step.run("before", count, "top before")
    return await ctx.step.invoke("below", function=middle)


def test_children_three_deep_go_on_with_their_finished_steps_and_keys(lab_of: Any) -> None:
    """R32: under their own ids; no finished step runs twice, the failed one keeps its idempotency key."""

    async def story() -> None:
        lab, between = lab_of([top, middle, leaf])
        async with lab:
            broken.add("leaf")
            run = await lab.start(top, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            for time in range(1, 3):
                await between(lab)
                if time == 2:
                    broken.clear()
                await lab.engine.retry("r")
                await between(lab)
                if time == 1:
                    with pytest.raises(RunFailed, match="leaf is broken"):
                        await lab.result(run)
            assert await lab.result(run) == "leaf"
            assert calls == {"top before": 1, "middle before": 1, "leaf before": 1, "leaf": 3} and len(keys) == 1
            assert {info.id for info in await lab.engine.runs()} == {"r", "r/below", "r/below/below"}

    asyncio.run(story())


def test_all_of_it_is_one_write() -> None:
    """R32: parents before their children; a child that completed meanwhile answers in it, too."""

    @durable.function(retries=0)
    async def two(ctx: Context) -> Any:
        ends = [ctx.step.invoke("a", function=middle), ctx.step.invoke("b", function=leaf)]
        return await asyncio.gather(*ends)

    async def story() -> None:
        store = DictStore()
        async with Lab([two, middle, leaf], store=store) as lab:
            broken.add("leaf")
            run = await lab.start(two, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            broken.clear()
            assert await lab.result(await lab.engine.retry("r/b")) == "leaf"
            before = set(store.mapping)
            batches: list[list[Any]] = []
            await lab.engine.retry("r")
            for name in store.mapping:
                if name not in before:
                    batches.append([read(fact[2], fact[3]) for fact in store.mapping[name]])
            first = [one for one in batches[0] if isinstance(one, RunRetried | StepClosed)]
            assert [(type(one).__name__, one.run) for one in first] == [
                ("RunRetried", "r"), ("StepClosed", "r"), ("RunRetried", "r/a"), ("RunRetried", "r/a/below"),
            ]  # fmt: skip
            assert await lab.result(run) == ["leaf", "leaf"]
            assert calls["middle before"] == 1 and calls["leaf before"] == 2

    asyncio.run(story())


def test_a_child_goes_on_although_the_code_does_not_ask_for_it_again(
    lab_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """R32: whether or not the function asks; and it may end before that, which is no drift."""
    asks = [True]

    @durable.function(retries=0)
    async def late(ctx: Context) -> Any:
        try:
            await ctx.step.run(StepOptions("first", retries=0), work, "first")
        except StepError:
            pass
        else:
            await ctx.step.sleep("long", "1h")
        if asks[0]:
            return await ctx.step.invoke("below", function=middle)
        return "without"

    async def story(*, asked: bool) -> None:
        asks[0] = True
        lab, between = lab_of([late, middle, leaf])
        async with lab:
            broken.update(("first", "leaf"))
            run = await lab.start(late, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            broken.clear()
            asks[0] = asked
            await between(lab)
            await lab.engine.retry("r")
            await between(lab)
            child = await lab.engine.info("r/below")
            assert child.status == "completed" and (await run.info()).status == "waiting"
            assert await lab.result(run) == ("leaf" if asked else "without")
            assert not [line for line in caplog.messages if "has not come to it again" in line]

    asyncio.run(story(asked=True))
    assert calls == {"first": 2, "middle before": 1, "leaf before": 1, "leaf": 2}
    asyncio.run(story(asked=False))


@durable.function(retries=0)
async def patient(ctx: Context) -> str:
    await ctx.step.run("before", count, "patient before")
    await ctx.step.sleep("long", "3h")
    return "rested"


@durable.function(retries=0)
async def hasty(ctx: Context) -> str:
    return await ctx.step.invoke("below", function=patient, timeout="1h")


@pytest.mark.parametrize("later", ["30m", "90m", "5h"])
def test_after_a_timeout_of_an_invoke_the_child_is_waited_for_with_a_new_deadline(lab_of: Any, later: str) -> None:
    """R32, R24: it goes on meanwhile; where it has ended, it answers."""

    async def story() -> None:
        lab, between = lab_of([hasty, patient])
        async with lab:
            run = await lab.start(hasty, id="r")
            with pytest.raises(RunFailed, match="InvokeTimeoutError"):
                await lab.result(run)
            await lab.advance(later)
            await between(lab)
            await lab.engine.retry("r")
            await between(lab)
            if later == "30m":  # 90 minutes have passed: the new deadline comes before the child's end, at 150
                with pytest.raises(RunFailed, match="InvokeTimeoutError"):
                    await lab.result(run)
                assert lab.clock.now() == START + timedelta(minutes=150)
            else:
                assert await lab.result(run) == "rested"
            assert calls["patient before"] == 1 and len(await lab.engine.runs()) == 2

    asyncio.run(story())


def test_a_cancelled_run_waits_again_for_the_child_that_went_on(lab_of: Any) -> None:
    """R24, R32: the child is no other, and what it does meanwhile is kept."""

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> Any:
        return await ctx.step.invoke("below", function=patient)

    async def story() -> None:
        lab, between = lab_of([waiting, patient])
        async with lab:
            run = await lab.start(waiting, id="r")
            await between(lab)
            assert await run.cancel("stop")
            await between(lab)
            assert (await lab.engine.info("r/below")).status == "waiting"
            await lab.engine.retry("r")
            await between(lab)
            info = await run.info()
            assert info.reason is None and info.status == "waiting" and "r/below" in info.waiting_for["below"]
            assert await lab.result(run) == "rested"
            assert lab.clock.now() == START + timedelta(hours=3) and calls["patient before"] == 1

    asyncio.run(story())


def test_a_cancelled_child_goes_on_with_its_parent(lab_of: Any) -> None:
    """R32: cancelled or failed, that is the same to who waited for it."""

    async def story() -> None:
        lab, between = lab_of([hasty, patient])
        async with lab:
            run = await lab.start(hasty, id="r")
            await between(lab)
            await lab.engine.cancel("r/below")
            with pytest.raises(RunFailed, match="RunCancelled"):
                await lab.result(run)
            await between(lab)
            await lab.engine.retry("r")
            await between(lab)
            assert (await lab.engine.info("r/below")).status == "waiting"
            await lab.engine.cancel("r")
            await between(lab)
            await lab.engine.cancel("r/below")
            await lab.engine.retry("r")
            await between(lab)
            with pytest.raises(RunFailed, match="InvokeTimeoutError"):
                await lab.result(run)
            assert calls["patient before"] == 1

    asyncio.run(story())


def test_of_parallel_children_the_failed_one_goes_on_and_the_running_one_is_waited_for(lab_of: Any) -> None:
    """R32: each by what has become of it; one that has completed well is not asked again (R1)."""

    @durable.function(retries=0)
    async def three(ctx: Context) -> Any:
        well = await ctx.step.invoke("well", function=patient)
        ends = [ctx.step.invoke("a", function=middle), ctx.step.invoke("b", function=patient)]
        return well, await asyncio.gather(*ends)

    async def story() -> None:
        lab, between = lab_of([three, middle, leaf, patient])
        async with lab:
            broken.add("leaf")
            run = await lab.start(three, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            broken.clear()
            await lab.advance("1h")
            await between(lab)
            await lab.engine.retry("r")
            await between(lab)
            assert await lab.result(run) == ("rested", ["leaf", "rested"])
            assert lab.clock.now() == START + timedelta(hours=6)
            assert calls == {"patient before": 2, "middle before": 1, "leaf before": 1, "leaf": 2}

    asyncio.run(story())


@pytest.mark.parametrize("ended", ["failed", "completed", "goes on"])
def test_the_child_of_an_invoke_that_the_function_cancelled_is_left(lab_of: Any, ended: str) -> None:
    """R32: it is as it was. Asked for again, one that goes on is taken up, else a run of its own opens (R24)."""

    @durable.function(retries=0)
    async def cancelling(ctx: Context) -> Any:
        wait = asyncio.ensure_future(ctx.step.invoke("below", function=patient if ended == "goes on" else leaf))
        await ctx.step.run("first", count, "first")
        wait.cancel()
        await asyncio.wait([wait])
        await ctx.step.sleep("s", "1h")
        await ctx.step.run(StepOptions("work", retries=0), work, "own")
        return "well"

    async def story() -> None:
        lab, between = lab_of([cancelling, leaf, patient])
        async with lab:
            broken.add("own")
            broken.update(["leaf"] if ended == "failed" else [])
            run = await lab.start(cancelling, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            await between(lab)
            records = len((await lab.engine.info("r/below")).record)
            broken.clear()
            await lab.engine.retry("r")
            await between(lab)
            assert len((await lab.engine.info("r/below")).record) == records
            assert await lab.result(run) == "well"
            others = {info.id for info in await lab.engine.runs()} - {"r", "r/below"}
            assert others == (set() if ended == "goes on" else {"r/below~r1"})

    asyncio.run(story())


def test_a_child_that_is_forgotten_opens_anew() -> None:
    """R32: `prune` has taken it; the step opens again, with a run of another id."""

    @durable.function(retries=0)
    async def slow_to_fail(ctx: Context) -> Any:
        ends = [ctx.step.invoke("below", function=leaf), ctx.step.sleep("long", "3h")]
        return await asyncio.gather(*ends, return_exceptions=True), await ctx.step.run(
            StepOptions("work", retries=0), work, "own"
        )

    async def story() -> None:
        store = DictStore()
        async with Lab([slow_to_fail, leaf], store=store) as lab:
            broken.update(("own", "leaf"))
            run = await lab.start(slow_to_fail, id="r")
            with pytest.raises(RunFailed):
                await lab.result(run)
            broken.clear()
            assert await store.prune(START + timedelta(hours=1)) == 1
            await lab.crash()
            await lab.engine.retry("r")
            await lab.crash()
            assert await lab.result(run) == (["leaf", None], "own")
            assert {info.id for info in await lab.engine.runs()} == {"r", "r/below~r1"}

    asyncio.run(story())


def test_a_child_of_a_function_that_is_gone_stays_parked(caplog: pytest.LogCaptureFixture) -> None:
    """R25, R32: it is named in the log, and goes on when its function is back."""

    @durable.function(retries=0)
    async def by_id(ctx: Context) -> Any:
        return await ctx.step.invoke("below", function="leaf")

    async def story() -> None:
        store = DictStore()
        broken.add("leaf")
        async with Engine([by_id, leaf], store=store) as engine:
            run = await engine.start(by_id, id="r")
            with pytest.raises(RunFailed):
                await run.result()
        broken.clear()
        async with Engine([by_id], store=store) as engine:
            await engine.retry("r")
            await engine.settled()
            assert (await engine.info("r")).status == "waiting"
            assert any("'r/below' stays parked: its function 'leaf'" in line for line in caplog.messages)
        async with Engine([by_id, leaf], store=store) as engine:
            assert await engine.result("r") == "leaf"
        assert calls == {"leaf before": 1, "leaf": 2}

    asyncio.run(story())


def test_every_failure_is_told_in_a_run_of_its_own(lab_of: Any) -> None:
    """R15: `/failure`, after R32 and another failure `/failure~r1`; the child of a step of that name is no other."""
    told: list[tuple[str, str]] = []

    async def alarm(ctx: Context) -> None:
        told.append((ctx.run_id, ctx.event.data["error"]["message"]))

    @durable.function(retries=0, on_failure=alarm)
    async def telling(ctx: Context) -> Any:
        return await ctx.step.invoke("failure", function=leaf)

    async def story() -> None:
        lab, between = lab_of([telling, leaf])
        async with lab:
            broken.add("leaf")
            run = await lab.start(telling, id="r")
            for _ in range(2):
                with pytest.raises(RunFailed):
                    await lab.result(run)
                await between(lab)
                await lab.engine.retry("r")
                await between(lab)
            await lab.settle()
            ids = {info.id for info in await lab.engine.runs()}
            assert ids == {"r", "r/~failure", "r/failure", "r/failure~r1", "r/failure~r2"}
            assert {id for id, _ in told} == ids - {"r", "r/~failure"}

    asyncio.run(story())


@pytest.mark.parametrize("order", [["r", "r/below", "r/below/below"], ["r/below/below", "r/below", "r"], ["r"] * 3])
def test_retries_of_a_parent_and_its_child_at_once_open_each_once(order: list[str], tmp_path: Path) -> None:
    """R32: in whatever order they are asked for; who comes second is told that there is nothing to do."""

    async def story() -> None:
        async with Engine([top, middle, leaf], store=tmp_path / "x.db") as engine:
            broken.add("leaf")
            run = await engine.start(top, id="r")
            with pytest.raises(RunFailed):
                await run.result()
            broken.clear()
            asked = await asyncio.gather(*[engine.retry(one) for one in order], return_exceptions=True)
            assert all(not isinstance(one, Exception) or isinstance(one, ValueError) for one in asked)
            await engine.settled()
            assert await run.result() == "leaf"
            for id in ("r", "r/below", "r/below/below"):
                info = await engine.info(id)
                assert sum(entry.kind == "RunRetried" for entry in info.record) == 1

    asyncio.run(story())
