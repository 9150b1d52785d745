"""Rule R13a: wrong use is told in the first second, in words that help, and no try is spent on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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

NAIVE = datetime(2030, 1, 1)
Code = Callable[[Any], Awaitable[Any]]


def one(value: int) -> int:
    return value


async def aone(value: int) -> int:
    return value


@durable.function
async def child(ctx: Context) -> None: ...


# What is written in a function, and what is said.
MISTAKES: dict[str, tuple[Code, tuple[str, ...]]] = {
    "a handler that was called": (
        lambda ctx: ctx.step.run("a", one(1)),
        ("'a'", "must be callable, not 1", "step.run("),
    ),
    "an async handler that was called": (lambda ctx: ctx.step.run("a", aone(1)), ("'a'", "without calling it")),
    "no handler": (lambda ctx: ctx.step.run("a"), ("handler",)),
    "a handler alone": (lambda ctx: ctx.step.run(one), ("handler",)),
    "a handler in place of the id": (lambda ctx: ctx.step.run(one, 1), ("a step's id must be a string", "one")),
    "a handler that lacks an argument": (lambda ctx: ctx.step.run("a", one), ("one() missing 1 required", "'value'")),
    "a handler with an argument too many": (lambda ctx: ctx.step.run("a", aone, 1, 2), ("takes 1 positional",)),
    "a handler with an unknown keyword": (lambda ctx: ctx.step.run("a", one, 1, amount=2), ("'amount'",)),
    "a blocking C function, wrongly called": (lambda ctx: ctx.step.run("a", len), ("len() takes exactly one",)),
    "a naive datetime": (lambda ctx: ctx.step.sleep_until("a", NAIVE), ("'a'", "time zone", "tzinfo=UTC")),
    "a duration for a datetime": (lambda ctx: ctx.step.sleep_until("a", "1h"), ("'a'", "datetime", "'1h'")),
    "a duration in words": (lambda ctx: ctx.step.sleep("a", "5 minutes"), ("'a'", "'5 minutes'", '"30s"')),
    "a duration without a unit": (lambda ctx: ctx.step.sleep("a", "500"), ("'a'", "'500'", '"30s"')),
    "a negative duration": (lambda ctx: ctx.step.sleep("a", -1), ("'a'", "negative")),
    "no duration": (lambda ctx: ctx.step.sleep("a"), ("duration",)),
    "a duration too many": (lambda ctx: ctx.step.sleep("a", 1, 2), ("sleep() takes 3 positional",)),
    "a wait without a timeout": (lambda ctx: ctx.step.wait_for_event("a", event="e"), ("'timeout'",)),
    "a wait with a positional event": (lambda ctx: ctx.step.wait_for_event("a", "e", timeout=1), ("positional",)),
    "a wait for a pattern": (lambda ctx: ctx.step.wait_for_event("a", event="e/*", timeout=1), ("'a'", "'e/*'")),
    "a wait whose match is no path": (
        lambda ctx: ctx.step.wait_for_event("a", event="e", timeout=1, match="a b"),
        ("'a'", "a b"),
    ),
    "a wait whose expression does not parse": (
        lambda ctx: ctx.step.wait_for_event("a", event="e", timeout=1, if_exp="async.data.x =="),
        ("line 1",),
    ),
    "a wait for a signal without a name": (lambda ctx: ctx.step.wait_for_signal("a", signal="", timeout=1), ("'a'",)),
    "a wait with an unknown conflict": (
        lambda ctx: ctx.step.wait_for_signal("a", signal="s", timeout=1, on_conflict="raise"),
        ('"fail" or "replace"', "'raise'"),
    ),
    "a step without an id": (lambda ctx: ctx.step.run("", note), ("a step's id must not be empty",)),
    "a step whose id is a number": (lambda ctx: ctx.step.sleep(7, 1), ("a step's id must be a string", "7")),
    "options on a sleep": (lambda ctx: ctx.step.sleep(StepOptions("a", retries=1), 1), ("'a'", "step.run only")),
    "an unknown option": (lambda ctx: ctx.step.run(StepOptions("a", retry=3), note), ("'retry'",)),
    "options without an id": (lambda ctx: ctx.step.run(StepOptions(), note), ("'id'",)),
    "retries that are none": (lambda ctx: ctx.step.run(StepOptions("a", retries=-1), note), ("'a'", "-1")),
    "a timeout in words": (lambda ctx: ctx.step.run(StepOptions("a", timeout="soon"), note), ("'soon'", "timeout")),
    "a bound in words": (lambda ctx: ctx.step.run(StepOptions("a", within="soon"), note), ("'soon'", "within")),
    "retry_on that is no error": (
        lambda ctx: ctx.step.run(StepOptions("a", retry_on="ValueError"), note),
        ("retry_on of step 'a'", "exception class"),
    ),
    "give_up_on that is asynchronous": (
        lambda ctx: ctx.step.run(StepOptions("a", give_up_on=aone), note),
        ("give_up_on of step 'a'", "plain callable"),
    ),
    "a back-off that is none": (lambda ctx: ctx.step.run(StepOptions("a", backoff=5), note), ("'a'", "a Backoff")),
    "a back-off of words": (lambda ctx: ctx.step.run(StepOptions("a", backoff=Backoff("x")), note), ("'x'",)),
    "an event without a name": (lambda ctx: ctx.step.send_event("a", Event("")), ("event's name",)),
    "an event whose data is a list": (lambda ctx: ctx.step.send_event("a", Event("e", [1])), ("'e'", "mapping")),
    "an event with a naive instant": (lambda ctx: ctx.step.send_event("a", Event("e", ts=NAIVE)), ("'e'", "time zone")),
    "an event with an unknown field": (lambda ctx: ctx.step.send_event("a", Event("e", payload={})), ("'payload'",)),
    "an event of the runtime's own": (
        lambda ctx: ctx.step.send_event("a", Event("durable/x")),
        ("'durable/x'", "the runtime's own"),
    ),
    "a name for an event": (lambda ctx: ctx.step.send_event("a", "e"), ("'a'", "'e'")),
    "an event that cannot be kept": (lambda ctx: ctx.step.send_event("a", Event("e", {"x": object()})), ("$.x",)),
    "a signal that is no text": (lambda ctx: ctx.step.send_signal("a", 7), ("signal", "7")),
    "an invoke with a positional function": (lambda ctx: ctx.step.invoke("a", child), ("positional",)),
    "an invoke of what is no function": (lambda ctx: ctx.step.invoke("a", function=one), ("'a'", "@durable.function")),
    "an invoke with a list for data": (
        lambda ctx: ctx.step.invoke("a", function=child, data=[1]),
        ("'child'", "mapping"),
    ),
    "a value that cannot be kept": (lambda ctx: ctx.step.run("a", object), ("'a'", "object", "cannot be kept")),
    "a parallel of steps": (lambda ctx: ctx.group.parallel([ctx.step.sleep("a", 1)]), ("callables without arguments",)),
    "a parallel of nothing": (lambda ctx: ctx.group.parallel(7), ("iterable of callables", "7")),
    "a retry after a naive instant": (lambda ctx: _raised(lambda: RetryAfterError("m", NAIVE)), ("retry_after",)),
    "a retry after nothing said": (lambda ctx: _raised(lambda: RetryAfterError("m")), ("retry_after",)),
    "the current step of a function": (lambda ctx: _raised(current_step), ("no handler is running here",)),
}


async def _twice(step: Awaitable[Any]) -> None:
    await step
    await step


async def _raised(call: Callable[[], Any]) -> Any:
    raise call()


class _Door:
    """The engine that the tests have open."""

    lab: Lab

    def send(self, name: str) -> Any:
        return self.lab.engine.send(name)


_engine = _Door()
MISTAKES["a step that is awaited twice"] = (lambda ctx: _twice(ctx.step.sleep("a", 0)), ("awaited only once",))
MISTAKES["an engine's method in a function"] = (lambda ctx: _engine.send("e"), ("every replay", "step.send_event"))


def told(code: Code, words: tuple[str, ...], *, name: str = "") -> durable.RecordedError:
    """Check that a function fails at once, with these words, no try spent, and not a second passed."""

    @durable.function
    async def mistaken(ctx: Context) -> Any:
        return await code(ctx)

    async def story() -> durable.RecordedError:
        store = DictStore()
        async with Lab([mistaken, child], store=store) as _engine.lab:
            run = await _engine.lab.start(mistaken, id="r")
            info = await run.info()
            assert info.status == "failed", info
            with pytest.raises(RunFailed):
                await run.result()
            assert _engine.lab.clock.now() == START and _engine.lab.clock.next_due() is None
        kinds = [type(record).__name__ for record in records(store.mapping)]
        assert "RunRetried" not in kinds and "StepRetried" not in kinds, kinds
        assert info.error is not None and info.attempt == 0
        return info.error

    error = asyncio.run(story())
    for part in words:
        assert part in str(error), error
    return error


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_function_is_told_at_once_and_not_tried_again(mistake: str) -> None:
    told(*MISTAKES[mistake])


def test_there_are_many_of_them() -> None:
    assert len(MISTAKES) > 50


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

    told(code, ("5 minutes",))


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
    "a result that waits for itself": (lambda ctx: _engine.lab.engine.result(ctx.run_id), "RuntimeError"),
    "an engine of another loop": (lambda ctx: _in_another_loop(lambda: _engine.lab.engine.send("e")), "RuntimeError"),
    "a step in another thread": (lambda ctx: _in_another_thread(lambda: ctx.step.sleep("b", 1)), "RuntimeError"),
    "settled": (lambda ctx: _engine.lab.engine.settled(), "RuntimeError"),
    "an event without a name": (lambda ctx: _engine.lab.engine.send(""), "ValueError"),
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
        async with Lab([mistaken], store=store, threads=threads == "threads") as _engine.lab:
            run = await _engine.lab.start(mistaken)
            assert await run.result() == [name, name]
            assert _engine.lab.clock.now() == START
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
