"""I/O errors on real files, in real processes: descriptors that stop taking writes, that cannot be synced, or read.

The child finds SQLite's descriptors in /proc and puts others in their place: one opened only to read (EBADF at a
write), /dev/full (ENOSPC), a pipe (ESPIPE), /dev/null (takes every write, and fsync is EINVAL); to read from, a folder
(EISDIR) and noise. Once the error has come out, the true ones are put back: it was a passing fault, and still nothing
may go on.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from durable import FileStore
from durable.journal.codec.write import read
from durable.journal.records import EventSent, StepClosed
from tests.proof.crashes import run

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd/0"), reason="descriptors are found in /proc")

_WORK = """
import asyncio, os, sys, durable

path, fault = sys.argv[1], sys.argv[2]
steps = 40

def tell(*words):  # in one write, for handlers are in threads
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def other():
    match fault.partition(" by ")[2]:
        case "read only":
            return os.open(f"{path}{suffix}", os.O_RDONLY)
        case "pipe":
            return os.pipe()[1]
        case "folder":
            return os.open(os.path.dirname(path), os.O_RDONLY)
        case "noise":
            noise = os.memfd_create("noise")
            os.write(noise, os.urandom(4_000_000))
            return noise
        case device:
            return os.open(f"/dev/{device}", os.O_RDWR)

def broken(*suffixes):
    names = [os.path.realpath(path) + one for one in suffixes]
    links = [f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd")]
    found = [int(os.path.basename(one)) for one in links if os.path.islink(one) and os.readlink(one) in names]
    assert found
    kept = {one: os.dup(one) for one in found}
    for one in found:
        os.dup2(other(), one)
    return kept

def mended(kept):
    for one, true in kept.items():
        os.dup2(true, one)

suffix = "" if fault.startswith("database") else "-wal"
breaking, kept = asyncio.Event(), {}

@durable.function
async def work(ctx):
    for number in range(steps):  # a checkpoint comes at the 1 MiB, well after the fault
        if number == 6 and fault != "none":
            breaking.set()
        await ctx.step.run(f"s{number}", lambda: tell("does", number) or "x" * 60_000)
        tell("has", number)
    return "done"
"""

_WRITE = (
    _WORK
    + """
async def sends(engine):
    for number in range(300):
        await engine.send("e", {"n": number}, id=f"e{number}")
        tell("sent", f"e{number}")

async def main():
    engine = durable.Engine([work], store=path)
    await engine.open()
    run = await engine.start(work, id="r")
    if fault == "none":
        tell(await run.result())
        await engine.close()
        return
    asked = [asyncio.ensure_future(one) for one in (run.result(), run.result(), sends(engine))]
    await breaking.wait()
    kept.update(broken(suffix))
    told = await asyncio.gather(*asked, return_exceptions=True)
    mended(kept)
    for ask in (engine.send("e"), engine.start(work), engine.runs(), engine.settled(), engine.info("r")):
        told += await asyncio.gather(ask, return_exceptions=True)
    tell("told", *sorted({type(one).__name__ for one in told}))
    tell(told[0])
    try:
        await engine.close()
    except durable.StoreError as error:
        tell("closed with", error)

asyncio.run(main())
"""
)


async def _kept(path: Path) -> set[str]:
    """Return what a store has kept: the keys of run "r" that have ended, and the ids of events."""
    store = FileStore(path)
    await store.open()
    entries = [entry async for entry in store.history("r")] + [entry async for entry in store.history("")]
    await store.close()
    records = [read(entry.kind, entry.body) for entry in entries]
    keys = {record.key for record in records if isinstance(record, StepClosed)}
    return keys | {record.event.id or "" for record in records if isinstance(record, EventSent)}


def _acknowledged(said: str) -> set[str]:
    words = [line.split() for line in said.splitlines() if line.startswith(("has ", "sent "))]
    return {name if verb == "sent" else f"s{name}" for verb, name in words}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("-wal by read only", "disk I/O error"),
        ("-wal by pipe", "disk I/O error"),
        ("-wal by full", "database or disk is full"),
        ("-wal by null", "disk I/O error"),
        ("database by read only", "disk I/O error"),
        ("database by null", "disk I/O error"),
    ],
)
def test_a_disk_that_fails_stops_the_engine_and_a_new_process_goes_on(fault: str, message: str, tmp_path: Path) -> None:
    """R31, R30: a write that fails, a full disk, a sync that fails; in a commit, and in a checkpoint."""
    path = tmp_path / "x.db"
    code, said = run(_WRITE, path, fault)
    assert code == 0 and "Traceback" not in said, said
    assert "\ntold StoreError\n" in said and message in said and str(path) in said, said
    acknowledged = _acknowledged(said)
    assert {f"s{number}" for number in range(6)} <= acknowledged and "s39" not in acknowledged
    assert acknowledged <= asyncio.run(_kept(path)), said
    code, said = run(_WRITE, path, "none")
    assert (code, said.splitlines()[-1]) == (0, "done"), said
    again = {f"s{line.split()[1]}" for line in said.splitlines() if line.startswith("does ")}
    assert again and not again & acknowledged


_READ = (
    _WORK
    + """
class Breaking(durable.FileStore):
    async def unfinished(self, now):
        kept.update(broken("", "-wal"))
        async for entry in super().unfinished(now):
            yield entry

async def main():
    engine = durable.Engine([work], store=Breaking(path))
    try:
        await engine.open()
    except durable.DurableError as error:
        tell(type(error).__name__, error)
    mended(kept)

asyncio.run(main())
"""
)


@pytest.mark.parametrize(
    ("fault", "told"), [("database by folder", "StoreError"), ("database by noise", "StoreCorruptError")]
)
def test_a_read_that_fails_in_recovery_is_a_store_error_and_nothing_is_begun(
    fault: str, told: str, tmp_path: Path
) -> None:
    """R25, R30: not half of what is recorded, and no error of SQLite's own; mended, the store opens and goes on."""
    path = tmp_path / "x.db"
    code, said = run(_WRITE, path, "-wal by full")
    assert code == 0, said
    acknowledged = _acknowledged(said)
    code, said = run(_READ, path, fault)
    assert code == 0 and "Traceback" not in said and "does " not in said, said
    assert said.startswith(f"{told} ") and str(path) in said, said
    code, said = run(_WRITE, path, "none")
    assert (code, said.splitlines()[-1]) == (0, "done"), said
    again = {f"s{line.split()[1]}" for line in said.splitlines() if line.startswith("does ")}
    assert again and not again & acknowledged
