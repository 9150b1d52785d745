"""What debounce and batch hold, in a process that is killed with `kill -9` at random instants."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import durable
from durable import Batch, Context, Debounce, Engine
from tests.proof.crashes import ENVIRONMENT, ROOT

KILLS = 3


@durable.function("row", batch_events=Batch(4, "1h", "event.data.k"))
async def bulk(ctx: Context) -> list[int]:
    return [event.data["n"] for event in ctx.events]


@durable.function("row", debounce=Debounce("1h", key="event.data.k"))
async def last(ctx: Context) -> Any:
    return ctx.event.data["n"]


CHILD = """
import asyncio, sys
from durable import Engine
from tests.proof.crashes.test_held import bulk, last

async def main(path, n):
    async with Engine([bulk, last], store=path) as engine:
        while True:  # what was not acknowledged is sent again, under the same id
            await engine.send("row", {"n": n, "k": n % 3}, id=f"row{n}")
            print(n, flush=True)
            n += 1

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def _killed(path: Path, first: int, acknowledged: int) -> int:
    """Let a process send from event `first` on; kill it after so many acknowledgements; return the next to send."""
    command = [sys.executable, "-c", CHILD, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        for _ in range(acknowledged):
            first = int(child.stdout.readline()) + 1
        child.send_signal(signal.SIGKILL)
        told = child.stdout.read().split()
    return int(told[-1]) + 1 if told else first


def test_every_event_is_in_one_batch_and_the_last_of_each_key_is_held(tmp_path: Path) -> None:
    path, sent, rng = tmp_path / "s.db", 0, random.Random(7)
    for _ in range(KILLS):
        sent = _killed(path, sent, rng.randrange(1, 30))

    async def story() -> tuple[list[list[int]], dict[int, int]]:
        async with Engine([bulk, last], store=path) as engine:
            await engine.send("row", {"n": sent, "k": sent % 3}, id=f"row{sent}")  # may have come, unacknowledged
            held = {one.key: one.events[0].data["n"] for one in await engine.held(last)}
            await engine.flush(bulk)
            await engine.settled()
            return [info.output for info in await engine.runs(function=bulk, limit=10_000)], held

    batches, held = asyncio.run(story())
    assert held == {n % 3: n for n in range(sent - 2, sent + 1)}
    assert Counter(n for batch in batches for n in batch) == Counter(range(sent + 1))
    assert all(batch == list(range(batch[0], batch[0] + 3 * len(batch), 3)) for batch in batches), "in order, by key"
    assert sum(len(batch) < 4 for batch in batches) <= 3
