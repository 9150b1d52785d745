"""S2: an engine that dies, or cannot say what it runs, harms nothing else, and shows nothing that is not so."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import durable
from durable.engine import beacon
from tests.support.beacons import Hold, names, opened, seen, told, until
from tests.support.places import ROOT

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon, "EVERY", 0.01)


_DIES = """
import asyncio, sys
import durable
from durable.engine import beacon
beacon.EVERY = 0.01

async def work():
    print("works", flush=True)
    await asyncio.sleep(60)

@durable.function
async def worker(ctx):
    await ctx.step.run("work", work)

async def main():
    async with durable.Engine([worker], store=sys.argv[1]) as engine:
        await (await engine.start(worker, id="w")).result()

asyncio.run(main())
"""


def dying(path: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", _DIES, str(path)], stdout=subprocess.PIPE, env=environment)


async def test_a_killed_engines_steps_are_not_shown_as_running(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    child = dying(path)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"works\n"
        await until(path, lambda live: "work" in live.running.get("w", ()))
        assert (await seen(path, "w")).steps["work"].status == "running"
    finally:
        child.kill()
        child.communicate()
    info = await seen(path, "w")
    assert info.status == "queued" and not info.steps


@pytest.mark.skipif(sys.platform == "win32", reason="makes a link")
async def test_where_it_cannot_be_told_nothing_else_is_harmed_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, hold = tmp_path / "x.db", Hold()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "x.db.live").symlink_to(tmp_path / "elsewhere")

    @durable.function
    async def waits(ctx: durable.Context) -> str:
        await ctx.step.run("wait", hold.wait)
        return "done"

    with caplog.at_level(logging.WARNING, "durable"):
        async with opened(path, waits) as engine:
            run = await engine.start(waits)
            while not caplog.records:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)  # a few more looks
            hold.let_go()
            assert await run.result() == "done"
    assert len([one for one in caplog.messages if "do not see which steps run" in one]) == 1
    assert (tmp_path / "elsewhere").read_text() == "mine"


def closed_to_all(folder: Path) -> Callable[[], object]:
    """Let nobody make a file in a folder; return how to let them again."""
    if sys.platform == "win32" or os.geteuid() == 0:  # the system does not refuse: a folder stands in the way instead
        (folder / "x.db.live").mkdir()
        return (folder / "x.db.live").rmdir
    folder.chmod(0o500)
    return partial(folder.chmod, 0o700)


async def test_in_a_folder_that_cannot_be_written_nothing_else_is_harmed_and_it_is_told_once_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, hold = tmp_path / "x.db", Hold()

    @durable.function
    async def waits(ctx: durable.Context) -> str:
        await ctx.step.run("quick", str)
        await ctx.step.run("wait", hold.wait)
        return "done"

    with caplog.at_level(logging.WARNING, "durable"):
        async with opened(path, waits) as engine:
            again = closed_to_all(tmp_path)
            try:
                run = await engine.start(waits, id="w")
                async with asyncio.timeout(20):
                    while not caplog.records:
                        await asyncio.sleep(0.001)
                assert await run.step("quick") == "" and (await engine.health()).is_ok
                assert not (await told(path)).running
            finally:
                again()
            await until(path, lambda live: "wait" in live.running.get("w", ()))
            hold.let_go()
            assert await run.result() == "done"
    assert len(caplog.messages) == 1 and "the file that shows them cannot be written" in caplog.text
    assert names(tmp_path) == ["x.db", "x.db.lock"]
