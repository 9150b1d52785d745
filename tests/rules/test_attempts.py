"""Rule R14: how an error ends an attempt or a run, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    CodecError,
    Context,
    DriftError,
    InvokeTimeoutError,
    LimitError,
    NestedStepError,
    NonRetriableError,
    RetryAfterError,
    RunFailed,
    SignalConflictError,
    StepError,
)
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import note, same_lives

PLAIN = Backoff(first="10s", factor=3, max="1m", jitter=0)

FINAL = [
    StepError("ValueError", "m", step_id="s"),
    InvokeTimeoutError("InvokeTimeoutError", "m"),
    SignalConflictError("SignalConflictError", "m"),
    *(cls("m") for cls in (CodecError, LimitError, NestedStepError, DriftError, NonRetriableError)),
]


def failing(error: BaseException, **options: Any) -> durable.Function[Any]:
    """Return a function that steps, sleeps and raises."""

    @durable.function(**options)
    async def raising(ctx: Context) -> None:
        await ctx.step.run("before", note)
        await ctx.step.sleep("a while", 1)
        raise error

    return raising


@pytest.mark.parametrize("wrapped", ["alone", "in a group", "deep in a group"])
@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_a_final_error_leaving_the_function_fails_the_run_at_once(error: Exception, wrapped: str) -> None:
    """R14: alone or anywhere in an exception group."""
    leaving = error
    if wrapped != "alone":
        leaving = ExceptionGroup("several", [ValueError("other"), error])
    if wrapped == "deep in a group":
        leaving = ExceptionGroup("outer", [KeyError("other"), leaving])
    life = same_lives(failing(leaving, retries=4))
    assert life.info.attempt == 0 and life.info.ended_at == START + timedelta(seconds=1)
    assert "m" in life.ending[1]


def test_any_other_exception_retries_the_function_up_to_retries() -> None:
    """R14: finished steps answer from the record; the attempts wait as Backoff says; then the run fails."""
    life = same_lives(failing(ValueError("broken"), retries=3, backoff=PLAIN))
    assert life.ending == ("ValueError", "broken")
    assert life.info.attempt == 3 and life.info.ended_at == START + timedelta(seconds=1 + 10 + 30 + 60)
    assert [step.attempts for step in life.info.steps.values()] == [1, 0]


def test_by_default_a_function_is_called_five_times() -> None:
    """R14, R11: `retries` is 4 where nothing is said."""
    assert same_lives(failing(ValueError("broken"))).info.attempt == 4


def test_the_attempt_counts_from_zero_and_is_the_same_after_a_crash() -> None:
    """R14."""

    @durable.function(backoff=PLAIN)
    async def third(ctx: Context) -> list[Any]:
        got = await ctx.step.run(f"in attempt {ctx.attempt}", note, ctx.attempt)
        if ctx.attempt < 2:
            raise ValueError
        return [got, ctx.attempt]

    life = same_lives(third)
    assert life.ending == [2, 2]
    assert list(life.info.steps) == ["in attempt 0", "in attempt 1", "in attempt 2"]


@pytest.mark.parametrize("when", ["3h", timedelta(hours=3), START + timedelta(hours=3)])
@pytest.mark.parametrize("wrapped", ["alone", "in a group"])
def test_retry_after_sets_the_next_attempt(when: Any, wrapped: str) -> None:
    """R14."""

    @durable.function
    async def busy(ctx: Context) -> int:
        if ctx.attempt == 0:
            error = RetryAfterError("busy", when)
            raise error if wrapped == "alone" else ExceptionGroup("group", [ValueError(), error])
        return ctx.attempt

    async def story() -> None:
        async with Lab([busy]) as lab:
            run = await lab.start(busy)
            assert lab.clock.next_due() == START + timedelta(hours=3)
            await lab.crash()
            assert await lab.result(run) == 1
            assert lab.clock.now() == START + timedelta(hours=3)

    asyncio.run(story())


def test_a_cancelled_error_that_the_engine_did_not_cause_retries_the_function() -> None:
    """R14, R9: the steps that it cancelled open anew, a wait with its recorded deadline."""

    @durable.function(backoff=PLAIN)
    async def cancelling(ctx: Context) -> Any:
        if ctx.attempt == 0:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0, task.cancel)
        await ctx.step.sleep("an hour", "1h")
        return ctx.attempt, ctx.now()

    assert same_lives(cancelling).ending == (1, START + timedelta(hours=1))


def test_the_class_raised_is_the_same_live_and_on_replay() -> None:
    """R14: which `except` catches it does not depend on a crash."""

    @durable.function
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("long", "9h")

    async def decline() -> None:
        raise NonRetriableError("no")

    @durable.function
    async def parent(ctx: Context) -> list[str]:
        names = []
        waiting = ctx.step.wait_for_signal("first", signal="s", timeout="1d")
        calls: list[Callable[[], Any]] = [
            lambda: ctx.step.invoke("invoke", function=child, timeout="1h"),
            lambda: ctx.step.wait_for_signal("second", signal="s", timeout="1d"),
            lambda: ctx.step.run("decline", decline),
            lambda: ctx.step.run("codec", lambda: object()),
        ]
        for call in calls:
            try:
                await call()
            except Exception as error:
                names.append(f"{type(error).__name__} {getattr(error, 'name', '')}")
        await waiting
        return names

    assert same_lives(parent, functions=[child]).ending == [
        "InvokeTimeoutError InvokeTimeoutError",
        "SignalConflictError SignalConflictError",
        "StepError NonRetriableError",
        "StepError CodecError",
    ]


def test_a_failed_run_says_the_errors_name_and_its_whole_message() -> None:
    """R14: `str(RunFailed)`; live and when the run is asked for after a crash."""
    message = "many\nlines " * 100

    async def story() -> None:
        function = failing(ValueError(message), retries=0)
        async with Lab([function]) as lab:
            run = await lab.start(function, id="r")
            for _ in range(2):
                with pytest.raises(RunFailed) as caught:
                    await lab.result(run)
                assert str(caught.value) == f"run 'r' failed: ValueError: {message}"
                await lab.crash()

    asyncio.run(story())


def test_what_is_kept_of_an_error_is_bounded_and_holds_no_locals() -> None:
    """R14: 16 KiB of message, 32 KiB of stack with first and last frames, causes five deep."""

    def deep(depth: int) -> None:
        secret = "nobody should read this"
        if depth:
            deep(depth - 1)
        raise ValueError("x" * 100_000 + secret[:0])

    def chained(depth: int) -> None:
        try:
            if depth:
                chained(depth - 1)
            else:
                deep(180)
        except Exception as error:
            raise RuntimeError(f"link {depth} " + "y" * 100_000) from error

    @durable.function(retries=0)
    async def raising(ctx: Context) -> None:
        chained(9)

    async def story() -> None:
        async with Lab([raising]) as lab:
            run = await lab.start(raising)
            await lab.crash()
            error = (await run.info()).error
            assert error is not None and error.name == "RuntimeError" and error.message.startswith("link 9")
            assert [cause.message[:6] for cause in error.causes] == [f"link {n}" for n in (8, 7, 6, 5, 4)]
            for one in (error, *error.causes):
                assert len(one.message.encode()) <= 16 * 1024 and len(one.stack.encode()) <= 32 * 1024
                assert "in chained" in one.stack

    asyncio.run(story())


def test_a_steps_stack_has_its_first_and_last_frames_and_no_locals() -> None:
    """R14: of a stack too long to keep."""

    def first_frame() -> None:
        secret = f"{'tell'}-nobody"
        between(90)
        assert secret

    def between(depth: int) -> None:
        long_line_so_that_it_does_not_fit = "x" * 10  # noqa: F841
        (last_frame if depth == 0 else between)(*[depth - 1] * (depth > 0))  # a line that is long enough to count

    def last_frame() -> None:
        raise ValueError("over")

    @durable.function(retries=0)
    async def raising(ctx: Context) -> None:
        await ctx.step.run("deep", first_frame)

    async def story() -> None:
        async with Lab([raising]) as lab:
            error = (await (await lab.start(raising)).info()).error
            assert error is not None and len(error.stack.encode()) <= 32 * 1024
            assert "in first_frame" in error.stack and "in last_frame" in error.stack
            assert "tell-nobody" not in error.stack and error.stack.endswith("ValueError: over\n")

    asyncio.run(story())


@pytest.mark.parametrize("where", ["function", "handler", "blocking handler"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_never_recorded_and_comes_out_of_durable_run(
    where: str, stop: type[BaseException], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R14: the engine closes, the run is parked, and the same call goes on."""
    stops = iter([True, False])

    def interrupt(place: str) -> None:
        if place == where and next(stops):
            raise stop

    async def handler() -> None:
        interrupt("handler")

    @durable.function
    async def script(ctx: Context) -> str:
        await ctx.step.run("first", note)
        await ctx.step.run("handler", handler)
        await ctx.step.run("blocking handler", interrupt, "blocking handler")
        interrupt("function")
        return "done"

    store = tmp_path / "s.db"
    with pytest.raises(stop):
        durable.run(script, store=store, id="r")
    if stop is KeyboardInterrupt:
        assert "parked" in capsys.readouterr().err
    assert durable.run(script, store=store, id="r") == "done"
    assert "goes on" in capsys.readouterr().err


def test_what_a_function_changes_in_its_event_is_gone_when_it_is_called_again() -> None:
    """R3: each call has a copy of its own, so no attempt sees what an earlier one did, nor one after a crash."""
    seen: list[Any] = []

    @durable.function(trigger="order", retries=1, backoff=PLAIN)
    async def careless(ctx: Context) -> None:
        data: Any = ctx.event.data
        seen.append(data["items"][:])
        data["items"].append("more")
        await ctx.step.sleep("a while", "1h")
        if not ctx.attempt:
            raise ValueError("once")

    async def story() -> None:
        async with Lab([careless]) as lab:
            [run] = await lab.send("order", {"items": ["one"]})
            await lab.crash()
            await lab.result(run)

    asyncio.run(story())
    assert seen == [["one"]] * 3
