"""List texts and numbers of odd shapes, and the places where texts enter an engine.

Separate because the tests of text, of types and of the stores try the same shapes.
Leaves to the tests the expected results.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import attrs

import durable
from durable import Context, Engine, Event, LimitError, Run, StepOptions


class Word(enum.StrEnum):
    """Words in an enumeration, as many people keep them."""

    ONE = "word7"


class Odd(str):
    """A string whose methods lie about it."""

    def __str__(self) -> str:
        return "another"

    def __repr__(self) -> str:
        return "Odd"

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 7

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"another"

    def isascii(self) -> bool:
        return True

    def __len__(self) -> int:
        return 3


@attrs.frozen
class Shape:
    """A text, and the error with which a name of that shape is refused: None for one that is kept."""

    text: str
    refused: type[Exception] | None = None

    @property
    def plain(self) -> str:
        return str.__str__(self.text)


SHAPES = {
    "half of a pair": Shape("a\ud800", ValueError),
    "a pair in halves": Shape("\ud83d\ude00", ValueError),
    "undecodable bytes of a command line": Shape("caf\udce9", ValueError),
    "a subclass with half of a pair": Shape(Odd("a\udfff"), ValueError),
    "a megabyte": Shape("x" * (1 << 20), LimitError),
    "a kilobyte and one": Shape("x" * 1_025, LimitError),
    "a kilobyte in characters, not in bytes": Shape("é" * 600, LimitError),
    "a subclass that is too long": Shape(Odd("x" * 1_025), LimitError),
    "empty": Shape("", ValueError),
    "an empty subclass": Shape(Odd(""), ValueError),
    "a kilobyte": Shape("x" * 1_024),
    "NUL": Shape("a\0b\0"),
    "line breaks": Shape("a\nb\r\nc\u2028d\x85\n"),
    "escapes of a terminal": Shape("\x1b[31mred\x1b[0m\a\b\x7f"),
    "a format": Shape("%s %(run_id)d 100% {0} $x"),
    "markup": Shape("[bold]b <b> `c` \\n"),
    "quotes": Shape("it's \"so\" '' ; -- \\"),
    "not ASCII": Shape("žluť 日本語 עברית á a\u0301 \u202e"),
    "beyond the basic plane": Shape("\U0001f600\U0010ffff"),
    "a StrEnum": Shape(Word.ONE),
    "a subclass": Shape(Odd("odd7")),
    "a subclass that is not ASCII": Shape(Odd("ö\n7")),
    "white space": Shape(" \t "),
}

Place = Callable[[Engine, str], Awaitable[object]]


async def say(text: str) -> str:
    """A handler that returns its argument."""
    return text


@durable.function(retries=0)
async def says(ctx: Context) -> Any:
    return ctx.event.data.get("text")


# Each place takes a text in and returns what is given back of it, for a text that is kept.


async def id_of_a_function(engine: Engine, text: str) -> object:
    function = durable.function(id=text)(says.code)
    run = await engine.start(function)
    by_name = await engine.start(text)
    await by_name.result()
    found = [info.function_id for info in await engine.runs(function=text)]
    return [function.id, (await run.info()).function_id, *found]


async def id_of_a_run(engine: Engine, text: str) -> object:
    @durable.function(retries=0)
    async def own(ctx: Context) -> str:
        return ctx.run_id

    run: Run[Any] = await engine.start(own, id=text)
    again = await engine.start(own, id=text)
    there = await engine.run(text)
    return [run.id, again.id, there.id, await engine.result(text), (await engine.info(text)).id]


async def name_of_an_event(engine: Engine, text: str) -> object:
    @durable.function(text, id="listens")
    async def listens(ctx: Context) -> str:
        return ctx.event.name

    await engine.start(listens)
    [id] = await engine.send(text)
    return [await engine.result(f"{id}/listens"), *[info.event.name for info in await engine.runs(event=text)]]


async def id_and_version_of_an_event(engine: Engine, text: str) -> object:
    @durable.function("happened", id="hears")
    async def hears(ctx: Context) -> list[str | None]:
        return [ctx.event.id, ctx.event.v]

    await engine.start(hears)
    [id] = await engine.send(Event("happened", id=text, v=text))
    assert await engine.send("happened", id=text) == [id]
    return await engine.result(f"{id}/hears")


async def id_of_an_event_sent(engine: Engine, text: str) -> object:
    first = await engine.send("nobody/listens", id=text)
    assert await engine.send("nobody/listens", id=text) == first
    return []


async def name_of_a_signal(engine: Engine, text: str) -> object:
    @durable.function(retries=0)
    async def waits(ctx: Context) -> Any:
        signal = await ctx.step.wait_for_signal("w", signal=text, timeout="1h")
        return None if signal is None else [signal.name, signal.data]

    run = await engine.start(waits)
    await engine.settled()
    if await engine.send_signal(text, "data") is None:
        await run.result()  # it was refused in the function
    name, data = await run.result()
    assert data == "data"
    return [name]


async def name_of_a_signal_sent(engine: Engine, text: str) -> object:
    assert await engine.send_signal(text) is None
    return []


async def event_that_is_waited_for(engine: Engine, text: str) -> object:
    @durable.function(retries=0)
    async def waits(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event=text, timeout="1h")
        return None if event is None else [event.name]

    run = await engine.start(waits)
    await engine.settled()
    if (await run.info()).status == "failed":
        await run.result()
    await engine.send(text)
    return await run.result()


async def event_that_cancels(engine: Engine, text: str) -> object:
    @durable.function(retries=0, cancel=[durable.Cancel(text)])
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("s", "1d")

    run = await engine.start(sleeps)
    await engine.settled()
    await engine.send(text)
    reason = (await run.info()).reason
    assert reason == f"by event {str.__str__(text)!r}"
    return []


async def id_of_a_step(engine: Engine, text: str) -> object:
    @durable.function(retries=0)
    async def steps(ctx: Context) -> list[Any]:
        step = ctx.step
        await step.run(text, say, "x")
        await step.run(StepOptions(text), say, "x")
        await step.sleep(text, 0)
        await step.sleep_until(text, ctx.now())
        await step.wait_for_event(text, event="e", timeout=0)
        await step.wait_for_signal(text, signal="s", timeout=0)
        await step.send_event(text, Event("nobody/listens"))
        await step.send_signal(text, "s")
        await step.invoke(text, function=says)
        return []

    run = await engine.start(steps)
    await run.result()
    keys = list((await run.info()).steps)
    children = list(await engine.runs(function=says))
    assert all(info.id.startswith(f"{run.id}/") for info in children)
    return [key.removesuffix(f":{number}" if number else "") for number, key in enumerate(keys)]


async def function_that_is_invoked(engine: Engine, text: str) -> object:
    child = durable.function(id=text)(says.code)

    @durable.function(retries=0)
    async def calls(ctx: Context) -> list[Any]:
        by_itself = await ctx.step.invoke("i", function=child, data={"text": "x"})
        return [by_itself, await ctx.step.invoke("j", function=text, data={"text": "y"})]

    assert await (await engine.start(calls)).result() == ["x", "y"]
    return [info.function_id for info in await engine.runs(function=text)]


async def event_that_a_step_sends(engine: Engine, text: str) -> object:
    @durable.function(text, id="answers")
    async def answers(ctx: Context) -> list[str | None]:
        return [ctx.event.name, ctx.event.id, ctx.event.v]

    @durable.function(retries=0)
    async def sends(ctx: Context) -> list[str]:
        return await ctx.step.send_event("s", Event(text, id=text, v=text))

    await engine.start(answers)
    [id] = await (await engine.start(sends)).result()
    from_step = next(info for info in await engine.runs(function=answers) if info.event.name == str.__str__(text))
    await engine.settled()
    assert from_step.id.startswith(id)
    return await engine.result(from_step.id)


NAMES: dict[str, Place] = {
    name.replace("_", " "): place
    for name, place in globals().copy().items()
    if name.partition("_")[0] in ("id", "name", "event", "function")
}


# Values, and what others say: any character is kept, in a name or not.


async def a_value(engine: Engine, text: str) -> object:
    @durable.function("value", id="takes")
    async def takes(ctx: Context) -> list[str]:
        kept = await ctx.step.run("say", say, ctx.event.data["text"])
        return [ctx.event.data["text"], kept]

    await engine.start(takes, {"text": text})
    [id] = await engine.send("value", {"text": text})
    return await engine.result(f"{id}/takes")


async def a_key(engine: Engine, text: str) -> object:
    @durable.function(retries=0)
    async def keys(ctx: Context) -> list[str]:
        return [*ctx.event.data, *await ctx.step.run("say", say, ctx.event.data)]  # type: ignore[arg-type]

    return await (await engine.start(keys, {text: 1})).result()


VALUES: dict[str, Place] = {"a value": a_value, "a key": a_key}


# Types.


class Instant(datetime):
    """An instant as pandas and pendulum have it: arithmetic and conversion give another of its class."""

    def __repr__(self) -> str:
        return "Instant"

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 7


class Span(timedelta):
    """A span of a class of its own."""

    def total_seconds(self) -> float:
        return 0.5


class Count(enum.IntEnum):
    THREE = 3


class Whole(int):
    def __int__(self) -> int:
        return 77

    def __index__(self) -> int:
        return 77

    def __repr__(self) -> str:
        return "many"


class Real(float):
    def __float__(self) -> float:
        return 77.0


class Elsewhere(tzinfo):
    """A zone that fails when it is asked."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        raise LookupError("no such zone")

    def dst(self, when: datetime | None) -> timedelta | None:
        return None


class NotATime(datetime):
    """A datetime without a year, which stands for no instant, as pandas' NaT."""

    @property
    def year(self) -> Any:
        return float("nan")


EAST = timezone(timedelta(hours=5, minutes=30))
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
