"""R29: where SQLite's WAL does not work, as on a network's file system, a store is refused at opening, with words.

The means are real: SQLite's own file system layer without shared memory, taken as the default in a child, and folders
in which a user may not write. Nothing is left behind, and a store that was there is as it was.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import durable
from tests.proof.crashes import run
from tests.proof.crashes.senders import made
from tests.unit.stores.test_neighbours import seen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SQLite has other layers there")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

_OPENS = """
async def opens(path):
    try:
        async with durable.Engine(store=path):
            print("opened")
    except durable.StoreError as error:
        print(type(error).__name__, error)

asyncio.run(opens(sys.argv[1]))
"""
_WITHOUT_SHARED_MEMORY = (
    """
import asyncio, ctypes, sys, _sqlite3, durable

try:
    sqlite = ctypes.CDLL(_sqlite3.__file__)
    sqlite.sqlite3_vfs_find.restype = ctypes.c_void_p
    sqlite.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
    assert sqlite.sqlite3_vfs_register(sqlite.sqlite3_vfs_find(b"unix-none"), 1) == 0
except (OSError, AttributeError, AssertionError) as error:
    raise SystemExit(f"SKIP {error!r}")
"""
    + _OPENS
)
_DIES = """
import asyncio, os, sys
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    await store.append([Entry("", "EventSent", "{}")])
    os._exit(0)

asyncio.run(main())
"""
_AS_NOBODY = (
    """
import asyncio, os, sys, durable

durable.Engine  # it is loaded: nobody may have no right to read it
if not os.getuid():
    os.setgroups([])
    os.setgid(65_534)
    os.setuid(65_534)
"""
    + _OPENS
)


def _told(program: str, path: Path) -> str:
    _, told = run(program, path)
    if "SKIP" in told:
        pytest.skip(told)
    return told


def _works(path: Path) -> None:
    async def story() -> None:
        async with durable.Engine(store=path) as engine:
            await engine.send("a/b")

    asyncio.run(story())


@pytest.mark.parametrize("there", ["nothing", "an empty file"])
def test_no_store_is_made_where_it_could_not_be_written_to(tmp_path: Path, there: str) -> None:
    path = tmp_path / "x.db"
    if there == "an empty file":
        path.touch(0o640)
    before = seen(tmp_path)
    for _ in range(2):
        told = _told(_WITHOUT_SHARED_MEMORY, path)
        assert told.startswith("StoreError ") and "does not take journal_mode = wal" in told, told
        assert "keep it on a local disk" in told
        assert seen(tmp_path) == before
    _works(path)


@pytest.mark.parametrize("has_lock", [True, False])
@pytest.mark.parametrize("dead", [False, True])
def test_a_store_is_refused_where_it_cannot_be_written_to_and_is_as_it_was(
    tmp_path: Path, dead: bool, has_lock: bool
) -> None:
    path = made(tmp_path / "x.db")
    if dead:
        run(_DIES, path)
        assert Path(f"{path}-wal").stat().st_size
    if not has_lock:
        Path(f"{path}.lock").unlink()
    before = seen(tmp_path)
    for _ in range(2):
        told = _told(_WITHOUT_SHARED_MEMORY, path)
        assert told.startswith("StoreError ") and str(path) in told, told
        assert "that it is on a local disk" in told
        assert seen(tmp_path) == before
    _works(path)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may come to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        (Path(name) / "shop").mkdir()
        yield Path(name) / "shop"
        (Path(name) / "shop").chmod(0o755)


@pytest.mark.skipif(not IS_ROOT, reason="needs another user")
@pytest.mark.parametrize("dead", [False, True])
def test_a_store_in_a_folder_that_may_only_be_read_is_refused_and_is_as_it_was(place: Path, dead: bool) -> None:
    """SQLite can make neither -wal nor -shm there, or may not write to those that root has left."""
    path = made(place / "x.db")
    if dead:
        run(_DIES, path)
    path.chmod(0o666)
    Path(f"{path}.lock").chmod(0o666)
    place.chmod(0o555)
    before = seen(place)
    told = _told(_AS_NOBODY, path)
    assert told.startswith("StoreError "), told
    assert "see that this user may write to it and in its folder" in told, told
    assert seen(place) == before
    place.chmod(0o755)
    _works(path)
