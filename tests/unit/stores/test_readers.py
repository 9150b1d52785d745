"""R29: reading is always allowed and never disturbs: a closed store, other users, no right to write."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file.reading import ReadConnection
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry
from tests.support.places import ROOT

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OWNER, OTHER = 12_001, 12_002
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
# It imports what it needs before it is another user, who may not be let into the interpreter's folder.
_AS = """
import argparse, asyncio, os, shutil, sys, urllib.parse
from datetime import UTC, datetime
from durable.engine.command import main
from durable.stores import FileStore
from durable.stores.store import Entry, RunRow

what, path, user = sys.argv[1], sys.argv[2], int(sys.argv[3])
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

async def write():
    store = FileStore(path)
    await store.open()
    row = RunRow(what, "f", "e", datetime(2030, 1, 1, tzinfo=UTC))
    await store.append([Entry(what, "RunOpened", "open", row=row)])
    await store.close()

sys.exit(main(["runs", path]) if what == "read" else asyncio.run(write()))
"""


def _as(user: int, what: str, path: Path) -> str:
    """Read the store at the path as this user, or write a run of that name; return what was printed."""
    command = [sys.executable, "-c", _AS, what, str(path), str(user)]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)
        os.chmod(name, 0o777)


async def _appended(path: Path, *bodies: str) -> FileStore:
    store = FileStore(path, durability="none")
    await store.open()
    await store.append([Entry("r", "StepClosed", body) for body in bodies])
    return store


async def _bodies(reader: FileReader) -> list[str]:
    return [entry.body async for entry in reader.history("r")]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.skipif(not _IS_ROOT, reason="needs two users")
def test_a_reader_of_another_user_does_not_shut_the_owner_out(folder: Path) -> None:
    _as(OWNER, "first", folder / "x.db")
    os.chmod(folder / "x.db", 0o644)
    assert "first" in _as(OTHER, "read", folder / "x.db")
    assert _names(folder) == {"x.db", "x.db.lock"}
    _as(OWNER, "second", folder / "x.db")
    assert "second" in _as(OTHER, "read", folder / "x.db")


@pytest.mark.skipif(not _IS_ROOT, reason="needs two users")
def test_a_reader_of_another_user_reads_beside_the_writer(folder: Path) -> None:
    os.chmod(folder, 0o755)
    _as(0, "before", folder / "x.db")
    os.chmod(folder / "x.db", 0o644)

    async def main() -> None:
        store = await _appended(folder / "x.db", "a")
        assert "before" in await asyncio.to_thread(_as, OTHER, "read", folder / "x.db")
        assert {os.stat(folder / name).st_uid for name in _names(folder)} == {0}
        await store.append([Entry("r", "StepClosed", "b")])
        await store.close()

    asyncio.run(main())
    assert _names(folder) == {"x.db", "x.db.lock"}


@pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")
def test_a_closed_store_is_read_without_the_right_to_write(folder: Path) -> None:
    _as(0, "first", folder / "x.db")
    os.chmod(folder / "x.db", 0o444)
    os.chmod(folder, 0o555)
    assert "first" in _as(OTHER if _IS_ROOT else 0, "read", folder / "x.db")
    assert _names(folder) == {"x.db", "x.db.lock"}


def test_a_reader_of_a_closed_store_leaves_nothing_beside_it(tmp_path: Path) -> None:
    async def main() -> None:
        await (await _appended(tmp_path / "x.db", "a")).close()
        before = _names(tmp_path)
        async with FileReader(tmp_path / "x.db") as reader:
            assert await _bodies(reader) == ["a"]
            assert _names(tmp_path) == before == {"x.db", "x.db.lock"}
        assert _names(tmp_path) == before

    asyncio.run(main())


def test_a_reader_that_was_there_first_sees_what_a_writer_appends(tmp_path: Path) -> None:
    async def main() -> None:
        await (await _appended(tmp_path / "x.db", "a")).close()
        async with FileReader(tmp_path / "x.db") as reader:
            store = await _appended(tmp_path / "x.db", "b")
            assert await _bodies(reader) == ["a", "b"]
            await store.append([Entry("r", "StepClosed", "c")])
            assert await _bodies(reader) == ["a", "b", "c"]
            await store.close()
            assert await _bodies(reader) == ["a", "b", "c"]

    asyncio.run(main())


def test_a_reader_sees_what_was_written_while_it_did_not_look(tmp_path: Path) -> None:
    """The file is at rest both times, and is not the same."""

    async def main() -> None:
        await (await _appended(tmp_path / "x.db", "a")).close()
        async with FileReader(tmp_path / "x.db") as reader:
            for count in range(1, 4):
                assert await _bodies(reader) == ["a"] * count
                await (await _appended(tmp_path / "x.db", "a")).close()
                assert [entry.body async for entry in reader.unfinished(NOON)] == ["a"] * (count + 1)

    asyncio.run(main())


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "has_gone_again"])
def test_what_was_read_while_a_writer_came_is_read_again(tmp_path: Path, stays: bool) -> None:
    asyncio.run(_left(tmp_path / "x.db"))
    reader, stores, counts = ReadConnection(str(tmp_path / "x.db")), [], []
    reader.open()

    async def writes() -> None:
        stores.append(await _appended(tmp_path / "x.db", "b"))
        if not stays:
            await stores[-1].close()

    def task(connection: sqlite3.Connection) -> int:
        counts.append(connection.execute("SELECT count(*) FROM journal").fetchone()[0])
        if len(counts) == 1:
            loop.run_until_complete(writes())
            raise StoreCorruptError("half of it is old")
        return counts[-1]

    loop = asyncio.new_event_loop()
    assert (reader.read(task), counts) == (2, [1, 2])
    reader.close()
    loop.run_until_complete(stores[0].close())
    loop.close()


async def _left(path: Path) -> None:
    await (await _appended(path, "a")).close()


def test_a_reader_whose_store_is_away_for_a_while_stays_open(tmp_path: Path) -> None:
    async def main() -> None:
        await _left(tmp_path / "x.db")
        async with FileReader(tmp_path / "x.db") as reader:
            os.rename(tmp_path / "x.db", tmp_path / "y.db")
            with pytest.raises(StoreError, match="no store"):
                await _bodies(reader)
            os.rename(tmp_path / "y.db", tmp_path / "x.db")
            assert await _bodies(reader) == ["a"]

    asyncio.run(main())


def test_a_reader_of_a_live_store_reads_the_file_that_has_its_name_by_now(tmp_path: Path) -> None:
    """A copy was brought back while the reader stayed open: what it says must not be of the file that is gone."""

    async def main() -> None:
        old = await _appended(tmp_path / "x.db", "old")
        async with FileReader(tmp_path / "x.db") as reader:
            assert await _bodies(reader) == ["old"]
            await old.close()  # its -wal stays, since the reader has the file open
            for name in ("x.db", "x.db-wal", "x.db-shm", "x.db.lock"):
                os.rename(tmp_path / name, tmp_path / f"away-{name}")
            with pytest.raises(StoreError, match="no store"):
                await _bodies(reader)
            new = await _appended(tmp_path / "other.db", "new")
            await new.close()
            os.rename(tmp_path / "other.db", tmp_path / "x.db")
            again = await _appended(tmp_path / "x.db", "more")
            assert await _bodies(reader) == ["new", "more"]
            await again.close()
            assert await _bodies(reader) == ["new", "more"]

    asyncio.run(main())
