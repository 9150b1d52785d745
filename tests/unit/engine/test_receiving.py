"""The engine's side of the inbox: what was sent is taken at once, exactly once, and costs nothing where nothing is."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine.opened import inside
from durable.stores.file.inbox import message_run
from durable.stores.store import Entry
from durable.testing import Lab, VirtualClock
from tests.bench.idle import CountingLoop, SkippingClock
from tests.proof.crashes import end, hear, start
from tests.proof.crashes.senders import (
    beside,
    change,
    copied,
    events,
    hears,
    listen,
    made,
    mortals,
    openings,
    paid,
    reopened,
    sent,
    waiting,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes and named pipes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


# At once.


def test_a_sender_in_the_engines_own_process_reaches_it_at_once(path: Path) -> None:
    async def story() -> list[int]:
        heard = listen()
        async with durable.Engine([paid], store=path), durable.Sender(path) as sender:
            await asyncio.gather(*[sender.send("shop/paid", {"n": n}) for n in range(300)])
            return await hears(heard, 300)

    assert sorted(asyncio.run(story())) == list(range(300))
    assert waiting(path) == []


_SENDER = """
import asyncio, sys, durable

async def main():
    first = int(sys.argv[2])
    async with durable.Sender(sys.argv[1]) as sender:
        for n in range(first, first + 20):
            await sender.send("shop/paid", {"n": n})

asyncio.run(main())
"""


@posix
def test_two_processes_that_send_at_once_both_reach_a_live_engine(path: Path) -> None:
    async def story() -> list[int]:
        heard = listen()
        async with durable.Engine([paid], store=path):
            children = [start(_SENDER, path, first) for first in (0, 20)]
            found = await hears(heard, 40)
            assert [child.communicate()[0] for child in children] == ["", ""]
            return found

    assert sorted(asyncio.run(story())) == list(range(40))
    assert asyncio.run(reopened(path)) == list(range(40))
    assert set(openings(path).values()) == {1}


# Exactly once.


@durable.function(retries=0)
async def fails(ctx: durable.Context) -> None:
    raise durable.NonRetriableError("always")


def retries(path: Path, run: str) -> int:
    async def story() -> int:
        return len([entry for entry in await durable.Reader(path).record(run) if entry.kind == "RunRetried"])

    return asyncio.run(story())


_TAKER = """
import asyncio, os, durable

@durable.function("shop/paid")
async def paid(ctx):
    return ctx.event.data["n"]

@durable.function(retries=0)
async def fails(ctx):
    raise durable.NonRetriableError("always")

async def main():
    async with durable.Engine([paid, fails], store=sys.argv[1]):
        while durable.stores.Inbox(sys.argv[1]).look():
            await asyncio.sleep(0)

asyncio.run(main())
"""


@posix
def test_an_engine_killed_at_any_instant_takes_every_message_exactly_once(path: Path) -> None:
    """It dies before each statement that writes to the store or to the inbox, and is opened again days later.

    Events, and what needs a run read from the store: a start with an id, a retry and a fork.
    """

    async def ask() -> str:
        async with durable.Engine([paid, fails], store=path) as engine:
            await engine.start(paid, {"n": 4}, id="four")
            await engine.start(fails, id="failed")
            await engine.settled()
        async with durable.Sender(path) as sender:
            await sender.start(paid, {"n": 5}, id="five")
            await sender.retry("failed")
            return await sender.fork("four")

    listen()
    number, later = 1, VirtualClock(datetime.now(UTC) + timedelta(days=3))
    fork = asyncio.run(ask())
    ids = sent(path, events(1, 2), *events(3))
    with mortals(_TAKER) as died:
        while True:
            store = copied(path, f"{number}.db")
            is_over = not died(store, number) or not waiting(store)  # commits are shared now so, now so
            assert asyncio.run(reopened(store, clock=later)) == [1, 2, 3, 4, 4, 5]
            assert openings(store) == {**{f"{id}/paid": 1 for id in ids}, "four": 1, "five": 1, "failed": 1, fork: 1}
            assert retries(store, "failed") == 1
            if is_over:
                break
            number += 1
    assert number > 8


def test_a_message_found_again_is_not_taken_twice_however_long_the_store_was_shut(path: Path) -> None:
    """As if the process had been killed after what followed was durable, and before the inbox was."""
    sent(path, events(1), durable.Event("nobody/hears"))
    shutil.copy(f"{path}.inbox", f"{path}.copy")
    assert asyncio.run(reopened(path)) == [1]
    os.replace(f"{path}.copy", f"{path}.inbox")
    assert len(waiting(path)) == 2
    later = VirtualClock(datetime.now(UTC) + timedelta(days=400))
    assert asyncio.run(reopened(path, clock=later)) == [1]
    assert set(openings(path).values()) == {1}


def test_a_message_behind_one_that_is_refused_is_not_taken_twice_either(path: Path) -> None:
    """The journal is asked about every message until the inbox was once seen empty: the refused fill the first look."""

    def count() -> int:  # all of them: a look into the inbox ends behind the large one
        with closing(sqlite3.connect(f"{path}.inbox")) as inbox:
            return int(inbox.execute("SELECT count(*) FROM message").fetchone()[0])

    async def story() -> None:
        async with durable.Engine([paid], store=path) as engine:
            while await asyncio.to_thread(count) != 1:
                await asyncio.sleep(0)
            await engine.settled()

    sent(path, durable.Event("paid", {"n": "x" * (1_100 << 10)}), limits=durable.Limits(event_bytes=2 << 20))
    sent(path, events(1))
    shutil.copy(f"{path}.inbox", f"{path}.copy")
    asyncio.run(story())
    os.replace(f"{path}.copy", f"{path}.inbox")
    asyncio.run(story())
    assert list(openings(path).values()) == [1]


_PRUNER = """
import asyncio, sys, datetime, durable

@durable.function("shop/paid")
async def paid(ctx):
    await ctx.step.run("charge", lambda: print(f"charged {ctx.event.data['n']}\\n", end="", flush=True))

async def main():
    store = durable.FileStore(sys.argv[1])
    async with durable.Engine([paid], store=store) as engine:
        while True:
            await asyncio.to_thread(sys.stdin.readline)
            await engine.settled()
            await store.prune(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
            print(f"pruned, {len(await engine.runs())} left", flush=True)

asyncio.run(main())
"""


@posix
def test_that_a_message_was_taken_is_remembered_while_it_is_there_whatever_is_pruned(path: Path) -> None:
    """Another program holds the inbox, so the message is taken and stays there; all is pruned, the engine killed."""
    sent(path, *events(1))
    other = sqlite3.connect(f"{path}.inbox", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    child = start(_PRUNER, path)
    try:
        hear(child, "charged 1")
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        hear(child, "pruned, 0 left")
    finally:
        end(child)
        other.close()
    assert len(waiting(path)) == 1
    sent(path, *events(2))
    child = start(_PRUNER, path)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "charged 2\n"
    finally:
        end(child)


@pytest.mark.parametrize("damage", [None, b"this is no database"])
def test_that_a_message_was_taken_is_forgotten_once_it_has_gone_and_not_where_that_cannot_be_told(
    path: Path, damage: bytes | None
) -> None:
    async def story() -> list[int]:
        store, left = durable.FileStore(path), []
        async with durable.Engine([paid], store=store) as engine:
            await hears(heard, 1)
            while await asyncio.to_thread(waiting, path):
                await asyncio.sleep(0)
            inbox, whole = Path(f"{path}.inbox"), await asyncio.to_thread(Path(f"{path}.inbox").read_bytes)
            for content in (damage or whole, whole):
                await engine.send(events(2))
                await engine.settled()
                await asyncio.to_thread(inbox.write_bytes, content)
                await store.prune(datetime.now(UTC) + timedelta(days=1))
                left.append(len([entry async for entry in store.history(message_run(message.id))]))
        return left

    heard = listen()
    sent(path, *events(1))
    [message] = waiting(path)
    assert asyncio.run(story()) == [1 if damage else 0, 0]


class _Failing(durable.FileStore):
    """A store whose disk fills up as soon as a message is taken."""

    async def append(self, entries: Sequence[Entry]) -> None:
        if any(entry.kind == "MessageTaken" for entry in entries):
            raise durable.StoreError(os.strerror(errno.ENOSPC))
        await super().append(entries)


def test_a_store_that_fails_leaves_the_inbox_as_it_was(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R31"""

    async def story() -> None:
        engine = durable.Engine([paid], store=_Failing(path))
        await engine.open()
        sent_ids.extend(await asyncio.to_thread(sent, path, *events(1, 2)))
        while inside(engine, "test"):
            await asyncio.sleep(0)

    sent_ids: list[str] = []
    with pytest.raises(durable.StoreError, match=os.strerror(errno.ENOSPC)):
        asyncio.run(story())
    assert len(waiting(path)) == 2
    assert "not known" not in caplog.text
    assert asyncio.run(reopened(path)) == [1, 2]


# What it costs.


def test_an_engine_that_nobody_sends_to_from_outside_makes_no_inbox(path: Path) -> None:
    async def story() -> set[str]:
        async with durable.Engine([paid], store=path):
            return beside(path)

    assert asyncio.run(story()) <= {"", ".lock", "-wal", "-shm"}
    assert beside(path) == {"", ".lock"}


def test_a_lab_never_takes_what_was_sent_from_outside(path: Path) -> None:
    sent(path, "shop/paid")

    async def story() -> list[Any]:
        async with Lab([paid], store=durable.FileStore(path)) as lab:
            return await lab.engine.runs()

    assert asyncio.run(story()) == []
    assert len(waiting(path)) == 1


class _DeafLoop(CountingLoop):
    """A loop that cannot watch files, as on Windows."""

    def add_reader(self, *_: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [CountingLoop, _DeafLoop])
def test_what_no_bell_told_of_is_found_within_30_seconds_at_one_wake_up(
    path: Path, kind: type[CountingLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.engine.outbox.ring", lambda store: None)  # a sender was killed before it rang

    async def story(loop: CountingLoop) -> int:
        heard = listen()
        async with durable.Engine([paid], store=path, clock=SkippingClock(loop)):
            await asyncio.to_thread(sent, path, *events(1))
            assert heard.empty()
            await loop.wake_ups_in(31, skipping=True)
            assert await hears(heard, 1) == [1]
            while await asyncio.to_thread(waiting, path):
                await asyncio.sleep(0)
            await loop.wake_ups_in(100, skipping=True)
            return await loop.wake_ups_in(30, skipping=True)

    loop = kind()
    try:
        assert loop.run_until_complete(story(loop)) <= 1
    finally:
        loop.close()


def test_an_inbox_that_nobody_has_written_to_is_not_looked_into_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A look costs a second wake-up, of the thread that looks. Here one would find that the file is damaged."""

    async def story(loop: CountingLoop) -> None:
        async with durable.Engine([paid], store=path, clock=SkippingClock(loop)) as engine:
            intake = inside(engine, "test").receiver
            while intake._seen_empty is None:
                await loop.wake_ups_in(31, skipping=True)
            for _ in range(3):  # looks that began meanwhile are over
                await intake._ask(lambda: None)
            await asyncio.to_thread(_damage_unnoticed, Path(f"{path}.inbox"))
            await loop.wake_ups_in(100, skipping=True)

    sent(path, "nobody/hears")
    loop = CountingLoop()
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.close()
    assert "checksum" not in caplog.text


def _damage_unnoticed(inbox: Path) -> None:
    found = inbox.stat()
    change(inbox, "UPDATE mark SET taken = 0")
    os.utime(inbox, ns=(found.st_atime_ns, found.st_mtime_ns))
