"""Rule R32: how a failed run goes on, and what an id stands for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Backoff, Context, DictStore, Engine, RunFailed, StepOptions, current_step
from durable.testing import Lab
from durable.testing.lab import START
from tests.lives import note

PLAIN = Backoff(first="10s", factor=3, max="1m", jitter=0)


@pytest.mark.parametrize("crashing", [False, True])
def test_a_failed_run_goes_on_with_its_finished_steps_kept(crashing: bool) -> None:
    """R32: failed and cancelled steps open again, with all their tries and the same idempotency key."""
    keys: list[tuple[int, str]] = []
    mended: list[bool] = []
    lost: list[str] = []

    async def flaky() -> str:
        keys.append((current_step().attempt, current_step().idempotency_key))
        if not mended:
            raise ValueError("broken")
        return "mended"

    async def suspending() -> None:
        await asyncio.sleep(0)

    async def slow() -> None:
        lost.append(current_step().key)
        await asyncio.Event().wait()

    @durable.function(retries=1, backoff=PLAIN)
    async def failing_twice(ctx: Context) -> Any:
        first = await ctx.step.run("first", note, 1)
        loser = asyncio.ensure_future(ctx.step.run("loser", slow))
        sleeping = asyncio.ensure_future(ctx.step.sleep("sleep", "1h"))
        await ctx.step.run("second", suspending)
        loser.cancel()
        value = await ctx.step.run("flaky", flaky)
        await sleeping
        return first, value, ctx.now(), ctx.attempt

    async def story() -> None:
        async with Lab([failing_twice]) as lab:

            async def crash() -> None:
                if crashing:
                    await lab.crash()

            run = await lab.start(failing_twice, id="r")
            for _ in range(2):
                with pytest.raises(RunFailed):
                    await lab.result(run)
                assert (await run.info()).steps["loser"].status == "cancelled"
                await crash()
                if len(keys) == 4:
                    mended.append(True)
                assert (await lab.engine.retry("r")).id == "r"
                await lab.settle()
                await crash()
            assert await lab.result(run) == (1, "mended", START + timedelta(hours=1), 0)
            assert [attempt for attempt, _ in keys] == [0, 1, 0, 1, 0] and len({key for _, key in keys}) == 1
            assert lab.calls["first"] == lab.calls["second"] == 1 and lost == ["loser"] * 3

    asyncio.run(story())


def test_only_a_failed_run_is_retried() -> None:
    """R32: the message says what it is instead."""

    @durable.function
    async def sleeping(ctx: Context) -> None:
        await ctx.step.sleep("night", "8h")

    async def story() -> None:
        async with Lab([sleeping]) as lab:
            run = await lab.start(sleeping, id="r")
            with pytest.raises(ValueError, match="run 'r' has not failed, it is unfinished"):
                await lab.engine.retry("r")
            await lab.result(run)
            with pytest.raises(ValueError, match="run 'r' has not failed, it is completed"):
                await lab.engine.retry("r")
            other = await lab.start(sleeping, id="other")
            await other.cancel()
            with pytest.raises(ValueError, match="run 'other' has not failed, it is cancelled"):
                await lab.engine.retry("other")
            with pytest.raises(KeyError, match="there is no run 'nobody'"):
                await lab.engine.retry("nobody")

    asyncio.run(story())


def define(*, mended: str) -> durable.Function[Any]:
    """Define a script as an editor does: the same module and name, other code."""

    async def script(ctx: Context) -> str:
        await ctx.step.run("download", note)
        if mended == "no":
            await ctx.step.run(StepOptions("parse", retries=0), lambda: 1 / 0)
        await ctx.step.run("parse", note, "parsed")
        return "loaded"

    return durable.function(id="script")(script)


def test_a_failed_script_mended_and_run_again_goes_on_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R32: `durable.run` with the id of a failed run; what is said names the run, the error and the store."""
    store = tmp_path / "etl.db"
    for mended, said in (("no", ""), ("no", "it is opened again"), ("yes", "it is opened again")):
        script = define(mended=mended)
        if mended == "no":
            with pytest.raises(RunFailed, match="ZeroDivisionError"):
                durable.run(script, {"day": 1}, store=store, id="etl-1")
        else:
            assert durable.run(script, {"day": 1}, store=store, id="etl-1") == "loaded"
        text = capsys.readouterr().err
        assert said in text
        if said:
            for part in ("'etl-1'", "ZeroDivisionError", "1 finished step answers", str(store)):
                assert part in text, text
    assert durable.run(script, {"day": 1}, store=store, id="etl-1") == "loaded"
    assert "has ended already" in capsys.readouterr().err


def test_engine_retry_on_a_file_store_with_a_mended_function(tmp_path: Path) -> None:
    """R32: in another process's engine, which knows the run from the file only."""

    async def story() -> None:
        async with Engine([define(mended="no")], store=tmp_path / "s.db") as engine:
            with pytest.raises(RunFailed):
                await engine.invoke("script", id="r")
        async with Engine([define(mended="yes")], store=tmp_path / "s.db") as engine:
            assert (await engine.runs(status="failed"))[0].id == "r"
            run = await engine.retry("r")
            assert await run.result() == "loaded"
            assert await engine.runs(status="failed") == []

    asyncio.run(story())


@pytest.mark.parametrize("how", ["start", "run"])
@pytest.mark.parametrize("ended", ["ended", "waiting"])
def test_an_id_stands_for_one_function_and_one_input(how: str, ended: str) -> None:
    """R32: another function or other data is a ValueError that names both; the same again is the same run."""

    @durable.function
    async def one(ctx: Context) -> str:
        if ended == "waiting":
            await ctx.step.wait_for_event("w", event="e", timeout="1d")
        return "one"

    @durable.function
    async def other(ctx: Context) -> str:
        return "other"

    store = DictStore()

    async def start(function: durable.Function[Any], data: dict[str, Any]) -> None:
        async with Engine([one, other], store=store) as engine:
            assert (await engine.start(function, data, id="r")).id == "r"
            await engine.settled()

    def ask(function: durable.Function[Any], data: dict[str, Any]) -> None:
        if how == "start":
            asyncio.run(start(function, data))
            return
        try:
            durable.run(function, data, store=store, id="r", functions=[one, other], timeout=0.05)
        except TimeoutError:
            assert ended == "waiting"

    for _ in range(2):
        ask(one, {"day": 1, "hour": (2,)})
    with pytest.raises(ValueError, match="run 'r' belongs to function 'one', not to 'other': give"):
        ask(other, {"day": 1, "hour": (2,)})
    for data in ({"day": 2, "hour": (2,)}, {"day": 1, "hour": [2]}, {"day": True, "hour": (2,)}, {}):
        with pytest.raises(ValueError, match="run 'r' was started with other data: give"):
            ask(one, data)
    ask(one, {"hour": (2,), "day": 1})  # the same data, in another order
