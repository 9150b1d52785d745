"""R10: a refusal's remedy can be followed by who reads it: a handler's author, a function's, or who sends data."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import warnings
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import attrs
import pytest

import durable
from durable import CodecError, Context, Event, RunFailed
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import encode
from durable.testing import Lab


class Colour(enum.Enum):
    RED = "r"


@attrs.frozen
class Line:
    price: int


@dataclasses.dataclass
class Order:
    price: int


class Pair(NamedTuple):
    x: int


class Text(str):
    pass


class Moment(datetime):
    pass


class Model:
    def model_dump(self) -> dict[str, Any]:
        return {}


class Array:
    def tolist(self) -> list[int]:
        return []


async def work() -> None: ...


# What is refused, and what each is told to do. Data have no type: neither annotations nor hooks can help them.
TOLD: list[tuple[Callable[[], Any], str, str, str]] = [
    (lambda: Colour.RED, "output_type", "annotate what the function returns", r"send its \.name or its \.value"),
    (lambda: Line(1), "output_type", "annotate what the function returns", r"send attrs\.asdict\(\.\.\.\)"),
    (lambda: Order(1), "output_type", "annotate what the function returns", r"send dataclasses\.asdict\(\.\.\.\)"),
    (lambda: Pair(1), "output_type", "annotate what the function returns", r"send its _asdict\(\)"),
    (lambda: Text("a"), "output_type", "annotate what the function returns", r"send str\(\.\.\.\)"),
    (lambda: defaultdict(list), r"return dict\(", r"return dict\(", r"send dict\(\.\.\.\)"),
    (lambda: Moment(2030, 1, 1, tzinfo=UTC), "register hooks", "register hooks", "send plain values"),
    (object, "register hooks", "register hooks", "send plain values"),
    (Model, r"model_validate\(\)", r"model_validate\(\)", r"send model\.model_dump\(\)$"),
    (Array, r"return its tolist\(\)", r"return its tolist\(\)", r"send its tolist\(\)"),
    (lambda: range(3), r"return a list.*list\(", r"return a list", "send a list"),
    (lambda: (one for one in ()), r"return a list", r"return a list", "send a list"),
    (lambda: {}.keys(), r"return a list", r"return a list", "send a list"),
    (lambda: bytearray(b"a"), r"return bytes\(", r"return bytes\(", r"send bytes\("),
    (lambda: ValueError("x"), "raise it, or return its text", "raise it, or return its text", "send its text"),
    (work, "write `await` before it", "write `await` before it", "write `await` before it"),
]


@pytest.mark.parametrize("whose", Whose)
@pytest.mark.parametrize("told", TOLD, ids=lambda told: told[1][:20])
def test_each_is_told_what_it_can_do(whose: Whose, told: tuple[Callable[[], Any], str, str, str]) -> None:
    make, handler, function, data = told
    value = make()
    remedy = {Whose.HANDLER: handler, Whose.FUNCTION: function, Whose.DATA: data}[whose]
    with pytest.raises(CodecError, match=rf"^\$\.a\[0\]: .*{remedy}") as caught:
        encode({"a": [value]}, whose=whose)
    if asyncio.iscoroutine(value):
        value.close()
    if whose is not Whose.HANDLER:
        assert "output_type" not in str(caught.value) and "handler" not in str(caught.value)
    if whose is Whose.DATA:
        assert not any(word in str(caught.value) for word in ("annotat", "hooks", "return"))


def test_data_of_events_and_signals_get_no_handlers_advice() -> None:
    """At every door through which data come."""

    @durable.function
    async def sends(ctx: Context) -> None:
        for send in (
            lambda: ctx.step.send_event("e", Event("a/b", {"line": Line(1)})),
            lambda: ctx.step.send_signal("s", "name", Line(1)),
            lambda: ctx.step.invoke("i", function="other", data={"line": Line(1)}),
        ):
            with pytest.raises(CodecError, match=r"send attrs\.asdict") as caught:
                await send()
            assert "handler" not in str(caught.value)

    async def story() -> None:
        async with Lab([sends]) as lab:
            await lab.result(await lab.start(sends))
            for send in (
                lambda: lab.send("a/b", {"line": Line(1)}),
                lambda: lab.start(sends, {"line": Line(1)}),
                lambda: lab.signal("name", Line(1)),
            ):
                with pytest.raises(CodecError, match=r"send attrs\.asdict") as caught:
                    await send()
                assert "handler" not in str(caught.value)

    asyncio.run(story())


@pytest.mark.parametrize("kept", ["returned", "in a list", "by a handler", "in data"])
def test_a_step_that_is_not_awaited_is_named(kept: str) -> None:
    """Returned, kept in a list, returned by a handler, or sent: all that lacks is an await."""

    async def inner() -> int:
        return 1

    @durable.function
    async def forgets(ctx: Context) -> Any:
        step = ctx.step.run("charge", inner)
        match kept:
            case "returned":
                return step
            case "in a list":
                return [1, step]
            case "by a handler":
                return await ctx.step.run("outer", lambda: [step])
            case _:
                return await ctx.step.send_event("send", Event("a", {"it": step}))

    async def story() -> None:
        async with Lab([forgets]) as lab:
            run = await lab.start(forgets, id="r")
            with pytest.raises(RunFailed, match=r"<step 'charge' of run 'r'> was not awaited.*write `await`") as caught:
                await lab.result(run)
            assert "StepCoroutine" not in str(caught.value) and "hooks" not in str(caught.value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that the step was never awaited is said, too
        asyncio.run(story())


def test_a_coroutine_that_a_blocking_handler_keeps_is_named() -> None:
    @durable.function
    async def forgets(ctx: Context) -> Any:
        return await ctx.step.run("all", lambda: {"a": [work()]})

    async def story() -> None:
        async with Lab([forgets]) as lab:
            with pytest.raises(RunFailed, match=r"\$\.a\[0\]: <coroutine object work .*was not awaited"):
                await lab.result(await lab.start(forgets))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        asyncio.run(story())
