"""Rule R13a: wrong use is told in the first second, in words that help, and no try is spent on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    CodecError,
    Context,
    DictStore,
    Event,
    ExpressionError,
    RetryAfterError,
    RunFailed,
    StepError,
    StepOptions,
    current_step,
)
from durable.journal.rules.misuse import is_misuse
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import note, records
from tests.support.mistakes import HERE, Mistake, in_a_function

NAIVE = datetime(2030, 1, 1)


@pytest.mark.parametrize("wrapping", ["passed on", "in a group", "in a task group", "in a task"])
def test_the_mark_goes_with_the_exception_object(wrapping: str) -> None:
    """R13a: whoever passes it on, and anywhere in a group, as R14 has it."""

    async def code(ctx: Any) -> Any:
        try:
            if wrapping == "in a task group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(_called(lambda: ctx.step.sleep("a", "5 minutes")))
            if wrapping == "in a task":
                await asyncio.ensure_future(_called(lambda: ctx.step.sleep("a", "5 minutes")))
            await ctx.step.sleep("a", "5 minutes")
        except ValueError as error:
            if wrapping == "in a group":
                raise ExceptionGroup("several", [KeyError("k"), ExceptionGroup("inner", [error])]) from None
            raise error

    in_a_function(Mistake(code, "5 minutes"))


async def _called(call: Callable[[], Any]) -> Any:
    return await call()


@pytest.mark.parametrize("making", ["raised from it", "of its class", "of its words"])
def test_what_a_user_makes_of_it_is_the_users_and_is_retried(making: str) -> None:
    """R13a."""

    @durable.function(retries=2)
    async def mistaken(ctx: Context) -> Any:
        try:
            await ctx.step.sleep("a", "5 minutes")
        except ValueError as error:
            if making == "raised from it":
                raise RuntimeError("no nap") from error
            if making == "of its class":
                raise type(error)("no nap") from None
            raise ValueError(*error.args) from error

    async def story() -> None:
        async with Lab([mistaken]) as lab:
            run = await lab.start(mistaken)
            with pytest.raises(RunFailed):
                await lab.result(run)
            assert (await run.info()).attempt == 2

    asyncio.run(story())


# What is wrong within a handler.

IN_A_HANDLER: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a naive instant": (lambda ctx: Event("e", ts=NAIVE), "ValueError"),
    "an odd retry-after": (lambda ctx: RetryAfterError("m", -1), "ValueError"),
    "a result that waits for itself": (lambda ctx: HERE.lab.engine.result(ctx.run_id), "RuntimeError"),
    "an engine of another loop": (lambda ctx: _in_another_loop(lambda: HERE.lab.engine.send("e")), "RuntimeError"),
    "a step in another thread": (lambda ctx: _in_another_thread(lambda: ctx.step.sleep("b", 1)), "RuntimeError"),
    "settled": (lambda ctx: HERE.lab.engine.settled(), "RuntimeError"),
    "an event without a name": (lambda ctx: HERE.lab.engine.send(""), "ValueError"),
    "an expression that does not parse": (lambda ctx: durable.TriggerEvent("e", "1 +"), "ExpressionError"),
    "a value that cannot be kept": (lambda ctx: object(), "CodecError"),
    "a value that is too large": (lambda ctx: "x" * (5 << 20), "LimitError"),
    "a nested step": (lambda ctx: ctx.step.sleep("inner", 1), "NestedStepError"),
}


def _in_another_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:  # without the context, so that it is not in the handler
        return pool.submit(call).result()


def _in_another_loop(call: Callable[[], Any]) -> Any:
    return _in_another_thread(lambda: asyncio.run(call()))


@pytest.mark.parametrize("threads", ["inline", "threads"])
@pytest.mark.parametrize("mistake", IN_A_HANDLER)
def test_a_mistake_in_a_handler_ends_its_step_at_once(mistake: str, threads: str) -> None:
    """R13a: a step is not tried again for it either; async and blocking."""
    act, name = IN_A_HANDLER[mistake]
    calls: list[str] = []

    @durable.function
    async def mistaken(ctx: Context) -> Any:
        async def asynchronous() -> Any:
            calls.append("async")
            made = act(ctx)
            return await made if asyncio.iscoroutine(made) else made

        def blocking() -> Any:
            calls.append("blocking")
            return act(ctx)

        names = []
        for id, handler in (("a", asynchronous), ("b", blocking)):
            try:
                await ctx.step.run(id, handler)
            except StepError as error:
                names.append(error.name)
        return names

    async def story() -> None:
        store = DictStore()
        async with Lab([mistaken], store=store, threads=threads == "threads") as HERE.lab:
            run = await HERE.lab.start(mistaken)
            assert await run.result() == [name, name]
            assert HERE.lab.clock.now() == START
        assert "StepRetried" not in {type(record).__name__ for record in records(store.mapping)}
        assert calls == ["async", "blocking"]

    asyncio.run(story())


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("error", [ValueError("v"), TypeError("t"), RuntimeError("r"), KeyError("k")], ids=repr)
def test_the_same_error_of_the_users_own_code_is_tried_again(error: Exception, debug: bool) -> None:
    """R13a: it is the line that raised it which tells."""
    calls: list[int] = []

    async def fail() -> None:
        calls.append(current_step().attempt)
        raise error

    future: Any = None

    async def foreign() -> None:  # no line of the user's at all: what a future was given
        nonlocal future
        future = asyncio.get_running_loop().create_future()
        calls.append(current_step().attempt)
        future.set_exception(type(error)("again"))
        await future

    @durable.function(retries=1)
    async def trying(ctx: Context) -> None:
        for id, handler in (("own", fail), ("foreign", foreign)):
            with pytest.raises(StepError):
                await ctx.step.run(StepOptions(id, retries=1), handler)
        await ctx.step.run(StepOptions("C", retries=1), int, "no number")

    async def story() -> None:
        async with Lab([trying], stubs={}) as lab:
            run = await lab.start(trying)
            with pytest.raises(RunFailed):
                await lab.result(run)
            assert calls == [0, 1, 0, 1]
            assert {step.attempts for step in (await run.info()).steps.values()} == {2}

    asyncio.run(story(), debug=debug)


def test_a_stub_that_raises_is_tried_again() -> None:
    """What a test lets a handler raise is no wrong use, though a line of durable's raises it."""

    @durable.function(retries=1)
    async def trying(ctx: Context) -> Any:
        return await ctx.step.run("s", note)

    async def story() -> None:
        for error in (ValueError("v"), TypeError("t"), ExpressionError("e")):
            async with Lab([trying], stubs={"s": [error, 7]}) as lab:
                assert await lab.result(await lab.start(trying)) == 7

    asyncio.run(story())


def test_only_what_durable_says_of_an_argument_is_wrong_use() -> None:
    with pytest.raises(ValueError) as of_ours:
        Backoff(first="x")  # type: ignore[arg-type]
    assert is_misuse(of_ours.value)
    assert not is_misuse(ValueError("never raised"))
    assert not is_misuse(CodecError("final by its class, not by this"))
    with pytest.raises(TypeError) as of_a_call:
        StepOptions()  # type: ignore[call-arg]
    assert is_misuse(of_a_call.value)


# What cannot be swallowed.


@pytest.mark.parametrize("caught", [durable.NestedStepError, Exception, BaseException])
@pytest.mark.parametrize("where", ["async", "inline", "threads", "task"])
def test_a_nested_step_fails_its_outer_step_whoever_catches_it(caught: type[BaseException], where: str) -> None:
    """R7: live and after a crash; the inner one is not run, and nothing is tried again."""
    ran: list[str] = []

    @durable.function
    async def outer(ctx: Context) -> Any:
        def swallow() -> str:
            ran.append("outer")
            try:
                ctx.step.run("inner", ran.append, "inner")
            except caught:
                pass
            return "as if nothing had been"

        async def asynchronous() -> str:
            return swallow()

        async def in_a_task() -> str:
            await asyncio.gather(asyncio.ensure_future(asynchronous()))
            raise ValueError("something else")

        handler: Any = {"async": asynchronous, "task": in_a_task}.get(where, swallow)
        try:
            return await ctx.step.run("s", handler)
        except StepError as error:
            return error.name, error.message

    async def story() -> None:
        async with Lab([outer], threads=where == "threads") as lab:
            run = await lab.start(outer, id="r")
            name, message = await lab.result(run)
            assert name == "NestedStepError" and "'inner'" in message and "'s'" in message and "'r'" in message
            await lab.crash()
            assert await run.result() == (name, message) and ran == ["outer"]

    asyncio.run(story())


@pytest.mark.parametrize("caught", [durable.LimitError, Exception, BaseException])
def test_the_step_past_the_limit_ends_the_run_whoever_catches_it(caught: type[BaseException]) -> None:
    """R7, R28: no step after it is run, and what the function returns does not count."""

    @durable.function
    async def many(ctx: Context) -> str:
        for number in range(1_100):
            try:
                await ctx.step.run(f"s{number}", note)
            except caught:
                pass
        return "as if nothing had been"

    async def story() -> None:
        async with durable.Engine([many]) as engine:
            run = await engine.start(many)
            with pytest.raises(RunFailed, match=r"LimitError.*more than 1,000 steps with 's1000'"):
                await run.result(60)
            info = await run.info()
            assert len(info.steps) == 1_000 and info.attempt == 0

    asyncio.run(story())


def test_the_step_past_the_limit_leaves_no_warnings_behind(recwarn: pytest.WarningsRecorder) -> None:
    """R28: not one line for each of the steps that were called beside it and are awaited no more."""

    @durable.function
    async def many(ctx: Context) -> None:
        await asyncio.gather(*[ctx.step.run(f"s{number}", note) for number in range(3_000)])

    async def story() -> None:
        async with durable.Engine([many]) as engine:
            with pytest.raises(RunFailed, match="LimitError"):
                await engine.invoke(many, timeout=60)

    asyncio.run(story())
    assert len(recwarn) == 0


@pytest.mark.parametrize(("left", "told"), [(1, "'s0'; they"), (7, "'s0', 's1', 's2', 's3', 's4' and 2 more; they")])
def test_steps_that_are_left_behind_are_told_with_the_remedy(
    left: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A few of them: one line of hundreds would be read by nobody."""

    @durable.function
    async def leaving(ctx: Context) -> None:
        tasks = [asyncio.ensure_future(ctx.step.sleep(f"s{number}", 60)) for number in range(left)]
        await asyncio.wait(tasks, timeout=0.01)

    async def story() -> None:
        async with Lab([leaving]) as lab:
            await (await lab.start(leaving)).result()

    asyncio.run(story())
    [line] = [record.getMessage() for record in caplog.records if "still waited" in record.getMessage()]
    assert f"still waited in steps: {told} are cancelled: await them before the function returns" in line


@pytest.mark.parametrize("wait", [timedelta(0), timedelta(days=1)])
def test_any_other_mistake_can_be_caught_and_the_function_goes_on(wait: timedelta) -> None:
    """R7."""

    @durable.function
    async def careful(ctx: Context) -> str:
        with pytest.raises(ValueError):
            ctx.step.sleep("a", "5 minutes")
        await ctx.step.sleep("a", wait)
        return "went on"

    async def story() -> None:
        async with Lab([careful]) as lab:
            assert await lab.result(await lab.start(careful)) == "went on"

    asyncio.run(story())
