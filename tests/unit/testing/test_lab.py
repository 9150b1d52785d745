"""The Lab: time, stubs, calls, crashes, and what it says of a run that cannot go on."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

import durable
from durable import Backoff, Context, DictStore, RunFailed, Signal, StepError, StepOptions, current_step
from durable.testing import Lab, StuckError, VirtualClock
from durable.testing.lab import START
from tests.support.lives import note


async def real() -> str:
    raise AssertionError("the real handler must not be called")


@durable.function
async def trying(ctx: Context) -> list[Any]:
    """Call one step three times; its errors as their names."""
    got: list[Any] = []
    for _ in range(3):
        try:
            got.append(await ctx.step.run(StepOptions("s", retries=1, backoff=Backoff(first=1)), real))
        except StepError as error:
            got.append(f"{error.name}: {error.message}")
    return got


CALLED: list[int] = []


def stub() -> str:
    CALLED.append(current_step().attempt)
    return f"called {len(CALLED)}"


async def async_stub() -> str:
    return stub()


@pytest.mark.parametrize(
    ("given", "expected", "calls"),
    [
        ("value", ["value"] * 3, 3),
        (None, [None] * 3, 3),
        ((1, 2), [(1, 2)] * 3, 3),
        (ValueError("no"), ["ValueError: no"] * 3, 6),
        (KeyError, ["KeyError: "] * 3, 6),
        (durable.NonRetriableError("never"), ["NonRetriableError: never"] * 3, 3),
        (stub, ["called 1", "called 2", "called 3"], 3),
        (async_stub, ["called 1", "called 2", "called 3"], 3),
        (["one", ValueError("once"), stub, [4]], ["one", "called 1", [4]], 4),
    ],
)
def test_a_stub_takes_the_place_of_a_handler(given: Any, expected: list[Any], calls: int) -> None:
    """A value, an exception, a callable, or a list with one of these for each call, retries included."""
    CALLED.clear()

    async def story() -> None:
        async with Lab([trying], stubs={"s": given}) as lab:
            assert await lab.result(await lab.start(trying)) == expected
            assert lab.calls == {"s": calls}

    asyncio.run(story())


def test_a_stub_gets_the_arguments_of_the_handler() -> None:
    @durable.function
    async def adding(ctx: Context) -> int:
        return await ctx.step.run("add", note, 1)

    async def story() -> None:
        async with Lab([adding], stubs={"add": lambda value: value + 10}) as lab:
            assert await lab.result(await lab.start(adding)) == 11

    asyncio.run(story())


def test_a_stub_takes_the_place_of_a_wait_an_invoke_and_a_sleep() -> None:
    """Nothing is waited for, nothing invoked; live and after a crash."""

    @durable.function
    async def waiting(ctx: Context) -> list[Any]:
        event = await ctx.step.wait_for_event("event", event="e", timeout="1d")
        signal = await ctx.step.wait_for_signal("signal", signal="s", timeout="1d")
        child = await ctx.step.invoke("child", function="nobody", data={})
        await ctx.step.sleep("sleep", "1d")
        await ctx.step.sleep("another", "1h")
        return [event and event.data, signal and signal.data, child, ctx.now()]

    stubs = {"event": durable.Event("e", {"x": 1}), "signal": Signal("s", 2), "child": 3, "sleep": None}

    async def story() -> None:
        async with Lab([waiting], stubs=stubs) as lab:
            run = await lab.start(waiting)
            await lab.crash()
            assert await lab.result(run) == [{"x": 1}, 2, 3, START + timedelta(hours=1)]
            kinds = [step.kind for step in (await run.info()).steps.values()]
            assert kinds == ["wait_for_event", "wait_for_signal", "invoke", "sleep", "sleep"]

    asyncio.run(story())


@pytest.mark.parametrize(("stubs", "words"), [({"typo": 1}, "typo"), ({"s": [1, 2, 3, 4]}, r"s \(3 of 4\)")])
def test_a_stub_that_no_step_used_fails_the_test(stubs: dict[str, Any], words: str) -> None:
    async def story() -> None:
        async with Lab([trying], stubs={"s": 1, **stubs}) as lab:
            await lab.start(trying)

    with pytest.raises(AssertionError, match=f"stubs that no step used: {words}; check the ids of the steps"):
        asyncio.run(story())


def test_an_unused_stub_does_not_hide_the_tests_own_error() -> None:
    async def story() -> None:
        async with Lab([trying], stubs={"typo": 1}):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())


def test_a_list_of_stubs_that_is_too_short_says_so() -> None:
    """In the step, at once, and at the test's end if the function has caught it."""
    text = "step 's' was called 3 times, its list of stubs has 2"

    async def story() -> None:
        async with Lab([trying], stubs={"s": [1, 2]}) as lab:
            assert await lab.result(await lab.start(trying)) == [1, 2, f"NonRetriableError: {text}"]

    with pytest.raises(AssertionError, match=text):
        asyncio.run(story())


def test_calls_counts_handler_calls_by_step_id_over_crashes() -> None:
    """Repeats and retries count under the id as it is written; what answers from the record does not count."""

    async def flaky() -> int:
        if current_step().attempt == 0:
            raise ValueError
        return 1

    @durable.function
    async def calling(ctx: Context) -> None:
        for _ in range(2):
            await ctx.step.run("twice", note)
        await ctx.step.run("flaky", flaky)
        await ctx.step.sleep("night", "8h")

    async def story() -> None:
        async with Lab([calling]) as lab:
            run = await lab.start(calling)
            await lab.crash()
            await lab.result(run)
            assert lab.calls == {"twice": 2, "flaky": 2}

    asyncio.run(story())


# Time.


@durable.function("nap")
async def napping(ctx: Context) -> list[float]:
    instants = []
    for number in range(3):
        await ctx.step.sleep(f"nap {number}", "1h")
        instants.append((ctx.now() - START).total_seconds())
    return instants


def test_advance_moves_from_deadline_to_deadline_those_at_its_end_included() -> None:
    async def story() -> None:
        async with Lab([napping]) as lab:
            run = await lab.start(napping)
            await lab.advance("59m59s")
            assert (await run.info()).waiting_for.keys() == {"nap 0"}
            await lab.advance("1s")
            assert (await run.info()).waiting_for.keys() == {"nap 1"}
            await lab.advance("2h")
            assert await lab.result(run) == [3600.0, 7200.0, 10800.0]
            assert lab.clock.now() == START + timedelta(hours=3)
            await lab.advance(0)
            assert lab.clock.now() == START + timedelta(hours=3)

    asyncio.run(story())


def test_result_skips_as_much_time_as_is_needed_and_no_more() -> None:
    async def story() -> None:
        async with Lab([napping]) as lab:
            run = await lab.start(napping)
            await lab.start(napping)
            assert await lab.result(run) == [3600.0, 7200.0, 10800.0]
            assert lab.clock.now() == START + timedelta(hours=3)

    asyncio.run(story())


def test_the_clock_begins_where_the_test_says() -> None:
    start = datetime(2026, 2, 28, 23, 30, tzinfo=timezone(timedelta(hours=1)))

    @durable.function
    async def asking(ctx: Context) -> datetime:
        await ctx.step.sleep("a while", "2h")
        return ctx.now()

    async def story() -> None:
        async with Lab([asking], start=start) as lab:
            assert isinstance(lab.clock, VirtualClock) and lab.clock.now() == start
            assert await lab.result(await lab.start(asking)) == start + timedelta(hours=2)

    asyncio.run(story())


def test_send_returns_the_runs_that_it_opened_and_a_delayed_event_opens_them_later() -> None:
    async def story() -> None:
        async with Lab([napping]) as lab:
            (run,) = await lab.send("nap")
            assert await lab.send("nap", ts=START + timedelta(days=1)) == []
            assert await lab.send("nobody listens") == []
            assert len(await lab.engine.runs()) == 1
            await lab.advance("1d")
            assert len(await lab.engine.runs()) == 2
            assert (await run.info()).status == "completed"

    asyncio.run(story())


def test_signal_says_which_run_received_it() -> None:
    @durable.function
    async def waiting(ctx: Context) -> Any:
        signal = await ctx.step.wait_for_signal("w", signal="go", timeout="1d")
        return signal and signal.data

    async def story() -> None:
        async with Lab([waiting]) as lab:
            assert await lab.signal("go", 1) is None
            run = await lab.start(waiting)
            assert await lab.signal("go", 2) == run.id
            assert await lab.result(run) == 2

    asyncio.run(story())


# What cannot go on.


def test_a_run_that_waits_for_ever_is_a_stuck_error_that_names_what_for() -> None:
    """An event and a signal have their timeouts, so nothing is due only where another run never ends."""

    @durable.function
    async def parked(ctx: Context) -> None:
        await ctx.step.invoke("child", function="child")

    @durable.function
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("s", 1)

    async def story() -> None:
        store = DictStore()
        async with Lab([parked, child], store=store) as lab:
            await lab.start(parked, id="r")
        async with Lab([parked], store=store) as lab:  # the child's function is not there
            with pytest.raises(StuckError) as caught:
                await lab.result(await lab.engine.run("r"))
            for part in ("run 'r' of function 'parked'", "step 'child'", "the end of run 'r/child'"):
                assert part in str(caught.value), str(caught.value)

    asyncio.run(story())


def test_a_run_that_awaits_something_outside_its_steps_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 5 s of real time, shortened here."""
    monkeypatch.setattr("durable.testing.lab.STUCK_SECONDS", 0.05)

    async def deep_inside() -> None:
        await asyncio.Event().wait()  # here

    @durable.function
    async def foreign(ctx: Context) -> None:
        await deep_inside()

    async def story() -> None:
        async with Lab([foreign]) as lab:
            with pytest.raises(StuckError) as caught:
                await lab.start(foreign, id="r")
            assert "run 'r'" in str(caught.value) and "outside its steps" in str(caught.value)
            line = deep_inside.__code__.co_firstlineno + 1
            assert f"{__file__}:{line}" in str(caught.value), str(caught.value)

    asyncio.run(story())


def test_a_handler_that_hangs_is_named_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable.testing.lab.STUCK_SECONDS", 0.05)

    @durable.function
    async def hanging(ctx: Context) -> None:
        await ctx.step.run("hangs", asyncio.Event().wait)

    async def story() -> None:
        async with Lab([hanging]) as lab:
            with pytest.raises(StuckError) as caught:
                await lab.start(hanging, id="r")
            assert "run 'r'" in str(caught.value) and "step 'hangs'" in str(caught.value), str(caught.value)

    asyncio.run(story())


def test_result_raises_how_the_run_ended() -> None:
    @durable.function(retries=0)
    async def failing(ctx: Context) -> None:
        raise ValueError("broken")

    async def story() -> None:
        async with Lab([failing, napping]) as lab:
            with pytest.raises(RunFailed, match="ValueError: broken"):
                await lab.result(await lab.start(failing))
            run = await lab.start(napping)
            assert await run.cancel()
            with pytest.raises(durable.RunCancelled, match="by hand"):
                await lab.result(run)

    asyncio.run(story())


# Crashes, threads, neighbours.


def test_a_crash_keeps_what_is_durable_and_handles_go_on_working() -> None:
    async def story() -> None:
        async with Lab([napping]) as lab:
            run, before = await lab.start(napping), lab.engine
            await lab.advance("1h")
            for _ in range(12):  # more often than max_crashes: a sleeping run is not held to be the cause
                await lab.crash()
            assert lab.engine is not before
            assert list((await run.info()).steps) == ["nap 0", "nap 1"]
            assert await lab.result(run) == [3600.0, 7200.0, 10800.0]
            with pytest.raises(durable.StoreError, match="the process died"):
                await before.runs()

    asyncio.run(story())


def test_a_crash_while_a_handler_runs_runs_it_again() -> None:
    begun: list[asyncio.Event] = []

    async def slow() -> int:
        begun.append(asyncio.Event())
        if len(begun) == 1:
            await begun[0].wait()
        return len(begun)

    @durable.function
    async def calling(ctx: Context) -> int:
        return await ctx.step.run("slow", slow)

    async def story() -> None:
        async with Lab([calling]) as lab:
            starting = asyncio.ensure_future(lab.start(calling, id="r"))
            while not begun:
                await asyncio.sleep(0)
            starting.cancel()
            await lab.crash()
            assert await lab.result(await lab.engine.run("r")) == 2
            assert lab.calls == {"slow": 2}

    asyncio.run(story())


def test_blocking_handlers_run_inline_or_with_threads_as_live() -> None:
    @durable.function
    async def asking(ctx: Context) -> bool:
        ident = await ctx.step.run("ident", threading.get_ident)
        return ident == threading.get_ident()

    async def story() -> None:
        for threads, inline in ((False, True), (True, False)):
            async with Lab([asking], threads=threads) as lab:
                assert await lab.result(await lab.start(asking)) is inline

    asyncio.run(story())


def test_two_labs_at_once_do_not_disturb_each_other() -> None:
    async def story() -> None:
        later = START + timedelta(days=365)
        async with Lab([napping, trying], stubs={"s": "one"}) as one, Lab([napping, trying], start=later) as other:
            run, _ = await one.start(napping, id="r"), await other.start(napping, id="r")
            await one.advance("3h")
            assert (await run.info()).status == "completed"
            assert (await other.engine.info("r")).status == "waiting" and other.clock.now() == later
            await other.crash()
            assert await one.result(await one.start(trying)) == ["one"] * 3
            assert other.calls == {}
            assert len(await one.engine.runs()) == 2 and len(await other.engine.runs()) == 1

    asyncio.run(story())


@attrs.frozen
class Point:
    x: int


def test_a_stub_may_return_what_the_handlers_annotation_names() -> None:
    def measure() -> Point:
        return Point(1)

    @durable.function
    async def measuring(ctx: Context) -> Point:
        return await ctx.step.run("measure", measure)

    async def story() -> None:
        async with Lab([measuring], stubs={"measure": Point(2)}) as lab:
            assert await lab.result(await lab.start(measuring)) == Point(2)

    asyncio.run(story())


def test_a_handler_that_hangs_is_ended_by_the_timeout_of_its_step_when_the_clock_moves() -> None:
    """R11a: a step's timeout is engine time, so a test can let it pass."""

    @durable.function
    async def calls(ctx: durable.Context) -> str:
        try:
            await ctx.step.run(durable.StepOptions("call", timeout="10s", retries=1), asyncio.Event().wait)
        except durable.StepError as error:
            return error.name
        return "answered"

    async def story() -> None:
        async with Lab([calls]) as lab:
            run = await lab.start(calls)
            await lab.advance("9s")
            assert (await run.info()).steps["call"].status == "running"
            await lab.advance("1s")
            assert (await run.info()).steps["call"].status == "retrying"
            assert await lab.result(run) == "TimeoutError"
            assert lab.calls["call"] == 2

    asyncio.run(story())


async def busy(value: int) -> int:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:  # as on a machine that is slow
        await asyncio.sleep(0)
    return value


@durable.function
async def slow(ctx: Context) -> int:
    await ctx.step.sleep("now", 0)
    return await ctx.step.run("busy", busy, 1)


def test_a_settling_is_begun_once_however_slow_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun again it would fire timers and write in other rounds of the loop: a test would be another one each time."""
    monkeypatch.setattr("durable.testing.patience.PART_SECONDS", 0.001)
    begun = 0

    async def story() -> None:
        async with Lab([slow]) as lab:
            settled = lab.engine.settled

            async def counted() -> None:
                nonlocal begun
                begun += 1
                await settled()

            monkeypatch.setattr(lab.engine, "settled", counted)
            run = await lab.start(slow)
            assert (await run.info()).status == "completed"

    asyncio.run(story())
    assert begun == 1
