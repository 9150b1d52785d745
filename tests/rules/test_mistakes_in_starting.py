"""What people write wrongly where functions are declared, engines made and runs started, and what they are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

import durable
from durable import Backoff, Cancel, Context, Engine, Event, Limits, Timeouts, TriggerEvent
from tests.support.mistakes import Mistake, at_the_call, with_an_engine


@durable.function
async def charge(ctx: Context) -> int:
    return 1


@durable.function("shop/order.placed")
async def fulfil(ctx: Context) -> str:
    await ctx.step.sleep("cooling off", "24h")
    return "shipped"


@durable.function
async def failing(ctx: Context) -> None:
    await ctx.step.run("load", lambda: 1 / 0)


async def plain(ctx: Context) -> None: ...


def blocking(ctx: Context) -> None: ...


async def without(): ...  # type: ignore[no-untyped-def]


async def with_two(ctx: Context, order: int) -> None: ...


def generating(ctx: Context) -> Iterator[int]:
    yield 1


def declared(*trigger: Any, code: Any = plain, **options: Any) -> Any:
    return lambda: durable.function(*trigger, **options)(code)


def other() -> Any:
    async def plain(ctx: Context) -> None: ...

    return plain


ANOTHER_PLACE: Any = other()

DECLARING: dict[str, Mistake] = {
    "a blocking function": Mistake(declared(code=blocking), "must be a coroutine function", ": write async def"),
    "a lambda": Mistake(declared(code=lambda ctx: 1), "async def with one parameter ctx, not <function"),
    "a generator": Mistake(declared(code=generating), "must be a coroutine function", "a yield, return a list instead"),
    "a class": Mistake(declared(code=Event), "must be a coroutine function", "not <class"),
    "no context": Mistake(declared(code=without), "must take one argument, the context: async def without(ctx)"),
    "an argument beside it": Mistake(declared(code=with_two), "one argument, the context: async def with_two(ctx)"),
    "decorated twice": Mistake(declared(code=charge), "not <Function 'charge'>: it is decorated already"),
    "another library's id": Mistake(declared(fn_id="x"), "'fn_id': write id="),
    "another library's retries": Mistake(declared(max_retries=3), "'max_retries': write retries="),
    "retries mistyped": Mistake(declared(retry=3), "'retry': write retries="),
    "retries as text": Mistake(declared(retries="3"), "retries of function 'plain' must be an int, not '3'"),
    "fewer than no retries": Mistake(declared(retries=-1), "retries of function 'plain' must be zero or more, not -1"),
    "an option that there is not": Mistake(
        declared(middleware=[]), "'middleware': its options are trigger, id, retries"
    ),
    "an option of another library": Mistake(declared(max_retries=3), "'max_retries': write retries="),
    "a limit as text": Mistake(declared(debounce="1m"), "debounce of function 'plain' must be a Debounce, not '1m'"),
    "a time for the function": Mistake(declared(timeout="1h"), "'timeout': write timeouts="),
    "timeouts as text": Mistake(declared(timeouts="1h"), "timeouts of function 'plain' must be a Timeouts, not '1h'"),
    "a timeout in words": Mistake(lambda: Timeouts(finish="soon"), "Timeouts(finish=...) cannot be 'soon': write"),  # type: ignore[arg-type]
    "a timeout by another name": Mistake(lambda: Timeouts(max="1h"), "it is Timeouts(start=..., finish=...)"),  # type: ignore[call-arg]
    "a back-off in words": Mistake(lambda: Backoff("soon"), "Backoff(first=...) cannot be 'soon': write"),  # type: ignore[arg-type]
    "a back-off by another name": Mistake(lambda: Backoff(initial=1), "it is Backoff(first=..., factor=..., max="),  # type: ignore[call-arg]
    "a back-off as text": Mistake(declared(backoff="1s"), "backoff of function 'plain' must be a Backoff, not '1s'"),
    "a trigger that is a number": Mistake(declared(3), "trigger of function 'plain' must be an event's name", "not 3"),
    "a trigger for everything": Mistake(declared("*"), "cannot be '*'", "whose * ends it after / or ., as 'shop/*'"),
    "a pattern inside a name": Mistake(declared("shop/*/placed"), "cannot be 'shop/*/placed'", "as 'shop/*'"),
    "a trigger's filter by another name": Mistake(
        lambda: TriggerEvent("e", expression="x"),
        "it is TriggerEvent(event, if_exp=...)",  # type: ignore[call-arg]
    ),
    "a trigger's filter with one =": Mistake(
        lambda: TriggerEvent("e", if_exp="event.data.x = 1"), "if_exp of TriggerEvent 'e': line 1", "write =="
    ),
    "a trigger that asks for the new event": Mistake(
        lambda: TriggerEvent("e", if_exp="async.data.x == 1"), "if_exp of TriggerEvent 'e'", "'async': there is event"
    ),
    "a cancel that is a name": Mistake(declared(cancel="e"), "cancel of function 'plain' must be a sequence of Cancel"),
    "a cancel's filter that ends": Mistake(lambda: Cancel("e", if_exp="event =="), "if_exp of Cancel 'e': line 1"),
    "a cancel's path": Mistake(
        lambda: Cancel("e", match="async.data.id"), "match of Cancel 'e' must be a path", "data."
    ),
    "a key that is a lambda": Mistake(declared(idempotency=len), "idempotency of function 'plain' must be a string"),
    "a key without the event": Mistake(
        declared(idempotency="data.id"),
        "idempotency of function 'plain': line 1",
        "unknown variable 'data': write event.data",
    ),
    "a blocking on_failure": Mistake(declared(on_failure=blocking), "on_failure of function 'plain' must be a corout"),
    "an event without a name": Mistake(lambda: Event(), "it is Event(name, data=..., id=..., ts=..., v=...)"),  # type: ignore[call-arg]
    "an event's payload": Mistake(lambda: Event("e", payload={}), "it is Event(name, data=..., id=..."),  # type: ignore[call-arg]
    "an event at a timestamp": Mistake(
        lambda: Event("e", ts=time.time()),  # type: ignore[arg-type]
        "the ts of event 'e' must be an aware datetime, such as datetime(2030, 1, 31, tzinfo=UTC)",
    ),
    "a limit by another name": Mistake(lambda: Limits(max_steps=3), "it is Limits(steps=..., step_bytes=..., run_"),  # type: ignore[call-arg]
    "a limit in words": Mistake(lambda: Limits(step_bytes="4MB"), "Limits(step_bytes=...) must be an int"),  # type: ignore[arg-type]
    "an engine of one function": Mistake(lambda: Engine(charge), "write Engine([function])"),  # type: ignore[arg-type]
    "an engine of what is not decorated": Mistake(lambda: Engine([plain]), "decorate it with @durable.function"),  # type: ignore[list-item]
    "an engine's store by position": Mistake(lambda: Engine([charge], "x.db"), "it is Engine(functions=..., *, store="),  # type: ignore[misc]
    "an engine's store by another name": Mistake(
        lambda: Engine(path="x.db"), "'path': it is Engine(functions=..., *, store"
    ),  # type: ignore[call-arg]
    "two functions of one name": Mistake(
        lambda: Engine([durable.function(plain), durable.function(ANOTHER_PLACE)]),
        "two functions have the id 'plain'",
        "give one of them another id, @durable.function(id=...)",
    ),
    "a function called without its context": Mistake(lambda: charge(), "missing 1 required", "'ctx'"),  # type: ignore[call-arg]
    "a function that is asked to start": Mistake(
        lambda: charge.start(),
        "'Function' object has no attribute 'start': write engine.start(function, data)",  # type: ignore[attr-defined]
    ),
    "a decorator of another library": Mistake(lambda: durable.create_function(), "write @durable.function"),  # type: ignore[attr-defined]
    "the steps of no run": Mistake(lambda: durable.step, "write ctx.step, in a function"),  # type: ignore[attr-defined]
    "a Lab that stands elsewhere": Mistake(lambda: durable.Lab, "write durable.testing.Lab"),  # type: ignore[attr-defined]
    "a handler's step asked outside": Mistake(durable.current_step, "current_step() is for the handler of a step"),
    "the context asked outside": Mistake(
        durable.current_context, "no function is running here; call it in the function"
    ),
}


def opened_blocking() -> None:
    with Engine([charge]):  # type: ignore[attr-defined]
        pass


DECLARING["an engine opened as a file is"] = Mistake(opened_blocking, "write `async with Engine(...)`, not `with`")


@pytest.mark.parametrize("mistake", DECLARING)
def test_a_mistake_in_a_declaration_is_told_where_it_is_written(mistake: str) -> None:
    at_the_call(DECLARING[mistake])


async def of_another(engine: Engine) -> None:
    await engine.start(charge, {"a": 1}, id="same")
    await engine.start(charge, {"a": 2}, id="same")


async def of_another_function(engine: Engine) -> None:
    await engine.start(charge, id="same")
    await engine.start(fulfil, id="same")


async def by_its_handle(engine: Engine) -> None:
    await engine.result(await engine.start(charge))  # type: ignore[arg-type]


async def reopened(engine: Engine) -> None:
    run = await engine.start(charge)
    await run.result()
    await engine.retry(run.id)


async def its_status(engine: Engine) -> None:
    (await engine.start(charge)).status  # type: ignore[attr-defined]  # noqa: B018


async def its_value(engine: Engine) -> None:
    (await engine.start(charge)).value  # type: ignore[attr-defined]  # noqa: B018


async def its_result(engine: Engine) -> None:
    (await (await engine.start(charge)).info()).result  # type: ignore[attr-defined]  # noqa: B018


async def mistyped(engine: Engine) -> None:
    engine.sned("e")  # type: ignore[attr-defined]


async def emitted(engine: Engine) -> None:
    engine.emit("e")  # type: ignore[attr-defined]


async def by_its_event(engine: Engine) -> None:
    [sent] = await engine.send("shop/order.placed")
    await engine.result(sent)


async def too_soon(engine: Engine, function: durable.Function[Any] = fulfil) -> None:
    run = await engine.start(function)
    await engine.settled()
    await run.result(timeout="1ms")


KEPT: list[Context] = []


@durable.function
async def keeping(ctx: Context) -> None:
    KEPT.append(ctx)


async def after_its_end(engine: Engine) -> None:
    await engine.invoke(keeping)
    await KEPT.pop().step.sleep("late", 1)


NOT_OPEN = Engine([charge])
STARTING: dict[str, Mistake] = {
    "a function mistyped": Mistake(lambda engine: engine.start("chagre"), "no function 'chagre'", "is 'charge' meant?"),
    "a function that it was not given": Mistake(lambda engine: engine.start("bill"), "pass it in Engine(functions=["),
    "a function that is not decorated": Mistake(
        lambda engine: engine.start(plain), "decorate it with @durable.function"
    ),
    "data as text": Mistake(lambda engine: engine.start(charge, "7"), "data for function 'charge' must be a mapping"),
    "data as a list": Mistake(lambda engine: engine.send("e", [1]), "the data of event 'e' must be a mapping, not [1]"),
    "data with numbers for keys": Mistake(lambda engine: engine.send("e", {1: 2}), "'e' must have string keys, not 1"),
    "data that cannot be kept": Mistake(lambda engine: engine.send("e", {"x": object()}), "$.x", "send plain values"),
    "an id with a slash": Mistake(lambda engine: engine.start(charge, id="a/b"), "must not be empty or hold '/'"),
    "an id that is a number": Mistake(lambda engine: engine.start(charge, id=7), "must be a string, not 7 (int)"),
    "an id for other data": Mistake(of_another, "was started with other data: give the new run another id"),
    "an id of another function": Mistake(of_another_function, "belongs to function 'charge', not to 'fulfil'"),
    "a run that there is not": Mistake(lambda engine: engine.run("nope"), "there is no run 'nope' in this store"),
    "an event's id for a run's": Mistake(by_its_event, "if it is the id of an event", "/charge' or ", "/fulfil'"),
    "a result before its time": Mistake(too_soon, "it goes on: step 'cooling off' waits for 20"),
    "a result of what fails and is tried again": Mistake(
        lambda engine: too_soon(engine, failing),
        "step 'load' waits for its next try, number 2, at",
        "after ZeroDivisionError: division",
    ),
    "a step of a run that has ended": Mistake(
        after_its_end, "step 'late' of run", "the run is completed", "to begin another run use engine.start"
    ),
    "a handle for an id": Mistake(by_its_handle, "the id of a run must be a string", "give its id"),
    "a completed run, tried again": Mistake(
        reopened, "has completed: only a run that failed or was cancelled is opened again; fork it"
    ),
    "a status that there is not": Mistake(lambda engine: engine.runs(status="done"), "queued, running, waiting, compl"),
    "a status of a handle": Mistake(
        its_status, "'Run' object has no attribute 'status': write (await run.info()).status"
    ),
    "a value of a handle": Mistake(its_value, "write await run.result()"),
    "a result of a picture": Mistake(its_result, "'RunInfo' object has no attribute 'result': write output"),
    "a method mistyped": Mistake(mistyped, "'Engine' object has no attribute 'sned': write send"),
    "a method of another library": Mistake(emitted, "'Engine' object has no attribute 'emit': write send"),
    "an event as a mapping": Mistake(lambda engine: engine.send({"name": "e"}), "takes a name and data, an Event or"),
    "names for events": Mistake(lambda engine: engine.send(["a", "b"]), "must hold Events, not 'a'"),
    "an event and data": Mistake(lambda engine: engine.send(Event("a"), {}), "put data, id and ts into the Event"),
    "an event at a naive instant": Mistake(
        lambda engine: engine.send("e", ts=datetime(2030, 1, 1)), "the ts of event 'e' must say its time zone"
    ),
    "an event of the runtime's own": Mistake(lambda engine: engine.send("durable/x"), "are the runtime's own"),
    "an event that is a pattern": Mistake(lambda engine: engine.send("shop/*"), "a * is for patterns in triggers"),
    "a signal that is a number": Mistake(lambda engine: engine.send_signal(7), "must be a string, not 7"),
    "a timeout in words": Mistake(lambda engine: engine.invoke(charge, timeout="soon"), "cannot be 'soon': write"),
    "an engine that is open, opened": Mistake(lambda engine: engine.open(), "the engine is open already: use it"),
    "an engine that is not open": Mistake(
        lambda _: NOT_OPEN.send("e"), "`async with engine:`", "`await engine.open()`"
    ),
}


@pytest.mark.parametrize("mistake", STARTING)
def test_a_mistake_in_the_use_of_an_engine_is_told_at_the_call(mistake: str) -> None:
    with_an_engine(STARTING[mistake], [charge, fulfil, failing])
