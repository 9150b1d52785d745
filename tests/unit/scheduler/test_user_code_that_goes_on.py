"""Code that goes on when its run does not: tasks without steps, loops that swallow, contexts that were kept (R8)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, RunFailed
from durable.engine.opened import inside
from durable.scheduler.strays import LOOK_SECONDS
from durable.testing import Lab
from tests.support.lives import records, rounds

pytestmark = pytest.mark.anyio
by_context = pytest.mark.skipif(sys.version_info < (3, 12), reason="a task's context can be seen from Python 3.12 on")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Tasks that called no step.


class Started:
    """Tasks that a function starts: each waits for ever, and notes when it is cancelled."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.cancelled = 0

    async def _waits(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1

    def one(self) -> None:
        self.tasks.append(asyncio.create_task(self._waits()))

    async def waits(self) -> None:
        """Wait for ever, in the task that calls this."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        await self._waits()

    async def nested(self) -> None:
        """A task that starts another one and ends."""
        self.one()


def leaves(started: Started, how: str, ends: str) -> durable.Function[Any]:
    @durable.function(id="f", retries=0)
    async def function(ctx: Context) -> str:
        match how:
            case "task":
                started.one()
            case "of a task":
                await asyncio.create_task(started.nested())
            case "shielded":
                with contextlib.suppress(TimeoutError):
                    started.one()
                    await asyncio.wait_for(asyncio.shield(started.tasks[-1]), 0)
        if ends == "fails":
            raise durable.NonRetriableError("on purpose")
        if ends != "returns":
            await ctx.step.sleep("nap", "1d")
        return "done"

    return function


@by_context
@pytest.mark.parametrize("how", ["task", "of a task", "shielded"])
@pytest.mark.parametrize("ends", ["returns", "fails", "cancelled", "closed", "crashed"])
async def test_a_task_that_called_no_step_is_cancelled_with_its_run(
    how: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    started = Started()
    function = leaves(started, how, ends)
    store = DictStore()
    async with Lab([function], store=store) as lab:
        run = await lab.start(function)
        match ends:
            case "cancelled":
                assert started.cancelled == 0 and await run.cancel()
            case "closed":
                await lab.engine.close()
                await lab.engine.open()
            case "crashed":
                await lab.crash()
        await lab.settle()
        assert started.cancelled == 1 and started.tasks[0].done()
    assert [task for task in asyncio.all_tasks() if task in started.tasks] == [] and not [
        line for line in errors(caplog) if "failed" not in line
    ]
    kinds = [type(record).__name__ for record in records(store.mapping)]
    assert "StepClosed" not in kinds  # it recorded nothing


@by_context
async def test_a_run_with_a_task_that_called_no_step_is_not_parked(caplog: pytest.LogCaptureFixture) -> None:
    """Parked, its task would be gone, or, as each time that it is called again, one more."""
    started = Started()
    waits = leaves(started, "task", "waits")

    @durable.function("plain")
    async def plain(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1d")

    clock = durable.testing.VirtualClock(durable.testing.lab.START)
    async with Engine([waits, plain], clock=clock, resident=0) as engine:
        runs = [(await engine.start(waits)).id for _ in range(3)]
        for _ in range(20):
            await engine.send("plain")
        await engine.settled()
        state = inside(engine, "test").state
        assert len(state.parked) == 20 and not set(runs) & set(state.parked)
        clock.advance("1d")
        await engine.settled()
        assert [await engine.result(run) for run in runs] == ["done"] * 3
        assert (len(started.tasks), started.cancelled) == (3, 3)


@by_context
async def test_what_a_handler_starts_outlives_the_run() -> None:
    """A pool of connections that a step was the first to need is not the function's."""
    started = Started()

    async def connect() -> int:
        started.one()
        return 1

    @durable.function
    async def connects(ctx: Context) -> int:
        return await ctx.step.run("connect", connect)

    async with Lab([connects]) as lab:
        assert await lab.result(await lab.start(connects)) == 1
        await lab.settle()
        assert started.cancelled == 0
    assert started.cancelled == 0
    started.tasks[0].cancel()
    await asyncio.wait(started.tasks)


@by_context
async def test_the_tasks_of_another_engine_and_of_nobody_are_let_be() -> None:
    started, others = Started(), Started()
    leaving, staying = leaves(started, "task", "returns"), leaves(others, "task", "waits")
    others.one()
    async with Engine([staying]) as other, Engine([leaving]) as engine:
        await other.start(staying)
        await engine.invoke(leaving)
        await engine.settled()
        assert (started.cancelled, others.cancelled) == (1, 0)
    assert others.cancelled == 1  # closed first, the other engine ends its own
    others.tasks[0].cancel()
    await asyncio.wait(others.tasks)


@by_context
async def test_one_look_serves_all_runs_and_there_is_at_most_one_in_a_tenth_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[float] = []
    all_tasks = asyncio.all_tasks
    monkeypatch.setattr(asyncio, "all_tasks", lambda loop=None: looks.append(time.monotonic()) or all_tasks(loop))

    @durable.function("go")
    async def quick(ctx: Context) -> None:
        await ctx.step.run("a", lambda: 1)

    async with Engine([quick]) as engine:
        began = time.monotonic()
        while time.monotonic() - began < 3.5 * LOOK_SECONDS:
            await engine.invoke(quick)
        took = time.monotonic() - began
        assert 1 <= len(looks) <= 1 + took / LOOK_SECONDS
        assert all(after - before >= LOOK_SECONDS * 0.99 for before, after in pairwise(looks))


@by_context
async def test_a_task_that_swallows_its_cancelling_is_named_and_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("durable.scheduler.strays.GRACE", 0.01)
    go_on = True

    async def stubborn() -> None:
        while go_on:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)

    @durable.function
    async def leaving(ctx: Context) -> None:
        tasks.append(asyncio.create_task(stubborn(), name="stubborn"))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    async with Engine([leaving]) as engine:
        await engine.invoke(leaving, id="r")
    [line] = errors(caplog)
    assert "run 'r': task stubborn, which its function started, does not end" in line
    go_on = False
    await asyncio.wait(tasks)


# Tasks that are started to clean up.


def cleans_up(helper: Callable[[], Awaitable[None]], who: str, how: str) -> durable.Function[Any]:
    """A function of which one task, `who`, starts another one when it is cancelled."""

    async def cleanup() -> None:
        task = asyncio.ensure_future(helper())
        match how:
            case "awaited":
                await task
            case "shielded":
                await asyncio.shield(task)
            case "gathered":
                await asyncio.gather(task, return_exceptions=True)

    async def waits(one: Awaitable[Any]) -> None:
        try:
            await one
        finally:
            await cleanup()

    @durable.function(id="f", retries=0)
    async def function(ctx: Context) -> None:
        match who:
            case "function":
                await waits(ctx.step.sleep("nap", "1d"))
            case "task in a step":
                tasks.append(asyncio.create_task(waits(ctx.step.sleep("other", "9d"))))
            case "task without a step":
                tasks.append(asyncio.create_task(waits(asyncio.Event().wait())))
        await ctx.step.sleep("nap", "2d")

    tasks: list[asyncio.Task[None]] = []
    return function


@by_context
@pytest.mark.parametrize("how", ["awaited", "shielded", "gathered", "left"])
@pytest.mark.parametrize(
    ("who", "ends"),
    [
        ("function", "cancelled"),
        ("function", "closed"),
        *[
            (f"task {where} step", ends)
            for where in ("in a", "without a")
            for ends in ("returns", "cancelled", "closed")
        ],
    ],
)
async def test_what_was_started_to_clean_up_and_waits_for_ever_holds_nobody_up(
    how: str, who: str, ends: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R8: it was cancelled with nobody. It may wait in a queue whose reader was refused a step, say."""
    monkeypatch.setattr("durable.scheduler.strays.CLEANUP_SECONDS", 0.01)
    started = Started()
    function = cleans_up(started.waits, who, how)
    async with Lab([function]) as lab:
        run = await lab.start(function)
        assert not started.tasks
        match ends:
            case "returns":
                await lab.advance("2d")
            case "cancelled":
                assert await run.cancel()
            case "closed":
                await lab.engine.close()
        if ends != "closed":
            await lab.settle()
        assert started.cancelled == 1 and all(task.done() for task in started.tasks)
        if ends == "closed":
            await lab.engine.open()
    assert [line for line in errors(caplog) if "still waited in steps" not in line] == []


@by_context
@pytest.mark.parametrize("how", ["awaited", "shielded", "gathered", "left"])
@pytest.mark.parametrize("who", ["function", "task in a step", "task without a step"])
async def test_what_cleans_up_is_given_time_however_often_tasks_are_looked_at(how: str, who: str) -> None:
    """Other runs end meanwhile: each is a reason to look."""
    go, ended = asyncio.Event(), list[str]()

    async def helper() -> None:
        ended.append("began")
        await go.wait()
        ended.append("ended")

    function = cleans_up(helper, who, how)
    async with Engine([function]) as engine:
        run = await engine.start(function)
        await engine.settled()
        assert await engine.cancel(run.id)
        strays = inside(engine, "test").scheduler.strays
        while not ended:
            await asyncio.sleep(0)
        for _ in range(3):
            strays.look()
            await rounds(5)
        assert ended == ["began"] and not inside(engine, "test").scheduler.is_settled()
        go.set()
        await engine.settled()
        assert ended == ["began", "ended"]


@pytest.mark.parametrize("ends", ["returns", "cancelled", "closed", "limit"])
async def test_a_task_that_cleans_up_is_cancelled_once(ends: str) -> None:
    """R8: a second cancelling, once the function itself has ended, would cut its cleanup short."""
    go, noted, tasks = asyncio.Event(), list[str](), list[asyncio.Task[None]]()

    async def waits(ctx: Context) -> None:
        try:
            await ctx.step.sleep("other", "9d")
        finally:
            noted.append("began")
            await go.wait()
            noted.append("ended")

    @durable.function(id="f", retries=0)
    async def function(ctx: Context) -> None:
        tasks.append(asyncio.create_task(waits(ctx)))
        await ctx.step.sleep("nap", "1d")
        if ends == "limit":
            await ctx.step.sleep("one too many", "1d")

    clock = durable.testing.VirtualClock(durable.testing.lab.START)
    async with Engine([function], clock=clock, limits=durable.Limits(steps=2)) as engine:
        run = await engine.start(function)
        await engine.settled()
        closing = None
        match ends:
            case "cancelled":
                assert await engine.cancel(run.id)
            case "closed":
                closing = asyncio.create_task(engine.close())
            case _:
                clock.advance("1d")
        while not noted:
            await asyncio.sleep(0)
        await rounds(20)
        assert noted == ["began"] and not tasks[0].done()
        go.set()
        await (closing or engine.settled())
        assert noted == ["began", "ended"] and tasks[0].done()


@by_context
async def test_a_task_that_has_not_begun_begins_before_it_is_cancelled() -> None:
    """Else a coroutine that its own one wraps is never awaited, which Python warns of: anyio's tasks are made so."""
    began: list[str] = []
    contexts: list[contextvars.Context] = []

    async def inner() -> None:
        began.append("inner")
        await asyncio.Event().wait()

    async def wrapper(wrapped: Awaitable[None]) -> None:
        await wrapped

    @durable.function
    async def leaving(ctx: Context) -> None:
        contexts.append(contextvars.copy_context())

    async with Engine([leaving]) as engine:
        await engine.invoke(leaving)
        await engine.settled()
        task = asyncio.create_task(wrapper(inner()), context=contexts[0])
        inside(engine, "test").scheduler.strays.look()
        await engine.settled()
        assert began == ["inner"] and task.cancelled()


async def test_a_task_group_leaves_nothing_on_any_python() -> None:
    """What to write where Python does not tell of contexts: the README says so of 3.11."""
    started = Started()

    @durable.function
    async def grouped(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(started._waits())
            await ctx.step.sleep("nap", "1d")

    async with Lab([grouped]) as lab:
        run = await lab.start(grouped)
        await run.cancel()
        assert started.cancelled == 1


# Calls that are refused.


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "parked"])
@pytest.mark.parametrize("call", ["call", "await"])
async def test_a_task_that_is_not_the_runs_own_is_told_and_not_cancelled(state: str, call: str) -> None:
    """A web request that was given a context, say: a CancelledError would end the request, without a word."""
    kept: list[Context] = []

    @durable.function(retries=0)
    async def gives(ctx: Context) -> None:
        kept.append(ctx)
        if state == "failed":
            raise durable.NonRetriableError("on purpose")
        if state != "completed":
            await ctx.step.sleep("nap", "1d")

    async with Engine([gives]) as engine:
        run = await engine.start(gives, id="r")
        await engine.settled()
        early = kept[0].step.sleep("early", "1h") if call == "await" and state in ("cancelled", "parked") else None
        if state == "cancelled":
            await run.cancel()
        if state == "parked":
            await engine.close()
        with pytest.raises(RuntimeError, match=rf"of run 'r' is called from a task that is none .* run is {state}"):
            await (early if early is not None else kept[0].step.run("late", lambda: 1))
        if early is not None:
            early.close()


@pytest.mark.parametrize("ends", ["returns", "cancelled", "closed"])
async def test_a_task_that_waits_in_a_step_of_a_run_that_is_not_its_own_is_told_when_the_run_ends(ends: str) -> None:
    kept: list[Context] = []

    @durable.function
    async def gives(ctx: Context) -> None:
        kept.append(ctx)
        await ctx.step.wait_for_signal("s", signal="s", timeout="1d")

    async with Engine([gives]) as engine:
        run = await engine.start(gives)
        await engine.settled()
        waiting = asyncio.create_task(_awaited(kept[0].step.sleep("elsewhere", "1d")))
        await rounds()
        match ends:
            case "returns":
                assert await engine.send_signal("s") == run.id
            case "cancelled":
                await run.cancel()
            case "closed":
                await engine.close()
        with pytest.raises(RuntimeError, match="none of the run's own"):
            await asyncio.wait_for(waiting, 2)


async def _awaited(step: Any) -> Any:
    return await step


async def test_a_context_of_a_run_that_goes_on_can_be_called_from_elsewhere_as_before() -> None:
    kept: list[Context] = []

    @durable.function
    async def gives(ctx: Context) -> Any:
        kept.append(ctx)
        return await ctx.step.wait_for_signal("s", signal="s", timeout="1d")

    async with Engine([gives]) as engine:
        run = await engine.start(gives)
        await engine.settled()
        assert await kept[0].step.run("elsewhere", lambda: 1) == 1
        assert await engine.send_signal("s") == run.id


async def test_after_the_tenth_refusal_nothing_is_answered_and_what_cleans_up_side_by_side_counts_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    @durable.function
    async def cleans_up(ctx: Context) -> None:
        async def one(name: str) -> None:
            try:
                await ctx.step.sleep(name, "1d")
            finally:
                try:
                    await ctx.step.run(f"clean {name}", lambda: ran.append(name))
                except asyncio.CancelledError:
                    ran.append(f"{name} refused")
                    raise

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(f"b{number}"))

    async with Lab([cleans_up]) as lab:
        run = await lab.start(cleans_up)
        await run.cancel()
    assert sorted(ran) == sorted(f"b{number} refused" for number in range(50)) and errors(caplog) == []


@pytest.mark.parametrize("ends", ["cancel", "close"])
async def test_code_that_swallows_everything_holds_nobody_up(ends: str, caplog: pytest.LogCaptureFixture) -> None:
    """R8: the run's end and the close do not wait for what will never come, and no processor time goes into it."""
    refused = 0

    @durable.function
    async def stubborn(ctx: Context) -> None:
        nonlocal refused

        async def branch() -> None:
            nonlocal refused
            while True:
                with contextlib.suppress(BaseException):
                    await asyncio.gather(ctx.step.sleep("a", "1d"), ctx.step.sleep("b", "1d"), return_exceptions=True)
                refused += 1

        await asyncio.gather(branch(), branch(), return_exceptions=True)

    began = time.monotonic()
    async with Engine([stubborn]) as engine:
        run = await engine.start(stubborn, id="r")
        await engine.settled()
        if ends == "cancel":
            await run.cancel()
            await engine.settled()
    assert time.monotonic() - began < 4
    assert refused < 200 and all("left behind" in line for line in errors(caplog)) and errors(caplog)
    before = refused
    await rounds()
    assert refused == before


@pytest.mark.parametrize("fault", ["drift", "limit"])
async def test_a_fault_ends_the_run_of_a_function_that_is_never_done(fault: str) -> None:
    """R6, R7: it catches everything, for ever, and the run has failed all the same."""

    @durable.function(id="f", retries=0)
    async def first(ctx: Context) -> None:
        await ctx.step.sleep("a", 0)
        await ctx.step.sleep("b", "1d")

    @durable.function(id="f", retries=0)
    async def mended(ctx: Context) -> None:
        async def branch() -> None:
            while True:
                with contextlib.suppress(BaseException):
                    await ctx.step.run("a", lambda: 1)

        other = asyncio.create_task(branch())
        await branch()
        await other

    store = DictStore()
    if fault == "drift":
        async with Engine([first], store=store) as engine:
            await engine.start(first, id="r")
            await engine.settled()
    async with Engine([mended], store=store, limits=durable.Limits(steps=5 if fault == "limit" else 1_000)) as engine:
        run = await engine.start(mended, id="r")
        with pytest.raises(RunFailed, match="DriftError" if fault == "drift" else "LimitError"):
            await asyncio.wait_for(run.result(), 5)


async def test_a_generator_that_is_left_says_in_one_line_that_its_cleanup_did_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    @durable.function
    async def leaves_early(ctx: Context) -> int:
        async def pages() -> AsyncIterator[int]:
            try:
                for page in range(3):
                    yield await ctx.step.run("page", int, page)
            finally:
                await ctx.step.run("clean up", ran.append, "cleaned")
                await ctx.step.run("and again", ran.append, "cleaned")

        async for page in pages():
            return page
        return -1

    async with Lab([leaves_early]) as lab:
        assert await lab.result(await lab.start(leaves_early, id="r")) == 0
    assert ran == []
    [line] = errors(caplog)
    assert line.startswith("run 'r': step 'clean up' is called after the function has ended") and "aclosing" in line


CLEANUPS: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "run": lambda ctx: ctx.step.run("c", lambda: 1),
    "sleep": lambda ctx: ctx.step.sleep("c", "1d"),
    "invoke": lambda ctx: ctx.step.invoke("c", function="nobody"),
}


@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_what_a_cancelled_run_cleans_up_is_refused_without_a_word(
    cleanup: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what `finally` is for; a step in there is refused, as it says in the rules."""

    @durable.function
    async def cleans_up(ctx: Context) -> None:
        try:
            await ctx.step.sleep("nap", "1d")
        finally:
            await CLEANUPS[cleanup](ctx)

    async with Lab([cleans_up]) as lab:
        await (await lab.start(cleans_up)).cancel()
    assert errors(caplog) == []
