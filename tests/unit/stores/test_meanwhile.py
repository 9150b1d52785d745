"""R29: readers and openings go on where another process opens or closes the store at that very moment."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.stores.file import schema
from durable.stores.file.reading import ReadConnection
from tests.proof.crashes import end, hear, start

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")

_DIES = """
import asyncio, os, sys, durable

@durable.function
async def work(ctx):
    await ctx.step.run("step", int)

async def main():
    engine = durable.Engine([work], store=sys.argv[1])
    await engine.open()
    await engine.invoke("work")
    os._exit(0)

asyncio.run(main())
"""
# What SQLite does in a reader between taking the lock of the -shm and writing its index.
_MAKES_THE_SHM = """
import fcntl, os, sys

file = os.open(sys.argv[1] + "-shm", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(file, 3)
fcntl.lockf(file, fcntl.LOCK_SH, 1, 128)
print("making", flush=True)
sys.stdin.readline()
"""


@durable.function
async def work(ctx: durable.Context) -> None:
    await ctx.step.run("step", int)


def _left(path: Path) -> None:
    """Leave what an engine leaves whose process has died."""
    start(_DIES, path).communicate()
    assert path.with_name("x.db-wal").stat().st_size


async def _opened(path: Path) -> list[str]:
    async with durable.Engine([work], store=path) as engine:
        return [run.status for run in await engine.runs()]


def _looked_through(path: Path) -> list[str]:
    """Read as an engine does that recovers: without having written yet."""
    connection = ReadConnection(str(path))
    connection.look()
    try:
        return connection.read(lambda sqlite: [status.decode() for (status,) in sqlite.execute(_STATUSES)])
    finally:
        connection.close()


_STATUSES = "SELECT status FROM runs"


@posix
@pytest.mark.parametrize("read", [lambda path: asyncio.run(_opened(path)), _looked_through])
def test_an_opening_waits_until_a_reader_has_made_the_shm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], list[str]]
) -> None:
    _left(path := tmp_path / "x.db")
    reader = start(_MAKES_THE_SHM, path)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        end(reader)

    monkeypatch.setattr(schema, "sleep", sleep)
    try:
        hear(reader, "making")
        assert read(path) == ["completed"]
    finally:
        end(reader)
    assert waited


@posix
def test_an_opening_gives_up_where_the_shm_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _left(path := tmp_path / "x.db")
    reader = start(_MAKES_THE_SHM, path)
    monkeypatch.setattr(schema, "_PATIENCE", 0.0)
    try:
        hear(reader, "making")
        with pytest.raises(durable.StoreError, match="found while opening it: attempt to write a readonly database"):
            asyncio.run(_opened(path))
    finally:
        end(reader)
    assert asyncio.run(_opened(path)) == ["completed"]


def test_a_reader_goes_on_where_the_writer_closes_the_store_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    asyncio.run(_opened(path))
    writer = sqlite3.connect(path, check_same_thread=False)
    writer.executescript("CREATE TABLE other (x); DROP TABLE other;")
    assert path.with_name("x.db-wal").stat().st_size
    lexists, seen = os.path.lexists, list[bool]()

    def looked_for(name: Any) -> bool:
        found = lexists(name)
        if str(name).endswith("-shm"):
            seen.append(found)
            if len(seen) == 1:
                writer.close()  # which takes the -wal and the -shm away
        return found

    monkeypatch.setattr(os.path, "lexists", looked_for)

    async def read() -> int:
        async with durable.Reader(path) as reader:
            return len(await reader.runs())

    assert asyncio.run(read()) == 0
    assert seen == [True, False]


def test_an_error_after_which_sqlite_has_ended_the_transaction_is_the_one_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    asyncio.run(_opened(path))
    connection = ReadConnection(str(path))
    connection.open()

    def fail(sqlite: sqlite3.Connection) -> None:
        sqlite.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(durable.StoreError, match="failed while reading it: database or disk is full"):
        connection.read(fail)
    connection.close()
