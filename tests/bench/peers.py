"""Measure other libraries at the same work, each in an environment of its own.

Separate because only this module knows libraries that are not ours.
Leaves to `table` the rows, to `units` our own side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_REQUIRED = {"dbos": ["dbos"], "langgraph": ["langgraph", "langgraph-checkpoint-sqlite"]}
PEERS = tuple(_REQUIRED)

_UNIT = """
import asyncio, json, logging, sys, time
VALUE = {"i": 1, "ok": True, "name": "step", "value": 2}
logging.disable(logging.CRITICAL)

async def trivial(number):
    return VALUE

async def measured(chain, runs, steps):
    one = 1.0
    for _ in range(5):
        began = time.process_time()
        for number in range(20_000):
            json.loads(json.dumps(await trivial(number)))
        one = min(one, (time.process_time() - began) / 20_000)
    await chain(0, 2)
    began = time.process_time()
    await asyncio.gather(*(chain(1 + number, steps) for number in range(runs)))
    print(json.dumps({"units": (time.process_time() - began) / (runs * steps) / one}))

path, runs, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""
_CODE = {
    "dbos": """
from dbos import DBOS
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "CRITICAL"})

@DBOS.step()
async def one(number: int) -> dict:
    return VALUE

@DBOS.workflow()
async def many(steps: int) -> int:
    for number in range(steps):
        await one(number)
    return steps

async def chain(number, steps):
    return await (await DBOS.start_workflow_async(many, steps)).get_result()

DBOS.launch()
asyncio.run(measured(chain, runs, steps))
DBOS.destroy()
""",
    "langgraph": """
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task

@task
async def one(number: int) -> dict:
    return VALUE

async def main():
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        @entrypoint(checkpointer=saver)
        async def many(steps: int) -> int:
            for number in range(steps):
                await one(number)
            return steps

        async def chain(number, steps):
            return await many.ainvoke(steps, {"configurable": {"thread_id": str(number)}})

        await measured(chain, runs, steps)

asyncio.run(main())
""",
}


def make(peer: str, folder: Path) -> Path:
    """Return the interpreter of a peer's environment, which is made from the package index if it is not there."""
    python = folder / peer / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / peer], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *_REQUIRED[peer]], check=True)
    return python


def version(python: Path, peer: str) -> str:
    """Return the version of the peer that is measured."""
    code = f"import importlib.metadata; print(importlib.metadata.version({peer!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def units(python: Path, peer: str, runs: int, steps: int) -> float:
    """Return what a step of the peer costs, in units: so many runs at once, of so many steps each, on SQLite."""
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        command = [python, "-c", _UNIT + _CODE[peer], str(Path(folder) / "peer.db"), str(runs), str(steps)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if ended.returncode:
        raise RuntimeError(f"{peer} failed: {(ended.stderr.strip() or 'it said nothing').splitlines()[-1]}")
    return float(json.loads(ended.stdout.splitlines()[-1])["units"])
