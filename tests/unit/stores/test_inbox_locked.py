"""An inbox that others use at the same time, or keep locked: everyone gets in, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import durable
from durable.stores.file import inbox as inboxes
from durable.stores.file.inbox import Inbox, Message
from tests.proof.crashes import start
from tests.proof.crashes.senders import events, hears, listen, made, paid, reopened, sent, waiting

ONE = Message("one", "events", "body")
USES: list[Callable[[Inbox], object]] = [lambda one: one.put([ONE]), Inbox.look, lambda one: one.remove(["x"])]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = made(tmp_path / "x.db")
    sent(path, "a/b")
    return path


def _locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(f"{path}.inbox", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    return other


@pytest.mark.parametrize("use", USES)
def test_a_lock_of_another_program_is_waited_for(path: Path, use: Callable[[Inbox], object]) -> None:
    other = _locked(path)
    with ThreadPoolExecutor(1) as pool:
        using = pool.submit(use, Inbox(str(path)))
        with pytest.raises(TimeoutError):
            using.result(0.2)
        other.close()
        using.result()


@pytest.mark.parametrize("use", USES)
def test_a_lock_that_stays_is_an_error_that_says_so_and_nothing_is_changed(
    path: Path, use: Callable[[Inbox], object]
) -> None:
    before = waiting(path)
    other = _locked(path)
    with pytest.raises(durable.StoreError, match=r"x.db.inbox' is kept locked by another program: end that"):
        use(Inbox(str(path), patience=0.05))
    other.close()
    assert waiting(path) == before


def test_who_is_to_hurry_gives_up_soon(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "_HURRY", 0.01)
    other, inbox = _locked(path), Inbox(str(path), patience=1_000)
    with ThreadPoolExecutor(1) as pool:
        using = pool.submit(inbox.look)
        inbox.hurry()
        with pytest.raises(durable.StoreError, match="kept locked"):
            using.result()
    other.close()


def test_an_engine_whose_inbox_is_locked_works_on_and_closes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can read what was sent, but not remove it: whoever opens the store next does, and takes nothing twice."""
    monkeypatch.setattr(inboxes, "_HURRY", 0.01)

    async def story() -> list[int]:
        heard = listen()
        async with durable.Engine([paid], store=path) as engine:
            await engine.send(events(2))
            return await hears(heard, 2)

    sent(path, *events(1))
    other = sqlite3.connect(f"{path}.inbox", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert sorted(asyncio.run(story())) == [1, 2]
    other.close()
    assert len(waiting(path)) == 2
    assert asyncio.run(reopened(path)) == [1, 2]
    assert waiting(path) == []


_MANY = """
import asyncio, sys, durable

async def main():
    first = int(sys.argv[2])
    async with durable.Sender(sys.argv[1]) as sender:
        for n in range(first, first + 5):
            await sender.send("shop/paid", {"n": n})

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_eight_processes_that_send_at_once_all_get_in(path: Path) -> None:
    children = [start(_MANY, path, 5 * number) for number in range(8)]
    assert [child.communicate()[0] for child in children] == [""] * 8
    assert len(waiting(path)) == 41
