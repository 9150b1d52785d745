"""Inboxes and messages that cannot be used: refused by name, kept, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

import durable
from durable.testing import VirtualClock
from tests.senders import beside, change, events, hears, listen, made, paid, reopened, sent, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


def test_a_message_that_is_refused_is_named_kept_and_passed_by(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again when the store is opened next: here by an engine that allows more."""
    large = durable.Limits(event_bytes=1 << 20)

    async def story() -> None:
        async with durable.Sender(path, limits=large) as sender:
            await sender.send("shop/paid", {"n": 1, "x": "x" * 600_000})
            await sender.send("shop/paid", {"n": 2})
        heard = listen()
        async with durable.Engine([paid], store=path) as engine:
            assert await hears(heard, 1) == [2]
            assert [info.output for info in await engine.runs(status="completed")] in ([], [2])

    asyncio.run(story())
    [left] = waiting(path)
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert left.id in said and "LimitError" in said and str(path) in said and '"n\\":1' in said.replace(" ", "")
    assert asyncio.run(reopened(path, limits=large)) == [1, 2]
    assert waiting(path) == []


@pytest.mark.parametrize(
    ("statement", "said", "is_seen_by_senders"),
    [
        ("PRAGMA application_id = 7", "something else", True),
        ("PRAGMA user_version = 2", "format 2, this version of durable reads format 1", True),
        ("DROP TABLE message", "lacks its table 'message'", True),
        ("ALTER TABLE message ADD COLUMN mine", "has another table 'message'", True),
        ("CREATE INDEX mine ON message (kind)", "foreign index 'mine'", True),
        ("UPDATE mark SET last = 9", "mark does not match its checksum", True),
        ("UPDATE message SET body = replace(body, '1', '2') WHERE no = 2", "message 2 does not match", False),
        ("DELETE FROM message WHERE no = 1", r"lacks 1 message\(s\)", False),
    ],
)
def test_a_foreign_newer_or_damaged_inbox_is_refused_by_name_and_left_as_it_is(
    path: Path, statement: str, said: str, is_seen_by_senders: bool
) -> None:
    """R30"""
    inbox = Path(f"{path}.inbox")
    sent(path, *events(1, 2))
    change(inbox, statement)
    found = inbox.read_bytes()
    with pytest.raises(durable.StoreError, match=f"x.db.inbox.*{said}"):
        asyncio.run(reopened(path))
    if is_seen_by_senders:
        with pytest.raises(durable.StoreError, match=f"x.db.inbox.*{said}"):
            sent(path, "a")
        assert inbox.read_bytes() == found
    assert beside(path) == {"", ".lock", ".inbox"}
    inbox.unlink()
    assert asyncio.run(reopened(path)) == []


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    inbox = Path(f"{path}.inbox")
    inbox.write_text("notes " * 1_000)
    for use in (lambda: sent(path, "a"), lambda: asyncio.run(reopened(path))):
        with pytest.raises(durable.StoreCorruptError, match=r"x.db.inbox"):
            use()
    assert inbox.read_text() == "notes " * 1_000


def test_an_inbox_damaged_beside_a_live_engine_is_an_error_in_the_log_and_the_engine_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        heard = listen()
        async with durable.Engine([paid], store=path) as engine, durable.Sender(path) as sender:
            await sender.send(events(1))
            assert await hears(heard, 1) == [1]
            while await asyncio.to_thread(waiting, path):
                await asyncio.sleep(0)
            await asyncio.to_thread(change, Path(f"{path}.inbox"), "UPDATE mark SET taken = 0")
            engine.opened("test").intake._rung.set()
            while "checksum" not in caplog.text:
                await asyncio.sleep(0)
            await engine.send(events(2))
            assert await hears(heard, 1) == [2]

    asyncio.run(story())


def test_an_inbox_whose_maker_was_killed_in_its_first_commit_is_empty(path: Path) -> None:
    """SQLite takes back what was begun, when it is opened: the file that seemed to be somebody's is blank then."""
    begun = sqlite3.connect(f"{path}.making", isolation_level=None)
    begun.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
    begun.execute("BEGIN IMMEDIATE")
    begun.execute("CREATE TABLE message (body)")
    begun.executemany("INSERT INTO message VALUES (?)", [("x" * 4_000,)] * 50)
    for ending in ("", "-journal"):
        shutil.copy(f"{path}.making{ending}", f"{path}.inbox{ending}")
    begun.close()
    assert waiting(path) == []
    assert len(sent(path, "paid")) == len(waiting(path)) == 1


def test_an_engine_that_is_refused_its_inbox_calls_no_handler_later(path: Path) -> None:
    """The store was given back: whoever else opens it runs what is due."""
    called: list[int] = []
    inbox = Path(f"{path}.inbox")

    @durable.function(backoff=durable.Backoff("1h", jitter=0))
    async def failing(ctx: durable.Context) -> None:
        called.append(ctx.attempt)
        raise RuntimeError

    async def story() -> None:
        clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
        async with durable.Engine([failing], store=path, clock=clock) as engine:
            await engine.start(failing)
            await engine.settled()
        await asyncio.to_thread(inbox.write_text, "this is no database")
        with pytest.raises(durable.StoreError):
            await durable.Engine([failing], store=path, clock=clock).open()
        clock.advance("2h")
        for _ in range(300):
            await asyncio.sleep(0)
        assert called == [0]

    asyncio.run(story())
