"""Torture: what is deterministic survives it, what is not fails with the shortest story."""

from __future__ import annotations

import asyncio
import datetime as dates
import gc
import random
import threading
import time
import uuid
from collections.abc import Awaitable
from typing import Any

import attrs
import pytest

import durable
from durable import Backoff, Context, Event, StepError, StepOptions
from durable.journal.codec.write import read
from durable.journal.records import StepClosed
from durable.scheduler import QUIET
from durable.scheduler.calls import StepCall
from durable.testing import Lab, StuckError, TortureReport, torture
from durable.testing.torture.torture import LOOK_SECONDS
from tests.support.lives import note

CALLED: list[str] = []


async def slow(value: Any) -> Any:
    """Return a value after as many milliseconds as it says, and note the call."""
    CALLED.append(f"{durable.current_step().key}/{durable.current_step().attempt}")
    await asyncio.sleep(0.001 * (value if isinstance(value, int) else 1))
    return value


def report_of(function: durable.Function[Any], data: dict[str, Any] | None = None, **given: Any) -> TortureReport:
    """Torture a function."""
    return asyncio.run(torture(function, data, **given))


def story_of(function: durable.Function[Any], data: dict[str, Any] | None = None, **given: Any) -> str:
    """Torture a function that does not stand it, and return what is said."""
    with pytest.raises(AssertionError) as caught:
        report_of(function, data, **given)
    return str(caught.value)


def line_of(function: durable.Function[Any], offset: int) -> str:
    """Return a line of a function's code, counted from its decorator, as stories name it."""
    code = function.code.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


# What is deterministic.


@durable.function
async def straight(ctx: Context) -> list[Any]:
    charge = await ctx.step.run("charge", note, ctx.event.data["card"])
    await ctx.step.sleep("night", "8h")
    return [charge, await ctx.step.run("ship", slow, 1), ctx.random.random(), ctx.now()]


def test_a_deterministic_function_survives_and_the_report_counts_what_it_survived() -> None:
    """A run opened, two handlers, a sleep posted and over, the end: six batches."""
    report = report_of(straight, {"card": 7})
    assert report == TortureReport("straight", "completed", 3, 6, 6, 6, 0, 1)
    assert str(report) == (
        "straight: 3 steps in 6 batches of records; the same after 6 crashes, 6 rebuilds and in 0 other orders of "
        "parallel steps; it completed"
    )


def test_each_handler_is_really_called_once_for_each_try() -> None:
    """Later lives get what it returned: a difference between lives comes from the function alone."""

    async def counts() -> int:
        CALLED.append(f"{durable.current_step().key}/{durable.current_step().attempt}")
        if durable.current_step().attempt == 0:
            raise ValueError
        return len(CALLED)

    def blocking() -> float:
        CALLED.append("blocking")
        return random.random()

    @durable.function
    async def counting(ctx: Context) -> Any:
        return [await ctx.step.run("a", counts), await ctx.step.run("b", blocking), await ctx.step.run("c", counts)]

    CALLED.clear()
    report_of(counting)
    assert sorted(CALLED) == ["a/0", "a/1", "blocking", "c/0", "c/1"]


@durable.function
async def racing(ctx: Context) -> Any:
    """A race, results in the order in which they come, the same ids in branches, a queue between tasks."""
    racers = [asyncio.ensure_future(ctx.step.run(name, slow, name)) for name in "ab"]
    done, _ = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    winners = [racer in done for racer in racers]
    for racer in racers:
        racer.cancel()
    await asyncio.wait(racers)
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def branch(number: int) -> None:
        queue.put_nowait(await ctx.step.run("same", slow, number))
        queue.put_nowait(await ctx.step.run("same", slow, -number))

    async with asyncio.TaskGroup() as group:
        for number in (3, 1, 2):
            group.create_task(branch(number))
    return [winners, [queue.get_nowait() for _ in range(6)], await ctx.group.parallel([lambda: ctx.step.sleep("s", 1)])]


def test_a_race_may_go_another_way_in_another_order_but_not_when_it_is_rebuilt() -> None:
    """R5: for each order of parallel steps, a rebuilt life is as the undisturbed one."""
    report = report_of(racing)
    assert report.orders == 5 and report.endings > 1 and report.rebuilds > 5 * 4
    assert f"5 other orders of parallel steps, its races with {report.endings} endings; it completed" in str(report)


def test_without_a_race_every_order_leads_to_the_same_end() -> None:
    @durable.function
    async def gathering(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.step.run("one", slow, number) for number in (3, 1, 2)))

    report = report_of(gathering)
    assert report.orders == 5 and report.endings == 1


def test_functions_that_fail_retry_or_are_cancelled_survive_too() -> None:
    """R11 to R14: the ending is compared, whatever it is."""

    async def broken() -> None:
        raise ValueError("broken")

    @durable.function(retries=1, backoff=Backoff(first="1m"))
    async def failing(ctx: Context) -> Any:
        try:
            await ctx.step.run(StepOptions("a", retries=1), broken)
        except StepError:
            await ctx.step.run("b", note, ctx.attempt)
        raise RuntimeError("at the end")

    assert report_of(failing).ending == "failed"
    cancelled = durable.function(timeouts=durable.Timeouts(finish="1h"))(straight.code)
    assert report_of(cancelled, {"card": 1}).ending == "cancelled"


@durable.function
async def child(ctx: Context) -> Any:
    return [await ctx.step.run("inner", slow, ctx.event.data["x"]), await ctx.step.run("other", note)]


@durable.function("told")
async def told(ctx: Context) -> None:
    await ctx.step.run("hears", note, ctx.event.data)


@durable.function
async def waiting(ctx: Context) -> Any:
    got: list[Any] = [await ctx.step.invoke("child", function=child, data={"x": 1})]
    await ctx.step.send_event("tell", Event("told", {"x": 2}))
    event = await ctx.step.wait_for_event("paid", event="paid", timeout="3d", match="data.id")
    signal = await ctx.step.wait_for_signal("go", signal="go", timeout="3d")
    return [*got, event and event.data, signal and signal.data]


def test_drive_sends_what_the_function_waits_for_whenever_the_process_dies() -> None:
    """R18: an answer that a crash took away is asked for again, and nothing is had twice."""
    driven: list[Any] = []

    async def drive(lab: Lab, run: durable.Run[Any]) -> None:
        assert (await run.info()).waiting_for.keys() == {"paid"}
        assert await lab.send("paid", {"id": 2}) == []
        await lab.advance("1d")
        await lab.send("paid", {"id": 1}, id="once")
        assert await lab.signal("go", "now") == run.id
        driven.append(await run.result())

    report = report_of(waiting, {"id": 1}, functions=[child, told], drive=drive)
    assert report.steps == 7 and report.ending == "completed"
    assert driven == [[[1, None], {"id": 1}, "now"]] * len(driven) and len(driven) == 2 + report.crashes + 1


def test_a_function_that_waits_for_what_nobody_sends_gets_its_timeout_or_is_stuck() -> None:
    assert report_of(waiting, {"id": 1}, functions=[child]).ending == "completed"  # with the timeouts' None

    @durable.function
    async def absent(ctx: Context) -> None:
        signal = await ctx.step.wait_for_event("never", event="never", timeout="1d")
        if signal is None:
            await asyncio.shield(ctx.step.wait_for_event("again", event="again", timeout="1d"))

    assert report_of(absent).steps == 2
    assert issubclass(StuckError, durable.DurableError)


# What is not.


@durable.function
async def decides_by_chance(ctx: Context) -> Any:
    await ctx.step.run("charge", note)
    if random.random() < 0.5:
        return await ctx.step.run("heads", note)
    return await ctx.step.run("tails", note)


@durable.function
async def passes_chance_on(ctx: Context) -> None:
    await ctx.step.run("draw", note, random.choice(range(10**9)))


@durable.function
async def returns_chance(ctx: Context) -> str:
    await ctx.step.run("a", note)
    return str(uuid.uuid4())


@durable.function
async def names_by_clock(ctx: Context) -> None:
    await ctx.step.run(f"at {time.time()}", note)


@durable.function
async def decides_by_clock(ctx: Context) -> None:
    await ctx.step.run("a", note)
    if int(time.time()) // 3600 % 2:
        await ctx.step.sleep("odd hours", 1)


@durable.function
async def waits_by_clock(ctx: Context) -> Any:
    return [await ctx.step.run("a", note), dates.datetime.now().microsecond, await ctx.step.run("b", note)]


@durable.function
async def walks_a_set(ctx: Context) -> Any:
    tasks = {asyncio.create_task(branch(ctx, number)) for number in (1, 2)}
    return [await task for task in tasks]


@durable.function
async def steps_through_a_set(ctx: Context) -> None:
    done, _ = await asyncio.wait([asyncio.create_task(branch(ctx, number)) for number in (1, 2, 3)])
    for task in done:
        await ctx.step.run(f"after {task.result()}", note)


async def branch(ctx: Context, number: int) -> Any:
    return await ctx.step.run(f"number {number}", slow, number)


COUNT = [0]


@durable.function
async def counts_itself(ctx: Context) -> None:
    COUNT[0] += 1
    await ctx.step.run(f"call {COUNT[0]}", note)


@durable.function
async def asks_another_kind(ctx: Context) -> None:
    COUNT[0] += 1
    await (ctx.step.run("a", note) if COUNT[0] % 2 else ctx.step.sleep("a", 1))
    await ctx.step.run("b", note)


@pytest.mark.parametrize(
    ("function", "offset", "call", "remedy"),
    [
        (decides_by_chance, 3, "random.random()", "ctx.random"),
        (passes_chance_on, 2, "random.choice()", "ctx.random"),
        (returns_chance, 3, "uuid.uuid4()", "ctx.random"),
        (names_by_clock, 2, "time.time()", "ctx.now()"),
        (decides_by_clock, 3, "time.time()", "ctx.now()"),
        (waits_by_clock, 2, "datetime.now()", "ctx.now()"),
        (walks_a_set, 2, "a set", "walk a list"),
        (steps_through_a_set, 2, "asyncio.wait()", "walk a list"),
    ],
)
def test_a_function_that_is_not_deterministic_fails_with_its_line_and_the_remedy(
    function: durable.Function[Any], offset: int, call: str, remedy: str
) -> None:
    story = story_of(function)
    assert story.startswith(f"function {function.id!r} is not deterministic: ")
    has_lines = "  recorded:  " in story and ("  asked for: " in story or "  and now:   " in story)
    assert has_lines or "it goes on differently" in story, story  # chance decides how it shows first
    assert f"    {line_of(function, offset)}: {call}: " in story and remedy in story, story
    assert len(story.splitlines()) == 5


def test_a_story_says_what_was_recorded_what_was_asked_for_and_where() -> None:
    COUNT[0] = 0
    lines = story_of(counts_itself).splitlines()
    assert (
        lines[0] == "function 'counts_itself' is not deterministic: after a crash after batch 1, it goes on differently"
    )
    assert lines[1] == f"  recorded:  step 'call 1' (run) at {line_of(counts_itself, 3)}"
    assert lines[2] == f"  asked for: step 'call 3' (run) at {line_of(counts_itself, 3)}"
    assert "random -> ctx.random" in lines[3] and "I/O outside a step -> a step" in lines[3] and len(lines) == 4


def test_a_drift_names_the_line_that_asks_for_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    """R6. asyncio has nothing to say of it: the drift of a run whose function raised it has been looked at."""
    COUNT[0] = 0
    story = story_of(asks_another_kind)
    gc.collect()
    assert not caplog.records
    place = line_of(asks_another_kind, 3)
    assert f"  recorded:  step 'a' (run) at {place}\n  asked for: step 'a' (sleep) at {place}\n" in story, story


def in_a_thread() -> Awaitable[object]:
    """Await a thread until the run has been quiet and looked at: on a slow machine no time is sure to do for that."""
    loop, ends = asyncio.get_running_loop(), threading.Event()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            loop.call_later(3 * LOOK_SECONDS, ends.set)

    turn(4 * QUIET)
    return asyncio.to_thread(ends.wait)


@durable.function
async def awaits_at_the_end(ctx: Context) -> Any:
    value = await ctx.step.run("a", note)
    await in_a_thread()
    return value


@durable.function
async def awaits_between_steps(ctx: Context) -> Any:
    waiting = asyncio.ensure_future(ctx.step.sleep("s", "1d"))
    await in_a_thread()
    await ctx.step.run("a", note)
    await waiting


@durable.function
async def reads_a_file(ctx: Context) -> Any:
    with open(__file__) as file:  # noqa: ASYNC230
        text = file.read()
    return await ctx.step.run("a", note, len(text))


@pytest.mark.parametrize(
    ("function", "offset"), [(awaits_at_the_end, 3), (awaits_between_steps, None), (reads_a_file, 2)]
)
def test_io_outside_a_step_fails_whatever_comes_of_it(function: durable.Function[Any], offset: int | None) -> None:
    """It is done again at every replay, and comes at another moment. While a step is pending too, the line may be that
    of the next step."""
    story = story_of(function)
    assert story.startswith(f"function {function.id!r} does something outside its steps\n"), story
    assert any(line_of(function, line) in story for line in ([offset] if offset else [3, 4])), story
    assert "ctx.step.run(" in story and len(story.splitlines()) <= 4


def test_what_is_harmless_outside_a_step_is_let_pass() -> None:
    """A clock or a coin that decides nothing; the run's own, which are the same on replay; those of a handler."""

    @durable.function
    async def harmless(ctx: Context) -> Any:
        begun = time.perf_counter()
        number = await ctx.step.run("draw", random.random)
        ctx.logger.info("took %s", time.perf_counter() - begun)
        return [number, ctx.random.random(), ctx.now(), await ctx.step.run("clock", time.time)]

    assert report_of(harmless).endings == 1


def test_torture_leaves_the_loop_and_the_clock_as_they_were() -> None:
    async def story() -> None:
        loop, clock = asyncio.get_running_loop(), time.time
        factory = loop.get_task_factory()
        with pytest.raises(AssertionError):
            await torture(decides_by_clock)
        assert loop.get_task_factory() is factory and time.time is clock

    asyncio.run(story())


# A fault of ours.


def test_a_finished_handler_that_is_called_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """R1, planted: recorded outcomes are not recalled inline, and every step is held to be due."""
    awaits = StepCall.__await__

    def begins(call: StepCall) -> Any:
        if call.begin is not None:
            call.begin(call)
            call.begin = None
        return awaits(call)

    monkeypatch.setattr(StepCall, "_is_due", lambda call: True)
    monkeypatch.setattr(StepCall, "_recalled", lambda call: None)
    monkeypatch.setattr(StepCall, "__await__", begins)

    @durable.function
    async def simple(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.step.run(name, slow, name) for name in "ab"))

    story = story_of(simple)
    assert "had ended before the crash" in story and "but its handler was called again" in story, story


def test_a_winner_that_changes_on_replay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """R5, planted: recovery reads all outcomes as if they had come in one turn."""

    def forgetful(kind: str, body: str) -> Any:
        record = read(kind, body)
        return attrs.evolve(record, turn=1) if isinstance(record, StepClosed) and record.turn else record

    monkeypatch.setattr("durable.engine.runtime.read", forgetful)
    assert "goes on differently" in story_of(racing)
