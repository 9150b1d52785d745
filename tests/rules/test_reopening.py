"""Rule R32: how a failed run goes on, and what an id stands for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Cancel,
    Concurrency,
    Context,
    DictStore,
    Engine,
    RunCancelled,
    RunFailed,
    StepOptions,
    Timeouts,
    current_step,
)
from durable.engine.opened import inside
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from tests.support.gated import Gated
from tests.support.lives import note, rounds

PLAIN = Backoff(first="10s", factor=3, max="1m", jitter=0)


@pytest.mark.parametrize("crashing", [False, True])
def test_a_failed_run_goes_on_with_its_finished_steps_kept(crashing: bool) -> None:
    """R32: failed and cancelled steps open again, with all their tries, the same idempotency key, a new deadline."""
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
            assert await lab.result(run) == (1, "mended", START + timedelta(hours=1, seconds=20), 0)
            assert [attempt for attempt, _ in keys] == [0, 1, 0, 1, 0] and len({key for _, key in keys}) == 1
            assert lab.calls["first"] == lab.calls["second"] == 1 and lost == ["loser"] * 3

    asyncio.run(story())


def test_only_a_run_that_failed_or_was_cancelled_is_opened_again() -> None:
    """R32: the message says what it is instead."""

    @durable.function
    async def sleeping(ctx: Context) -> None:
        await ctx.step.sleep("night", "8h")

    async def story() -> None:
        async with Lab([sleeping]) as lab:
            run = await lab.start(sleeping, id="r")
            with pytest.raises(ValueError, match="run 'r' has not ended: only"):
                await lab.engine.retry("r")
            await lab.result(run)
            with pytest.raises(ValueError, match="run 'r' has completed: only"):
                await lab.engine.retry("r")
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


# A cancelled run goes on.


@pytest.mark.parametrize("parked", [False, True])
def test_a_run_cancelled_a_moment_ago_is_called_when_its_last_call_has_ended(parked: bool) -> None:
    """R8, R32: a handler that takes its time to clean up is not called beside itself; what it does then is nobody's."""
    going: list[str] = []
    beside: list[int] = []

    async def slow() -> str:
        beside.append(len(going))
        going.append("on")
        try:
            if len(beside) == 1:
                await asyncio.Event().wait()
        finally:
            for _ in range(500):
                await asyncio.sleep(0)
            going.remove("on")
        return "done"

    @durable.function(retries=0)
    async def cleaning(ctx: Context) -> str:
        beside.append(len(going))
        going.append("on")
        try:
            await ctx.step.sleep("long", "1h")
        finally:
            for _ in range(500):
                await asyncio.sleep(0)
            going.remove("on")
        return "done"

    @durable.function(retries=0)
    async def calling(ctx: Context) -> str:
        return await ctx.step.run("slow", slow)

    async def story() -> None:
        async with Engine([cleaning, calling], clock=VirtualClock(START), resident=0) as engine:
            run = await engine.start(cleaning if parked else calling, id="r")
            while not going:
                await asyncio.sleep(0)
            while parked and "r" not in inside(engine, "test").state.parked:
                await asyncio.sleep(0)
            assert going  # its task has yet to leave
            assert await run.cancel()
            await engine.retry("r")
            await engine.settled()
            if parked:
                engine._settings.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
            assert await run.result(30) == "done"
            assert beside == [0] * len(beside) and len(beside) >= 2

    asyncio.run(story())


@pytest.mark.parametrize("options", [{}, {"concurrency": Concurrency(1, counts="runs")}])
def test_a_run_that_is_opened_again_is_not_called_before_that_is_durable(options: Any) -> None:
    """R32: nor where its last call ends while the opening is still being written."""
    store, calls, let_go = Gated(), list[int](), asyncio.Event()

    @durable.function(retries=0, **options)
    async def staying(ctx: Context) -> str:
        calls.append(len(calls))
        if len(calls) == 1:
            with suppress(asyncio.CancelledError):
                await ctx.step.sleep("long", "1h")
            await let_go.wait()
        return "done"

    async def story() -> None:
        async with Engine([staying], store=store, clock=VirtualClock(START)) as engine:
            run = await engine.start(staying, id="r")
            await engine.settled()
            assert await run.cancel()
            store.gate.clear()
            retrying = asyncio.ensure_future(engine.retry("r"))
            await rounds()
            let_go.set()
            await rounds()
            meanwhile = list(calls)
            store.gate.set()
            await retrying
            assert await run.result() == "done" and (meanwhile, calls) == ([0], [0, 1])

    asyncio.run(story())


def test_deadlines_of_a_run_as_a_whole_count_from_its_opening_again() -> None:
    """R21, R27, R32: what ended it before does not end it at once; nor is it deaf to who may cancel it."""

    @durable.function(
        retries=0,
        timeouts=Timeouts(start="1h", finish="1h"),
        cancel=[Cancel("stop", timeout="30m")],
    )
    async def timed(ctx: Context) -> str:
        await ctx.step.sleep("s", "2h" if len(ended) < 2 else "45m")
        return "in time"

    ended: list[str] = []

    async def story() -> None:
        async with Lab([timed]) as lab:
            run = await lab.start(timed, id="r")
            for reason, at in (("finish in time", "1h"), ("by event 'stop'", "20m")):
                await lab.advance(at)
                if "event" in reason:
                    await lab.send("stop")
                with pytest.raises(RunCancelled, match=reason):
                    await lab.result(run)
                ended.append(reason)
                await lab.crash()
                await lab.advance("1d")
                await lab.engine.retry("r")
                await lab.crash()
            await lab.advance("31m")
            await lab.send("stop")
            assert await lab.result(run) == "in time"

    asyncio.run(story())


def test_a_run_that_is_opened_again_has_its_time_to_start_again() -> None:
    """R21, R32: from there, not from when it was opened first."""

    @durable.function(timeouts=Timeouts(start="1h"))
    async def waiting_outside(ctx: Context) -> str:
        await gate.wait()
        return await ctx.step.run("s", note, "done")

    async def story() -> None:
        async with Engine([waiting_outside], clock=(clock := VirtualClock(START))) as engine:
            run = await engine.start(waiting_outside, id="r")
            await run.cancel()
            clock.advance(timedelta(hours=2))
            await engine.retry("r")
            clock.advance(timedelta(minutes=59))
            for _ in range(300):
                await asyncio.sleep(0)
            assert (await run.info()).ended_at is None
            gate.set()
            assert await run.result(30) == "done"

    gate = asyncio.Event()
    asyncio.run(story())


def test_waits_open_anew_with_a_new_deadline(tmp_path: Path) -> None:
    """R9, R32: an event that comes after the first deadline and before the new one answers, live and from the file."""

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> Any:
        wait = asyncio.ensure_future(ctx.step.wait_for_event("w", event="e", timeout="1h"))
        await ctx.step.run(StepOptions("step", retries=0), lambda: 1 / len(mended))
        event = await wait
        return event and event.data["n"], ctx.now()

    mended: list[int] = []

    async def story() -> None:
        clock = VirtualClock(START)
        for life in range(3):
            async with Engine([waiting], store=tmp_path / "x.db", clock=clock) as engine:
                run = await engine.start(waiting, id="r")
                if life == 0:
                    with pytest.raises(RunFailed):
                        await run.result()
                    clock.advance(timedelta(hours=2))
                    mended.append(1)
                elif life == 1:
                    await engine.retry("r")
                    await engine.settled()
                    clock.advance(timedelta(minutes=59))
                else:
                    await engine.send("e", {"n": 7})
                    assert await run.result() == (7, START + timedelta(hours=2, minutes=59))

    asyncio.run(story())


def test_what_an_ended_run_has_left_open_is_shown_as_cancelled() -> None:
    """R27: nothing of it is due any more, neither a try nor a wait."""

    async def flaky() -> None:
        raise ValueError("again")

    @durable.function(retries=2, backoff=Backoff(first="1h", jitter=0))
    async def leaving(ctx: Context) -> None:
        ends = [
            ctx.step.run("try", flaky),
            ctx.step.sleep("s", "1d"),
            ctx.step.wait_for_event("w", event="e", timeout=60),
        ]
        await asyncio.gather(*ends)

    async def story() -> None:
        async with Lab([leaving]) as lab:
            run = await lab.start(leaving, id="r")
            shown = {key: step.status for key, step in (await run.info()).steps.items()}
            assert shown == {"try": "retrying", "s": "waiting", "w": "waiting"}
            await run.cancel()
            for _ in range(2):
                info = await run.info()
                assert {step.status for step in info.steps.values()} == {"cancelled"} and not info.waiting_for
                assert "retrying" not in str(info) and {step.ended_at for step in info.steps.values()} == {None}
                await lab.crash()
            await lab.engine.retry("r")
            await lab.settle()
            shown = {key: step.status for key, step in (await run.info()).steps.items()}
            assert shown == {"try": "retrying", "s": "waiting", "w": "waiting"}
            assert (await run.info()).steps["try"].attempts == 1

    asyncio.run(story())
