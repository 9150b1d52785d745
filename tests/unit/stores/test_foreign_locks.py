"""R31: a lock that another program holds on a store is no failure: it is waited for, said once, and nobody hangs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

import durable
from durable.stores.file import connection as connections
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry
from tests.proof.crashes import end, hear, run, start
from tests.proof.crashes.senders import made

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")


@durable.function
async def work(ctx: durable.Context) -> list[int]:
    """Take a few steps."""
    return [await ctx.step.run("step", lambda n=n: n) for n in range(5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """A shell, or a viewer, beside the store."""
    one = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield one
    one.close()


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "locked" in one.getMessage() or "free" in one.getMessage()]


async def _rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0.001)


def test_an_engine_waits_for_a_lock_says_so_once_and_goes_on(
    path: Path, other: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """`BEGIN IMMEDIATE` in a shell stopped it for good after 5 s."""

    async def story() -> None:
        async with durable.Engine([work], store=path) as engine:
            assert await engine.invoke(work) == [0, 1, 2, 3, 4]
            other.execute("BEGIN IMMEDIATE")
            asked = [asyncio.ensure_future(engine.invoke(work)) for _ in range(20)]
            while not _said(caplog):
                await asyncio.sleep(0)  # the loop is free
            await _rounds(300)
            assert not any(ask.done() for ask in asked) and len(_said(caplog)) == 1
            other.execute("COMMIT")
            assert await asyncio.gather(*asked) == [[0, 1, 2, 3, 4]] * 20

    asyncio.run(story())
    words = _said(caplog)
    assert ["another program has store" in word for word in words] == [True, False]


def test_what_was_posted_while_it_was_locked_is_recorded_once_and_in_order(
    path: Path, other: sqlite3.Connection
) -> None:
    async def main() -> list[str]:
        store = FileStore(path)
        await store.open()
        appends = []
        for number in range(40):
            if number % 10 == 3:
                other.execute("BEGIN IMMEDIATE")
            appends.append(asyncio.ensure_future(store.append([Entry("r", "StepClosed", f"{number}")])))
            await asyncio.sleep(0)
            if number % 10 == 7:
                await _rounds(20)
                other.execute("ROLLBACK")
        await asyncio.gather(*appends)
        bodies = [entry.body async for entry in store.history("r")]
        await store.close()
        return bodies

    assert asyncio.run(main()) == [str(number) for number in range(40)]


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_an_engine_opens_and_reads_beside_a_lock_and_waits_with_its_first_record(
    path: Path, other: sqlite3.Connection, begin: str
) -> None:
    async def story() -> None:
        other.execute(begin)
        async with durable.Engine([work], store=path) as engine:
            asked = asyncio.ensure_future(engine.invoke(work))
            await _rounds(100)
            assert not asked.done()
            other.execute("ROLLBACK")
            assert await asked == [0, 1, 2, 3, 4]

    asyncio.run(story())


def test_closing_ends_within_reason_with_words_and_what_waited_is_not_half_there(
    path: Path, other: sqlite3.Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HURRY", 0.3)

    async def story() -> None:
        engine = durable.Engine([work], store=path)
        await engine.open()
        await engine.invoke(work)
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.ensure_future(engine.start(work, id="late"))
        await _rounds(50)
        began = monotonic()
        await engine.close()
        assert monotonic() - began < 10
        with pytest.raises((durable.StoreError, RuntimeError)):
            await asked
        other.execute("ROLLBACK")
        async with durable.Engine([work], store=path) as again:
            assert await again.invoke(work, id="late") == [0, 1, 2, 3, 4]

    asyncio.run(story())
    assert "locked, and the store is to close: what still waited is not recorded" in caplog.text


_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.executescript(sys.argv[2])
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def _locked(path: Path, begin: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process lock the file until it is told to end."""
    child = start(_HOLDER, path, begin)
    try:
        hear(child, "locked")
        yield child
        child.communicate("\n")
        assert child.returncode == 0
    finally:
        end(child)


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
_WAITER = """
import asyncio, sys
from durable.stores import FileReader, FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    waiting = asyncio.ensure_future(store.append([Entry("r", "StepClosed", "waits")]))
    await asyncio.wait([waiting], timeout=0.2)
    print("waits", flush=True)
    await waiting

asyncio.run(main())
"""


def _open_files(path: Path) -> list[str]:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not say which files are open")
    files = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_open(number)]
    return [file for file in files if file.startswith(str(path))]


def _lock_and_wal(path: Path) -> tuple[str, bool]:
    """Return what the lock says, and whether there is a -wal."""
    return Path(f"{path}.lock").read_text(), os.path.exists(f"{path}-wal")


def _is_open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")  # the one that lists them is closed by now


@posix
@pytest.mark.parametrize("prepares", ["appends", "prunes", "begins"])
def test_a_store_that_is_closed_under_a_foreign_lock_says_so_and_lets_go_of_everything(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, prepares: str
) -> None:
    """It waited for 5 s and raised, though nothing was lost: the file is as a crash would leave it."""
    monkeypatch.setattr(connections, "HURRY", 0.2)

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        await store.begin()
        if prepares == "appends":
            await store.append([Entry("r", "StepClosed", "kept")])
        elif prepares == "prunes":
            assert await store.prune(NOON) == 0
        with _locked(path, "BEGIN IMMEDIATE"):
            await asyncio.wait_for(store.close(), 10)
            assert _open_files(path) == [] and _lock_and_wal(path) == ("", True)
            again = FileStore(path)
            await again.open()
            found = [entry.body async for entry in again.history("r")]
            assert found == ["kept"] * (prepares == "appends")
            await again.close()
        await again.open()
        await again.append([Entry("r", "StepClosed", "after")])
        await again.close()
        assert _lock_and_wal(path) == ("", False)

    asyncio.run(story())
    said = [one.getMessage() for one in caplog.records]
    assert (
        sum("is closed while another program has it locked: all that is recorded is there" in one for one in said) == 1
    )


@posix
def test_appends_that_a_close_cannot_wait_for_are_refused_and_the_close_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HURRY", 0.2)

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        await store.append([Entry("r", "StepClosed", "kept")])
        with _locked(path, "BEGIN IMMEDIATE"):
            late = [asyncio.ensure_future(store.append([Entry("r", "StepClosed", str(n))])) for n in range(3)]
            await asyncio.sleep(0)
            await asyncio.wait_for(store.close(), 10)
            refused = await asyncio.gather(*late, return_exceptions=True)
            assert [type(one) for one in refused] == [durable.StoreError] * 3
            assert all("what still waited is not recorded" in str(one) for one in refused)
            assert _open_files(path) == []
        await store.open()
        assert [entry.body async for entry in store.history("r")] == ["kept"]
        await store.close()

    asyncio.run(story())


@posix
def test_a_begin_that_waits_for_a_lock_and_is_cancelled_lets_go_of_everything_when_the_store_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer in exclusive mode keeps even readers out."""
    monkeypatch.setattr(connections, "HURRY", 0.2)

    async def story() -> None:
        with _locked(path, "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE"):
            store = FileStore(path)
            await store.open()
            beginning = asyncio.ensure_future(store.begin())
            await _rounds(100)
            assert not beginning.done()
            beginning.cancel()
            await asyncio.wait([beginning])
            await asyncio.wait_for(store.close(), 10)
            assert _open_files(path) == [] and _lock_and_wal(path)[0] == ""
        async with durable.Engine([work], store=path) as engine:
            assert await engine.invoke(work) == [0, 1, 2, 3, 4]

    asyncio.run(story())


@posix
@pytest.mark.parametrize("waits", [True, False])
def test_an_engine_whose_opening_waits_for_a_lock_and_is_cancelled_lets_go_of_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Who closes it waits for that; who does not is not refused as \"open in this process already\" either."""
    monkeypatch.setattr(connections, "HURRY", 0.2)

    async def story() -> None:
        with _locked(path, "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE"):
            engine = durable.Engine([work], store=path)
            opening = asyncio.ensure_future(engine.open())
            await _rounds(100)
            assert not opening.done()
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
            if waits:
                await asyncio.wait_for(engine.close(), 10)
                assert _open_files(path) == [] and _lock_and_wal(path)[0] == ""
        async with engine:
            assert await engine.invoke(work) == [0, 1, 2, 3, 4]

    asyncio.run(story())


@posix
def test_what_cannot_even_be_read_beside_a_foreign_lock_is_refused_with_words_and_as_it_was(path: Path) -> None:
    """What a dead process has left is to be examined, and another program in exclusive mode lets nobody look."""
    assert run(_DIES, path) == (0, "")

    async def story() -> list[object]:
        openings = FileReader(path).open(), FileStore(path).open(), durable.Engine(store=path).open()
        return list(await asyncio.gather(*openings, return_exceptions=True))

    with _locked(path, "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE"):
        before = _contents(path)
        refused = asyncio.run(story())
        assert _contents(path) == before
    assert all(isinstance(one, durable.StoreError) for one in refused)
    words = [str(one) for one in refused if not isinstance(one, durable.StoreLockedError)]
    assert len(words) >= 2  # of two that open to write in one process at once, one is told of the other
    assert all("locked" in one and "end that, or wait until it is done, and try again" in one for one in words)
    _kept(path, 1)


def _contents(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.parent.iterdir() if not one.name.endswith(("-shm", ".lock"))}


def _kept(path: Path, count: int) -> None:
    async def story() -> None:
        store = FileStore(path)
        await store.open()
        assert len([entry async for entry in store.history("r")]) == count
        await store.close()

    asyncio.run(story())


@posix
def test_a_process_that_dies_while_it_waits_leaves_a_store_that_opens(path: Path) -> None:
    with _locked(path, "BEGIN IMMEDIATE"):
        child = start(_WAITER, path)
        hear(child, "waits")
        end(child)

    async def story() -> None:
        store = FileStore(path)
        await store.open()
        assert [entry.body async for entry in store.history("r")] == []
        await store.append([Entry("r", "StepClosed", "kept")])
        await store.close()

    asyncio.run(story())


def test_prune_waits_too_and_appends_go_on_after_it(path: Path, other: sqlite3.Connection) -> None:
    async def story() -> None:
        store = durable.FileStore(path)
        async with durable.Engine([work], store=store) as engine:
            for _ in range(3):
                await engine.invoke(work)
            other.execute("BEGIN IMMEDIATE")
            pruning = asyncio.ensure_future(store.prune(datetime.now(UTC) + timedelta(days=1)))
            await _rounds(50)
            assert not pruning.done()
            other.execute("ROLLBACK")
            assert await pruning == 3
            assert await engine.invoke(work) == [0, 1, 2, 3, 4]

    asyncio.run(story())


@pytest.mark.parametrize("statements", [["VACUUM"], ["PRAGMA wal_checkpoint(TRUNCATE)"], ["ANALYZE"], ["REINDEX"]])
def test_whatever_another_program_does_meanwhile_nothing_fails(path: Path, statements: list[str]) -> None:
    def does() -> None:
        tool = sqlite3.connect(path, isolation_level=None, timeout=30)
        for _ in range(20):
            for statement in statements:
                tool.execute(statement).fetchall()
        tool.close()

    async def story() -> None:
        async with durable.Engine([work], store=path) as engine:
            doing = asyncio.ensure_future(asyncio.to_thread(does))
            while not doing.done():
                assert await asyncio.gather(*[engine.invoke(work) for _ in range(20)]) == [[0, 1, 2, 3, 4]] * 20
            await doing

    asyncio.run(story())
