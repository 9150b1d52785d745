"""A run as a timeline, and the command line that reads a store from another process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import durable
from durable.engine.command import main
from durable.testing import Lab
from durable.views.timeline import Line, span, timeline

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


@durable.function("shop/order")
async def order(ctx: durable.Context) -> str:
    await ctx.step.run("charge", lambda: "ch_1")
    await ctx.step.sleep("cool off", "2d")
    await ctx.step.wait_for_event("approval", event="shop/approved", timeout="1d")
    return "done"


def test_bars_are_drawn_to_one_scale() -> None:
    hour = timedelta(hours=1)
    lines = [Line("a", BEGAN, BEGAN + hour, "x"), Line("longer", BEGAN + hour, BEGAN + 2 * hour, "y")]
    first, second = timeline(lines, began=BEGAN, until=BEGAN + 2 * hour).splitlines()
    assert first == f"  a       |{'=' * 16}{' ' * 16}|  +0 s: x"
    assert second == f"  longer  |{' ' * 16}{'=' * 16}|  +1 h: y"


def test_a_line_that_goes_on_is_drawn_to_the_end() -> None:
    drawn = timeline([Line("a", BEGAN, None, "x")], began=BEGAN, until=BEGAN + timedelta(hours=1))
    assert f"|{'-' * 32}|" in drawn


def test_durations_are_said_in_their_largest_unit() -> None:
    spans = [timedelta(0), timedelta(milliseconds=12), timedelta(seconds=90), timedelta(hours=36)]
    assert [span(one) for one in spans] == ["0 s", "12 ms", "1.5 m", "1.5 d"]


def test_a_run_shows_as_a_timeline_of_its_steps() -> None:
    async def story() -> None:
        async with Lab([order]) as lab:
            [run] = await lab.send("shop/order", {})
            await lab.advance("2d")
            shown = str(await run.info())
            assert f"run {run.id} of order: waiting, opened 2030-01-01 00:00:00 UTC" in shown
            assert "+2 d: wait_for_event, waits for event 'shop/approved'" in shown
            assert "+0 s: run completed" in shown

    asyncio.run(story())


class Printer:
    """As much of a notebook's printer as a value's own text needs."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def text(self, text: str) -> None:
        self.shown.append(text)


def test_a_notebook_shows_a_run_as_its_timeline() -> None:
    """It asks `_repr_pretty_` of what a cell returns, and never `str`."""

    async def story() -> None:
        async with Lab([order]) as lab:
            [run] = await lab.send("shop/order", {})
            info, printer = await run.info(), Printer()
            info._repr_pretty_(printer, cycle=False)
            shown = "\n".join(printer.shown)
            assert shown == str(info) and "of order: waiting" in shown and "cool off" in shown

    asyncio.run(story())


def _ran(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"

    @durable.function
    async def fails(ctx: durable.Context) -> None:
        await ctx.step.run(durable.StepOptions("charge", retries=0), lambda: 1 / 0)

    try:
        durable.run(fails, store=path, id="r1")
    except durable.RunFailed:
        pass
    return path


def test_the_command_line_lists_runs_and_shows_one(tmp_path: Path) -> None:
    path = _ran(tmp_path)
    listed = subprocess.run([sys.executable, "-m", "durable", "runs", path], capture_output=True, text=True, check=True)
    assert "failed" in listed.stdout and "r1" in listed.stdout and "ZeroDivisionError" in listed.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "durable", "show", path, "r1"], capture_output=True, text=True, check=True
    )
    assert "charge" in shown.stdout and "ZeroDivisionError" in shown.stdout


def test_a_run_that_is_not_there_is_an_error_that_says_how_to_find_one(tmp_path: Path, capsys: object) -> None:
    path = _ran(tmp_path)
    assert main(["show", str(path), "r2"]) == 1
    assert main(["runs", str(tmp_path / "none.db")]) == 3
