"""What only a FileStore promises: whose file it is, what it survives, who may read beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durable.errors import StoreError
from durable.stores.file import schema
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry, RunQuery, RunRow
from tests.support.places import ROOT

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def _step(run: str = "r", body: str = "step") -> Entry:
    return Entry(run, "StepClosed", body)


def _ended(run: str) -> list[Entry]:
    row = RunRow(run, "f", "e", NOON, NOON, "completed")
    return [_step(run), Entry(run, "RunClosed", "end", ends_run=True, row=row)]


async def _opened(path: Path, durability: str = "none") -> FileStore:
    store = FileStore(path, durability=durability)  # type: ignore[arg-type]
    await store.open()
    return store


async def _bodies(store: FileStore | FileReader, run: str = "r") -> list[str]:
    return [entry.body async for entry in store.history(run)]


def _open_and_close(path: Path) -> None:
    async def main() -> None:
        await (await _opened(path)).close()

    asyncio.run(main())


@pytest.mark.parametrize("path", [":memory:", "", "a\0b"])
def test_a_path_that_is_no_file_is_refused_at_the_call(path: str) -> None:
    with pytest.raises(ValueError, match="name a file"):
        FileStore(path)
    with pytest.raises(ValueError):
        FileReader(path)


def test_wrong_arguments_are_refused_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"power", "process" or "none"'):
        FileStore(tmp_path / "x.db", durability="full")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        FileStore(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        FileStore(b"x.db")  # type: ignore[arg-type]


def test_a_missing_folder_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="create the folder"):
        _open_and_close(tmp_path / "nowhere" / "x.db")
    with pytest.raises(StoreError, match="is a directory"):
        _open_and_close(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_a_store_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StoreError, match="cannot be"):
        _open_and_close(tmp_path / "x.db")
    tmp_path.chmod(0o755)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    _open_and_close(tmp_path / "x.db")
    _open_and_close(tmp_path / "x.db")


def test_a_path_with_signs_that_mean_something_in_a_uri_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#c%20é.db"
    _open_and_close(path)
    assert path.exists()


def _settings(path: Path) -> dict[str, object]:
    connection = sqlite3.connect(path)
    names = ("application_id", "user_version", "auto_vacuum", "journal_mode")
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    connection.close()
    return found


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    _open_and_close(tmp_path / "x.db")
    assert _settings(tmp_path / "x.db") == {
        "application_id": 0x64757262,
        "user_version": 1,
        "auto_vacuum": 2,
        "journal_mode": "wal",
    }


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1), ("none", 0)])
def test_the_settings_that_durability_rests_on_are_taken(tmp_path: Path, durability: str, synchronous: int) -> None:
    """R30"""

    async def main() -> None:
        store = await _opened(tmp_path / "x.db", durability)
        names = ("journal_mode", "synchronous", "fullfsync", "checkpoint_fullfsync", "wal_autocheckpoint")
        await store.begin()
        connection = store._writer.begin().connection
        assert store._worker is not None
        found = await store._worker.post(lambda: [connection.execute(f"PRAGMA {n}").fetchone()[0] for n in names])
        assert found == [b"wal", synchronous, 1, 1, 0]
        await store.close()

    asyncio.run(main())


def _foreign(path: Path, *statements: str) -> bytes:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE t (a)"],
        ["PRAGMA application_id = 7", "CREATE TABLE t (a)"],
        ["PRAGMA journal_mode = wal", "CREATE TABLE t (a)"],
    ],
)
def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, statements: list[str]) -> None:
    before = _foreign(tmp_path / "x.db", *statements)
    with pytest.raises(StoreError, match="something else"):
        _open_and_close(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"x.db"}


@pytest.mark.parametrize("content", [b"x", b"just some notes\n" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_not_a_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"left as it (is|was)"):
        _open_and_close(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == content


def test_an_unknown_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    _open_and_close(tmp_path / "x.db")
    _foreign(tmp_path / "x.db", "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"format 99.*format 1"):
        _open_and_close(tmp_path / "x.db")


def test_appends_awaited_together_share_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.begin()
        start = (tmp_path / "x.db-wal").stat().st_size
        await asyncio.gather(*[store.append([_step(body=str(number))]) for number in range(100)])
        assert await _bodies(store) == [str(number) for number in range(100)]
        frames = ((tmp_path / "x.db-wal").stat().st_size - start) / 4096
        assert frames < 50
        await store.close()

    asyncio.run(main())


def test_the_entries_of_a_cancelled_append_are_committed_in_their_place(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db", "power")
        appends = [asyncio.ensure_future(store.append([_step(body=str(number))])) for number in range(20)]
        await asyncio.sleep(0)
        for append in appends[::2]:
            append.cancel()
        await asyncio.gather(*appends, return_exceptions=True)
        assert all(append.cancelled() for append in appends[::2])
        await store.close()
        await store.open()
        assert await _bodies(store) == [str(number) for number in range(20)]
        await store.close()

    asyncio.run(main())


def test_an_open_that_is_cancelled_leaves_nothing_locked(tmp_path: Path) -> None:
    async def main() -> None:
        opening = asyncio.ensure_future(FileStore(tmp_path / "x.db").open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        await (await _opened(tmp_path / "x.db")).close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [FileStore, FileReader])
@pytest.mark.parametrize("cancels", [1, 2, 5])
def test_an_open_that_is_cancelled_at_any_await_leaves_nothing_locked(
    tmp_path: Path, kind: type[FileStore | FileReader], cancels: int
) -> None:
    """Whoever is told that it was cancelled may open again at once, the same object or another."""

    async def main() -> None:
        await (await _opened(tmp_path / "x.db")).close()
        rounds = 0
        while True:
            one = kind(tmp_path / "x.db")
            opening = asyncio.ensure_future(one.open())
            for _ in range(rounds):
                await asyncio.sleep(0)
            for _ in range(cancels):
                opening.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([opening])
            if not opening.cancelled():
                return await one.close()
            other = kind(tmp_path / "x.db")
            await other.open()
            await other.close()
            await one.open()
            await one.close()
            rounds += 1 + rounds // 10

    asyncio.run(main())


def test_a_close_that_is_cancelled_goes_on_and_the_next_open_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        for number in range(20):
            await store.append([_step(body=str(number))])
            closing = asyncio.ensure_future(store.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
            if number % 2:
                await store.close()
            await store.open()
        assert await _bodies(store) == [str(number) for number in range(20)]
        await store.close()

    asyncio.run(main())


_FULL = """
import asyncio, resource, sys
from durable.errors import StoreError
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
    acknowledged = 0
    try:
        while True:
            await store.append([Entry("r", "k", f"{acknowledged} " + "x" * 50_000)])
            acknowledged += 1
    except StoreError as error:
        first = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        await store.append([Entry("r", "k", "after")])
    except StoreError as error:
        print(acknowledged, str(error) == first)
    print(len([entry async for entry in store.history("r")]))
    await store.close()

asyncio.run(main())
"""


def test_a_full_disk_stops_the_store_until_it_is_opened_again(tmp_path: Path) -> None:
    """R31: a failed commit is never tried again, and what was acknowledged is there."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", _FULL, str(tmp_path / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=True)
    (acknowledged, same), (read,) = (line.split() for line in done.stdout.splitlines())
    assert same == "True" and acknowledged == read and int(read) > 5

    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([_step(body="again")])
        bodies = await _bodies(store)
        assert [body.split()[0] for body in bodies] == [*map(str, range(int(read))), "again"]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_was_moved_while_open_is_noticed(tmp_path: Path, suffix: str) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([_step()])
        os.rename(tmp_path / f"x.db{suffix}", tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="moved, deleted or replaced"):
            for _ in range(5_000):
                await store.append([_step()])
        with pytest.raises(StoreError, match="moved, deleted or replaced"):
            await store.append([_step()])
        await store.close()

    asyncio.run(main())


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append(_ended("a"))
        assert await store.prune(NOON + timedelta(days=1)) == 1
        await store.close()
        await store.open()
        await store.append([_step("b")])
        await store.close()

    asyncio.run(main())
    assert _rows(tmp_path / "x.db", "SELECT seq, run FROM journal") == [(3, 2)]


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def test_prune_deletes_at_most_250_rows_between_two_commits(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([*[_step("big")] * 2_500, *_ended("big")])
        for number in range(600):
            await store.append(_ended(f"small{number}"))
        runs = await store._reader.prunable(NOON + timedelta(days=1))
        left, steps = 3_702, 0
        assert store._worker is not None
        while runs:
            await store._worker.post(lambda: store._writer.forget(runs))
            now = _rows(tmp_path / "x.db", "SELECT count(*) FROM journal")[0][0]
            assert left - 250 <= now < left or not runs
            left, steps = now, steps + 1
        assert (left, steps > 14) == (0, True)
        await store.close()
        await store.open()
        await store.close()

    asyncio.run(main())


def test_a_run_that_is_opened_again_while_prune_goes_on_stays(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append(_ended("r"))
        runs = await store._reader.prunable(NOON + timedelta(days=1))
        await store.append([_step(body="again")])
        assert store._worker is not None
        assert await store._worker.post(lambda: store._writer.forget(runs)) == 0
        assert await _bodies(store) == ["step", "end", "again"]
        await store.close()

    asyncio.run(main())


def test_a_prune_that_was_cut_short_is_ended_by_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([*[_step("big")] * 2_500, *_ended("big"), *_ended("small")])
        runs = await store._reader.prunable(NOON + timedelta(days=1))
        assert store._worker is not None
        await store._worker.post(lambda: store._writer.forget(runs[-1:]))
        await store.close()
        await store.open()
        assert await _bodies(store, "big") == [] and len(await store.find(RunQuery())) == 1
        await store.append([_step("big", "anew")])
        assert await store.prune(NOON + timedelta(days=1)) == 1
        assert await _bodies(store, "big") == ["anew"]
        await store.close()

    asyncio.run(main())
    assert _rows(tmp_path / "x.db", "SELECT body FROM journal") == [("anew",)]


def test_prune_takes_the_ids_of_the_events_of_what_goes(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        for run in ("r", "s"):
            row = RunRow(run, "f", "e", NOON, event_ids=("order-7", f"of {run}"))
            await store.append([Entry(run, "RunOpened", "open", row=row)])
        await store.append(_ended("r"))
        assert await store.prune(NOON + timedelta(days=1)) == 1
        await store.close()

    asyncio.run(main())
    assert _rows(tmp_path / "x.db", "SELECT event FROM runs_by_event ORDER BY event") == [("of s",), ("order-7",)]


def test_prune_takes_ended_runs_without_a_row_that_are_older_than_what_goes(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([Entry("durable/event/1", "RunClosed", "end", ends_run=True)])
        await store.append([*_ended("r"), Entry("durable/event/2", "RunClosed", "end", ends_run=True)])
        assert await store.prune(NOON) == 0
        assert await store.prune(NOON + timedelta(days=1)) == 1
        assert [len(await _bodies(store, f"durable/event/{number}")) for number in (1, 2)] == [0, 1]
        await store.close()

    asyncio.run(main())


def test_pages_are_given_back_by_the_hundred_and_appends_go_on_between(tmp_path: Path) -> None:
    """One page a call, as on Python 3.11 when the pragma is fetched from, makes 40,000 commits of a prune."""

    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([*[_step("big", "x" * 10_000)] * 1_000, *_ended("big")])
        assert store._worker is not None
        connection, freed = store._writer.begin().connection, []
        free = lambda: schema.pragma(connection, "freelist_count")  # noqa: E731
        vacuum = store._writer.vacuum

        def counted(rows: int) -> bool:
            before = free()
            more = vacuum(rows)
            freed.append(before - free())
            return more

        store._writer.vacuum = counted  # type: ignore[method-assign]
        pruning, between = asyncio.ensure_future(store.prune(NOON + timedelta(days=1))), 0
        while not pruning.done():
            await store.append([_step()])
            between += bool(freed) and not pruning.done()
        assert sum(freed) > 2_500 and freed[:-2] == [500] * (len(freed) - 2) and between > 1
        await store.close()

    asyncio.run(main())


def test_where_the_file_cannot_shrink_prune_says_so_and_forgets_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        await (await _opened(tmp_path / "x.db")).close()
        _foreign(tmp_path / "x.db", "PRAGMA auto_vacuum = 0", "VACUUM")
        store = await _opened(tmp_path / "x.db")
        await store.append([*[_step("big", "x" * 10_000)] * 100, *_ended("big")])
        assert await store.prune(NOON + timedelta(days=1)) == 1
        await store.append([_step()])
        await store.close()
        assert (tmp_path / "x.db").stat().st_size > 1_000_000

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records if "auto_vacuum = 2; VACUUM" in record.getMessage()]
    _foreign(tmp_path / "x.db", "PRAGMA auto_vacuum = 2", "VACUUM")
    _open_and_close(tmp_path / "x.db")
    assert (tmp_path / "x.db").stat().st_size < 100_000


def test_prune_gives_the_space_back(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([*[_step("big", "x" * 10_000)] * 500, *_ended("big")])
        await store.close()
        assert (tmp_path / "x.db").stat().st_size > 5_000_000
        await store.open()
        await store.prune(NOON + timedelta(days=1))
        await store.close()
        assert (tmp_path / "x.db").stat().st_size < 100_000

    asyncio.run(main())


def test_appends_go_on_beside_prune(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        for number in range(3_000):
            await asyncio.gather(*[store.append(_ended(f"{number}.{part}")) for part in range(1)])
        pruning = asyncio.ensure_future(store.prune(NOON + timedelta(days=1)))
        appended = 0
        while not pruning.done():
            await store.append([_step(body=str(appended))])
            appended += 1
        assert pruning.result() == 3_000 and appended > 3
        assert len(await _bodies(store)) == appended
        await store.close()
        await store.open()
        await store.close()

    asyncio.run(main())


_READ = """
import asyncio, sys
from datetime import UTC, datetime
from durable.stores import FileReader
from durable.stores.store import RunQuery

async def main():
    async with FileReader(sys.argv[1]) as reader:
        print(len([entry async for entry in reader.history("r")]))
        print(len([entry async for entry in reader.unfinished(datetime.now(UTC))]))
        print([row.id for row in await reader.find(RunQuery())])

asyncio.run(main())
"""


def test_another_process_reads_beside_the_writer(tmp_path: Path) -> None:
    """R29: always allowed, and it neither checkpoints nor takes the writer's place."""

    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([*_ended("a"), *[_step()] * 3])
        before = (tmp_path / "x.db").stat()
        command = [sys.executable, "-c", _READ, str(tmp_path / "x.db")]
        done = await asyncio.to_thread(subprocess.check_output, command, text=True, env=_ENVIRONMENT)
        assert done.splitlines() == ["3", "3", "['a']"]
        after = (tmp_path / "x.db").stat()
        assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
        assert (tmp_path / "x.db-wal").stat().st_size
        await store.append([_step()])
        await store.close()

    asyncio.run(main())


def test_a_reader_needs_no_writer_and_refuses_what_is_no_store(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StoreError, match="no store"):
            await FileReader(tmp_path / "x.db").open()
        store = await _opened(tmp_path / "x.db")
        await store.append([_step()])
        await store.close()
        async with FileReader(tmp_path / "x.db") as reader:
            assert await _bodies(reader) == ["step"]
        with pytest.raises(StoreError, match="not open"):
            await reader.find(RunQuery())

    asyncio.run(main())
    assert not (tmp_path / "x.db").is_dir()


def test_recovery_reads_more_than_one_chunk_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        entries = [_step(f"r{number % 7}", str(number)) for number in range(9_000)]
        await store.append(entries)
        assert [entry async for entry in store.unfinished(NOON)] == entries
        await store.close()

    asyncio.run(main())


def test_more_runs_than_the_writer_remembers_keep_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        store = await _opened(tmp_path / "x.db")
        await store.append([_step(f"r{number}", "first") for number in range(21_000)])
        await store.append([_step("r5", "second")])
        assert await _bodies(store, "r5") == ["first", "second"]
        await store.close()

    asyncio.run(main())
