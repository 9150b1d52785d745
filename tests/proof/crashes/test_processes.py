"""Real processes: killed, interrupted, stopped, forked, on a full disk, side by side on one store."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import pytest

import durable
from durable.stores.file.store import FileReader
from durable.stores.store import RunQuery
from tests.proof.crashes import end, hear, run, start, steering
from tests.proof.crashes.stories import rounds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
ROUNDS = 10


def test_nothing_acknowledged_runs_again_after_kill_9_at_random_instants(tmp_path: Path) -> None:
    """R1, R2, R11, R22, R25, R30; the long form is `python -m tests.proof.crashes --rounds 200`."""
    kinds, total = rounds(tmp_path, ROUNDS, seed=datetime.now(UTC).toordinal())
    assert kinds.total() == ROUNDS and total["executions"]


def test_what_steers_runs_is_done_once_after_kill_9_of_the_engine_and_of_senders(tmp_path: Path) -> None:
    """The long form is `python -m tests.proof.crashes.steering --rounds 100`."""
    kills, done = steering.rounds(tmp_path, 4, seed=datetime.now(UTC).toordinal())
    assert kills.total() >= 4 and done.total()


# Two processes, one store.

_SLEEPER = """
import asyncio, sys, time, durable

@durable.function
async def nap(ctx):
    until = await ctx.step.run("until", lambda: time.time() + float(sys.argv[2]))
    await ctx.step.sleep("sleep", float(sys.argv[2]))
    return time.time() - until

async def main():
    async with durable.Engine([nap], store=sys.argv[1]) as engine:
        run = await engine.start(nap, id="nap")
        await engine.settled()
        print("sleeps", flush=True)
        print("late by", await run.result(), flush=True)

asyncio.run(main())
"""


async def _opened(path: Path) -> float:
    began = perf_counter()
    async with durable.Engine(store=path):
        return perf_counter() - began


def test_a_second_engine_is_refused_at_once_and_succeeds_at_once_after_kill_9(tmp_path: Path) -> None:
    """R29"""
    child = start(_SLEEPER, tmp_path / "x.db", 3600)
    try:
        hear(child, "sleeps")
        began = perf_counter()
        with pytest.raises(durable.StoreLockedError, match=rf"process {child.pid}\b"):
            asyncio.run(_opened(tmp_path / "x.db"))
        assert perf_counter() - began < 1
    finally:
        end(child)
    assert asyncio.run(_opened(tmp_path / "x.db")) < 1


def test_a_stopped_process_keeps_its_store_and_wakes_what_came_due(tmp_path: Path) -> None:
    """R17, R29"""
    child = start(_SLEEPER, tmp_path / "x.db", 0.3)
    try:
        hear(child, "sleeps")
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(durable.StoreLockedError, match=rf"process {child.pid}\b"):
            asyncio.run(_opened(tmp_path / "x.db"))
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.6)
        child.send_signal(signal.SIGCONT)
        said, _ = child.communicate()
    finally:
        end(child)
    assert child.returncode == 0, said
    assert 0.1 < float(said.removeprefix("late by")) < 5


_WRITER = """
import asyncio, sys, durable

@durable.function
async def count(ctx):
    total = 0
    for number in range(150):
        total += await ctx.step.run("one", lambda: 1)
    return total

async def main():
    async with durable.Engine([count], store=sys.argv[1]) as engine:
        print("open", flush=True)
        sys.stdin.readline()
        runs = [await engine.start(count) for number in range(5)]
        print(sum([await run.result() for run in runs]), flush=True)

asyncio.run(main())
"""


async def _read_beside(child: subprocess.Popen[str], path: Path) -> list[int]:
    seen = []
    async with FileReader(path) as reader:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        while not seen or seen[-1] < 5 * 152:
            rows = await reader.find(RunQuery(None, None, None, 100))
            seen.append(0)
            for row in rows:
                seen[-1] += len([entry async for entry in reader.history(row.id)])
    return seen


def test_reading_from_another_process_never_disturbs_the_writer(tmp_path: Path) -> None:
    """R29"""
    child = start(_WRITER, tmp_path / "x.db")
    try:
        hear(child, "open")
        seen = asyncio.run(_read_beside(child, tmp_path / "x.db"))
        said, _ = child.communicate()
    finally:
        end(child)
    assert (child.returncode, said) == (0, "750\n")
    assert seen == sorted(seen) and len(set(seen)) > 3


# Fork.

_FORK = """
import asyncio, os, sys, warnings, durable

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

@durable.function
async def greet(ctx):
    return await ctx.step.run("greet", lambda: "hello")

async def main():
    async with durable.Engine([greet], store=sys.argv[1]) as engine:
        await engine.invoke(greet)
        child = os.fork()
        if not child:
            refused = 0
            for call in (engine.send("a"), engine.start(greet), engine.runs(), engine.settled(), engine.close()):
                try:
                    call.send(None)
                except RuntimeError as error:
                    refused += "forked child" in str(error)
            os._exit(refused)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(await engine.invoke(greet))

asyncio.run(main())
"""


def test_an_engine_refuses_a_forked_child_and_its_parent_goes_on(tmp_path: Path) -> None:
    assert run(_FORK, tmp_path / "x.db") == (0, "5\nhello\n")


# Where nothing can be written.

_FILLING = """
import resource, sys, durable

@durable.function
async def fill(ctx):
    for number in range(60):
        await ctx.step.run(f"part-{number}", lambda: print("does", number, flush=True) or "x" * 20_000)
        print("has", number, flush=True)
    return "full"

if sys.argv[2] == "small":
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
try:
    print(durable.run(fill, store=sys.argv[1], id="fill"))
except durable.StoreError as error:
    print("StoreError:", error)
"""


def test_a_full_disk_is_a_store_error_and_a_restart_goes_on(tmp_path: Path) -> None:
    """R31"""
    code, said = run(_FILLING, tmp_path / "x.db", "small")
    assert code == 0, said
    assert "StoreError: " in said and "Traceback" not in said
    acknowledged = {line for line in said.splitlines() if line.startswith("has ")}
    assert 5 < len(acknowledged) < 60
    code, said = run(_FILLING, tmp_path / "x.db", "large")
    assert (code, said.splitlines()[-1]) == (0, "full")
    again = {line.replace("does", "has") for line in said.splitlines() if line.startswith("does ")}
    assert not again & acknowledged
    assert f"goes on: {60 - len(again)} finished steps answer" in said


_POOR = """
import os, sys, durable

@durable.function
async def greet(ctx):
    return "hello"

if not os.getuid():
    os.setuid(65_534)  # a folder is never read-only to root
try:
    durable.run(greet, store=sys.argv[1])
except durable.StoreError as error:
    print(error)
"""


def test_a_read_only_folder_is_a_store_error_that_names_it() -> None:
    folder = Path(tempfile.mkdtemp())  # those of pytest cannot be entered by another user
    folder.chmod(0o555)
    try:
        code, said = run(_POOR, folder / "x.db")
        assert list(folder.iterdir()) == []
    finally:
        folder.chmod(0o755)
        folder.rmdir()
    assert code == 0, said
    assert "cannot be opened to write" in said and str(folder / "x.db") in said


# A handler that takes the process down.

_DEADLY = """
import asyncio, os, signal, sys, durable

async def die():
    os.write(log, b"dies\\n")
    os.kill(os.getpid(), signal.SIGKILL)

async def breathe():
    os.write(log, b"breathes\\n")
    await asyncio.sleep(0.1)

@durable.function
async def deadly(ctx):
    await ctx.step.run("die", die)

@durable.function
async def innocent(ctx):
    for number in range(2):
        await ctx.step.run("breathe", breathe)
    return "alive"

log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

async def main():
    async with durable.Engine([deadly, innocent], store=sys.argv[1], max_crashes=5) as engine:
        runs = [await engine.start(innocent, id=f"i{number}") for number in range(3)]
        try:
            await (await engine.start(deadly, id="d")).result()
        except durable.RunFailed as failed:
            print(failed.error)
        print([await run.result() for run in runs])

asyncio.run(main())
"""


def test_a_run_that_kills_its_process_again_and_again_fails_and_others_survive(tmp_path: Path) -> None:
    """R26"""
    codes = []
    while not codes or (codes[-1] == -signal.SIGKILL and len(codes) < 20):
        code, said = run(_DEADLY, tmp_path / "x.db", tmp_path / "log")
        codes.append(code)
    assert codes[-1] == 0, said
    assert "run 'd' of function 'deadly' was calling a handler at 5 unclean deaths" in said
    assert said.endswith("['alive', 'alive', 'alive']\n")
    log = (tmp_path / "log").read_text().splitlines()
    assert log.count("dies") == len(codes) - 1 >= 5
