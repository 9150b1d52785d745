"""Run.step: a step's value or error, awaited from outside while its run goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import durable
from durable import Context, Engine, StepError, StepOptions
from durable.testing import FailingStore, Lab, StuckError
from tests.support.gated import Gated

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["a dict", "a file"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> durable.Store:
    return durable.DictStore() if request.param == "a dict" else durable.FileStore(tmp_path / "x.db")


async def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"no {number}")
    return 2 * number


@durable.function
async def counts(ctx: Context) -> list[int]:
    """Double the numbers one after the other; where one is a list, wait for an event in between."""
    found = []
    for number in ctx.event.data["numbers"]:
        if isinstance(number, list):
            await ctx.step.wait_for_event("go on", event="go on", timeout="1d")
            [number] = number
        found.append(await ctx.step.run(StepOptions("double", retries=0), double, number))
    return found


async def test_a_step_is_awaited_whether_it_is_to_come_or_over(store: durable.Store) -> None:
    async with Engine([counts], store=store) as engine:
        run = await engine.start(counts, {"numbers": [1, [2], 3]})
        coming = [asyncio.ensure_future(run.step(key, timeout=10)) for key in ("double", "double:1", "double:2")]
        assert await coming[0] == 2 == await run.step("double")
        await engine.settled()
        assert not coming[1].done()
        await engine.send("go on", {"by": "ann"})
        assert [await one for one in coming] == [2, 4, 6]
        assert (await run.step("go on")).data == {"by": "ann"}
        assert await run.result(10) == [2, 4, 6]
        assert await run.step("double:1") == 4 == await (await engine.run(run.id)).step("double:1")
        assert not engine._owner.runtime.journal.watchers  # type: ignore[union-attr]


async def test_a_step_is_told_of_when_it_ends_and_not_when_its_run_does(store: durable.Store) -> None:
    async with Engine([counts], store=store) as engine:
        run = await engine.start(counts, {"numbers": [[1], [2]]})
        waiting = asyncio.ensure_future(run.step("double"))  # with a timeout it would look once more at the end
        await engine.settled()
        await engine.send("go on")
        async with asyncio.timeout(20):
            assert await waiting == 2
        await engine.settled()
        assert (await run.info()).status == "waiting"


async def test_an_outcome_is_given_once_it_is_kept() -> None:
    """R2"""
    store = Gated()
    async with Engine([counts], store=store) as engine:
        run = await engine.start(counts, {"numbers": [[1]]})
        await engine.settled()
        store.gate.clear()
        sending = asyncio.ensure_future(engine.send("go on"))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(run.step("go on"))
        for _ in range(20):
            await asyncio.sleep(0)
        was_done = waiting.done()
        store.gate.set()
        assert not was_done
        assert (await waiting).name == "go on"
        await sending


async def test_no_time_is_too_short_to_say_how_a_step_has_ended(store: durable.Store) -> None:
    async with Engine([counts], store=store) as engine:
        run, ended = [await engine.start(counts, {"numbers": [1, *more, -1]}) for more in ([[2]], [])]
        await engine.settled()
        assert await run.step("double", 0) == 2 == await ended.step("double", 0)
        with pytest.raises(TimeoutError, match=r"step 'double:1' of run .* has not ended within 0 s"):
            await run.step("double:1", 0)
        with pytest.raises(StepError, match="no -1"):
            await ended.step("double:1", 0)
        with pytest.raises(LookupError, match="has failed and never finished step 'double:2'"):
            await ended.step("double:2", 0)


async def test_a_failed_step_raises_its_error_whatever_the_function_makes_of_it(store: durable.Store) -> None:
    @durable.function
    async def forgives(ctx: Context) -> str:
        try:
            await ctx.step.run(StepOptions("double", retries=0), double, -1)
        except StepError:
            await ctx.step.sleep("nap", 0)
        return "well"

    async with Engine([forgives], store=store) as engine:
        run = await engine.start(forgives)
        for _ in range(2):
            with pytest.raises(StepError, match="step 'double': ValueError: no -1") as failed:
                await run.step("double", timeout=10)
            assert (failed.value.name, failed.value.step_id) == ("ValueError", "double")
            assert "raise ValueError" in failed.value.stack
            assert await run.result(10) == "well"
        assert await run.step("nap") is None


async def test_a_run_that_ends_without_the_step_is_a_lookup_error(store: durable.Store) -> None:
    @durable.function
    async def races(ctx: Context) -> None:
        task = asyncio.ensure_future(ctx.step.sleep("loser", "1d"))
        await ctx.step.run("winner", double, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with Engine([counts, races], store=store) as engine:
        run = await engine.start(races)
        waiting = asyncio.ensure_future(run.step("loser", timeout=10))
        with pytest.raises(LookupError, match="has completed and never finished step 'loser': the step was cancelled"):
            await waiting
        with pytest.raises(LookupError, match="never finished step 'winer': did you mean 'winner'"):
            await run.step("winer")
        with pytest.raises(LookupError, match=r"step 'x': its steps are 'loser', 'winner'"):
            await run.step("x")
        stopped = await engine.start(counts, {"numbers": [[1]]})
        waiting = asyncio.ensure_future(stopped.step("double", timeout=10))
        await engine.settled()
        await stopped.cancel()
        with pytest.raises(LookupError, match="was cancelled and never finished step 'double'"):
            await waiting


async def test_what_is_asked_wrongly_is_refused_at_the_call() -> None:
    async with Engine([counts]) as engine:
        run = await engine.start(counts, {"numbers": []})
        nowhere = durable.Run(engine, "nowhere")
        with pytest.raises(KeyError, match="there is no run 'nowhere'"):
            await nowhere.step("double")
        for key in (7, None, b"k", counts):
            with pytest.raises(TypeError, match="the key of a step must be a string"):
                await run.step(key)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            await run.step("\ud800")
        for timeout in (-1, "soon", True):
            with pytest.raises((TypeError, ValueError), match="the timeout of a step"):
                await run.step("double", timeout=timeout)
    with pytest.raises(RuntimeError, match="step: the engine is not open"):
        await run.step("double")


async def test_a_step_that_does_not_finish_in_time_says_what_the_run_waits_for() -> None:
    async with Engine([counts]) as engine:
        run = await engine.start(counts, {"numbers": [[1]]}, id="r")
        with pytest.raises(TimeoutError, match=r"step 'double' of run 'r' has not ended within 0\.01 s.*'go on' waits"):
            await run.step("double", timeout=0.01)
        assert (await run.info()).status == "waiting"


async def test_a_step_awaited_inside_the_engine_would_wait_for_itself() -> None:
    engine = Engine()

    async def ask(run_id: str) -> Any:
        return await (await engine.run(run_id)).step("nap")

    @durable.function(retries=0)
    async def asks(ctx: Context) -> None:
        if ctx.event.data["where"] == "handler":
            await ctx.step.run(StepOptions("ask", retries=0), ask, ctx.run_id)
        else:
            await ask(ctx.run_id)

    async with engine:
        for where in ("handler", "function"):
            with pytest.raises(durable.RunFailed, match=r"step is awaited in.*would wait for itself"):
                await engine.invoke(asks, {"where": where}, timeout=10)


async def test_an_engine_that_closes_or_whose_store_fails_ends_the_wait() -> None:
    async with Engine([counts]) as engine:
        run = await engine.start(counts, {"numbers": [[1]]})
        waiting = asyncio.ensure_future(run.step("double"))
        await engine.settled()
    with pytest.raises(RuntimeError, match=r"the engine was closed: run .* is parked"):
        await waiting
    failing = FailingStore(durable.DictStore(), at=3)
    async with Engine([counts], store=failing) as engine:
        run = await engine.start(counts, {"numbers": [[1]]})
        waiting = asyncio.ensure_future(run.step("double"))
        await engine.settled()
        with pytest.raises(durable.StoreError):
            await engine.send("go on")
        with pytest.raises(durable.StoreError):
            await waiting


async def test_a_parked_run_is_awaited_like_any_other(store: durable.Store) -> None:
    async with Engine([counts], store=store, resident=0) as engine:
        run = await engine.start(counts, {"numbers": [1, [2]]})
        await engine.settled()
        waiting = asyncio.ensure_future(run.step("double:1", timeout=10))
        assert await run.step("double") == 2
        await engine.send("go on")
        assert await waiting == 4


async def test_in_a_lab_a_crash_does_not_end_the_wait_and_a_step_that_cannot_come_is_told() -> None:
    async with Lab([counts]) as lab:
        run = await lab.start(counts, {"numbers": [1, [2]]}, id="r")
        waiting = asyncio.ensure_future(run.step("double:1", timeout=10))
        await asyncio.sleep(0)
        await lab.crash()
        await lab.send("go on")
        assert await waiting == 4
        other = await lab.start(counts, {"numbers": [[2]]}, id="s")
        with pytest.raises(StuckError, match=r"(?s)lab\.advance.*run 's' of function 'counts' waits: step 'go on'"):
            await other.step("double")


async def test_a_run_opened_again_may_finish_the_step_after_all() -> None:
    calls = list[int]()

    async def second_time() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not yet")
        return len(calls)

    @durable.function
    async def fragile(ctx: Context) -> int:
        return await ctx.step.run(StepOptions("work", retries=0), second_time)

    async with Engine([fragile]) as engine:
        run = await engine.start(fragile)
        with pytest.raises(StepError):
            await run.step("work", timeout=10)
        await asyncio.gather(run.result(10), return_exceptions=True)
        await engine.retry(run.id)
        assert await run.step("work", timeout=10) == 2
