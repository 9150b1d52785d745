"""R29, R30: whatever an opening refuses, every byte in the folder is as it was, and the words say what can be done."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry, RunRow
from tests.proof.crashes import end, hear, run, start

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

_WORKER = """
import asyncio, os, signal, sys, durable

@durable.function
async def work(ctx):
    for number in range(int(sys.argv[2])):
        await ctx.step.run("step", lambda: "x" * 500)
    if sys.argv[3] == "sleeps":
        await ctx.step.sleep("sleep", "1h")

async def main():
    engine = durable.Engine([work], store=sys.argv[1])
    await engine.open()
    for number in range(3):
        await engine.start(work, id=f"r{number}-{sys.argv[2]}")
    await engine.settled()
    print("worked", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await engine.close()
    print("closed", flush=True)

asyncio.run(main())
"""


def _worked(path: Path, *, killed: bool) -> None:
    """Leave what a process leaves that has worked; of a store that was closed, each test gets a copy of one."""
    if killed:
        _work(path, killed=True)
        return
    for name, content in _closed().items():
        path.with_name(name).write_bytes(content)


def _work(path: Path, *, killed: bool) -> None:
    child = start(_WORKER, path, 20, "sleeps")
    try:
        hear(child, "worked")
        if not killed:
            child.communicate("\n")
    finally:
        end(child)


@cache
def _closed() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _work(Path(folder) / "x.db", killed=False)
        return {left.name: left.read_bytes() for left in Path(folder).iterdir()}


def _seen(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what a refusal must not change: names, kinds, rights, contents, and when files but the lock's changed."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        one = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(one.st_mode) else b""
        when = 0 if path.suffix == ".lock" else one.st_mtime_ns
        found[str(path.relative_to(folder))] = one.st_mode, one.st_uid, one.st_ino, when, content
    return found


async def _engine(path: Path) -> None:
    @durable.function
    async def work(ctx: durable.Context) -> None:
        await asyncio.Event().wait()

    async with durable.Engine([work], store=path):
        pass


async def _store(path: Path) -> None:
    store = FileStore(path)
    await store.open()
    try:
        assert [entry async for entry in store.unfinished(NOON)]
        for number in range(3):
            assert [entry async for entry in store.history(f"r{number}-20")]
    finally:
        await store.close()


async def _reader(path: Path) -> None:
    is_at_rest = not Path(f"{path}-wal").exists()  # noqa: ASYNC240
    async with FileReader(path) as reader:
        if is_at_rest:  # else it has been opened, and reading it needs the -shm
            assert [entry async for entry in reader.unfinished(NOON)]
            for number in range(3):
                assert [entry async for entry in reader.history(f"r{number}-20")]
            return
    raise durable.StoreError("opened")


OPENINGS: list[Callable[[Path], Awaitable[None]]] = [_engine, _store, _reader]


def _refused(path: Path, said: str, *openings: Callable[[Path], Awaitable[None]], reads: bool = True) -> None:
    before = _seen(path.parent)
    for opening in openings or OPENINGS:
        if opening is _reader and not reads:
            continue
        for _ in range(2):
            with pytest.raises(durable.StoreError, match=f"{said}|^opened$") as caught:
                asyncio.run(opening(path))  # type: ignore[arg-type]
            if str(caught.value) == "opened":
                break
            after = _seen(path.parent)
            assert after.keys() == before.keys(), opening
            for name in before:
                assert after[name] == before[name], (opening, name)


# What is wrong, and what is said. It is done to the file alone: a copy, so that SQLite makes nothing of what is beside.


def _do(*statements: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)
        connection = sqlite3.connect(copy, isolation_level=None)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for statement in statements:
            connection.execute(statement)
        connection.close()
        path.write_bytes(copy.read_bytes())
        for one in path.parent.glob("copy.db*"):
            one.unlink()

    return change


def _missing_row(path: Path) -> None:
    _do("DELETE FROM journal WHERE seq = 5")(path)


def _page_of_noise(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"x" * 400)
    at -= at % 4096
    content[at : at + 4096] = os.urandom(4096)
    path.write_bytes(content)


def _flipped_letter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"x" * 400)] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def _no_database(path: Path) -> None:
    path.write_text("notes " * 1000)


def _record_of_nobody(path: Path) -> None:
    """A row that the store finds whole, of a kind that the engine does not know."""

    async def append() -> None:
        store = FileStore(path)
        await store.open()
        row = RunRow("odd", "work", "e", NOON)
        await store.append([Entry("odd", "OfTheFuture", "{}", row=row)])
        await store.close()

    asyncio.run(append())


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (_missing_row, r"lacks 1 row\(s\) of its journal"),
    (_do("DELETE FROM runs WHERE no = 2"), r"lacks 1 row\(s\) of its table of runs"),
    (_do("PRAGMA user_version = 4"), "has format 4, this version of durable reads format 1, 2 and 3: use the version"),
    (_do("PRAGMA application_id = 7"), "something else .*choose another path"),
    (_do("PRAGMA application_id = 0", "PRAGMA user_version = 0"), "lost its application_id.*restore a copy"),
    (_do("CREATE TRIGGER mine AFTER INSERT ON journal BEGIN SELECT 1; END"), "foreign trigger 'mine'.*DROP TRIGGER"),
    (_do("CREATE INDEX mine ON runs (error)"), "foreign index 'mine'.*DROP INDEX"),
    (_do("DROP INDEX journal_run"), "lacks its index"),
    (_do("UPDATE mark SET last = 1 WHERE one = 1"), "mark .*does not match its checksum"),
    (_do("UPDATE runs SET status = 'failed'"), "does not match its checksum"),
    (_page_of_noise, "damaged|does not match|malformed|lacks"),
    (_flipped_letter, "does not match its checksum"),
    (_cut, "cut short|lacks|malformed|damaged"),
    (_no_database, "not a store, or a damaged one, and was left as it is"),
]


@posix
@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[said for _, said in DAMAGES])
def test_a_closed_store_that_is_refused_is_as_it_was(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "x.db"
    _worked(path, killed=False)
    damage(path)
    _refused(path, said)


@posix
@pytest.mark.parametrize("has_lock", [True, False])
@pytest.mark.parametrize("has_shm", [True, False])
@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[said for _, said in DAMAGES])
def test_what_a_dead_process_has_left_is_as_it_was_after_a_refusal(
    tmp_path: Path, damage: Callable[[Path], object], said: str, has_shm: bool, has_lock: bool
) -> None:
    """With a -wal beside it that is the store's own, and whole."""
    path = tmp_path / "x.db"
    _worked(path, killed=False)
    damage(path)
    _worked_anyway(path)
    if not has_shm:
        Path(f"{path}-shm").unlink()
    if not has_lock:
        Path(f"{path}.lock").unlink()
    _refused(path, said, reads=has_shm)


def _worked_anyway(path: Path) -> None:
    """Leave beside the file what a process leaves that died in it: a -wal in which one page is written as it was."""
    left = _left_beside(path.read_bytes())
    for suffix, content in left.items():
        path.with_name(f"{path.name}{suffix}").write_bytes(content)
    if "-wal" not in left:
        pytest.skip("what is no database has no -wal")


@cache
def _left_beside(whole: bytes) -> dict[str, bytes]:
    code = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = wal')\n"
        "connection.execute('PRAGMA wal_autocheckpoint = 0')\n"
        "connection.execute('CREATE TABLE IF NOT EXISTS other (x)')\n"
        "connection.execute('INSERT INTO other VALUES (1)')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "scratch.db"
        scratch.write_bytes(whole)
        run(code, scratch)
        return {left.name.removeprefix(scratch.name): left.read_bytes() for left in Path(folder).iterdir()}


@posix
@pytest.mark.parametrize("killed", [True, False])
def test_an_engine_that_cannot_fold_what_is_recorded_leaves_all_as_it_was(tmp_path: Path, killed: bool) -> None:
    path = tmp_path / "x.db"
    _worked(path, killed=False)
    _record_of_nobody(path)
    if killed:
        _worked_anyway(path)
    _refused(path, "does not know: open it with the version that wrote it", _engine)


@posix
@pytest.mark.parametrize("killed", [True, False])
def test_an_engine_whose_inbox_is_refused_leaves_all_as_it_was(tmp_path: Path, killed: bool) -> None:
    path = tmp_path / "x.db"
    _worked(path, killed=killed)
    Path(f"{path}.inbox").write_text("this is no inbox")
    _refused(path, r"x.db.inbox", _engine)


# Names and rights.


@posix
@pytest.mark.parametrize("killed", [True, False])
def test_a_second_name_of_a_stores_file_is_refused_with_words(tmp_path: Path, killed: bool) -> None:
    path = tmp_path / "x.db"
    _worked(path, killed=killed)
    other = tmp_path / "other" / "y.db"
    other.parent.mkdir()
    other.hardlink_to(path)
    for one in (path, other):
        _refused(one, r"has 2 names \(hard links\).*keep one of them, or make a copy", _engine)
        with pytest.raises(durable.StoreError, match="has 2 names"):
            asyncio.run(_send(one))
    other.unlink()
    asyncio.run(_engine(path))


async def _send(path: Path) -> None:
    async with durable.Sender(path) as sender:
        await sender.send("a/b")


@posix
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("lay", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_refused_with_words(tmp_path: Path, lay: Callable[[Any], object]) -> None:
    lay(tmp_path / "x.db")
    _refused(tmp_path / "x.db", "no regular file|is a directory", _engine, _store)


_AS_NOBODY = """
import asyncio, os, sys, durable

async def main():
    durable.Engine  # it is loaded: nobody may have no right to read it
    if not os.getuid():
        os.setgroups([])
        os.setgid(65_534)
        os.setuid(65_534)
    try:
        async with durable.Engine(store=sys.argv[1]):
            pass
    except durable.StoreError as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""


@posix
@pytest.mark.skipif(not ROOT, reason="needs another user")
@pytest.mark.parametrize(
    ("file", "lock", "folder", "said"),
    [
        (0o600, 0o600, 0o755, "cannot be opened to write.* give this user the right"),
        (0o644, 0o666, 0o777, "cannot be opened to write.* give this user the right to write"),
        (0o666, 0o600, 0o777, "cannot be opened to write, its lock.* give this user the right"),
        (0o666, None, 0o555, "cannot be opened to write, its lock.* give this user the right"),
    ],
)
def test_without_the_right_to_write_the_words_name_it(
    tmp_path_factory: pytest.TempPathFactory, file: int, lock: int | None, folder: int, said: str
) -> None:
    place = Path("/tmp") / f"rights-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    path = place / "x.db"
    try:
        _worked(path, killed=False)
        path.chmod(file)
        if lock is None:
            Path(f"{path}.lock").unlink()
        else:
            Path(f"{path}.lock").chmod(lock)
        place.chmod(folder)
        before = _seen(place)
        code, told = run(_AS_NOBODY, path)
        assert code == 0 and told.startswith("StoreError "), told
        with pytest.raises(durable.StoreError, match=said):
            raise durable.StoreError(told)
        assert _seen(place) == before
    finally:
        place.chmod(0o755)
        shutil.rmtree(place)
