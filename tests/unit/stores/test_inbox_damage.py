"""Inboxes and messages that cannot be used: refused by name, kept, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

import durable
from durable.engine.opened import inside
from durable.stores.file.inbox import Inbox, Message
from durable.testing import VirtualClock
from tests.proof.crashes.senders import beside, change, events, hears, listen, made, paid, reopened, sent, waiting


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
        ("UPDATE message SET no = 3 WHERE no = 1", "message 3 does not match", False),
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
            inside(engine, "test").receiver._rung.set()
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


_COUNT = 30


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an inbox of several pages, of messages and of the index over their ids."""
    path = made(tmp_path_factory.mktemp("filled") / "x.db")
    Inbox(str(path)).put([Message(f"id{n:03}" + "x" * 120, "events", f"{n}" * 60) for n in range(_COUNT)])
    return path


def _taken(path: Path) -> list[str]:
    """Take message by message as an engine does, and return the bodies; an error where it is refused."""
    inbox, bodies = Inbox(str(path)), []
    while found := inbox.look():
        bodies += [message.body for message in found]
        inbox.remove([message.id for message in found])
    return bodies


def test_an_inbox_in_which_pages_took_the_place_of_others_is_refused_and_never_short(filled: Path) -> None:
    """R30: copies of one page give the right count; which messages there are is told by table and index together."""
    inbox = Path(f"{filled}.inbox")
    whole = inbox.read_bytes()
    size = int.from_bytes(whole[16:18])
    pages = [whole[at : at + size] for at in range(0, len(whole), size)]
    expected = [f"{n}" * 60 for n in range(_COUNT)]
    copies = [(to, of) for to in range(1, len(pages)) for of in range(1, len(pages)) if to != of]
    pairs = [(one, other) for one in copies for other in copies if one[0] < other[0]]
    refused = 0
    for damage in [*[(one,) for one in copies], *random.Random(12).sample(pairs, 300)]:
        changed = list(pages)
        for to, of in damage:
            changed[to] = pages[of]
        inbox.write_bytes(b"".join(changed))
        try:
            assert _taken(filled) == expected, damage
        except durable.StoreCorruptError:
            refused += 1
    assert len(pages) > 6 and refused > 200
    inbox.write_bytes(whole)
    assert _taken(filled) == expected


@pytest.mark.parametrize(("put", "gone", "more", "pages"), [(40, 20, 20, 3), (5, 5, 5, 2)])
def test_a_page_that_is_as_it_was_before_is_missed(tmp_path: Path, put: int, gone: int, more: int, pages: int) -> None:
    """R30: a write that the disk has lost; what was taken stands there again, and what came since does not."""
    path = made(tmp_path / "x.db")
    inbox, file = Inbox(str(path)), Path(f"{path}.inbox")
    inbox.put([Message(f"id{n}", "events", "x" * 300) for n in range(put)])
    before = file.read_bytes()
    inbox.remove([f"id{n}" for n in range(gone)])
    inbox.put([Message(f"id{n}", "events", "x" * 300) for n in range(put, put + more)])
    now = file.read_bytes()
    size, lost = int.from_bytes(now[16:18]), 0
    expected = [f"id{n}" for n in range(gone, put + more)]
    for at in range(size, min(len(before), len(now)), size):
        if before[at : at + size] == now[at : at + size]:
            continue
        file.write_bytes(now[:at] + before[at : at + size] + now[at + size :])
        lost += 1
        try:
            assert [message.id for message in inbox.look()] == expected, at
        except durable.StoreCorruptError:
            continue
    assert lost >= pages
