"""Measure another library, DBOS with its SQLite backend, if it is installed.

Separate because only this module imports a library that is not ours.
Leaves to `steps` our own side, measured in the same run.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.figures import Figure, Goal, Size, wall_rate
from tests.bench.steps import RUNS, STEPS, own_laps
from tests.proof.crashes import ENVIRONMENT, ROOT

_CODE = """
import asyncio, json, sys, time
from dbos import DBOS

DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{sys.argv[1]}", "log_level": "ERROR"})

@DBOS.step()
async def one(number: int) -> int:
    return number

@DBOS.workflow()
async def chain(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await one(number)
    return total

async def run(runs: int, steps: int) -> float:
    began = time.perf_counter()
    handles = [await DBOS.start_workflow_async(chain, steps) for _ in range(runs)]
    await asyncio.gather(*(handle.get_result() for handle in handles))
    return runs * steps / (time.perf_counter() - began)

async def main(runs: int, steps: int) -> None:
    await run(2, steps)
    print(json.dumps(await run(runs, steps)))

DBOS.launch()
asyncio.run(main(int(sys.argv[2]), int(sys.argv[3])))
DBOS.destroy()
"""


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)


async def peer(size: Size) -> list[Figure]:
    """The same 200 runs of 20 steps with DBOS."""
    runs = size.of(RUNS)
    what = f"{runs:,} runs × {STEPS} steps at once, against DBOS on SQLite"
    goal = Goal("at least", 30)
    if importlib.util.find_spec("dbos") is None:
        return [Figure(what, "-", "not measured: `dbos` is not installed", None, goal)]
    laps = await own_laps(runs, 2)
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        command = [sys.executable, "-c", _CODE, str(Path(folder) / "peer.db"), str(runs), str(STEPS)]
        ended = await asyncio.to_thread(_run, command)
    if ended.returncode != 0:
        return [Figure(what, "-", f"DBOS failed: {ended.stderr.strip().splitlines()[-1]}", None, goal)]
    theirs = float(json.loads(ended.stdout.splitlines()[-1]))
    laps += await own_laps(runs, 2)
    ours = sorted(map(wall_rate, laps))[len(laps) // 2]
    return [Figure(what, f"{ours:,.0f} steps/s", f"{theirs:,.0f} steps/s", ours / theirs, goal)]
