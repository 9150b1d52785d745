"""A process that ticks every second is killed with kill -9 again and again: each tick has one run. F9, R30"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import durable
from tests.proof.crashes import ENVIRONMENT, ROOT

CHILD = """
import asyncio, sys
import durable

@durable.function(durable.TriggerCron("* * * * * *", missed="all"))
async def second(ctx):
    await ctx.step.run("tell", lambda: print(f"{ctx.run_id}\\n", end="", flush=True))  # in one piece: threads

async def main():
    async with durable.Engine([second], store=sys.argv[1]):
        await asyncio.Event().wait()

asyncio.run(main())
"""


def killed_after(path: Path, ticks: int) -> list[str]:
    """Let a process run so many ticks, and kill it; return their runs."""
    command = [sys.executable, "-c", CHILD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(ticks)]
        child.kill()
    return told


def test_a_process_that_is_killed_at_ticks_opens_a_run_for_each_second_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    told = [run for ticks in (2, 1, 2) for run in killed_after(path, ticks)]
    found = [run.id for run in asyncio.run(durable.Reader(path).runs())][::-1]
    assert len(found) == len(set(found)) and set(told) <= set(found)
    seconds = [datetime.fromisoformat(run.rpartition("/")[2]) for run in found]
    assert seconds == [seconds[0] + timedelta(seconds=number) for number in range(len(seconds))]
