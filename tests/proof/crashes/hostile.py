"""Attack a store while no process has it open.

After each attack the store must be refused, with every byte as before, or must open as it was.

Separate because between two lives of a child any program may do anything in its folder.
Leaves to `stories` the time of an attack, and to the log of the children the check that nothing acknowledged was lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import durable
from durable.stores.file import wal
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry, RunQuery
from tests.proof.crashes import end, hear, start

_SUFFIXES = (".lock", "-wal", "-shm", "-journal", ".inbox")
_QUIET = logging.Logger("crashing", logging.CRITICAL)
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""
_LAYS: list[Callable[[Path, Path], object]] = [
    lambda place, victim: place.symlink_to(victim),
    lambda place, _: place.symlink_to(place.with_name("nowhere")),
    lambda place, victim: place.hardlink_to(victim),
    lambda place, _: os.mkfifo(place),
    lambda place, _: place.mkdir(),
]

Contents = dict[str, list[Entry]]
"""Every entry of every run that `find` knows, and the facts of none."""


def seen(folder: Path) -> dict[str, object]:
    """Return what is in a folder: names, what they are, and the bytes of files."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        one = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = one.st_mode, one.st_ino, one.st_nlink, content
    return found


def refused(path: Path) -> bool:
    """Open an engine on the store; return whether it was refused.

    Raises:
        AssertionError: it was, and a byte in the folder is another than before.
    """
    before = seen(path.parent)

    async def opens() -> None:
        async with durable.Engine(store=path, logger=_QUIET):
            pass

    try:
        asyncio.run(opens())
    except durable.StoreError as error:
        after = seen(path.parent)
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        assert not changed, f"refused ({error}), and yet these changed: {changed}"
        return True
    return False


def contents(path: Path) -> Contents:
    """Return the records of a store that no process has open, read from a copy."""

    async def read(copy: Path) -> Contents:
        async with FileReader(copy) as reader:
            names = ["", *(row.id for row in await reader.find(RunQuery(limit=1 << 30)))]
            return {name: [entry async for entry in reader.history(name)] for name in names}

    place = path.parent / "copy"
    place.mkdir()
    try:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", place / f"x.db{suffix}")
        return asyncio.run(read(place / "x.db"))
    finally:
        shutil.rmtree(place)


# What is done. Each returns with the store as it was, or as whoever opened it in between has left it.


def something_beside(path: Path, chance: Random) -> None:
    """Put another thing at the name of each file beside the store, which must be refused and stay as it is."""
    victim, away = path.parent / "victim", path.parent / "away"
    for suffix in _SUFFIXES:
        place = Path(f"{path}{suffix}")
        victim.write_text("precious")
        if had := os.path.lexists(place):
            place.rename(away)
        chance.choice(_LAYS)(place, victim)
        assert refused(path), f"what lies at {place.name} is not what belongs there, and was taken for it"
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()
        victim.unlink()
        if had:
            away.rename(place)


def second_name(path: Path, chance: Random) -> None:
    """Give the store's file a second name: under both it is refused."""
    other = path.parent / "other" / chance.choice(("x.db", "y.db"))
    other.parent.mkdir()
    other.hardlink_to(path)
    assert refused(path) and refused(other), "a file with two names was opened"
    shutil.rmtree(other.parent)


def cancelled_openings(path: Path, chance: Random) -> None:
    """Cancel openings and closings of the store at random instants, and open it again at once."""

    async def story() -> None:
        for _ in range(chance.randrange(1, 6)):
            store = FileStore(path)
            await _cancelled(store.open(), chance)
            await _cancelled(store.close(), chance)
            await store.close()
        for _ in range(chance.randrange(1, 4)):
            engine = durable.Engine(store=path, logger=_QUIET)
            await _cancelled(engine.open(), chance)
            await _cancelled(engine.close(), chance)
            await engine.close()

    asyncio.run(story())


async def _cancelled(what: object, chance: Random) -> None:
    task = asyncio.ensure_future(what)  # type: ignore[call-overload]
    for _ in range(chance.choice((0, 1, 2, 5, 50, 500))):
        await asyncio.sleep(0)
    for _ in range(chance.randrange(1, 4)):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])


def rollback_mode(path: Path, chance: Random) -> None:
    """Bring the file out of WAL mode, as some tools do; the next opening must bring it back."""
    connection = sqlite3.connect(path, timeout=chance.uniform(5, 10), isolation_level=None)
    try:
        mode = connection.execute("PRAGMA journal_mode = delete").fetchone()[0]
        assert mode == "delete", f"the file stays in mode {mode}: somebody still has it open"
    finally:
        connection.close()


@contextmanager
def foreign_lock(path: Path, chance: Random) -> Iterator[subprocess.Popen[str]]:
    """Have another process lock the file to write for a while."""
    child = start(_HOLDER, path)
    hear(child, "locked")
    timer = threading.Timer(chance.uniform(0, 0.6), child.kill)
    timer.start()
    try:
        yield child
    finally:
        timer.cancel()
        end(child)


def backup(path: Path, chance: Random) -> Path:
    """Make a copy of the store, in one of the ways in which people do."""
    copy = path.parent / "backup.db"
    copy.unlink(missing_ok=True)
    if chance.random() < 0.5:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
    else:
        shutil.copyfile(path, copy)
    return copy


def taken_in(path: Path) -> None:
    """Open the store and close it again, which takes in what a dead process has left."""

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        await store.begin()
        await store.close()

    asyncio.run(story())


def put_back(path: Path, copy: Path) -> None:
    """Put a copy back beside the files of a dead process, which must be refused or lack nothing; then undo that."""
    whole, away = contents(path), path.parent / "away.db"
    path.rename(away)
    copy.rename(path)
    left = Path(f"{path}-wal")
    content = left.read_bytes() if left.exists() else None
    has_content = wal.has_content(str(path))
    if not refused(path) and has_content:
        found = contents(path)  # an engine that opens it may have recorded more
        lacking = [name for name, entries in whole.items() if found.get(name, [])[: len(entries)] != entries]
        assert not lacking, f"a backup beside a -wal was opened, and lacks what was recorded of {lacking}"
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    away.rename(path)
    if content is not None:
        left.write_bytes(content)
