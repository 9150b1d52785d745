"""R30: a -wal of another file is refused with words, whatever was put back beside it; a store's own opens, always."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file import connection as connections
from durable.stores.file import wal
from durable.stores.file.store import FileStore
from durable.stores.file.wal import Lineage, lineage_of
from durable.stores.store import Entry

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
FOREIGN = r"a -wal of another file stands beside it"
BIG = 300_000


class Life:
    """A store that lives, and dies without closing: its files are copied as they are."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / "x.db"
        self.loop = asyncio.new_event_loop()
        self.count = self.copies = 0
        self.store = self._opened()

    def _opened(self) -> FileStore:
        store = FileStore(self.path)
        self.loop.run_until_complete(store.open())
        return store

    def appends(self, times: int = 3, size: int = 100) -> None:
        for _ in range(times):
            entries = [Entry("r", "StepClosed", f"{self.count} " + "x" * size)]
            self.loop.run_until_complete(self.store.append(entries))
            self.count += 1

    def rests(self) -> None:
        """Wait until a checkpoint that an append led to is done: two files that change meanwhile are copied as none."""
        self.loop.run_until_complete(self.store.begin())

    def reopens(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.store = self._opened()

    def dies(self, folder: Path) -> None:
        """Go on as the process that comes after it, on what it leaves."""
        path = self.died(folder)
        self.loop.run_until_complete(self.store.close())
        self.path = path
        self.store = self._opened()

    def copied(self, how: str) -> Path:
        """Make a copy of the store as people do."""
        self.rests()
        self.copies += 1
        copy = self.path.with_name(f"copy{self.copies}.db")
        if how == "closed":
            self.reopens()
            shutil.copy(self.path, copy)
        elif how == "live":
            shutil.copy(self.path, copy)
        else:
            source = sqlite3.connect(self.path)
            if how == "VACUUM INTO":
                source.execute("VACUUM INTO ?", (str(copy),))
            else:
                target = sqlite3.connect(copy)
                source.backup(target)
                target.close()
            source.close()
        return copy

    def died(self, folder: Path, file: Path | None = None, *, has_shm: bool = True) -> Path:
        """Lay down what it leaves when it dies now, with another file in place of its own; return the path."""
        self.rests()
        folder.mkdir(exist_ok=True)
        path = folder / "x.db"
        shutil.copy(file or self.path, path)
        for suffix in ("-wal", "-shm") if has_shm else ("-wal",):
            if not os.path.exists(f"{self.path}{suffix}"):
                continue
            shutil.copy(f"{self.path}{suffix}", f"{path}{suffix}")
        return path

    def ends(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    one = Life(tmp_path / "live")
    yield one
    one.ends()


async def _bodies(path: Path) -> list[str]:
    store = FileStore(path)
    await store.open()
    try:
        bodies = [entry.body.split()[0] async for entry in store.history("r")]
        await store.append([Entry("other", "StepClosed", "it can be written to")])
        return bodies
    finally:
        await store.close()


def _seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def _judge(path: Path, count: int, *, must_refuse: bool = False) -> bool:
    """Open it: all that was acknowledged is there, or it is refused in words and as it was. Say whether it is."""
    before = _seen(path.parent)
    try:
        bodies = asyncio.run(_bodies(path))
    except StoreCorruptError as error:
        assert FOREIGN in str(error) and "move" in str(error), error
        assert _seen(path.parent) == before
        return True
    assert not must_refuse and bodies == [str(number) for number in range(count)]
    return False


@pytest.mark.parametrize("has_shm", [True, False])
@pytest.mark.parametrize("checkpoints", [0, 1, 3])
@pytest.mark.parametrize("later", [1, 30])
def test_a_vacuumed_copy_put_back_beside_the_wal_of_a_dead_process_is_refused_and_both_stay_whole(
    life: Life, tmp_path: Path, later: int, checkpoints: int, has_shm: bool
) -> None:
    """The opening that refused it wrote the one over the other, and then neither was whole."""
    life.appends()
    life.appends(4 * checkpoints, BIG)
    copy, kept = life.copied("VACUUM INTO"), life.count
    life.appends(later)
    path = life.died(tmp_path / "dead", copy, has_shm=has_shm)
    assert _judge(path, 0, must_refuse=True)
    own = life.died(tmp_path / "own", has_shm=has_shm)
    assert asyncio.run(_bodies(own)) == [str(number) for number in range(life.count)]
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert asyncio.run(_bodies(path)) == [str(number) for number in range(kept)]


@pytest.mark.parametrize("how", ["closed", "live", "backup", "VACUUM INTO"])
def test_a_copy_of_whatever_age_is_refused_or_all_that_was_acknowledged_is_there(
    life: Life, tmp_path: Path, how: str
) -> None:
    """A copy that was closed when this -wal was begun is what it was begun on: nothing is lost by it."""
    copies, refused = [], 0
    chance = Random(how)
    for number in range(24):
        life.appends(chance.randrange(1, 6), chance.choice((10, 5_000, BIG)))
        if number % 3 == 0:
            copies.append(life.copied(how))
        if number % 5 == 0:
            life.reopens()
        if number % 7 == 0:
            life.dies(tmp_path / f"{number}.life")
        life.appends(1)
        for place, copy in enumerate(copies):
            refused += _judge(life.died(tmp_path / f"{number}.{place}", copy), life.count)
        assert not _judge(life.died(tmp_path / f"{number}.own"), life.count)
    assert refused > 20


def test_the_file_of_another_store_is_refused(life: Life, tmp_path: Path) -> None:
    other = Life(tmp_path / "other")
    for one in (life, other):
        one.appends(5)
        one.reopens()
        one.appends(5)
    try:
        assert _judge(life.died(tmp_path / "dead", other.path), 0, must_refuse=True)
        assert _judge(other.died(tmp_path / "dead2", life.path), 0, must_refuse=True)
        assert not _judge(life.died(tmp_path / "dead3"), life.count)
    finally:
        other.ends()


# A store's own, always.


def test_a_wal_is_the_stores_own_wherever_a_checkpoint_was_cut_short(life: Life, tmp_path: Path) -> None:
    """Of a checkpoint any pages may be in the file; each of them is written whole, or what it was."""
    chance = Random(8)
    cases = 0
    for number in range(6):
        life.appends(2, 5_000)
        before = life.path.read_bytes()
        life.appends(4, BIG)  # the last of them leads to a checkpoint
        life.rests()
        after = life.path.read_bytes()
        assert before != after
        for case in range(8):
            path = life.died(tmp_path / f"{number}.{case}")
            content = bytearray(after)
            for at in range(0, len(after), 4096):
                if chance.random() < case / 7:
                    content[at : at + 4096] = before[at : at + 4096].ljust(4096, b"\0")
            path.write_bytes(content)
            assert not _judge(path, life.count)
            cases += 1
        if number % 2:
            life.reopens()
    assert cases == 48


def _reader(path: Path) -> sqlite3.Connection:
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM journal").fetchone()
    return reader


def test_a_wal_is_the_stores_own_though_readers_kept_it_from_being_begun_anew(life: Life, tmp_path: Path) -> None:
    life.appends()
    reader = _reader(life.path)
    life.appends(12, BIG)
    assert not _judge(life.died(tmp_path / "1"), life.count)
    later = _reader(life.path)
    reader.close()
    life.appends(5, BIG)
    assert not _judge(life.died(tmp_path / "2"), life.count)
    later.close()
    for number in range(6):
        life.appends(3, BIG)
        assert not _judge(life.died(tmp_path / f"3.{number}"), life.count)


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_wal_is_the_stores_own_though_another_program_begins_it_anew(
    life: Life, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a tool does that keeps tables of its own in the file, and backs it up."""
    monkeypatch.setattr(connections, "_LOOK_S", 0)
    tool = sqlite3.connect(life.path, isolation_level=None)
    tool.execute("CREATE TABLE seq (id INTEGER PRIMARY KEY, n)")
    for number in range(8):
        life.appends(2, 5_000)
        tool.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        tool.execute("INSERT OR REPLACE INTO seq VALUES (1, ?)", (number,))
        assert not _judge(life.died(tmp_path / f"{number}.1"), life.count)
        life.appends(2)
        assert not _judge(life.died(tmp_path / f"{number}.2"), life.count)
    copy = life.copied("closed")
    life.appends(5, BIG)
    life.appends(1)
    tool.close()
    assert _judge(life.died(tmp_path / "copy", copy), 0, must_refuse=True)


def test_a_wal_is_the_stores_own_though_another_program_has_vacuumed_the_file(life: Life, tmp_path: Path) -> None:
    tool = sqlite3.connect(life.path, isolation_level=None)
    for number in range(4):
        life.appends(2, 5_000)
        tool.execute("VACUUM")
        assert not _judge(life.died(tmp_path / f"{number}.1"), life.count)
        life.appends(2)
        assert not _judge(life.died(tmp_path / f"{number}.2"), life.count)
        tool.execute(f"CREATE TABLE t{number} (x)")
        life.appends(5, BIG)
        assert not _judge(life.died(tmp_path / f"{number}.3"), life.count)
    tool.close()


def test_a_wal_that_says_nothing_of_itself_is_the_stores_own_if_all_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a release before there were lineages: what it has left opens, and a vacuumed copy beside it is refused."""
    monkeypatch.setattr(connections.WriteConnection, "_write_lineage", lambda self, number: None)
    life = Life(tmp_path / "live")
    life.appends(5)
    copy = life.copied("VACUUM INTO")
    old = life.copied("closed")
    life.appends(30, 3_000)
    paths = [life.died(tmp_path / name, file) for name, file in (("own", None), ("vacuumed", copy), ("old", old))]
    count = life.count
    life.ends()
    monkeypatch.undo()
    assert not _judge(paths[0], count)
    assert _judge(paths[1], 0, must_refuse=True)
    assert not _judge(paths[2], count)


@pytest.mark.parametrize("content", [b"", b"x", bytes(32), bytes(5_000), b"\x37\x7f\x06\x82" + bytes(5_000)])
def test_a_wal_that_holds_nothing_is_nobodys(life: Life, tmp_path: Path, content: bytes) -> None:
    life.appends()
    copy = life.copied("VACUUM INTO")
    for name, file in (("own", life.copied("closed")), ("copy", copy)):
        path = life.died(tmp_path / name, file)
        Path(f"{path}-wal").write_bytes(content)
        assert not _judge(path, life.count)


def test_a_foreign_wal_without_words_of_its_own_is_guessed_from_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy in WAL mode beside the -wal of a release before lineages: damaged together, whole alone."""
    monkeypatch.setattr(connections.WriteConnection, "_write_lineage", lambda self, number: None)
    life = Life(tmp_path / "live")
    life.appends(40, 3_000)
    copy = life.copied("VACUUM INTO")
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()
    life.appends(40, 3_000)
    path = life.died(tmp_path / "dead", copy)
    life.ends()
    before = _seen(path.parent)
    with pytest.raises(StoreError, match=r"whole by itself, and damaged together with the -wal.*move"):
        asyncio.run(_bodies(path))
    assert _seen(path.parent) == before


# The pieces.


def test_a_lineage_comes_back_from_its_row_or_not_at_all() -> None:
    lineage = Lineage((1 << 62) - 1, 0, 7)
    key, *values = lineage.row()
    assert (key, lineage_of(values)) == (2, lineage)
    for place in range(5):
        other = list(values)
        other[place] += 1
        assert lineage_of(other) is None
    assert lineage_of(values[:4]) is None and lineage_of([b"x", *values[1:]]) is None


def _any_flip(content: bytes, chance: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 20, 400))):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged[: chance.randrange(len(damaged) + 1)])


def test_whatever_bytes_a_wal_has_it_is_judged_without_an_error(life: Life, tmp_path: Path) -> None:
    life.appends(5)
    path = life.died(tmp_path / "dead")
    content, chance = Path(f"{path}-wal").read_bytes(), Random(4)
    answers: set[bool] = set()
    for _ in range(300):
        Path(f"{path}-wal").write_bytes(_any_flip(content, chance) if chance.random() < 0.8 else os.urandom(9_000))
        answers.add(wal.is_foreign(str(path), is_wal=True, number=5, cookie=1))
    assert answers == {True, False}
    counts: Callable[[bytes], int] = lambda page: len(wal._lineages(page))  # noqa: E731
    for _ in range(2_000):
        page = bytearray(os.urandom(512))
        page[0], page[3:5] = 13, (1).to_bytes(2)
        assert counts(bytes(page)) == 0
