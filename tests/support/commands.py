"""A store with runs of every kind, and what the command `durable` says of it, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable.engine.command import main

ODD = "r\n\x1b[2J\u20ac\u202e7"
"""An id with a line break, an escape, a letter that few terminals have, and one that turns the line round."""


@attrs.frozen
class Said:
    """What one command line has said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Said]


def command_of(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command line in this process."""

    def command(*arguments: object) -> Said:
        try:
            status = main([*map(str, arguments)])
        except SystemExit as stopped:  # what argparse does
            status = int(str(stopped.code))
        told = capsys.readouterr()
        return Said(status, told.out, told.err)

    return command


def charge() -> None:
    raise ValueError(f"no card \x07{ODD}")


@durable.function("shop/order", retries=0)
async def fails(ctx: durable.Context) -> None:
    await ctx.step.run("look", str, "at it")
    await ctx.step.run(durable.StepOptions("charge", retries=0), charge)


@durable.function
async def counts(ctx: durable.Context) -> Any:
    return {"count": await ctx.step.run("count", int, "7"), "text": ODD}


@durable.function
async def naps(ctx: durable.Context) -> str:
    await ctx.step.sleep("nap", "30d")
    return "slept"


@durable.function
async def waits(ctx: durable.Context) -> Any:
    await ctx.step.run("ask", str, "asked")
    signal = await ctx.step.wait_for_signal("answer", signal="go", timeout="30d")
    return None if signal is None else signal.data


@durable.function
async def invokes(ctx: durable.Context) -> Any:
    return await ctx.step.invoke("child", function="naps")


@durable.function(singleton=durable.Singleton())
async def single(ctx: durable.Context) -> None:
    await ctx.step.sleep("nap", "30d")


FUNCTIONS = [fails, counts, naps, waits, invokes, single]


async def filled(engine: durable.Engine) -> None:
    """Begin a run of each function; wait until none moves."""
    await engine.start(fails, {"n": 1}, id="failed")
    await engine.start(counts, {}, id=ODD)
    await engine.start(waits, {}, id="waiting")
    await engine.start(invokes, {}, id="parent")
    await engine.start(naps, {}, id="gone")
    await engine.settled()
    await engine.cancel("gone", "not wanted")


def opened(path: Path, story: Callable[[durable.Engine], Awaitable[Any]] = filled) -> Any:
    """Tell a story to an engine that has a store open; return what it returns."""

    async def told() -> Any:
        async with durable.Engine(FUNCTIONS, store=durable.FileStore(path, durability="none")) as engine:
            return await story(engine)

    return asyncio.run(told())


async def aside(command: Command, *arguments: object) -> Said:
    """Run a command line in another thread, while this one's engine goes on."""
    return await asyncio.to_thread(command, *arguments)
