"""Wrong use, provoked on purpose: each is refused at the call, before anything is recorded, in words that help."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Cancel,
    Context,
    DictStore,
    Engine,
    Event,
    StepOptions,
    Timeouts,
    TriggerEvent,
    current_step,
)
from durable.testing import Lab, VirtualClock
from tests.support.lives import note, records, rounds


def refused(call: Callable[[Context], Any], error: type[Exception], *parts: str) -> None:
    """Check that a step call is refused with these words, that nothing is recorded, and that the run goes on."""
    texts = []

    @durable.function(retries=0)
    async def calling(ctx: Context) -> str:
        with pytest.raises(error) as caught:
            call(ctx)
        texts.append(str(caught.value))
        return await ctx.step.run("after", note, "went on")

    async def story() -> None:
        store = DictStore()
        async with Lab([calling], store=store) as lab:
            assert await lab.result(await lab.start(calling, id="r")) == "went on"
        kinds = [type(record).__name__ for record in records(store.mapping)]
        assert kinds == ["RunOpened", "StepClosed", "RunClosed", "EngineClosed"]

    asyncio.run(story())
    for part in parts:
        assert part in texts[0], texts[0]


def test_a_naive_datetime_is_refused() -> None:
    """It would mean another instant on another machine: the message says what to write."""
    naive = datetime(2030, 1, 1)
    refused(lambda ctx: ctx.step.sleep_until("dawn", naive), ValueError, "'dawn'", "must say its time zone", "UTC")
    with pytest.raises(ValueError, match=r"ts of event 'e' must say its time zone"):
        Event("e", ts=naive)
    with pytest.raises(ValueError, match="start of a VirtualClock must say its time zone"):
        VirtualClock(naive)
    with pytest.raises(ValueError, match="retry_after must say its time zone"):
        durable.RetryAfterError("later", naive)
    refused(lambda ctx: ctx.step.sleep_until("dawn", "tomorrow"), TypeError, "'dawn'", "'tomorrow'")  # type: ignore[arg-type]


BAD: list[tuple[Any, type[Exception]]] = [
    ("", ValueError),
    ("-1s", ValueError),
    ("10", ValueError),
    ("5 minutes", ValueError),
    ("1y", ValueError),
    ("1s1m", ValueError),
    (-1, ValueError),
    (float("nan"), ValueError),
    (timedelta(seconds=-1), ValueError),
    (True, TypeError),
    (None, TypeError),
    (["1s"], TypeError),
]


@pytest.mark.parametrize(("bad", "error"), BAD, ids=repr)
def test_a_bad_duration_is_refused_at_the_call_wherever_it_is_given(bad: Any, error: type[Exception]) -> None:
    """Negative, empty, an unknown unit, a bool: the message shows what was written, and which step it was."""
    shown = repr(bad)
    refused(lambda ctx: ctx.step.sleep("nap", bad), error, shown, "'nap'")
    refused(lambda ctx: ctx.step.wait_for_event("w", event="e", timeout=bad), error, shown, "'w'")
    refused(lambda ctx: ctx.step.wait_for_signal("s", signal="e", timeout=bad), error, shown, "'s'")
    if bad is not None:
        refused(lambda ctx: ctx.step.invoke("i", function="f", timeout=bad), error, shown, "'i'")
        refused(lambda ctx: ctx.step.run(StepOptions("r", timeout=bad), note), error, shown)
        for call in (lambda: Timeouts(start=bad), lambda: Timeouts(finish=bad), lambda: Cancel("e", timeout=bad)):
            with pytest.raises(error):
                call()
    for make in (lambda: Backoff(first=bad), lambda: Backoff(max=bad)):
        with pytest.raises(error):
            make()
    if bad is not None and not isinstance(bad, str):  # what stands in a header is read, or left to the back-off
        with pytest.raises(error, match="retry_after"):
            durable.RetryAfterError("m", bad)


async def coroutine() -> int:
    return 1


@pytest.mark.parametrize("handler", [None, 3, "name", coroutine], ids=["None", "int", "str", "coroutine"])
def test_a_handler_that_is_not_callable_is_refused(handler: Any) -> None:
    """A coroutine object is told apart: pass the function, without calling it."""
    if handler is coroutine:
        words = ("'h'", "must be callable", "without calling it")
        refused(lambda ctx: ctx.step.run("h", coroutine()), TypeError, *words)  # type: ignore[call-overload]
    else:
        refused(lambda ctx: ctx.step.run("h", handler), TypeError, "'h'", "must be callable", repr(handler))


@pytest.mark.parametrize("bad", ["", None, 7, b"x"], ids=repr)
def test_a_step_id_must_be_a_string_that_is_not_empty(bad: Any) -> None:
    """For every method."""
    words = ("a step's id must",)
    error = ValueError if bad == "" else TypeError
    refused(lambda ctx: ctx.step.run(bad, note), error, *words)
    refused(lambda ctx: ctx.step.run(StepOptions(bad), note), error, *words)
    refused(lambda ctx: ctx.step.sleep(bad, 1), error, *words)
    refused(lambda ctx: ctx.step.wait_for_event(bad, event="e", timeout=1), error, *words)
    refused(lambda ctx: ctx.step.send_event(bad, Event("e")), error, *words)
    refused(lambda ctx: ctx.step.invoke(bad, function="f"), error, *words)


@pytest.mark.parametrize(
    "options",
    [
        StepOptions("s", retries=1),
        StepOptions("s", backoff=Backoff()),
        StepOptions("s", timeout=1),
        StepOptions("s", output_type=int),
    ],
    ids=["retries", "backoff", "timeout", "output_type"],
)
def test_options_of_a_handler_on_any_other_step_are_a_type_error(options: StepOptions) -> None:
    """StepOptions with an id alone are allowed everywhere."""
    words = ("'s'", "step.run only")
    refused(lambda ctx: ctx.step.sleep(options, 1), TypeError, *words)
    refused(lambda ctx: ctx.step.sleep_until(options, ctx.now()), TypeError, *words)
    refused(lambda ctx: ctx.step.wait_for_event(options, event="e", timeout=1), TypeError, *words)
    refused(lambda ctx: ctx.step.wait_for_signal(options, signal="e", timeout=1), TypeError, *words)
    refused(lambda ctx: ctx.step.send_event(options, Event("e")), TypeError, *words)
    refused(lambda ctx: ctx.step.send_signal(options, "s"), TypeError, *words)
    refused(lambda ctx: ctx.step.invoke(options, function="f"), TypeError, *words)

    @durable.function
    async def sleeping(ctx: Context) -> str:
        await ctx.step.sleep(StepOptions("s"), 1)
        return "slept"

    async def story() -> None:
        async with Lab([sleeping]) as lab:
            assert await lab.result(await lab.start(sleeping)) == "slept"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: StepOptions("s", retries=-1), ValueError, "retries of step 's' must be zero or more, not -1"),
        (lambda: StepOptions("s", retries=True), TypeError, "retries of step 's' must be an int"),
        (lambda: StepOptions("s", backoff="1s"), TypeError, "backoff of step 's' must be a Backoff, not '1s'"),
        (lambda: Backoff(factor=-1), ValueError, "Backoff(factor=...) must be a number, zero or more, not -1"),
        (lambda: Event(""), ValueError, "an event's name must not be empty"),
        (lambda: Event("e", [1]), TypeError, "the data of event 'e' must be a mapping, not [1]"),
        (lambda: Event("e", {1: 2}), TypeError, "the data of event 'e' must have string keys, not 1"),
        (lambda: TriggerEvent("a*b"), ValueError, "the event of a trigger cannot be 'a*b'"),
        (lambda: Cancel("a/*"), ValueError, "the event of a Cancel must be a name without *, not 'a/*'"),
        (lambda: Engine([], max_crashes=0), ValueError, "max_crashes must be an int of at least 1, not 0"),
        (current_step, RuntimeError, "current_step() is for the handler of a step"),
    ],
)
def test_values_that_make_no_sense_are_refused_when_made(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


# Functions.


@pytest.mark.parametrize("option", ["batch", "rate", "schedule", "queue", "typo"])
def test_an_unknown_option_of_function_is_a_type_error(option: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        durable.function("e", **{option: 1})  # type: ignore[call-overload]


def not_async(ctx: Context) -> None: ...


async def no_context() -> None: ...


@pytest.mark.parametrize(
    ("declare", "error", "words"),
    [
        (lambda: durable.function()(not_async), TypeError, "must be a coroutine function"),
        (lambda: durable.function(id="f")(no_context), TypeError, "function 'f' must take one argument, the context"),
        (lambda: durable.function(not_async), TypeError, "must be"),
        (lambda: durable.function(id="")(coroutine_function), ValueError, "the id of a function must not be empty"),
        (lambda: durable.function(retries=-1)(coroutine_function), ValueError, "retries of function"),
        (lambda: durable.function(backoff=5)(coroutine_function), TypeError, "must be a Backoff"),
        (lambda: durable.function(timeouts="1h")(coroutine_function), TypeError, "must be a Timeouts"),
        (lambda: durable.function(cancel=["e"])(coroutine_function), TypeError, "must be a sequence of Cancel"),
        (lambda: durable.function(7)(coroutine_function), TypeError, "trigger of function"),
        (lambda: durable.function(["e", 7])(coroutine_function), TypeError, "a trigger of function"),
        (lambda: durable.function(on_failure=not_async)(coroutine_function), TypeError, "on_failure of function"),
    ],
)
def test_a_function_is_checked_when_it_is_declared(declare: Callable[[], Any], error: Any, words: str) -> None:
    with pytest.raises(error) as caught:
        declare()
    assert words in str(caught.value)


async def coroutine_function(ctx: Context) -> None: ...


def test_two_different_functions_with_one_id_are_a_value_error() -> None:
    """The message names both places."""

    async def one(ctx: Context) -> None: ...

    async def other(ctx: Context) -> None: ...

    functions = [durable.function(id="same")(one), durable.function(id="same")(other)]
    with pytest.raises(ValueError) as caught:
        Engine(functions)
    for part in ("'same'", "<locals>.one", "<locals>.other", "another id"):
        assert part in str(caught.value)


def test_the_same_function_defined_again_replaces_the_older() -> None:
    """As when a notebook's cell is run twice: the newer wins, also in an open engine."""

    def cell(text: str) -> durable.Function[str]:
        @durable.function("go")
        async def again(ctx: Context) -> str:
            return text

        return again

    async def story() -> None:
        async with Lab([cell("old")]) as lab:
            assert await lab.result(await lab.start("again")) == "old"
            assert await lab.result(await lab.start(cell("new"))) == "new"
            assert await lab.result(await lab.start(cell("newest"))) == "newest"
            (run,) = await lab.send("go")
            assert await lab.result(run) == "newest"

    asyncio.run(story())


@pytest.mark.parametrize("given", [coroutine_function, "name", None])
def test_what_is_no_function_is_refused_by_the_engine(given: Any) -> None:
    with pytest.raises(TypeError, match=r"decorate it with @durable\.function"):
        Engine([given])
    with pytest.raises(TypeError, match=r"Engine takes a list of functions.*write Engine\(\[function\]\)"):
        Engine(durable.function(coroutine_function))  # type: ignore[arg-type]


# What is left behind.


def test_a_handler_that_swallows_its_cancelling_is_waited_for() -> None:
    """Its value is recorded: nothing is called twice."""

    async def stubborn() -> str:
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await rounds(50)
                return "finished nevertheless"
        return ""

    @durable.function
    async def calling(ctx: Context) -> str:
        return await ctx.step.run("stubborn", stubborn)

    async def story() -> None:
        store = DictStore()
        async with Engine([calling], store=store) as engine:
            await engine.start(calling, id="r")
            await rounds()
        async with Lab([calling], store=store) as lab:
            assert await lab.result(await lab.engine.run("r")) == "finished nevertheless"
            assert lab.calls["stubborn"] == 0

    asyncio.run(story())


def test_a_task_that_does_not_end_is_named_and_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that swallows cancelling for ever cannot keep the engine from closing."""
    monkeypatch.setattr("durable.scheduler.stopping.GRACE", 0.01)
    let_go = []

    @durable.function
    async def stubborn(ctx: Context) -> None:
        while not let_go:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def story() -> None:
        async with Engine([stubborn]) as engine:
            await engine.start(stubborn, id="r")
            await rounds()
        let_go.append(True)
        assert any("'r'" in one.getMessage() and "left behind" in one.getMessage() for one in caplog.records)
        assert all(one.levelno >= logging.ERROR for one in caplog.records)

    asyncio.run(story())


def test_durable_run_inside_a_running_loop_says_what_to_write_instead() -> None:
    async def notebook() -> None:
        with pytest.raises(RuntimeError) as caught:
            durable.run(durable.function(coroutine_function))
        for part in ("durable.Engine([coroutine_function]", "await engine.open()", "await engine.invoke("):
            assert part in str(caught.value)

    asyncio.run(notebook())


def test_a_step_called_from_a_thread_of_the_functions_own_is_refused() -> None:
    """The message names step and run."""

    @durable.function(retries=0)
    async def threading_(ctx: Context) -> str:
        texts: list[str] = []

        def elsewhere() -> None:
            try:
                ctx.step.sleep("s", 1)
            except RuntimeError as error:
                texts.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return texts[0]

    async def story() -> None:
        async with Lab([threading_]) as lab:
            text = await lab.result(await lab.start(threading_, id="r"))
            assert "step 's' of run 'r'" in text and "asyncio.run_coroutine_threadsafe" in text

    asyncio.run(story())
