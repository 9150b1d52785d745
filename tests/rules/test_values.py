"""Rules R10 and R10a: values through the engine, and the surroundings of a handler."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest

import durable
from durable import Context, Engine, Event, RunFailed, StepOptions, current_step
from durable.testing import Lab
from tests.support.lives import note, same_lives

PLAIN: list[Any] = ["text", "", "\ud800 \x00 ~ $", 1, 0, -(2**70), 1.5, True, False, None, [1, [2]], {"a": {"b": []}}]
TAGGED: list[Any] = [
    datetime(2030, 1, 2, 3, 4, 5, 6, UTC),
    datetime(2030, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2030, 1, 2),
    date(2030, 1, 2),
    time(3, 4),
    timedelta(days=-1, microseconds=7),
    ZoneInfo("Asia/Tokyo"),
    Decimal("1.10"),
    UUID(int=7),
    b"\x00\xff",
    {1, 2},
    frozenset({"a"}),
    (1, (2, [3])),
    Path("a/b"),
    PurePosixPath("/c"),
    {1: "a", (2, 3): "b", None: "c"},
    math.inf,
    10**5000,
    {"~datetime": "a user's own", "~": 1},
    ["~tuple", [1]],
]


class Colour(enum.Enum):
    RED = "r"


@attrs.frozen
class Line:
    item: str
    price: Decimal


@dataclass
class Order:
    lines: list[Line]
    colour: Colour


class Pair(NamedTuple):
    left: int
    right: Order


Untyped = namedtuple("Untyped", ["x"])


def make_pair() -> Pair:
    return Pair(1, Order([Line("bread", Decimal("2.50"))], Colour.RED))


def same(one: object, other: object) -> bool:
    if isinstance(one, ZoneInfo):  # equal only by identity, which ends where its cache is cleared
        return type(one) is type(other) and repr(one) == repr(other)
    return type(one) is type(other) and one == other and (isinstance(one, int) or repr(one) == repr(other))


def test_every_kind_of_value_comes_back_as_what_it_was() -> None:
    """R10: from a step, in the event's data, from the run; live, after crashes, from every write."""

    @durable.function
    async def values(ctx: Context) -> list[Any]:
        got = [await ctx.step.run("value", note, value) for value in PLAIN + TAGGED]
        await ctx.step.sleep("a while", 1)
        return [*got, ctx.event.data["all"]]

    life = same_lives(values, {"all": PLAIN + TAGGED})
    *got, sent = life.ending
    for given, one, other in zip(PLAIN + TAGGED, got, sent, strict=True):
        assert same(given, one) and same(given, other), type(given)


def test_not_a_number_comes_back() -> None:
    """R10: which equals nothing, not even itself."""

    @durable.function
    async def nan(ctx: Context) -> str:
        return repr(await ctx.step.run("nan", note, [math.nan, -math.inf]))

    assert same_lives(nan).ending == "[nan, -inf]"


def test_values_travel_in_sent_events_signals_and_the_data_of_an_invoke() -> None:
    """R10: a wait's answer holds what was sent."""

    @durable.function
    async def child(ctx: Context) -> Any:
        return ctx.event.data["value"]

    @durable.function
    async def parent(ctx: Context) -> list[Any]:
        waiting = ctx.step.wait_for_event("answer", event="sent", timeout=9)
        await ctx.step.send_event("send", Event("sent", {"value": (1, {2})}))
        event = await waiting
        assert event is not None
        return [event.data["value"], await ctx.step.invoke("child", function=child, data={"value": (3, b"4")})]

    assert same_lives(parent, functions=[child]).ending == [(1, {2}), (3, b"4")]


def test_classes_come_back_through_the_return_annotation_or_output_type() -> None:
    """R10: enums, attrs classes, dataclasses and named tuples."""

    @durable.function
    async def typed(ctx: Context) -> list[Pair]:
        annotated = await ctx.step.run("annotated", make_pair)
        optioned = await ctx.step.run(StepOptions("option", output_type=Pair), lambda: make_pair())
        await ctx.step.sleep("a while", 1)
        return [annotated, optioned]

    assert same_lives(typed).ending == [make_pair(), make_pair()]
    assert all(type(pair) is Pair for pair in same_lives(typed).ending)


class Celsius(float):
    pass


@pytest.mark.parametrize("value", [make_pair(), Colour.RED, Line("x", Decimal(1)), Untyped(1), Celsius(1.5), object()])
def test_a_class_that_nothing_names_is_refused_never_a_lesser_value(value: object) -> None:
    """R10: the message names the path inside the value, the step, the run and the remedy; it is not retried."""

    @durable.function
    async def untyped(ctx: Context) -> Any:
        return await ctx.step.run("make", lambda: {"items": [0, value]})

    async def story() -> None:
        async with Lab([untyped]) as lab:
            run = await lab.start(untyped, id="r")
            with pytest.raises(RunFailed) as caught:
                await lab.result(run)
            text = str(caught.value)
            for part in ("run 'r'", "step 'make'", "CodecError", "$.items[1]", type(value).__name__):
                assert part in text, text
            assert "output_type" in text or "annotat" in text or "hooks" in text, text
            assert lab.calls["make"] == 1

    asyncio.run(story())


def test_a_run_that_returns_what_cannot_be_kept_fails_and_is_not_retried() -> None:
    """R10: the message names run and path."""

    @durable.function
    async def returning(ctx: Context) -> Any:
        await ctx.step.run("first", note)
        return {"price": object()}

    life = same_lives(returning)
    assert life.ending[0] == "CodecError" and "$.price" in life.ending[1] and life.info.attempt == 0


def test_event_data_that_cannot_be_kept_is_refused_at_the_call() -> None:
    """R10: nothing is sent."""

    async def story() -> None:
        async with Lab([]) as lab:
            with pytest.raises(durable.CodecError, match=r"\$\.items\[3\]\.price"):
                await lab.send("shop/order", {"items": [1, 2, 3, {"price": object()}]})

    asyncio.run(story())


def test_an_annotation_that_does_not_resolve_counts_as_absent_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R10: the warning names output_type."""

    def unresolved() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return {"plain": 1}

    @durable.function
    async def loose(ctx: Context) -> list[Any]:
        return [await ctx.step.run(f"step {number}", unresolved) for number in range(3)]

    assert same_lives(loose).ending == [{"plain": 1}] * 3
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1 and "output_type" in warnings[0] and "Nowhere" in warnings[0]


# R10a

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("threads", ["inline", "threads"])
def test_a_handler_runs_in_a_copy_of_its_callers_context(threads: str) -> None:
    """R10a: it sees what the caller set, nothing that it sets is seen afterwards, live as on replay."""

    def blocking() -> str:
        before = VARIABLE.get()
        VARIABLE.set("by the blocking handler")
        return before

    async def asynchronous() -> str:
        before = VARIABLE.get()
        VARIABLE.set("by the async handler")
        return before

    @durable.function
    async def setting(ctx: Context) -> list[str]:
        VARIABLE.set("by the function")
        got = [await ctx.step.run("blocking", blocking), VARIABLE.get()]
        got += [await ctx.step.run("async", asynchronous), VARIABLE.get()]
        await ctx.step.sleep("a while", 1)
        return [*got, VARIABLE.get()]

    async def story() -> None:
        for crashing in (False, True):
            async with Lab([setting], threads=threads == "threads") as lab:
                run = await lab.start(setting)
                if crashing:
                    await lab.crash()
                assert await lab.result(run) == ["by the function"] * 5
                assert VARIABLE.get() == "unset"

    asyncio.run(story())


def test_a_try_sees_nothing_of_what_the_try_before_it_set() -> None:
    """R10a: each try has a copy of its own."""

    async def setting() -> str:
        before = VARIABLE.get()
        VARIABLE.set("by an earlier try")
        if current_step().attempt < 2:
            raise ValueError
        return before

    @durable.function
    async def calling(ctx: Context) -> list[str]:
        return [await ctx.step.run("async", setting), VARIABLE.get()]

    assert same_lives(calling).ending == ["unset", "unset"]


@pytest.mark.parametrize("threads", ["inline", "threads"])
def test_a_blocking_handler_sees_no_running_loop(threads: str) -> None:
    """R10a: in Lab as live: so one that calls asyncio.run works."""

    def own_loop() -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return asyncio.run(asyncio.sleep(0, "from a loop of its own"))

    @durable.function(retries=0)
    async def calling(ctx: Context) -> str:
        return await ctx.step.run("own loop", own_loop)

    async def story() -> None:
        async with Lab([calling], threads=threads == "threads") as lab:
            assert await lab.result(await lab.start(calling)) == "from a loop of its own"
        async with Engine([calling]) as engine:
            assert await engine.invoke(calling) == "from a loop of its own"

    asyncio.run(story())


class Adder:
    def __init__(self, to: int) -> None:
        self.to = to

    async def method(self, more: int) -> int:
        return self.to + more

    def __call__(self, more: int) -> int:
        return self.to + more


async def add(one: int, other: int) -> int:
    return one + other


@pytest.mark.parametrize("threads", ["inline", "threads"])
@pytest.mark.parametrize(
    "handler",
    [partial(add, 1), Adder(1).method, Adder(1), lambda more: add(1, more), lambda more: 1 + more, partial(Adder(1))],
    ids=["partial", "method", "object", "lambda of a coroutine", "lambda", "partial of an object"],
)
def test_any_callable_is_a_handler(handler: Callable[..., Any], threads: str) -> None:
    """R10a: async or blocking, with arguments; a lambda that returns a coroutine too."""

    @durable.function(retries=0)
    async def calling(ctx: Context) -> list[int]:
        return [await ctx.step.run("positional", handler, 2), await ctx.step.run("again", handler, 3)]

    async def story() -> None:
        async with Lab([calling], threads=threads == "threads") as lab:
            assert await lab.result(await lab.start(calling)) == [3, 4]

    asyncio.run(story())


def generating() -> Iterator[int]:
    yield 1


async def generating_async() -> Any:
    yield 1


class Generating:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize("handler", [generating, generating_async, Generating()])
def test_a_generator_as_a_handler_is_a_type_error_at_the_call(handler: Callable[..., Any]) -> None:
    """R10a: before anything is recorded; the message names the step and says what to do."""

    @durable.function(retries=0)
    async def calling(ctx: Context) -> None:
        with pytest.raises(TypeError, match=r"handler of step 'g' is a generator.*return a list"):
            ctx.step.run("g", handler)

    assert same_lives(calling).ending is None
