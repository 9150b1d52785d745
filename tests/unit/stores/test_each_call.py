"""R29, R31: killed, or failed by the disk, at any system call of making a store, writing to it and closing it.

`strace` counts the calls on the store's files and injects what is to happen at one of them. All of them take minutes:
`python -m tests.unit.stores.test_each_call`; the suite takes a few, others each day.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from durable.stores.file.store import FileStore
from durable.stores.store import Entry
from tests.proof.crashes import ENVIRONMENT

CALLS = ("openat", "pread64", "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink")
WHATS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
MOST = 15
_STRACE = shutil.which("strace")
_USES = """
import asyncio, sys, durable
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    try:
        await store.open()
        for number in range(int(sys.argv[2]), int(sys.argv[2]) + 3):
            await store.append([Entry("r", "StepClosed", f"{number}")])
            print("kept", number, flush=True)
        await store.close()
        print("closed", flush=True)
    except durable.StoreError as error:
        print(type(error).__name__, error, flush=True)

asyncio.run(main())
"""


def _traced(path: Path, first: int, *options: str) -> tuple[int, str]:
    """Let a child use the store under `strace`; return its exit code and what it said."""
    assert _STRACE is not None
    files = [f"{path}{suffix}" for suffix in ("", "-journal", "-wal", "-shm", ".lock")]
    watched = [word for file in files for word in ("-P", file)]
    command = [_STRACE, "-f", "-qq", "-o", str(path.parent / "trace"), *watched, *options]
    done = subprocess.run(
        [*command, sys.executable, "-c", _USES, str(path), str(first)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def _counted(path: Path) -> dict[str, int]:
    """Return how many of each call a life of the store makes."""
    _traced(path, 0, "-e", f"trace={','.join(CALLS)}")
    lines = (path.parent / "trace").read_text().splitlines()
    return {call: sum(f" {call}(" in line for line in lines) for call in CALLS}


async def _kept(path: Path) -> list[str]:
    store = FileStore(path)
    await store.open()
    found = [entry.body async for entry in store.history("r")]
    await store.append([Entry("r", "StepClosed", "after")])
    await store.close()
    return found


def _judge(path: Path, call: str, number: int, what: str) -> None:
    """Let it happen at that call of a making; then the store opens, and all that was acknowledged is there."""
    name = f"{what} at {call} {number}"
    code, said = _traced(path, 0, "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}")
    if what.startswith("error"):
        assert code == 0, f"{name}: {said}"
        last = said.splitlines()[-1]
        assert last == "closed" or ("Error " in last and path.name in last), f"{name}: {said}"
    acknowledged = [line.split()[1] for line in said.splitlines() if line.startswith("kept")]
    found = asyncio.run(_kept(path))
    assert found[: len(acknowledged)] == acknowledged, f"{name}: {acknowledged} were acknowledged, {found} are there"
    assert found == [str(one) for one in range(len(found))], f"{name}: {found}"


def _places(folder: Path) -> Iterator[tuple[str, int, str]]:
    (folder / "counted").mkdir()
    for call, count in _counted(folder / "counted" / "x.db").items():
        for number in range(1, count + 1):
            for what in WHATS:
                yield call, number, what


def _all(folder: Path, most: int | None) -> int:
    places = list(_places(folder))
    chosen = places if most is None else Random(datetime.now(UTC).toordinal()).sample(places, most)
    for number, (call, at, what) in enumerate(chosen):
        place = folder / str(number)
        place.mkdir()
        _judge(place / "x.db", call, at, what)
    return len(chosen)


def _may_trace() -> bool:
    if _STRACE is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [_STRACE, "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", sys.executable, "-c", "print(1)"]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout == "1\n"


@pytest.mark.skipif(_STRACE is None, reason="no strace here")
def test_at_whatever_call_a_making_is_killed_or_fails_the_store_opens_and_what_was_acknowledged_is_there(
    tmp_path: Path,
) -> None:
    if not _may_trace():
        pytest.skip("tracing is not permitted here")
    assert _all(tmp_path, MOST) == MOST


def main() -> None:
    """Let it happen at every call."""
    argparse.ArgumentParser(
        prog="python -m tests.unit.stores.test_each_call",
        description="EIO, ENOSPC and SIGKILL at each system call of making a store, writing to it and closing it",
    ).parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(_all(Path(name), None), "calls: 0 broken")


if __name__ == "__main__":
    main()
