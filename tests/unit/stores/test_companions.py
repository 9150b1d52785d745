"""What SQLite keeps beside a store and its inbox: whatever else has those names is refused, and left alone."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import durable
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry
from tests.proof.crashes import run
from tests.proof.crashes.senders import sent
from tests.unit.stores.test_neighbours import HOSTILE, folder, seen

__all__ = ["folder"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and owners are of another kind there")
SUFFIXES = ("-wal", "-shm", "-journal")
LAYINGS = pytest.mark.parametrize(("lay", "said"), HOSTILE, ids=[lay.__name__ for lay, _ in HOSTILE])

_DIES = """
import asyncio, os, sys
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    await store.append([Entry("r", "StepClosed", "kept")])
    os._exit(0)

asyncio.run(main())
"""


async def _opens(path: Path) -> None:
    async with durable.Engine(store=path):
        pass


async def _appends(path: Path) -> None:
    store = FileStore(path)
    await store.open()
    try:
        await store.append([Entry("r", "StepClosed", "more")])
    finally:
        await store.close()


async def _reads(path: Path) -> None:
    async with FileReader(path) as reader:
        assert [entry async for entry in reader.history("r")]


async def _sends(path: Path) -> None:
    async with durable.Sender(path) as sender:
        await sender.send("a/b")


OPENINGS: list[Callable[[Path], Awaitable[None]]] = [_opens, _appends, _reads, _sends]


def _refused(path: Path, place: Path, said: str) -> None:
    before = seen(place)
    for opening in OPENINGS:
        with pytest.raises(durable.StoreError, match=rf"{said}.*: put the file itself there, or move it away"):
            asyncio.run(opening(path))  # type: ignore[arg-type]
        assert seen(place) == before, opening


@LAYINGS
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_lies_beside_a_closed_store_is_not_written_through_nor_waited_for(
    folder: Path, lay: Callable[[Path], object], said: str, suffix: str
) -> None:
    """A hard link was written over, a named pipe waited for until somebody opened its other end."""
    path = folder / "shop" / "x.db"
    lay(Path(f"{path}{suffix}"))
    _refused(path, folder, f"x.db{suffix}' .*{said}")


@LAYINGS
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_took_the_place_of_a_dead_process_s_files_is_refused_and_all_is_there_when_they_are_back(
    folder: Path, lay: Callable[[Path], object], said: str, suffix: str
) -> None:
    path = folder / "shop" / "x.db"
    assert run(_DIES, path) == (0, "")
    place, away = Path(f"{path}{suffix}"), folder / "away"
    place.rename(away)
    lay(place)
    _refused(path, folder, f"x.db{suffix}' .*{said}")
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    away.replace(place)

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        assert [entry.body async for entry in store.history("r")] == ["kept"]
        await store.close()

    asyncio.run(story())


@LAYINGS
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_lies_beside_an_inbox_is_refused_too(
    folder: Path, lay: Callable[[Path], object], said: str, suffix: str
) -> None:
    path = folder / "shop" / "x.db"
    sent(path, "a/b")
    lay(Path(f"{path}.inbox{suffix}"))
    before = seen(folder)
    for opening in (_opens, _sends):
        with pytest.raises(durable.StoreError, match=rf"x.db.inbox{suffix}' .*{said}.*: put the file itself there"):
            asyncio.run(opening(path))
        assert seen(folder) == before


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_is_put_there_after_a_store_was_opened_and_before_it_is_written_to_is_refused(
    folder: Path, suffix: str
) -> None:
    path, victim = folder / "shop" / "x.db", folder / "victim"

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        await asyncio.to_thread(os.link, victim, f"{path}{suffix}")
        with pytest.raises(durable.StoreError, match=rf"x.db{suffix}' has 2 names"):
            await store.append([Entry("r", "StepClosed", "more")])
        await store.close()

    asyncio.run(story())
    assert victim.read_text() == "precious"


def test_files_of_sqlites_own_are_no_obstacle(folder: Path) -> None:
    path = folder / "shop" / "x.db"
    sent(path, "a/b")
    other = sqlite3.connect(path, isolation_level=None)
    assert other.execute("SELECT count(*) FROM journal").fetchone() is not None
    assert {f"{path.name}-wal", f"{path.name}-shm"} <= set(os.listdir(path.parent))
    for opening in (_opens, _sends, _appends, _reads):
        asyncio.run(opening(path))  # type: ignore[arg-type]
    other.close()
