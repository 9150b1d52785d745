"""Stores that an older release wrote: what it let in at its doors must be read for good. R30, R31"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import durable
from durable import Context, DictStore, Engine, Entry, Event, FileStore, RunRow, StoreCorruptError
from durable.engine.messages import SentEvents, SentSignal, write_sent
from durable.journal.codec.write import write
from durable.journal.records import EventSent, ForEvent, Record, RunClosed, RunOpened, StepOpened
from durable.stores.file.checksums import RUN_COLUMNS
from durable.stores.file.inbox import Inbox, Message
from durable.testing import Lab
from tests.support.wordings import NOON, Word

COLUMNS = RUN_COLUMNS.split(", ")


def sealed_before(values: Sequence[Any]) -> int:
    """The checksum of a row as version 0.1.0 made it: a member of a StrEnum is sealed by its `repr`."""
    texts = [
        encode_basestring_ascii(one) if type(one) is str else "null" if one is None else repr(one) for one in values
    ]
    return crc32(f"[{', '.join(texts)}]".encode())


@durable.function(id="word7", retries=0)
async def word(ctx: Context) -> str:
    if ctx.event.data.get("n") == 1:
        raise ValueError("for a while")
    if ctx.event.data.get("n") == 2:
        await ctx.step.sleep("s", "365d")
    return "done"


IDS = ("done", "failed", "asleep", "word7")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with four runs whose function, and for one whose id, was given as a member of a StrEnum."""
    place = tmp_path / "s.db"

    async def story() -> None:
        async with Engine([word], store=FileStore(place, durability="none")) as engine:
            for number, id in enumerate(IDS):
                await engine.start(word, {"n": number}, id=id)
            await engine.settled()
        async with Engine([word], store=FileStore(place, durability="none")) as engine:
            await engine.retry("failed")  # a row in the middle of its life, which an entry without one follows
            await engine.settled()

    asyncio.run(story())
    with sqlite3.connect(place) as connection:
        for row in connection.execute(f"SELECT {RUN_COLUMNS} FROM runs").fetchall():
            values = [Word.ONE if one == "word7" else one for one in row[:-1]]
            assert (sealed_before(row[:-1]), sealed_before(values) != row[-1]) == (row[-1], True)
            connection.execute("UPDATE runs SET crc = ? WHERE no = ?", (sealed_before(values), row[0]))
    connection.close()
    return place


async def told(path: Path) -> list[Any]:
    async with Engine([word], store=FileStore(path, durability="none")) as engine:
        return [(info.id, info.function_id, info.status, info.output) for info in await engine.runs()]


def test_a_row_that_was_sealed_by_what_python_showed_of_it_is_read(path: Path) -> None:
    """One StrEnum as an id shut the whole store, with all its other runs."""
    ended = ["completed", "failed", "waiting", "completed"]
    expected = [
        (id, "word7", status, "done" if status == "completed" else None) for id, status in zip(IDS, ended, strict=True)
    ][::-1]
    assert asyncio.run(told(path)) == expected
    assert asyncio.run(told(path)) == expected


def test_such_a_row_may_change_end_and_be_forgotten(path: Path) -> None:
    async def story() -> None:
        async with Engine([word], store=FileStore(path, durability="none")) as engine:
            assert await engine.cancel("asleep")
            await engine.retry("failed")
            assert await engine.result("word7") == "done"
        store = FileStore(path, durability="none")
        await store.open()
        assert await store.prune(NOON + timedelta(days=10_000)) == 4
        await store.close()
        assert await told(path) == []

    asyncio.run(story())


@pytest.mark.parametrize("no", [1, 2, 3, 4])
@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "no"])
def test_damage_to_such_a_row_is_refused_or_changes_nothing(path: Path, column: str, no: int) -> None:
    """Nothing is believed that its own rows do not say."""
    before = asyncio.run(told(path))
    is_number = column in ("open", "last", "opened_at", "ended_at", "crc")
    changed = f"coalesce({column}, 0) + 1" if is_number else f"coalesce({column}, '') || 'x'"
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE runs SET {column} = {changed} WHERE no = {no}")
    connection.close()
    try:
        assert asyncio.run(told(path)) == before
    except StoreCorruptError:
        return
    assert column in ("crc", "last")


@pytest.mark.parametrize("no", [1, 2, 3, 4])
def test_such_a_row_is_refused_where_one_of_those_that_vouch_for_it_is_damaged(path: Path, no: int) -> None:
    first = f"(SELECT min(seq) FROM journal WHERE run = {no})"
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE journal SET body = body || ' ' WHERE seq = {first}")
    connection.close()
    with pytest.raises(StoreCorruptError):
        asyncio.run(told(path))


# What stands in an inbox.


def test_what_an_older_sender_put_is_named_in_the_log_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Names as no door lets them in today; what waits behind them is taken, at each opening."""
    path = tmp_path / "s.db"

    @durable.function("p/*", id="hears")
    async def hears(ctx: Context) -> str:
        return ctx.event.name

    async def story() -> list[str]:
        async with Engine([hears], store=FileStore(path, durability="none")) as engine:
            await engine.settled()
            return [info.event.name for info in await engine.runs()]

    asyncio.run(story())
    at = NOON - timedelta(days=9_999)
    poison = [
        SentEvents(at, (("id1", Event("p/\ud800")),)),
        SentEvents(at, (("id2", Event("p/" + "x" * 2_000)),)),
        SentEvents(at, (("id3", Event("p/x", id="\ud83d\ude00")),)),
        SentSignal(at, "s\udcff", None),
    ]  # the signal alone is taken: nobody can wait for it
    for number, sent in enumerate([*poison, SentEvents(at, (("id4", Event("p/good")),))]):
        Inbox(str(path)).put([Message(f"m{number}", *write_sent(sent))])
    Inbox(str(path)).put([Message("id\n5", "kind\n", "body\nforged")])
    for _ in range(2):
        assert asyncio.run(story()) == ["p/good"]
        told = [record.getMessage() for record in caplog.records if "cannot be taken" in record.getMessage()]
        assert len(told) == len(poison) and all(line.isprintable() for line in told)
        caplog.clear()


# What stands in bodies only: nothing there was refused before names had a limit.


def older_records() -> list[tuple[str, Record, RunRow | None]]:
    """What an engine of version 0.1.0 recorded of ids, names and paths as no door lets them in today."""
    run, late = "job~2", NOON + timedelta(hours=1)
    event = Event("e" * 2_000, {"x": 1}, "i" * 5_000 + "\ud800", NOON, "v\ud800")
    wait = ForEvent("w\ud83d\ude00", late, "data." + "x" * 2_000, None)
    row = RunRow(run, "f", "e" * 2_000, NOON)
    long = "r" * 3_000
    ended = RunClosed(long, "cancelled", NOON, reason="by \ud800")
    return [
        (run, RunOpened(run, "f", event, NOON), row),
        (run, StepOpened(run, "\ud800", "wait_for_event", wait, NOON), None),
        (run, StepOpened(run, "s" * 3_000, "wait_for_event", wait, NOON), None),
        (long, RunOpened(long, "g\n" * 900, event, NOON), RunRow(long, "g\n" * 900, "e" * 2_000, NOON)),
        (long, ended, RunRow(long, "g\n" * 900, "e" * 2_000, NOON, NOON, "cancelled", "by")),
        ("durable/event/1", EventSent("1", Event("late\ud800", {}, "l" * 3_000, late), NOON, late), None),
    ]


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_what_no_door_would_let_in_today_is_read_shown_and_ended(kind: str, tmp_path: Path) -> None:
    store = DictStore() if kind == "dict" else FileStore(tmp_path / "s.db", durability="none")

    @durable.function(id="f")
    async def f(ctx: Context) -> Any:
        await ctx.step.sleep("s", "2h")
        return [ctx.event.name, ctx.event.id, ctx.event.v]

    async def story() -> None:
        await store.open()
        await store.append(
            [
                Entry(run, type(record).__name__, write(record), isinstance(record, RunClosed), None, row)
                for run, record, row in older_records()
            ]
        )
        await store.close()
        async with Lab([f], store=store, start=NOON) as lab:
            long, job = "r" * 3_000, "job~2"
            infos = {info.id: info for info in await lab.engine.runs()}
            assert infos.keys() == {long, job} and infos[job].steps.keys() == {"\ud800", "s" * 3_000, "s"}
            assert infos[long].reason == "by \ud800"
            await lab.crash()
            await lab.advance("3h")
            assert await lab.engine.result(job) == ["e" * 2_000, "i" * 5_000 + "\ud800", "v\ud800"]
            with pytest.raises(durable.RunCancelled):
                await lab.engine.result(long)

    asyncio.run(story())
