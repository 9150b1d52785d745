"""What one transaction writes: the same rows, however many there are and however they are mixed."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable import Entry, FileStore, RunRow, StoreCorruptError
from durable.stores.file import batch
from durable.stores.file.checksums import seal, seal_bare
from durable.stores.store import RunQuery

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def opened(run: str) -> Entry:
    return Entry(run, "RunOpened", f"open {run}", row=RunRow(run, "f", "e", NOON))


def step(run: str, number: int) -> Entry:
    return Entry(run, "StepClosed", f"step {number}")


def ended(run: str) -> Entry:
    row = RunRow(run, "f", "e", NOON, NOON, "completed")
    return Entry(run, "RunClosed", f"end {run}", ends_run=True, row=row)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 64, 65, 71, 72, 73, 137, 500])
def test_a_batch_of_any_size_is_read_back_in_order(tmp_path: Path, count: int) -> None:
    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        await store.open()
        await store.append([opened("r")])
        batch = [step("r", number) for number in range(count)]
        await store.append(batch)
        await store.close()
        await store.open()
        assert [entry async for entry in store.history("r")] == [opened("r"), *batch]
        await store.close()
        with closing(sqlite3.connect(tmp_path / "x.db")) as reading:
            assert [*reading.execute("SELECT seq FROM journal ORDER BY seq")] == [(no + 1,) for no in range(count + 1)]

    asyncio.run(main())


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 65, 73, 137])
def test_as_many_runs_as_one_likes_open_and_end_in_one_batch(tmp_path: Path, count: int) -> None:
    """Some of them are in the file already, and the writer does not know them any more."""

    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        runs = [f"r{number}" for number in range(count)]
        await store.open()
        await store.append([opened(run) for run in runs[::3]])
        await store.close()
        await store.open()
        await store.append([step(run, 1) if number % 3 == 0 else opened(run) for number, run in enumerate(runs)])
        await store.append([ended(run) for run in runs[::2]])
        await store.close()
        await store.open()
        unfinished = [entry async for entry in store.unfinished(NOON)]
        assert [entry.run for entry in unfinished if entry.kind == "StepClosed"] == runs[::3][1::2]
        assert {entry.run for entry in unfinished} == set(runs[1::2])
        for number, run in enumerate(runs):
            wanted = [opened(run), *[step(run, 1)] * (number % 3 == 0), *[ended(run)] * (number % 2 == 0)]
            assert [entry async for entry in store.history(run)] == wanted
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_entries_of_all_kinds_are_read_back_in_order_however_they_are_mixed(tmp_path: Path, seed: int) -> None:
    """Rows of a transaction are not inserted in the order of their numbers."""
    chance = random.Random(seed)
    written: list[Entry] = []
    is_open: dict[str, bool] = {}
    numbers = itertools.count()

    def entry() -> Entry:
        run = chance.choice("abcdefgh")
        if not is_open.get(run):
            is_open[run] = True
            return opened(run)
        if chance.random() < 0.1:
            is_open[run] = False
            return ended(run)
        if chance.random() < 0.2:
            return Entry("", "EventSent", f"fact {next(numbers)}", keep_until=NOON.replace(year=2031))
        return step(run, next(numbers))

    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        for _ in range(3):
            await store.open()
            for size in (1, 1, 90, 3, 20):
                batch = [entry() for _ in range(size)]
                written.extend(batch)
                await store.append(batch)
            await check(store)
            await store.close()
        await store.open()
        await check(store)
        await store.close()

    async def check(store: FileStore) -> None:
        unfinished = [run for run, is_unfinished in is_open.items() if is_unfinished]
        wanted = [one for one in written if not one.run or one.run in unfinished]
        assert [one async for one in store.unfinished(NOON)] == wanted
        for run in is_open:
            assert [one async for one in store.history(run)] == [one for one in written if one.run == run]
        assert {row.id for row in await store.find(RunQuery(status="open"))} == set(unfinished)

    asyncio.run(main())


@pytest.mark.parametrize("turns_many", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_runs_are_found_as_their_last_rows_say_however_they_turn(
    tmp_path: Path, seed: int, turns_many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of each kind are written by statements of their own, and one by one where SQLite is old."""
    monkeypatch.setattr(batch, "_TURNS_MANY", turns_many and batch._TURNS_MANY)
    chance = random.Random(seed)
    last: dict[str, RunRow | None] = {}

    def entry(run: str) -> Entry:
        ended_at, status = chance.choice([(None, None), (NOON, "completed"), (NOON, "failed"), (None, "odd")])
        error = chance.choice([None, "error \u017d"]) if status != "completed" else None
        row = RunRow(run, "f\u017d", "e", NOON, ended_at, status, error) if chance.random() < 0.7 else None
        if row is not None or last.get(run) is None:
            last[run] = row
        elif is_over[run]:
            last[run] = RunRow(run, "f\u017d", "e", NOON)
        is_over[run] = chance.random() < 0.5
        kept = chance.choice([None, NOON])
        return Entry(run, "Any", "body", is_over[run], kept, row, sums_up=chance.random() < 0.2)

    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        for _ in range(3):
            await store.open()
            for size in (1, 150, 3):
                await store.append([entry(f"r{chance.randrange(40)}") for _ in range(size)])
            found = await store.find(RunQuery(limit=100))
            assert {row.id: row for row in found} == {run: row for run, row in last.items() if row is not None}
            await store.close()

    is_over: dict[str, bool] = {}
    asyncio.run(main())


@pytest.mark.parametrize("body", ["", "body", "\0", "žluť \U0010ffff", "x" * 5_000])
@pytest.mark.parametrize("kind", ["StepClosed", "Ž"])
def test_a_bare_row_has_the_checksum_of_a_whole_one(kind: str, body: str) -> None:
    seq, run, prev, crc, *texts = seal_bare(kind, body, 7, 3, 5)
    assert (seq, run, prev, 0, None, crc, texts[0], None, texts[1]) == seal(Entry("r", kind, body), None, 7, 3, 5)


def test_a_run_whose_row_somebody_has_taken_away_is_not_ended_in_silence(tmp_path: Path) -> None:
    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        await store.open()
        await store.append([opened("r")])
        with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
            other.execute("DELETE FROM runs")
        with pytest.raises(StoreCorruptError, match="restore a copy"):
            await store.append([ended("r")])
        await store.close()

    asyncio.run(main())
