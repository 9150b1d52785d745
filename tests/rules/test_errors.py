"""Rules R11, R11a, R12 and R13: a step's tries, their waits and their time, and what the function sees of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Context,
    DictStore,
    NonRetriableError,
    RetryAfterError,
    RunFailed,
    StepError,
    StepOptions,
    current_step,
)
from durable.journal.rules.retries import wait_of
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import note, rounds, same_lives

PLAIN = Backoff(first="10s", factor=3, max="1m", jitter=0)


class Flaky:
    """A handler that fails in its first tries, and says when each of them was."""

    def __init__(self, failures: int, error: type[Exception] = ValueError) -> None:
        self.failures = failures
        self.error = error
        self.tries: list[tuple[int, timedelta]] = []
        self.lab: Lab

    async def __call__(self) -> str:
        attempt = current_step().attempt
        self.tries.append((attempt, self.lab.clock.now() - START))
        if attempt < self.failures:
            raise self.error(f"failure {attempt}")
        return f"try {attempt}"


async def tried(flaky: Flaky, options: StepOptions, *, crashing: bool, **function: Any) -> tuple[Any, list[int]]:
    """Run one step to its end; return its outcome and the seconds at which it was tried."""

    @durable.function(**function)
    async def trying(ctx: Context) -> Any:
        return await ctx.step.run(options, flaky)

    flaky.tries.clear()
    async with Lab([trying]) as lab:
        flaky.lab = lab
        run = await lab.start(trying, id="r")
        while (await run.info()).ended_at is None:
            if crashing:
                await lab.crash()
                await lab.advance(1)
                await lab.crash()
            due = lab.clock.next_due()
            assert due is not None
            await lab.advance(due - lab.clock.now())
        try:
            outcome = await lab.result(run)
        except RunFailed as failure:
            outcome = failure.error
    assert [attempt for attempt, _ in flaky.tries] == list(range(len(flaky.tries)))
    return outcome, [round(at.total_seconds()) for _, at in flaky.tries]


@pytest.mark.parametrize("crashing", [False, True])
def test_four_tries_after_the_first_by_default(crashing: bool) -> None:
    """R11: a crash does not reset the count."""
    error, tries = asyncio.run(tried(Flaky(99), StepOptions("s", backoff=PLAIN), crashing=crashing))
    assert tries == [0, 10, 40, 100, 160]  # first, times 3, at most a minute; a crash neither shortens nor repeats one
    assert (error.name, error.message, error.step_id) == ("ValueError", "failure 4", "s")


@pytest.mark.parametrize("crashing", [False, True])
def test_a_steps_own_retries_and_backoff_come_before_the_functions(crashing: bool) -> None:
    """R11: `retries` tries after the first."""
    mine = StepOptions("s", retries=2, backoff=PLAIN)
    value, tries = asyncio.run(tried(Flaky(2), mine, crashing=crashing, retries=0, backoff=Backoff(first="5h")))
    assert (value, tries) == ("try 2", [0, 10, 40])
    value, tries = asyncio.run(tried(Flaky(1), StepOptions("s"), crashing=crashing, retries=1, backoff=PLAIN))
    assert (value, tries) == ("try 1", [0, 10])
    error, tries = asyncio.run(tried(Flaky(1), StepOptions("s", retries=0), crashing=crashing))
    assert (error.name, tries) == ("ValueError", [0])


def test_the_jitter_derives_from_run_key_and_attempt() -> None:
    """R11: the same run waits the same live and after crashes; another key or attempt waits otherwise."""
    flaky, options = Flaky(99), StepOptions("s", backoff=Backoff(first=100, factor=1, jitter=0.5))

    def waits(crashing: bool) -> list[timedelta]:
        asyncio.run(tried(flaky, options, crashing=crashing))
        instants = [at for _, at in flaky.tries]
        return [later - sooner for sooner, later in pairwise(instants)]

    assert (
        waits(False) == waits(True) == [wait_of(Backoff(first=100, factor=1, jitter=0.5), n, "r/s") for n in range(4)]
    )
    assert len(set(waits(False))) == 4 and all(100 <= wait.total_seconds() <= 150 for wait in waits(False))


def test_a_failing_step_is_retried_alone() -> None:
    """R11: with its own count; neither the function nor the step beside it runs again."""
    calls: list[str] = []

    async def fail() -> str:
        calls.append(current_step().key)
        if current_step().attempt < 2:
            raise ValueError
        return current_step().key

    @durable.function(retries=2)
    async def beside(ctx: Context) -> list[Any]:
        calls.append("function")
        got: list[Any] = await asyncio.gather(ctx.step.run("a", note, 1), *(ctx.step.run("f", fail) for _ in range(2)))
        return [*got, ctx.attempt]

    async def story() -> None:
        async with Lab([beside]) as lab:
            assert await lab.result(await lab.start(beside)) == [1, "f", "f:1", 0]
            assert lab.calls == {"a": 1, "f": 6} and calls.count("function") == 1

    asyncio.run(story())


class Odd(BaseException):
    pass


@pytest.mark.parametrize("threads", ["inline", "threads"])
@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, asyncio.CancelledError, Odd, StopAsyncIteration])
def test_whatever_a_handler_raises_is_retried(error: type[BaseException], threads: str) -> None:
    """R11: also what means something to coroutines, generators and tasks."""

    def blocking() -> int:
        if current_step().attempt == 0:
            raise error
        return current_step().attempt

    async def asynchronous() -> int:
        return blocking()

    @durable.function(retries=1)
    async def trying(ctx: Context) -> list[int]:
        return [await ctx.step.run("blocking", blocking), await ctx.step.run("async", asynchronous), ctx.attempt]

    async def story() -> None:
        async with Lab([trying], threads=threads == "threads") as lab:
            assert await lab.result(await lab.start(trying)) == [1, 1, 0]

    asyncio.run(story())


def test_a_try_that_came_due_while_the_process_was_down_begins_at_once() -> None:
    """R11, R17: the wait was recorded, and it is over."""
    flaky = Flaky(1)

    @durable.function
    async def trying(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("s", backoff=PLAIN), flaky)

    async def story() -> None:
        store = DictStore()
        async with Lab([trying], store=store) as flaky.lab:
            await flaky.lab.start(trying, id="r")
        async with Lab([trying], store=store, start=START + timedelta(days=1)) as flaky.lab:
            assert await (await flaky.lab.engine.run("r")).result() == "try 1"

    asyncio.run(story())


# R11a


async def slow() -> str:
    """A handler whose first try never ends."""
    if current_step().attempt == 0:
        await asyncio.Event().wait()
    return f"try {current_step().attempt}"


def test_a_timeout_bounds_one_try_in_engine_time() -> None:
    """R11a: past it the try fails with TimeoutError and is retried like any error."""

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("slow", timeout="1h", backoff=PLAIN), slow)

    async def story() -> None:
        async with Lab([waiting]) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance(timedelta(minutes=59, seconds=59))
            await rounds()
            assert (await lab.engine.info("r")).steps["slow"].status == "running"
            lab.clock.advance("1s")
            await lab.settle()
            step = (await lab.engine.info("r")).steps["slow"]
            assert step.status == "retrying" and step.attempts == 1 and step.error is not None
            assert step.error.name == "TimeoutError"
            assert step.error.message == "try 1 of step 'slow' of run 'r' took longer than 3600 s"
            assert lab.clock.next_due() == START + timedelta(hours=1, seconds=10)
            assert await lab.result(await lab.engine.run("r")) == "try 1"

    asyncio.run(story())


def test_the_time_of_a_try_does_not_count_the_waits_between() -> None:
    """R11a: one try; a later one has its whole time again, and no timer is left over."""
    flaky = Flaky(3)

    async def story() -> None:
        value, tries = await tried(flaky, StepOptions("s", timeout="5s", backoff=PLAIN), crashing=True)
        assert (value, tries) == ("try 3", [0, 10, 40, 100])

    asyncio.run(story())


def test_a_timeout_that_uses_up_the_tries_is_a_step_error() -> None:
    """R11a, R13."""

    @durable.function
    async def waiting(ctx: Context) -> str:
        try:
            return await ctx.step.run(StepOptions("slow", timeout=5, retries=0), slow)
        except StepError as error:
            return error.name

    async def story() -> None:
        async with Lab([waiting]) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance(5)
            assert await lab.engine.result("r") == "TimeoutError"

    asyncio.run(story())


def test_the_next_try_of_a_blocking_handler_waits_until_its_thread_has_ended() -> None:
    """R11a: a sync handler cannot be stopped, and never runs twice at once."""
    let_go, begun, running = threading.Event(), threading.Semaphore(0), []

    def blocking() -> str:
        running.append("begin")
        begun.release()
        let_go.wait()
        running.append("end")
        return f"try {current_step().attempt}"

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("slow", timeout="1m", backoff=PLAIN), blocking)

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            await asyncio.to_thread(begun.acquire)
            lab.clock.advance("1m")
            await rounds()
            assert (await lab.engine.info("r")).steps["slow"].status == "retrying"
            lab.clock.advance("10s")
            await rounds()
            assert running == ["begin"]
            let_go.set()
            assert await lab.engine.result("r") == "try 1"
            assert running == ["begin", "end"] * 2

    asyncio.run(story())


def test_closing_names_the_blocking_handlers_that_still_run_and_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R11a: after 5 s, which are shortened here; the run is parked and the handler runs again later."""
    monkeypatch.setattr("durable.scheduler.stopping.GRACE", 0.01)
    let_go, begun = threading.Event(), threading.Semaphore(0)

    def hanging() -> str:
        begun.release()
        let_go.wait()
        return "done"

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run("hangs", hanging)

    async def story() -> None:
        store = DictStore()
        async with Lab([waiting], threads=True, store=store) as lab:
            await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(begun.acquire)
        errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert any("step 'hangs' of run 'r' does not end" in text for text in errors), errors
        let_go.set()
        async with Lab([waiting], threads=True, store=store) as lab:
            assert await lab.engine.result("r") == "done"

    asyncio.run(story())


# R12


class CardDeclined(NonRetriableError):
    pass


def test_a_non_retriable_error_ends_the_steps_tries_at_once() -> None:
    """R12: a recorded failure like any other; the function sees StepError with that name."""

    async def decline() -> None:
        raise CardDeclined("no money")

    @durable.function
    async def charging(ctx: Context) -> Any:
        try:
            await ctx.step.run("charge", decline)
        except StepError as error:
            await ctx.step.sleep("a while", 1)
            return type(error).__name__, error.name, error.message, error.step_id, ctx.now()
        return None

    life = same_lives(charging)
    assert life.ending == ("StepError", "CardDeclined", "no money", "charge", START + timedelta(seconds=1))
    assert life.info.steps["charge"].attempts == 1


@pytest.mark.parametrize("crashing", [False, True])
@pytest.mark.parametrize("when", ["2h", timedelta(hours=2), 7200, START + timedelta(hours=2)])
def test_retry_after_says_when_the_next_try_is(when: Any, crashing: bool) -> None:
    """R12: a duration or a datetime; the function never sees it."""

    class Busy(Flaky):
        async def __call__(self) -> str:
            try:
                return await super().__call__()
            except ValueError as error:
                raise RetryAfterError("busy", when) from error

    value, tries = asyncio.run(tried(Busy(1), StepOptions("s"), crashing=crashing))
    assert (value, tries) == ("try 1", [0, 7200])


def test_retry_after_counts_as_a_try_and_the_last_one_fails_the_step() -> None:
    """R12: what the function sees then is a StepError, never the RetryAfterError."""

    async def busy() -> None:
        raise RetryAfterError("busy", 5)

    @durable.function
    async def trying(ctx: Context) -> Any:
        try:
            await ctx.step.run(StepOptions("s", retries=2), busy)
        except StepError as error:
            return error.name, ctx.now()
        return None

    life = same_lives(trying)
    assert life.ending == ("RetryAfterError", START + timedelta(seconds=10))


# R13


def test_a_step_out_of_tries_raises_a_step_error_that_can_be_caught() -> None:
    """R13: it is recorded and never tried again; live, after crashes, from every write."""
    calls: list[int] = []

    async def fail() -> None:
        calls.append(current_step().attempt)
        raise KeyError("no such thing")

    @durable.function(retries=1, backoff=PLAIN)
    async def catching(ctx: Context) -> Any:
        try:
            await ctx.step.run("fails", fail)
        except StepError as error:
            seen = (str(error), error.name, error.message, error.step_id, "fail" in error.stack, error.__cause__)
        await ctx.step.sleep("a while", "1h")
        try:
            await ctx.step.run("fails", fail)
        except StepError as error:
            return seen, error.step_id
        return None

    life = same_lives(catching)
    text = "step 'fails': KeyError: 'no such thing'"
    assert life.ending == ((text, "KeyError", "'no such thing'", "fails", True, None), "fails:1")
    assert life.info.steps["fails"].attempts == 2


def test_a_failed_step_is_never_tried_again_not_even_by_the_next_attempt() -> None:
    """R13, R14: failed steps too answer from the record when the function is retried."""
    calls: list[str] = []

    async def fail() -> None:
        calls.append(current_step().key)
        raise ValueError("broken")

    @durable.function(retries=1)
    async def twice(ctx: Context) -> Any:
        try:
            await ctx.step.run(StepOptions("fails", retries=0), fail)
        except StepError:
            if ctx.attempt == 0:
                raise RuntimeError("the function's own") from None
        return ctx.attempt

    async def story() -> None:
        async with Lab([twice]) as lab:
            run = await lab.start(twice)
            await lab.crash()
            assert await lab.result(run) == 1
            assert calls == ["fails"]

    asyncio.run(story())


def test_uncaught_it_fails_the_run_at_once() -> None:
    """R13: without an attempt of the function's own; the error names the step."""

    async def fail() -> None:
        raise ValueError("broken")

    @durable.function
    async def letting(ctx: Context) -> datetime:
        await ctx.step.run(StepOptions("fails", retries=0), fail)
        return ctx.now()

    life = same_lives(letting)
    assert life.ending == ("ValueError", "broken")
    assert life.info.attempt == 0 and life.info.ended_at == START
    assert life.info.error is not None and life.info.error.step_id == "fails"
