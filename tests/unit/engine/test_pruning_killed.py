"""S6: a process that dies while it forgets leaves a whole store, and the next one goes on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import durable
from durable.stores import FileReader, RunQuery
from tests.support.places import ROOT
from tests.unit.engine.test_pruning import ids, quick, sleeper

_PRUNES = """
import asyncio, sys
import durable
from tests.unit.engine.test_pruning import quick, sleeper

async def main():
    async with durable.Engine([quick, sleeper], store=sys.argv[1]) as engine:
        print("prunes", flush=True)
        await engine.prune(0)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def fill(path: Path, rounds: int) -> None:
    async with durable.Engine([quick, sleeper], store=path) as engine:
        for number in range(3):
            await engine.start(sleeper, id=f"asleep{number}")
        for _ in range(rounds):
            await engine.send([durable.Event("begin", {"n": number}) for number in range(200)])
            await engine.settled()


def killed_while_pruning(path: Path, seconds: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.Popen([sys.executable, "-c", _PRUNES, str(path)], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None and child.stdout.readline() == b"prunes\n"
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_prune_that_is_killed_at_any_instant_leaves_a_store_that_opens_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    asyncio.run(fill(path, 3))
    chance, left = random.Random(4), []
    for _ in range(3):
        killed_while_pruning(path, chance.uniform(0, 0.04))
        left.append(asyncio.run(whole(path)))
    assert left == sorted(left, reverse=True)
    asyncio.run(cleaned(path))


async def whole(path: Path) -> int:
    """Return how many ended runs there are; each that is shown is whole, and what sleeps is there."""
    async with FileReader(path) as reader:
        rows = await reader.find(RunQuery(limit=10_000))
        for row in rows[:20] + rows[-20:]:
            assert [entry.kind async for entry in reader.history(row.id)]
    assert sum(row.status is None for row in rows) == 3
    return len(rows) - 3


async def cleaned(path: Path) -> None:
    async with durable.Engine([quick, sleeper], store=path) as engine:
        await engine.prune(0)
        assert await ids(engine) == {"asleep0", "asleep1", "asleep2"}
