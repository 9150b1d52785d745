"""R30: what was acknowledged is there after a kill at any instant, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable.stores.file.store import FileStore
from tests.proof.crashes import worked
from tests.proof.crashes.stories import AT_WORK, KINDS, MAKING, Story
from tests.support.places import ROOT

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
_APPEND = """
import asyncio, sys
from datetime import UTC, datetime
from durable.stores import FileStore
from durable.stores.store import Entry, RunRow

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

async def batch(store, number):
    run = f"r{number % 5}"
    row = RunRow(run, "f", "e", NOON)
    await store.append([
        Entry(run, "RunOpened", f"{number}", row=row),
        Entry("all", "StepClosed", f"{number} " + "x" * (number * 37 % 9000)),
        Entry(run, "RunClosed", f"{number}", ends_run=number % 3 == 0, row=row),
    ])
    print(number, flush=True)

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    number = int(sys.argv[2])
    while True:
        await asyncio.gather(*[batch(store, number + part) for part in range(3)])
        number += 3

asyncio.run(main())
"""


def _killed(path: Path, first: int, after: int) -> int:
    """Let a child append until it has acknowledged some batches, kill it there; return the last acknowledged one."""
    command = [sys.executable, "-c", _APPEND, str(path), str(first)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT)
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    child.kill()
    left, _ = child.communicate()
    lines = [int(line) for line in left.splitlines() if line]
    return max(lines, default=first + after - 1)


async def _batches(path: Path) -> int:
    """Return how many batches there are, after checking that every one of them is whole."""
    store = FileStore(path)
    await store.open()
    everything = [entry async for entry in store.history("all")]
    numbers = [int(entry.body.split()[0]) for entry in everything]
    assert numbers == list(range(len(numbers)))
    for which in range(5):
        history = [int(entry.body) async for entry in store.history(f"r{which}")]
        assert history == [number for number in numbers if number % 5 == which for _ in "ab"]
    await store.close()
    return len(numbers)


def test_what_was_acknowledged_survives_being_killed(tmp_path: Path) -> None:
    places, kept = random.Random(9), 0
    for _ in range(6):
        acknowledged = _killed(tmp_path / "x.db", kept, places.randrange(1, 120))
        kept = asyncio.run(_batches(tmp_path / "x.db"))
        assert kept > acknowledged


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_whatever_befalls_a_store_it_opens_or_is_refused_as_it_was_and_no_acknowledged_step_is_lost(
    tmp_path: Path,
) -> None:
    """Each kind once; at random and for long it is `python -m tests.proof.crashes --rounds 200`."""
    told = Story(tmp_path, random.Random(datetime.now(UTC).toordinal()))
    told.round(MAKING)
    told.round(AT_WORK)
    for kind in KINDS:
        told.round(kind)
    expected = asyncio.run(worked(None, tmp_path / "quiet"))
    assert told.end(expected)["executions"]
