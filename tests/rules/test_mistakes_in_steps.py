"""Rule R13a: what people write wrongly in a step, what they are told at once, and what to do about it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

import durable
from durable import Backoff, Event, RetryAfterError, StepOptions, current_step
from tests.support.lives import note
from tests.support.mistakes import HERE, Mistake, child, in_a_function

NAIVE = datetime(2030, 1, 1)


def one(value: int) -> int:
    return value


async def aone(value: int) -> int:
    return value


async def _twice(step: Awaitable[Any]) -> None:
    await step
    await step


async def _raised(call: Callable[[], Any]) -> Any:
    raise call()


async def _returned(value: Any) -> Any:
    return value


async def _added(value: Any) -> Any:
    return value + 1


async def _apart(value: Any) -> Any:
    _one, other = value
    return other


async def _entered(value: Any) -> Any:
    async with value:
        pass


async def _done(call: Callable[[], Any]) -> None:
    call()


def _numbers() -> Any:
    yield 1


@dataclasses.dataclass
class Order:
    number: int


def _order():  # type: ignore[no-untyped-def]
    return Order(7)


MISTAKES: dict[str, Mistake] = {
    "a handler that was called": Mistake(
        lambda ctx: ctx.step.run("a", one(1)), "'a'", "must be callable, not 1", "step.run("
    ),
    "an async handler that was called": Mistake(lambda ctx: ctx.step.run("a", aone(1)), "'a'", "without calling it"),
    "no handler": Mistake(lambda ctx: ctx.step.run("a"), "handler"),
    "a handler alone": Mistake(lambda ctx: ctx.step.run(one), "missing 1 required positional argument: 'handler'"),
    "an id alone": Mistake(lambda ctx: ctx.step.run("a"), "missing 1 required", "it is Step.run(step_id, handler, /, "),
    "an id and a handler by their keywords": Mistake(
        lambda ctx: ctx.step.run(step_id="a", handler=one),
        "Step.run() missing 2 required",
        "'step_id' and 'handler': it",
    ),
    "a handler in place of the id": Mistake(
        lambda ctx: ctx.step.run(one, 1), "a step's id must be a string", "one", "the id comes first, step.run('a', "
    ),
    "a handler that lacks an argument": Mistake(
        lambda ctx: ctx.step.run("a", one), "one() missing 1 required", "'value'"
    ),
    "a handler with an argument too many": Mistake(lambda ctx: ctx.step.run("a", aone, 1, 2), "takes 1 positional"),
    "a handler with an unknown keyword": Mistake(lambda ctx: ctx.step.run("a", one, 1, amount=2), "'amount'"),
    "a blocking C function, wrongly called": Mistake(lambda ctx: ctx.step.run("a", len), "len() takes exactly one"),
    "a naive datetime": Mistake(lambda ctx: ctx.step.sleep_until("a", NAIVE), "'a'", "time zone", "tzinfo=UTC"),
    "a duration for a datetime": Mistake(lambda ctx: ctx.step.sleep_until("a", "1h"), "'a'", "datetime", "'1h'"),
    "a duration in words": Mistake(lambda ctx: ctx.step.sleep("a", "5 minutes"), "'a'", "'5 minutes'", '"30s"'),
    "a duration without a unit": Mistake(lambda ctx: ctx.step.sleep("a", "500"), "'a'", "'500'", '"30s"'),
    "a negative duration": Mistake(lambda ctx: ctx.step.sleep("a", -1), "'a'", "negative"),
    "no duration": Mistake(lambda ctx: ctx.step.sleep("a"), "duration"),
    "a duration too many": Mistake(lambda ctx: ctx.step.sleep("a", 1, 2), "sleep() takes 3 positional"),
    "a step without an id": Mistake(lambda ctx: ctx.step.run("", note), "a step's id must not be empty"),
    "a step whose id is a number": Mistake(lambda ctx: ctx.step.sleep(7, 1), "a step's id must be a string", "7"),
    "options on a sleep": Mistake(lambda ctx: ctx.step.sleep(StepOptions("a", retries=1), 1), "'a'", "step.run only"),
    "an unknown option": Mistake(lambda ctx: ctx.step.run(StepOptions("a", retry=3), note), "'retry'"),
    "options without an id": Mistake(lambda ctx: ctx.step.run(StepOptions(), note), "'id'"),
    "retries that are none": Mistake(lambda ctx: ctx.step.run(StepOptions("a", retries=-1), note), "'a'", "-1"),
    "a timeout in words": Mistake(
        lambda ctx: ctx.step.run(StepOptions("a", timeout="soon"), note), "'soon'", "timeout"
    ),
    "a bound in words": Mistake(lambda ctx: ctx.step.run(StepOptions("a", within="soon"), note), "'soon'", "within"),
    "retry_on that is no error": Mistake(
        lambda ctx: ctx.step.run(StepOptions("a", retry_on="ValueError"), note),
        "retry_on of step 'a'",
        "exception class",
    ),
    "give_up_on that is asynchronous": Mistake(
        lambda ctx: ctx.step.run(StepOptions("a", give_up_on=aone), note), "give_up_on of step 'a'", "plain callable"
    ),
    "a back-off that is none": Mistake(lambda ctx: ctx.step.run(StepOptions("a", backoff=5), note), "'a'", "a Backoff"),
    "a back-off of words": Mistake(lambda ctx: ctx.step.run(StepOptions("a", backoff=Backoff("x")), note), "'x'"),
    "an event without a name": Mistake(lambda ctx: ctx.step.send_event("a", Event("")), "event's name"),
    "an event whose data is a list": Mistake(lambda ctx: ctx.step.send_event("a", Event("e", [1])), "'e'", "mapping"),
    "an event with a naive instant": Mistake(
        lambda ctx: ctx.step.send_event("a", Event("e", ts=NAIVE)), "'e'", "time zone"
    ),
    "an event with an unknown field": Mistake(
        lambda ctx: ctx.step.send_event("a", Event("e", payload={})), "'payload'"
    ),
    "an event of the runtime's own": Mistake(
        lambda ctx: ctx.step.send_event("a", Event("durable/x")), "'durable/x'", "the runtime's own"
    ),
    "a name for an event": Mistake(lambda ctx: ctx.step.send_event("a", "e"), "'a'", "'e'"),
    "an event that cannot be kept": Mistake(lambda ctx: ctx.step.send_event("a", Event("e", {"x": object()})), "$.x"),
    "a signal that is no text": Mistake(lambda ctx: ctx.step.send_signal("a", 7), "signal", "7"),
    "an invoke with a positional function": Mistake(lambda ctx: ctx.step.invoke("a", child), "positional"),
    "an invoke of what is no function": Mistake(
        lambda ctx: ctx.step.invoke("a", function=one), "'a'", "@durable.function"
    ),
    "an invoke with a list for data": Mistake(
        lambda ctx: ctx.step.invoke("a", function=child, data=[1]), "'child'", "mapping"
    ),
    "a value that cannot be kept": Mistake(lambda ctx: ctx.step.run("a", object), "'a'", "object", "cannot be kept"),
    "a parallel of steps": Mistake(
        lambda ctx: ctx.group.parallel([ctx.step.sleep("a", 1)]), "callables without arguments"
    ),
    "a parallel of nothing": Mistake(lambda ctx: ctx.group.parallel(7), "iterable of callables", "7"),
    "a retry after a naive instant": Mistake(lambda ctx: _raised(lambda: RetryAfterError("m", NAIVE)), "retry_after"),
    "a retry after nothing said": Mistake(lambda ctx: _raised(lambda: RetryAfterError("m")), "retry_after"),
    "the current step of a function": Mistake(lambda ctx: _raised(current_step), "no handler is running here"),
    "a step that is awaited twice": Mistake(lambda ctx: _twice(ctx.step.sleep("a", 0)), "awaited only once", "call it"),
    "a step that is returned, not awaited": Mistake(
        lambda ctx: _returned(ctx.step.run("a", one, 1)), "step 'a' of run 'r'", "was not awaited", "write `await`"
    ),
    "an engine's method in a function": Mistake(lambda ctx: HERE.send("e"), "every replay", "step.send_event"),
    "a step called on the context": Mistake(
        lambda ctx: ctx.run("a", one, 1), "'Context' object has no attribute 'run': write ctx.step.run"
    ),
    "the data of the context": Mistake(lambda ctx: _returned(ctx.data["x"]), "write ctx.event.data"),
    "a step that is added to, not awaited": Mistake(
        lambda ctx: _added(ctx.step.run("a", one, 1)),
        "TypeError: <step 'a' of run 'r'> was not awaited",
        "write `await`",
    ),
    "a step that is taken apart, not awaited": Mistake(
        lambda ctx: _apart(ctx.step.run("a", one, 1)),
        "<step 'a' of run 'r'> was not awaited",
        "write `await` before it",
    ),
    "an item of a step, not awaited": Mistake(
        lambda ctx: _returned(ctx.step.run("a", one, 1)["x"]), "was not awaited", "write `await` before it"
    ),
    "an attribute of a step, not awaited": Mistake(
        lambda ctx: _returned(ctx.step.run("a", one, 1).total), "has no 'total' until it is awaited: write `await`"
    ),
    "a step that is compared, not awaited": Mistake(
        lambda ctx: _returned(ctx.step.run("a", one, 1) > 3), "was not awaited", "write `await` before it"
    ),
    "a step that is entered, not awaited": Mistake(
        lambda ctx: _entered(ctx.step.run("a", one, 1)), "was not awaited", "write `await` before it"
    ),
    "a key that the data lack": Mistake(lambda ctx: _returned(ctx.event.data["id"]), "KeyError: 'id'", after=15.5),
    "an item of the event": Mistake(
        lambda ctx: _returned(ctx.event["order_id"]), "'Event' has no items of its own: write event.data['order_id']"
    ),
    "an item of a signal": Mistake(
        lambda ctx: _done(lambda: durable.Signal("go", {"by": "ann"})["by"]), "write signal.data['by']"
    ),
    "a parallel of the steps": Mistake(lambda ctx: ctx.step.parallel([]), "write ctx.group.parallel"),
    "a step of another library": Mistake(lambda ctx: ctx.step.invoke_by_id("a"), "write step.invoke(id, function="),
    "a step mistyped": Mistake(lambda ctx: ctx.step.slep("a", 1), "no attribute 'slep': write sleep"),
    "a step that there is not": Mistake(lambda ctx: ctx.step.fetch("a"), "it has invoke, run, send_event", "sleep"),
    "an option beside the step's arguments": Mistake(
        lambda ctx: ctx.step.run("a", one, 1, retries=3), "write step.run(StepOptions('a', retries=...), handler)"
    ),
    "a handler by its keyword": Mistake(
        lambda ctx: ctx.step.run("a", handler=one), "it is Step.run(step_id, handler, /, *args, **kwargs)"
    ),
    "a sleep without an id": Mistake(lambda ctx: ctx.step.sleep("5s"), "it is Step.sleep(step_id, duration)"),
    "the arguments of a sleep exchanged": Mistake(lambda ctx: ctx.step.sleep("1h", "nap"), "step '1h' cannot be 'nap'"),
    "an instant for a duration": Mistake(
        lambda ctx: ctx.step.sleep("a", ctx.now()), "step 'a'", "an instant is for sleep_until"
    ),
    "a timestamp for a datetime": Mistake(
        lambda ctx: ctx.step.sleep_until("a", 1_900_000_000), "step 'a'", "such as datetime(2030, 1, 31, tzinfo=UTC)"
    ),
    "an empty id in options": Mistake(lambda ctx: _done(lambda: StepOptions("")), "a step's id must not be empty"),
    "options of no text": Mistake(lambda ctx: _done(lambda: StepOptions(7)), "a step's id must be a string", "7"),
    "no time for a try": Mistake(
        lambda ctx: _done(lambda: StepOptions("a", timeout=0)), "timeout of step 'a' must be more than zero"
    ),
    "no time for all tries": Mistake(
        lambda ctx: _done(lambda: StepOptions("a", within="0s")), "within of step 'a' must be more than zero"
    ),
    "a durable function as a handler": Mistake(
        lambda ctx: ctx.step.run("a", child), "the durable function 'child'", "write step.invoke('a', function=...)"
    ),
    "a durable function as a handler, with the context": Mistake(
        lambda ctx: ctx.step.run("a", child, ctx),
        "the durable function 'child'",
        "write step.invoke('a', function=...)",
    ),
    "a function mistyped in an invoke": Mistake(
        lambda ctx: ctx.step.invoke("a", function="chlid"), "there is no function 'chlid'", "is 'child' meant?"
    ),
    "a function that the engine was not given": Mistake(
        lambda ctx: ctx.step.invoke("a", function="billing"), "no function 'billing'", "pass it in Engine(functions="
    ),
    "a generator as a handler": Mistake(lambda ctx: ctx.step.run("a", _numbers), "'a' is a generator", "return a list"),
    "a file as a value": Mistake(lambda ctx: ctx.step.run("a", iter, [1]), "'a'", "return a list of what it gives"),
    "a dataclass without an annotation": Mistake(lambda ctx: ctx.step.run("a", _order), "Order", "annotate what"),
    "a value of megabytes": Mistake(
        lambda ctx: ctx.step.run("a", lambda: "x" * 5_000_000), "'a'", "5,000,002 bytes", "Limits(step_bytes=...)"
    ),
    "the context as a value": Mistake(lambda ctx: _returned(ctx), "a durable.functions.context.Context cannot be kept"),
    "a set of functions": Mistake(lambda ctx: _returned({one}), "$[<function one", "return plain values"),
    "a nested step": Mistake(
        lambda ctx: ctx.step.run("a", lambda: ctx.step.sleep("b", 1)),
        "step 'b' is called inside the handler of step 'a'",
        "call it from the function, before or after",
    ),
    "the context asked in a handler": Mistake(
        lambda ctx: ctx.step.run("a", durable.current_context), "'a'", "give the handler what it needs as arguments"
    ),
    "an engine closed in a handler": Mistake(
        lambda ctx: ctx.step.run("a", HERE.close),
        "close",
        "the handler of step 'a'",
        "tell what opened the engine",
        "to close it",
    ),
    "an engine closed in a function": Mistake(
        lambda ctx: HERE.close(), "close is awaited in the code", "to close it, or wait"
    ),
    "a result awaited in a handler": Mistake(
        lambda ctx: ctx.step.run("a", HERE.result, ctx.run_id),
        "result is awaited",
        "await it outside, or wait for another run by ctx.step.invoke",
    ),
    "a script's run in a function": Mistake(
        lambda ctx: _done(lambda: durable.run(child)), "durable.run blocks", "`await engine.invoke(child, {...})`"
    ),
    "an event as a mapping": Mistake(
        lambda ctx: ctx.step.send_event("a", {"name": "e"}), "'a' sends an Event or a sequence", "{'name': 'e'}"
    ),
    "an event by keywords": Mistake(
        lambda ctx: ctx.step.send_event("a", name="e"), "'name'", "it is Step.send_event(step_id, events)"
    ),
    "a 1,001st step": Mistake(
        lambda ctx: asyncio.gather(*[ctx.step.sleep("a", 0) for _ in range(1_001)]), "more than 1,000 steps", "Limits("
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_step_is_told_at_once_with_its_remedy(mistake: str) -> None:
    in_a_function(MISTAKES[mistake])
