"""S3's check: every row of a store is read, and what is damaged is named by run."""

from __future__ import annotations

import asyncio
import errno
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine.checkup import Checkup, check
from durable.stores import FileStore, Inbox, Message
from durable.stores.file import inbox
from durable.stores.file.checksums import seal_bare
from durable.stores.store import Entry

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@durable.function("begun")
async def worker(ctx: durable.Context) -> None:
    await ctx.step.run("a", str)
    await ctx.step.wait_for_event("b", event="more", timeout="9d")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    async with durable.Engine([worker], store=path) as engine:
        for number in range(3):
            await engine.start(worker, id=f"w{number}")
        await engine.send("begun", {}, id="of-mine")
        await engine.settled()
        await engine.cancel("w2")
    return path


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def ask(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def only(found: Checkup) -> tuple[str | None, str]:
    [damage] = found.damages
    return damage.run, damage.what


async def test_a_whole_store_is_whole_also_beside_its_engine(path: Path) -> None:
    found = await check(path)
    assert found.is_whole and (found.runs, found.waiting) == (4, 0) and found.entries > 12
    assert str(found).splitlines()[1] == "every checksum is right, no row is missing, every run folds"
    async with durable.Engine([worker], store=path) as engine:
        checking = asyncio.ensure_future(check(path))
        for number in range(20):
            await engine.start(worker, id=f"more{number}")
        await engine.prune(0)
        assert (await checking).is_whole
        assert (await check(path)).is_whole
    assert json.loads(json.dumps(found.to_dict()))["damages"] == []


async def test_what_is_kept_as_a_run_and_is_none_is_not_counted(path: Path) -> None:
    await durable.Sender(path).cancel("w0")
    async with durable.Engine([worker], store=path) as engine:
        await engine.settled()
        await engine.pause(worker)
        await engine.send("begun", {}, ts=datetime(2100, 1, 1, tzinfo=UTC))
    assert (await check(path)).runs == 4


@pytest.mark.parametrize(
    ("damage", "run", "said"),
    [
        (
            "UPDATE journal SET body = replace(body, 'more', 'mode') WHERE kind = 'StepOpened' AND run = 2",
            "w1",
            "row .* of run 'w1' does not match its checksum",
        ),
        ("UPDATE journal SET kind = 'RunClosed' WHERE kind = 'StepClosed' AND run = 1", "w0", "does not match"),
        ("UPDATE runs SET function = 'other' WHERE id = 'w1'", "w1", "the row of run 'w1' .* does not match"),
        ("UPDATE journal SET keep_until = keep_until + 1 WHERE run = 0", "", "row .* of run '' does not match"),
    ],
)
async def test_a_damaged_row_is_named_with_its_run_and_the_others_are_read(
    path: Path, damage: str, run: str, said: str
) -> None:
    whole = await check(path)
    change(path, damage)
    found = await check(path)
    assert {one.run for one in found.damages} == {run} and not found.is_whole
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(str(found))
    assert found.runs == whole.runs and 0 < whole.entries - found.entries <= 9
    assert "restore a copy" in str(found)


async def test_rows_that_are_missing_are_told_of(path: Path) -> None:
    change(path, "DELETE FROM journal WHERE kind = 'StepClosed' AND run = 1")
    run, what = only(await check(path))
    assert run is None and "lacks 1 row(s) of its journal (row" in what


async def test_records_that_are_whole_and_make_no_sense_are_told_of(path: Path) -> None:
    async def put() -> None:
        store = FileStore(path)
        await store.open()
        await store.append([Entry("w0", "StepClosed", '{"nonsense":1}'), Entry("", "KeyClaimed", "no json")])
        await store.close()

    await put()
    found = await check(path)
    assert [one.run for one in found.damages] == ["", "w0"]
    assert "open the store with the version that wrote it, or restore a copy" in str(found)


async def test_a_row_in_a_chain_that_does_not_follow_is_told_of(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        [(seq, kind, body)] = connection.execute(
            "SELECT seq, kind, body FROM journal WHERE run = 1 AND kind = 'StepClosed'"
        ).fetchall()
        sealed = seal_bare(kind, body, seq, 1, 999)
        connection.execute("UPDATE journal SET prev = 999, crc = ? WHERE seq = ?", (sealed[3], seq))
    connection.close()
    run, what = only(await check(path))
    assert run == "w0" and what.startswith("run 'w0' lacks row 999")


async def test_every_damaged_row_of_a_run_is_told_of(path: Path) -> None:
    change(path, "UPDATE journal SET body = body || ' ' WHERE run = 1")
    found = await check(path)
    assert len([one for one in found.damages if one.run == "w0" and "checksum" in one.what]) >= 3


async def test_rows_of_no_run_are_told_of(path: Path) -> None:
    async with durable.Engine([worker], store=path) as engine:
        await engine.prune(0)
    [(gone,)] = ask(path, "SELECT min(one.no) + 1 FROM runs AS one WHERE one.no + 1 NOT IN (SELECT no FROM runs)")
    change(path, f"UPDATE journal SET run = {gone} WHERE seq = (SELECT max(seq) FROM journal WHERE run = 1)")
    what = [one.what for one in (await check(path)).damages]
    assert f"there are rows of a run number {gone}, which is not listed: restore a copy" in what


async def test_a_page_that_makes_no_sense_is_told_of(path: Path) -> None:
    [(page,)] = ask(path, "SELECT rootpage FROM sqlite_master WHERE name = 'journal_run'")
    with path.open("r+b") as file:
        file.seek(page * 4_096 - 40)
        file.write(b"\xff" * 40)
    found = await check(path)
    assert not found.is_whole, found


async def test_a_run_that_is_not_listed_is_told_of(path: Path) -> None:
    change(path, "DELETE FROM runs WHERE id = 'w1'")
    run, what = only(await check(path))
    assert run is None and "lacks 1 row(s) of its table of runs" in what


async def test_messages_are_counted_and_one_that_nobody_can_take_is_told_of(path: Path) -> None:
    await durable.Sender(path).send("more", {})
    inbox = Inbox(str(path))
    inbox.put([Message("m000", "SentLater", '{"at": "2030-01-01T00:00:00Z"}')])
    found = await check(path)
    run, what = only(found)
    assert (run, found.waiting) == (None, 2)
    assert what.startswith("message m000 in the inbox: a message has the kind 'SentLater'")
    change(path.with_name("x.db.inbox"), "UPDATE message SET body = 'x'")
    found = await check(path)
    assert found.waiting is None and "the inbox" in only(found)[1]


async def test_what_is_no_store_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(durable.StoreError, match="there is no store"):
        await check(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("some text" * 100)
    found = await check(tmp_path / "text.db")
    assert "is not a store, or a damaged one" in only(found)[1]
    assert "\n1 thing is damaged:\n" in str(found)


def _damage(path: Path, name: str, of: bytes, by: int) -> None:
    """Change the byte behind some others, on the first page of a table or an index."""
    [(page,)] = ask(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")
    [(size,)] = ask(path, "PRAGMA page_size")
    content = bytearray(path.read_bytes())
    at = content.index(of, (page - 1) * size) + len(of)
    content[at] += by
    path.write_bytes(content)


async def test_an_index_that_has_lost_a_run_is_named(path: Path) -> None:
    """By it a run is found: who asks for one that it has lost would begin a new one."""
    _damage(path, "sqlite_autoindex_runs_1", b"w", 1)
    found = await check(path)
    assert any("sqlite_autoindex_runs_1" in damage.what for damage in found.damages), found.damages


@pytest.mark.parametrize("table", ["runs", "journal"])
@pytest.mark.parametrize("by", [1, -1])
async def test_a_page_with_another_count_of_rows_ends_the_check_and_is_named(
    tmp_path: Path, table: str, by: int
) -> None:
    path = tmp_path / "many.db"
    async with durable.Engine([worker], store=path) as engine:
        for number in range(40):
            await engine.start(worker, id=f"w{number}")
    _damage(path, table, b"\x0d\0\0\0", by)  # a leaf of a table, no free block; the low byte of the count follows
    assert (await check(path)).damages


async def test_what_is_no_number_is_damage_everywhere(path: Path) -> None:
    change(path, "UPDATE journal SET run = x'01' WHERE seq = 1")
    words = "in the place of a number, in column run of table journal: it is damaged, restore a copy"
    [damage] = (await check(path)).damages
    assert words in damage.what
    with pytest.raises(durable.StoreCorruptError, match=words):
        await durable.Engine([worker], store=path).open()
    with pytest.raises(durable.StoreCorruptError, match=words):
        await durable.Reader(path).runs()


async def test_an_inbox_on_a_medium_that_can_only_be_read_is_looked_into(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Inbox(str(path)).put([Message("m1", "SentEvents", "{}")])

    def refuse(store: str, suffix: str, *, make: bool) -> int | None:
        raise OSError(errno.EROFS, "Read-only file system", f"{store}{suffix}")

    monkeypatch.setattr(inbox, "open_beside", refuse)
    assert [message.id for message in Inbox(str(path)).look()] == ["m1"] and Inbox(str(path)).ids() == {"m1"}
    with pytest.raises(durable.StoreError, match="Read-only file system"):
        Inbox(str(path)).remove(["m1"])
