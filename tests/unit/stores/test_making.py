"""R29: a store that was interrupted at any instant of its making opens, and a making that fails says what and where."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import durable
from durable.stores.file import schema
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry
from tests.proof.crashes import end, hear, run, start
from tests.proof.crashes.senders import beside, change, made, sent
from tests.support.places import ROOT

PAGE = 4096


async def _works(path: Path) -> None:
    """Make or open the store, and see that it works and is there afterwards."""
    for count in (1, 2):
        store = FileStore(path)
        await store.open()
        await store.append([Entry("r", "StepClosed", "body")])
        assert len([entry async for entry in store.history("r")]) == count
        await store.close()
    async with FileReader(path) as reader:
        assert len([entry async for entry in reader.history("r")]) == 2
    assert beside(path) == {"", ".lock"}
    os.unlink(path)
    os.unlink(f"{path}.lock")


# Every state between, made by hand.


def _journal(pages: list[bytes], *, count: int, sector: int = 512) -> bytes:
    """Return the -journal of a transaction on a file of so many pages, of which these come first."""
    nonce = 4711
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"".join(
        number.to_bytes(4) for number in (len(pages), nonce, count, sector, PAGE)
    )
    records = b""
    for number, page in enumerate(pages, 1):
        checksum = (nonce + sum(page[at] for at in range(PAGE - 200, 0, -200))) & 0xFFFFFFFF
        records += number.to_bytes(4) + page + checksum.to_bytes(4)
    return header.ljust(sector, b"\0") + records


def _stages(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Return the file after each transaction of its making: blank, with its tables, in WAL mode."""
    path = folder / "stages.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = 2")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    connection.execute("PRAGMA user_version = 0")
    blank = path.read_bytes()
    schema.create(connection)
    tables = path.read_bytes()
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()
    whole = path.read_bytes()
    path.unlink()
    return blank, tables, whole


def _between(old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield what is there while pages are written: up to each of them, and any of them."""
    places = range(0, len(new), PAGE)
    for at in places:
        yield new[:at] + old[at:]
    chance = Random(3)
    for _ in range(12):
        chosen = [chance.random() < 0.5 for _ in places]
        parts = [(new if new_one else old)[at : at + PAGE] for at, new_one in zip(places, chosen, strict=True)]
        yield b"".join(part.ljust(PAGE, b"\0") for part in parts)
    yield new


def _states(folder: Path) -> Iterator[tuple[str, bytes, bytes | None]]:
    blank, tables, whole = _stages(folder)
    first, second, third = (
        _journal([], count=0),
        _journal([blank], count=1),
        _journal([tables[:PAGE]], count=len(tables) // PAGE),
    )
    for name, old, new, journal in (
        ("first", b"", blank, first),
        ("tables", blank, tables, second),
        ("mode", tables, whole, third),
    ):
        yield f"{name}: before", old, None
        yield f"{name}: begun", old, b""
        for length in (8, 28, 512, 600, len(journal) - 1, len(journal)):  # what begins it is written last
            yield f"{name}: not synced", old, (bytes(12) + journal[12:])[:length]
        for content in _between(old, new):
            yield f"{name}: written", content, journal
        yield f"{name}: done", new, None


def test_every_state_between_opens_and_is_no_store_to_others(tmp_path: Path) -> None:
    count = 0
    for name, content, journal in _states(tmp_path):
        path = tmp_path / "x.db"
        path.write_bytes(content)
        if journal is not None:
            Path(f"{path}-journal").write_bytes(journal)
        if not name.startswith("mode") and name != "tables: done":
            before = {one: path.with_name(f"{path.name}{one}").read_bytes() for one in beside(path)}
            with pytest.raises(durable.StoreError, match="no store at"):
                sent(path, "a/b")
            with pytest.raises(durable.StoreError, match="no store at"):
                asyncio.run(FileReader(path).open())
            assert {one: path.with_name(f"{path.name}{one}").read_bytes() for one in beside(path)} == before, name
        asyncio.run(_works(path))
        count += 1
    assert count > 60


@pytest.mark.parametrize("kind", ["of many pages", "of nothing", "of a blank page"])
def test_a_journal_of_another_file_is_refused_and_takes_nothing_back(tmp_path: Path, kind: str) -> None:
    """SQLite would empty the store with it."""
    path = made(tmp_path / "x.db")
    change(path, "PRAGMA journal_mode = wal")
    whole = path.read_bytes()
    pages = {"of many pages": [whole[:PAGE], whole[PAGE : 2 * PAGE]], "of nothing": []}.get(
        kind, [_stages(tmp_path)[0]]
    )
    journal = _journal(pages, count=len(whole) // PAGE if kind == "of many pages" else len(pages))
    Path(f"{path}-journal").write_bytes(journal)
    for opening in (FileStore(path).open, FileReader(path).open):
        with pytest.raises(durable.StoreCorruptError, match=r"a -journal of another file.*quick_check.*move .*away"):
            asyncio.run(opening())
    with pytest.raises(durable.StoreCorruptError, match="a -journal of another file"):
        sent(path, "a/b")
    assert path.read_bytes() == whole and Path(f"{path}-journal").read_bytes() == journal
    Path(f"{path}-journal").unlink()
    assert sent(path, "a/b")


def test_a_journal_that_was_not_begun_is_no_obstacle(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db")
    Path(f"{path}-journal").write_bytes(bytes(600))

    async def main() -> None:
        async with durable.Engine(store=path) as engine:
            await engine.send("a/b", id="mine")

    asyncio.run(main())


# Killed.

_MAKER = """
import asyncio, sys
from durable.stores import FileStore

async def main():
    store = FileStore(sys.argv[1])
    print("begins", flush=True)
    await store.open()
    await store.begin()
    print("made", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_a_store_whose_maker_was_killed_at_any_instant_opens(tmp_path: Path) -> None:
    """A kill in each of 12 equal parts of the time that a making takes, and a little later."""
    child = start(_MAKER, tmp_path / "first.db")
    hear(child, "begins")
    began = time.perf_counter()
    hear(child, "made")
    whole = time.perf_counter() - began
    end(child)
    for number in range(12):
        path = tmp_path / f"{number}" / "x.db"
        path.parent.mkdir()
        child = start(_MAKER, path)
        hear(child, "begins")
        until = time.perf_counter() + whole * number / 10
        while time.perf_counter() < until:
            continue
        end(child)
        asyncio.run(_works(path))


# Where it cannot be made.

_LIMITED = """
import asyncio, os, resource, sys
import durable
from durable.stores import FileStore
from durable.stores.store import Entry

async def uses(path):
    store = FileStore(path)
    await store.open()
    try:
        await store.append([Entry("r", "StepClosed", "body")])
    finally:
        await store.close()

for limit in (0, 1, 512, 1000, 4096, 4608, 5000, 8192, 9000, 20_000, 32_768, 36_864, 40_960, 1 << 20):
    path = os.path.join(sys.argv[1], f"{limit}.db")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        asyncio.run(uses(path))
        said = "made"
    except durable.StoreError as error:
        said = f"{type(error).__name__} {error}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(limit, said, flush=True)
    asyncio.run(uses(path))
"""


def test_a_disk_that_is_full_at_any_byte_of_the_making_is_said_and_once_there_is_room_it_is_made(
    tmp_path: Path,
) -> None:
    pytest.importorskip("resource")
    code, said = run(_LIMITED, tmp_path)
    assert code == 0, said
    told = [line.split(" ", 2) for line in said.splitlines()]
    assert len(told) == 14 and told[-1][1] == "made"
    failed = [(limit, kind, words[0]) for limit, kind, *words in told if kind != "made"]
    assert len(failed) >= 10
    for limit, kind, words in failed:
        assert kind == "StoreError" and f"{limit}.db" in words, (limit, kind, words)
    assert sum("cannot be made" in words or "lock" in words for _, _, words in failed) >= 9


_TMPFS = """
import asyncio, os, subprocess, sys
import durable
from durable.stores import FileStore
from durable.stores.store import Entry

async def uses(path):
    store = FileStore(path)
    await store.open()
    try:
        await store.append([Entry("r", "StepClosed", "body")])
    finally:
        await store.close()

subprocess.run(["mount", "--make-rprivate", "/"], check=True)
for size in (4, 8, 12, 20, 36, 40, 44, 52, 64, 80, 100):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", sys.argv[1]], check=True)
    path = os.path.join(sys.argv[1], "x.db")
    try:
        asyncio.run(uses(path))
        said = "made"
    except durable.StoreError as error:
        said = f"StoreError {error}"
    print(size, said, flush=True)
    subprocess.run(["mount", "-o", "remount,size=1m", sys.argv[1]], check=True)
    asyncio.run(uses(path))
    subprocess.run(["umount", sys.argv[1]], check=True)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no namespaces here")
def test_a_small_disk_that_is_full_is_said_and_once_it_is_larger_the_store_is_made(tmp_path: Path) -> None:
    command = ["unshare", "-m", sys.executable, "-c", _TMPFS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr:
        pytest.skip("mounting is not permitted here")
    assert done.returncode == 0, done.stderr
    told = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert [kind for _, kind, *_ in told].count("StoreError") >= 3 and len(told) == 11
    assert all("x.db" in words[0] for _, kind, *words in told if kind == "StoreError")
