"""R29: one opener at a time, whatever becomes of the names in a store's folder."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import durable
from durable.errors import StoreError, StoreLockedError
from durable.stores.file import guard
from durable.stores.file.store import FileStore
from durable.stores.store import Entry
from tests.proof.crashes import end, hear, run, start
from tests.proof.crashes.senders import beside, made

linux = pytest.mark.skipif(sys.platform != "linux", reason="the guard is Linux's")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

_HOLDER = """
import asyncio, sys
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    await store.append([Entry("r", "k", "first")])
    print("open", flush=True)
    try:
        for line in iter(sys.stdin.readline, ""):
            await store.append([Entry("r", "k", "x" * (2 << 20))])
            await store.append([Entry("r", "k", "after")])
            print("appended", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    await store.close()

asyncio.run(main())
"""


def _delete(lock: Path) -> None:
    lock.unlink()


def _replace(lock: Path) -> None:
    lock.unlink()
    lock.write_text("1\nelsewhere\n2030-01-01T00:00:00Z\n")


def _move(lock: Path) -> None:
    lock.rename(f"{lock}.old")


BECOMES: list[Callable[[Path], object]] = [_delete, _replace, _move]


async def _opened(path: Path) -> None:
    store = FileStore(path)
    await store.open()
    await store.begin()
    await store.close()


@linux
@pytest.mark.parametrize("become", BECOMES)
def test_whatever_becomes_of_the_lock_of_a_held_store_a_second_opener_is_refused(
    tmp_path: Path, become: Callable[[Path], object]
) -> None:
    path = tmp_path / "x.db"
    child = start(_HOLDER, path)
    try:
        hear(child, "open")
        become(Path(f"{path}.lock"))
        names, lock = beside(path), Path(f"{path}.lock")
        text = lock.read_text() if lock.exists() else None
        for _ in range(2):
            with pytest.raises(StoreLockedError, match=r"open to write in another process.* \.lock file .*deleted or"):
                asyncio.run(_opened(path))
            assert beside(path) == names and (lock.read_text() if lock.exists() else None) == text
        with pytest.raises(StoreLockedError):
            asyncio.run(durable.Engine(store=path).open())
    finally:
        end(child)
    asyncio.run(_opened(path))


@linux
@pytest.mark.parametrize("become", BECOMES)
def test_the_holder_of_a_lock_that_was_deleted_or_replaced_notices_at_its_next_checkpoint(
    tmp_path: Path, become: Callable[[Path], object]
) -> None:
    path = tmp_path / "x.db"
    child = start(_HOLDER, path)
    try:
        hear(child, "open")
        become(Path(f"{path}.lock"))
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write("\n")
        child.stdin.flush()
        said = child.stdout.readline()
        assert said.startswith("StoreError the lock of store") and "x.db.lock', was deleted, moved or replaced" in said
    finally:
        end(child)
    asyncio.run(_opened(path))


@linux
def test_a_lock_that_the_system_might_take_for_old_stays_young_while_the_store_works(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    child = start(_HOLDER, path)
    try:
        hear(child, "open")
        os.utime(f"{path}.lock", (0, 0))
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        hear(child, "appended")
    finally:
        end(child)
    assert os.stat(f"{path}.lock").st_mtime > 0


@linux
def test_in_one_process_the_guard_holds_where_the_lock_was_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        store = FileStore(tmp_path / "x.db")
        await store.open()
        await asyncio.to_thread(os.unlink, tmp_path / "x.db.lock")
        with pytest.raises(StoreLockedError, match="in this process already"):
            await FileStore(tmp_path / "x.db").open()
        await store.close()
        await _opened(tmp_path / "x.db")

    asyncio.run(main())


_BOUND = """
import asyncio, os, subprocess, sys
from durable.stores import FileStore

async def main():
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    open(sys.argv[2], "w").close()
    subprocess.run(["mount", "--bind", *sys.argv[1:3]], check=True)
    before = sorted(os.listdir(os.path.dirname(sys.argv[2])))
    for name in sys.argv[2], sys.argv[1]:
        try:
            await FileStore(name).open()
        except Exception as error:
            print(type(error).__name__, flush=True)
    print(sorted(os.listdir(os.path.dirname(sys.argv[2]))) == before)

asyncio.run(main())
"""


@linux
@pytest.mark.skipif(not IS_ROOT, reason="only root mounts")
def test_a_store_under_the_name_of_a_bind_mount_is_the_same_store(tmp_path: Path) -> None:
    """As one file of the host in two containers: each has a lock's file of its own beside it."""
    (tmp_path / "there").mkdir()
    child = start(_HOLDER, tmp_path / "x.db")
    command = [sys.executable, "-c", _BOUND, str(tmp_path / "x.db"), str(tmp_path / "there" / "y.db")]
    try:
        hear(child, "open")
        done = subprocess.run(["unshare", "-m", *command], capture_output=True, text=True)
    finally:
        end(child)
    if "Operation not permitted" in done.stderr:
        pytest.skip("mounting is not permitted here")
    assert done.stdout.split() == ["StoreLockedError", "StoreLockedError", "True"], done.stderr


# What the guard must not do.

_CHANGE_MODE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(connection.execute("PRAGMA journal_mode = delete").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


def test_to_open_and_close_a_store_drops_no_lock_that_another_connection_of_the_process_holds(tmp_path: Path) -> None:
    """Who closes any descriptor of a file drops all locks that SQLite has on it: a reader's, too."""
    path = made(tmp_path / "x.db")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM journal").fetchone()[0] > 0
    for _ in range(3):
        asyncio.run(_opened(path))
        assert run(_CHANGE_MODE, path) == (0, "database is locked\n")
    reader.close()
    assert run(_CHANGE_MODE, path) == (0, "delete\n")
    asyncio.run(_opened(path))
    assert path.stat().st_ino not in {inode for _, inode in guard._kept}


@linux
def test_of_deleted_stores_and_of_very_many_no_descriptors_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system does not say whether it is harmless to close them."""
    monkeypatch.setattr(guard, "_locked_here", lambda: None)
    (tmp_path / "gone").mkdir()
    for number in range(guard.MOST_KEPT + 20):
        asyncio.run(_opened(tmp_path / "gone" / f"{number}.db"))
    asyncio.run(_opened(tmp_path / "x.db"))
    assert len(guard._kept.keys() - guard._held) <= guard.MOST_KEPT + 1
    for path in (tmp_path / "gone").iterdir():
        path.unlink()
    asyncio.run(_opened(tmp_path / "x.db"))
    assert not any(os.fstat(file).st_nlink == 0 for file in guard._kept.values())


def test_where_the_system_has_no_such_locks_the_locks_file_alone_must_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    if sys.platform == "linux":
        monkeypatch.setattr(guard.fcntl, "fcntl", refuse)
    child = start(_HOLDER, tmp_path / "x.db")
    try:
        hear(child, "open")
        with pytest.raises(StoreLockedError, match=rf"process {child.pid}\b"):
            asyncio.run(_opened(tmp_path / "x.db"))
    finally:
        end(child)
    asyncio.run(_opened(tmp_path / "x.db"))


# Who may read and write.


def _modes(path: Path) -> dict[str, int]:
    return {name: stat.S_IMODE(path.with_name(f"{path.name}{name}").stat().st_mode) for name in beside(path)}


async def _written(path: Path) -> dict[str, int]:
    store = FileStore(path)
    await store.open()
    await store.append([Entry("r", "k", "body")])
    modes = _modes(path)
    await store.close()
    return modes


@pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")
def test_a_store_is_its_makers_alone_and_its_files_have_the_rights_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    old = os.umask(0)
    try:
        assert set(asyncio.run(_written(path)).values()) == {0o600}
        for mode in (0o640, 0o664):
            path.chmod(mode)
            Path(f"{path}.lock").unlink()
            modes = asyncio.run(_written(path))
            assert set(modes) == {"", ".lock", "-wal", "-shm"} and set(modes.values()) == {mode}
        touched = tmp_path / "other" / "y.db"
        touched.parent.mkdir()
        touched.touch()
        touched.chmod(0o660)
        assert set(asyncio.run(_written(touched)).values()) == {0o660}
    finally:
        os.umask(old)


@pytest.mark.skipif(not IS_ROOT, reason="needs another user")
def test_a_store_that_root_opens_stays_its_owners(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db")
    os.chown(path, 12_001, 12_002)
    Path(f"{path}.lock").unlink()

    async def main() -> None:
        store = FileStore(path)
        await store.open()
        await store.append([Entry("r", "k", "body")])
        owners = {(os.stat(f"{path}{name}").st_uid, os.stat(f"{path}{name}").st_gid) for name in beside(path)}
        assert owners == {(12_001, 12_002)}
        await store.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32" or IS_ROOT, reason="root may write anywhere")
def test_a_store_that_may_only_be_read_is_refused_with_words(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db")
    path.chmod(0o400)
    with pytest.raises(StoreError, match=r"cannot be opened to write.*give this user the right"):
        asyncio.run(_opened(path))
