"""R30: a damaged file is refused, never read as if whole."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file.checksums import Place, seal_run, seal_values
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry, RunQuery, RunRow

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
Contents = tuple[list[Entry], list[list[Entry]], list[RunRow]]
RUNS = ("ended", "open", "again", "bare", "")


def _row(run: str, *, status: str | None = None) -> RunRow:
    return RunRow(run, "f", "e", NOON, NOON if status else None, status, None)  # type: ignore[arg-type]


def _entries() -> list[Entry]:
    """Four runs, interleaved, and a fact: rows 1 to 17."""
    entries = [Entry(run, "RunOpened", f"open {run}", row=_row(run)) for run in ("ended", "open", "again")]
    for number in range(3):
        entries += [Entry(run, "StepClosed", f"{run} {number}") for run in ("ended", "open", "bare")]
    entries.append(Entry("", "EventSent", "fact", keep_until=NOON.replace(year=2031)))
    entries.append(Entry("ended", "RunClosed", "end", ends_run=True, row=_row("ended", status="completed")))
    entries.append(Entry("again", "RunClosed", "end", ends_run=True, row=_row("again", status="failed")))
    entries.append(Entry("again", "RunRetried", "again"))
    entries.append(Entry("open", "StepClosed", "the last of all"))
    return entries


async def _write(path: Path) -> None:
    store = FileStore(path, durability="none")
    await store.open()
    for start in range(0, len(_entries()), 3):
        await store.append(_entries()[start : start + 3])
    await store.close()


async def _contents(store: FileStore | FileReader) -> Contents:
    await store.open()
    try:
        unfinished = [entry async for entry in store.unfinished(NOON)]
        histories = [[entry async for entry in store.history(run)] for run in RUNS]
        return unfinished, histories, await store.find(RunQuery())
    finally:
        await store.close()


def _read(path: Path) -> Contents:
    return asyncio.run(_contents(FileStore(path, durability="none")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    asyncio.run(_write(tmp_path / "x.db"))
    return tmp_path / "x.db"


def _change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_an_undamaged_file_is_read_whole(path: Path) -> None:
    unfinished, histories, rows = _read(path)
    assert unfinished == [entry for entry in _entries() if entry.run != "ended"]
    assert histories == [[entry for entry in _entries() if entry.run == run] for run in RUNS]
    assert rows == [_row("again"), _row("open"), _row("ended", status="completed")]
    assert asyncio.run(_contents(FileReader(path))) == (unfinished, histories, rows)


@pytest.mark.parametrize("seq", range(1, len(_entries()) + 1))
def test_a_missing_row_is_missed_whichever_it_is(path: Path, seq: int) -> None:
    _change(path, f"DELETE FROM journal WHERE seq = {seq}")
    with pytest.raises(StoreCorruptError, match=rf"row {seq}\b"):
        _read(path)
    with pytest.raises(StoreCorruptError):
        asyncio.run(_contents(FileReader(path)))


def test_a_row_missing_inside_a_run_is_named_with_its_run(path: Path) -> None:
    _change(path, "DELETE FROM journal WHERE seq = 5")
    with pytest.raises(StoreCorruptError, match=r"row 5 of run 'open'"):
        _read(path)


@pytest.mark.parametrize(("seq", "run"), [(1, "ended"), (4, "ended"), (14, "ended"), (2, "open"), (8, "open")])
def test_a_row_that_the_count_does_not_miss_is_missed_by_its_run(path: Path, seq: int, run: str) -> None:
    """The count and the chain guard the same rows in two ways; here only the chain is left."""
    last, pruned, runs, forgotten = 17, 1, 4, 0
    mark = f"last = {last}, pruned = {pruned}, runs = {runs}, forgotten = {forgotten}"
    crc = seal_values((last, pruned, runs, forgotten))
    _change(path, f"DELETE FROM journal WHERE seq = {seq}", f"UPDATE mark SET {mark}, crc = {crc}")

    async def read(reading: str) -> None:
        store = FileStore(path, durability="none")
        await store.open()
        try:
            entries = store.history(run) if reading == "history" else store.unfinished(NOON)
            assert [entry async for entry in entries]
        finally:
            await store.close()

    for reading in ("history", "unfinished") if run == "open" else ("history",):
        with pytest.raises(StoreCorruptError, match=rf"run '{run}' .*row {seq}\b"):
            asyncio.run(read(reading))


def test_a_run_that_is_said_to_have_ended_with_a_row_that_does_not_end_it_is_refused(path: Path) -> None:
    record = seal_run(Place(4, "bare", False, 12, None))
    assert record[2:4] == (0, 12)
    _change(path, f"UPDATE runs SET open = 0, last = 12, crc = {record[-1]} WHERE no = 4")
    with pytest.raises(StoreCorruptError, match="run 'bare' ended with row 12"):
        _read(path)


@given(st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(), min_size=1))
def test_the_checksum_of_plain_values_is_that_of_their_json(values: list[object]) -> None:
    """What was written once must be read by every later version."""
    assert seal_values(values) == crc32(json.dumps(values).encode())


@pytest.mark.parametrize("no", [1, 2, 3, 4])
def test_a_run_missing_from_the_table_of_runs_is_missed(path: Path, no: int) -> None:
    _change(path, f"DELETE FROM runs WHERE no = {no}")
    with pytest.raises(StoreCorruptError, match="table of runs"):
        _read(path)


_FORGERIES = [
    "UPDATE journal SET body = 'other' WHERE seq = 5",
    "UPDATE journal SET body = body || ' ' WHERE seq = 4",
    "UPDATE journal SET body = 7 WHERE seq = 4",
    "UPDATE journal SET kind = 'RunClosed' WHERE seq = 5",
    "UPDATE journal SET flags = 1 WHERE seq = 17",
    "UPDATE journal SET flags = 0 WHERE flags = 1",
    "UPDATE journal SET keep_until = keep_until + 1 WHERE keep_until IS NOT NULL",
    "UPDATE journal SET prev = prev - 1 WHERE seq = 17",
    "UPDATE journal SET run = 1 WHERE seq = 17",
    "UPDATE journal SET row = NULL WHERE seq = 1",
    "UPDATE journal SET crc = crc + 1 WHERE seq = 6",
    "UPDATE runs SET open = 0 WHERE id = 'open'",
    "UPDATE runs SET open = 1 WHERE id = 'ended'",
    "UPDATE runs SET id = 'other' WHERE id = 'open'",
    "UPDATE runs SET last = 1 WHERE id = 'ended'",
    "UPDATE runs SET function = 'g' WHERE id = 'open'",
    "UPDATE runs SET ended_at = NULL WHERE id = 'ended'",
    "UPDATE runs SET status = 'failed' WHERE id = 'ended'",
    "UPDATE mark SET last = last + 1",
    "UPDATE mark SET pruned = 1",
    "DELETE FROM mark",
    "INSERT INTO journal SELECT 18, run, prev, flags, keep_until, crc, kind, row, body FROM journal WHERE seq = 17",
    "DROP INDEX journal_run",
    "UPDATE journal SET seq = 18 WHERE seq = 17",
]


@pytest.mark.parametrize("statement", _FORGERIES)
def test_a_field_that_is_not_what_was_written_is_found(path: Path, statement: str) -> None:
    _change(path, statement)
    with pytest.raises(StoreCorruptError):
        _read(path)


def test_a_damaged_row_is_named_with_its_run(path: Path) -> None:
    _change(path, "UPDATE journal SET body = 'other' WHERE seq = 5")
    with pytest.raises(StoreCorruptError, match=r"row 5 of run 'open' does not match its checksum"):
        _read(path)


def test_any_flipped_bit_is_refused_or_changes_nothing(path: Path, tmp_path: Path) -> None:
    whole, content = _read(path), path.read_bytes()
    places = random.Random(30)
    refused = 0
    for trial in range(200):
        damaged = bytearray(content)
        place = places.randrange(100) if trial < 50 else places.randrange(len(content))
        damaged[place] ^= 1 << places.randrange(8)
        copy = tmp_path / f"copy{trial}.db"
        copy.write_bytes(damaged)
        try:
            assert _read(copy) == whole, f"byte {place}"
        except StoreError:
            refused += 1
    assert refused > 10


def test_any_flipped_letter_of_what_was_written_is_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    for entry in _entries():
        place = content.index(f"{entry.kind}{'' if entry.row is None else '['}".encode())
        place = content.index(entry.body.encode(), place)
        for offset in range(len(entry.body)):
            damaged = bytearray(content)
            damaged[place + offset] ^= 1
            (tmp_path / "copy.db").write_bytes(damaged)
            with pytest.raises(StoreCorruptError):
                _read(tmp_path / "copy.db")


@pytest.mark.parametrize("part", [0.99, 0.9, 0.5, 0.3, 0.1, 0.01])
def test_a_file_that_was_cut_short_is_refused(path: Path, part: float) -> None:
    size = int(path.stat().st_size * part)
    os.truncate(path, size)
    with pytest.raises(StoreCorruptError):
        _read(path)
    assert path.stat().st_size == size


def test_a_database_that_is_gone_while_its_wal_is_there_is_not_begun_anew(path: Path) -> None:
    path.unlink()
    Path(f"{path}-wal").write_bytes(b"x")
    with pytest.raises(StoreCorruptError, match="-wal"):
        _read(path)
    assert not path.exists()


async def _crashed(path: Path, copy: Path) -> list[int]:
    """Copy a store as a crash would leave it, and return the sizes its WAL had after each append."""
    store = FileStore(path, durability="none")
    await store.open()
    sizes = []
    for entry in _entries():
        await store.append([entry, Entry("pair", "StepClosed", entry.body)])
        sizes.append(os.stat(f"{path}-wal").st_size)
    await asyncio.to_thread(shutil.copyfile, path, copy)
    await asyncio.to_thread(shutil.copyfile, f"{path}-wal", f"{copy}-wal")
    await store.close()
    return sizes


async def _count(path: Path) -> int:
    store = FileStore(path, durability="none")
    await store.open()
    try:
        bodies = [entry.body for run in RUNS async for entry in store.history(run)]
        pairs = [entry.body async for entry in store.history("pair")]
        assert sorted(bodies) == sorted(pairs)
        assert len([entry async for entry in store.unfinished(NOON) if entry.run == "pair"]) == len(pairs)
        return len(pairs)
    finally:
        await store.close()


def test_a_wal_cut_anywhere_opens_as_an_earlier_whole_state(tmp_path: Path) -> None:
    sizes = asyncio.run(_crashed(tmp_path / "x.db", tmp_path / "copy.db"))
    assert asyncio.run(_count(_cut(tmp_path, sizes[-1]))) == len(sizes)
    for number, size in enumerate(sizes[:-1]):
        assert asyncio.run(_count(_cut(tmp_path, size))) == number + 1
        assert asyncio.run(_count(_cut(tmp_path, size + 100))) == number + 1
        assert asyncio.run(_count(_cut(tmp_path, size - 1))) == number
    assert asyncio.run(_count(_cut(tmp_path, 0))) == 0


def _cut(folder: Path, size: int) -> Path:
    target = folder / f"cut{size}.db"
    shutil.copyfile(folder / "copy.db", target)
    Path(f"{target}-wal").write_bytes((folder / "copy.db-wal").read_bytes()[:size])
    return target


def test_a_wal_damaged_anywhere_opens_as_an_earlier_whole_state(tmp_path: Path) -> None:
    sizes = asyncio.run(_crashed(tmp_path / "x.db", tmp_path / "copy.db"))
    places = random.Random(7)
    for trial in range(60):
        place = places.randrange(sizes[-1])
        target = tmp_path / f"flip{trial}.db"
        shutil.copyfile(tmp_path / "copy.db", target)
        wal = bytearray((tmp_path / "copy.db-wal").read_bytes())
        wal[place] ^= 1 << places.randrange(8)
        Path(f"{target}-wal").write_bytes(wal)
        whole = sum(size <= place for size in sizes)
        assert asyncio.run(_count(target)) in (whole, 0)
