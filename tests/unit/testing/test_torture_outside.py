"""Torture finds clocks, sets, files and sockets outside the steps, and leaves alone what is harmless."""

from __future__ import annotations

import asyncio
import datetime as dates
import importlib
import linecache
import logging
import os
import socket
import sysconfig
import time
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from durable import Context, Function, function
from tests.support.lives import note
from tests.unit.testing.test_torture import line_of, report_of, story_of

# Clocks that decide.


@function
async def by_datetime(ctx: Context) -> None:
    await ctx.step.run("a", note)
    if datetime.now().hour % 2:
        await ctx.step.run("odd hours", note)


@function
async def by_the_date_of_the_module(ctx: Context) -> None:
    await ctx.step.run("a", note)
    await ctx.step.run("even" if dates.date.today().day % 2 else "odd", note)


@function
async def by_the_datetime_of_the_module(ctx: Context) -> None:
    await ctx.step.run("a", note)
    await ctx.step.run("even" if dates.datetime.now().hour % 2 else "odd", note)


@function
async def by_nanoseconds(ctx: Context) -> None:
    await ctx.step.run("a", note)
    await ctx.step.run("even" if time_ns() // 10**12 % 2 else "odd", note)


@function
async def by_local_time(ctx: Context) -> None:
    await ctx.step.run("a", note)
    await ctx.step.run("even" if time.localtime().tm_hour % 2 else "odd", note)


@function
async def by_formatted_time(ctx: Context) -> None:
    await ctx.step.run("a", note)
    await ctx.step.run("even" if int(time.strftime("%H")) % 2 else "odd", note)


@pytest.mark.parametrize(
    ("deciding", "call"),
    [
        (by_datetime, "datetime.now()"),
        (by_the_date_of_the_module, "date.today()"),
        (by_the_datetime_of_the_module, "datetime.now()"),
        (by_nanoseconds, "time.time_ns()"),
        (by_local_time, "time.localtime()"),
        (by_formatted_time, "time.strftime()"),
    ],
)
def test_a_clock_that_decides_is_found_however_it_is_asked(deciding: Function[Any], call: str) -> None:
    story = story_of(deciding)
    assert "is not deterministic" in story and f"{line_of(deciding, 3)}: {call}: use ctx.now()" in story, story
    assert datetime is dates.datetime and time_ns is time.time_ns and type(datetime.now()) is datetime


def test_a_clock_that_a_closure_holds_is_found() -> None:
    clock = datetime

    @function
    async def deciding(ctx: Context) -> None:
        await ctx.step.run("a", note)
        if clock.now().hour % 2:
            await ctx.step.run("odd hours", note)

    assert "use ctx.now()" in story_of(deciding)
    assert clock is dates.datetime


def test_a_clock_that_decides_is_found_beside_a_child() -> None:
    """A crash cuts no race of the clock's: the same life at the first time does not go that way."""

    @function
    async def child(ctx: Context) -> int:
        return 1

    @function
    async def deciding(ctx: Context) -> None:
        await ctx.step.invoke("child", function=child)
        if datetime.now().hour % 2:
            await ctx.step.run("odd hours", note)

    assert "use ctx.now()" in story_of(deciding, functions=[child])


def test_dates_that_decide_nothing_pass_and_are_real() -> None:
    """What stands in for a clock makes real datetimes, and takes them for its own."""

    @function
    async def dating(ctx: Context) -> list[Any]:
        born = await ctx.step.run("born", note, datetime(2030, 1, 1, tzinfo=dates.UTC))
        assert isinstance(datetime.now(), datetime) and isinstance(ctx.now(), datetime)
        assert type(datetime.fromisoformat("2030-01-01")) is type(ctx.now())
        return [born, datetime.now() > datetime(2020, 1, 1), time.gmtime(0).tm_year]

    assert report_of(dating).ending == "completed"


# Sets.


@function
async def steps_by_a_set(ctx: Context) -> None:
    for name in {"a", "b", "c"}:
        await ctx.step.run(name, note)


@function
async def steps_by_a_list_of_a_set(ctx: Context) -> None:
    names = frozenset(("a", "b"))
    await ctx.step.run("a", note)
    await ctx.step.run("one", note, ",".join(names))


@function
async def steps_by_what_is_popped(ctx: Context) -> None:
    names = {b"a", b"b"}
    await ctx.step.run("one", note, names.pop())


@function
async def steps_by_what_is_unpacked(ctx: Context) -> None:
    first, _ = {"a", "b"}
    await ctx.step.run("one", note, first)


@function
async def steps_by_what_is_starred(ctx: Context) -> None:
    await ctx.step.run("one", note, [*{"a", "b"}])


def joined(names: set[str]) -> list[str]:
    return [f"{name}!" for name in names]


@function
async def steps_by_another_functions_walk(ctx: Context) -> None:
    for name in joined({"a", "b"}):
        await ctx.step.run(name, note)


@pytest.mark.parametrize(
    "walking",
    [
        steps_by_a_set,
        steps_by_a_list_of_a_set,
        steps_by_what_is_popped,
        steps_by_what_is_unpacked,
        steps_by_what_is_starred,
        steps_by_another_functions_walk,
    ],
)
def test_a_set_whose_order_decides_is_found(walking: Function[Any]) -> None:
    """Its order is the hash seed's to say, which is another in each process."""
    before = walking.code.__code__
    story = story_of(walking)
    assert "is not deterministic" in story and "walk a list" in story, story
    assert walking.code.__code__ is before


def test_a_set_that_a_function_beside_it_walks_is_found() -> None:
    def marked(names: set[str]) -> list[str]:
        return [f"{name}!" for name in names]

    @function
    async def walking(ctx: Context) -> None:
        for name in marked(set("ab")):
            await ctx.step.run(name, note)

    assert "walk a list" in story_of(walking)


def test_sets_whose_order_decides_nothing_pass() -> None:
    """Numbers hash alike everywhere; sorted, counted and looked up, texts do no harm; nor does the order of a dict."""

    @function
    async def walking(ctx: Context) -> Any:
        for number in {3, 1, 2}:
            await ctx.step.run(f"number {number}", note)
        names = {"a", "b", "c"}
        for name in sorted(names):
            await ctx.step.run(name, note, ["a" in names, sum(len(one) for one in names)])
        await ctx.step.run("identity", note, [*{UUID(int=1), UUID(int=2)}])
        return {name: len(names) for name in names}

    assert report_of(walking).ending == "completed"


STALE = """
async def stale(ctx):
    seen.append("{0}")
    await ctx.step.run("a", note)
    return [number for number in [1] if "{0}"]
"""


def test_a_function_whose_source_has_changed_since_runs_as_it_was_loaded() -> None:
    seen: list[str] = []
    names: dict[str, Any] = {"seen": seen, "note": note}
    exec(compile(STALE.format("loaded"), "a cell", "exec"), names)
    changed = STALE.format("edited").replace("[1]", "[1, 2]")
    linecache.cache["a cell"] = (len(changed), None, changed.splitlines(keepends=True), "a cell")
    try:
        assert report_of(function(names["stale"])).ending == "completed"
    finally:
        del linecache.cache["a cell"]
    assert set(seen) == {"loaded"}


async def brief(value: int) -> int:
    await asyncio.sleep(0.001)
    return value


async def at_once(value: int) -> int:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("handler", [brief, at_once])
def test_the_order_of_those_that_are_done_at_once_is_found(handler: Any) -> None:
    """The most common loop over `asyncio.wait`: what is done in one turn comes out in the order of addresses."""

    @function
    async def first_completed(ctx: Context) -> list[int]:
        out = []
        pending = {asyncio.create_task(ctx.step.run(f"n{number}", handler, number)) for number in range(4)}
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            out += [task.result() for task in done]
        return out

    assert "walk a list" in story_of(first_completed)


def test_those_that_are_done_at_once_are_told_in_the_order_of_a_list() -> None:
    @function
    async def first_completed(ctx: Context) -> list[int]:
        out = []
        tasks = [asyncio.create_task(ctx.step.run(f"n{number}", brief, number)) for number in range(4)]
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            out += [task.result() for task in tasks if task in done]
            tasks = [task for task in tasks if task not in done]
        return out

    report = report_of(first_completed)
    assert report.orders == 5 and report.ending == "completed"


# Files and sockets.


@function
async def lists(ctx: Context) -> None:
    os.listdir("/")
    await ctx.step.run("a", note)


@function
async def looks(ctx: Context) -> None:
    Path("/nowhere").exists()  # noqa: ASYNC240
    await ctx.step.run("a", note)


@function
async def makes(ctx: Context) -> None:
    os.makedirs(ctx.event.data["path"], exist_ok=True)
    await ctx.step.run("a", note)


@function
async def renames(ctx: Context) -> None:
    if os.name == "never" or os.rename(ctx.event.data["path"], ctx.event.data["path"]):
        await ctx.step.run("a", note)
    await ctx.step.run("b", note)


@function
async def resolves(ctx: Context) -> None:
    socket.getaddrinfo("127.0.0.1", 1)
    await ctx.step.run("a", note)


PEER = """
import pathlib, socket

def call(port):
    with socket.socket() as one:
        one.settimeout(1)
        one.connect_ex(("127.0.0.1", port))
        try:
            one.connect(("127.0.0.1", port))
        except OSError:
            pass

def configure():
    return pathlib.Path("/nowhere").exists()
"""


def peer() -> dict[str, Any]:
    """Return the names of a package that is installed."""
    names: dict[str, Any] = {"__name__": "peer"}
    exec(compile(PEER, os.path.join(sysconfig.get_path("purelib"), "peer.py"), "exec"), names)
    return names


@function
async def calls_through_a_package(ctx: Context) -> None:
    peer()["call"](9)
    await ctx.step.run("a", note)


@pytest.mark.parametrize(
    ("doing", "call"),
    [
        (lists, "os.listdir()"),
        (looks, "pathlib.Path.exists()"),
        (makes, "os.makedirs()"),
        (renames, "os.rename()"),
        (resolves, "socket.getaddrinfo()"),
        (calls_through_a_package, "peer.call()"),
    ],
)
def test_a_file_or_a_socket_outside_a_step_is_found(doing: Function[Any], call: str, tmp_path: Path) -> None:
    story = story_of(doing, {"path": str(tmp_path)})
    assert f"{line_of(doing, 2)}" in story and "ctx.step.run(" in story, story


def test_what_libraries_do_by_themselves_is_let_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Imports, log files, time zones, a package's look for its settings, and paths that are only named."""
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    logger = logging.getLogger("durable.test.outside")
    logger.addHandler(handler)

    @function
    async def working(ctx: Context) -> str:
        try:
            importlib.import_module("nowhere.to.be.found")
        except ImportError:
            logger.warning("no module", exc_info=True)
        ZoneInfo.clear_cache()
        zone = ZoneInfo("Europe/Berlin")
        peer()["configure"]()
        os.path.realpath(__file__)  # noqa: ASYNC240
        return await ctx.step.run("a", note, str(zone))

    assert report_of(working).ending == "completed"
    logger.removeHandler(handler)
    handler.close()
