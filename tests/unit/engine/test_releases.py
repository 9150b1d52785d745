"""Releases beside each other: what an engine of another release does not take is refused at the call, with both."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import durable
from durable import Context, Engine, Reader, Sender
from durable.stores.file.holder import holder_in, signature
from durable.stores.file.inbox import Inbox, Message
from tests.proof.crashes.senders import change, made, waiting

NEVER = datetime(2100, 1, 1, tzinfo=UTC)
HERE = signature().decode().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@durable.function
async def waits(ctx: Context) -> None:
    await ctx.step.sleep("s", "1d")


Call = Callable[[Sender], Awaitable[object]]
STEERING: dict[str, Call] = {
    "start": lambda s: s.start(waits),
    "start with an id": lambda s: s.start(waits, id="new"),
    "cancel": lambda s: s.cancel("one"),
    "retry": lambda s: s.retry("gone"),
    "fork": lambda s: s.fork("gone"),
    "unsend": lambda s: s.unsend(_events[0]),
}
_events: list[str] = []


def _holding(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


async def _told(path: Path, lock: str | None, call: Call) -> None:
    """Call a sender while an engine has the store open, whose lock says so."""
    async with Engine([waits], store=path) as engine:
        for id in ("one", "gone"):
            await engine.start(waits, id=id)
        await engine.cancel("gone")
        _events[:] = await engine.send("e", ts=NEVER)
        await engine.settled()
        if lock is not None:
            await asyncio.to_thread(Path(f"{path}.lock").write_text, lock)
        await call(Sender(path))


@pytest.mark.parametrize("verb", STEERING)
def test_an_engine_of_an_earlier_release_is_not_sent_what_it_does_not_take(path: Path, verb: str) -> None:
    said = (
        rf"x.db' is open in process {os.getpid()} on host '.*', which began at .*, with an earlier release of durable: "
        "it takes messages of format 1, and this one has format 2: restart that engine"
    )
    with pytest.raises(durable.StoreError, match=said):
        asyncio.run(_told(path, _holding(*HERE[:3]), STEERING[verb]))
    assert waiting(path) == []


@pytest.mark.parametrize("call", [lambda s: s.send("a"), lambda s: s.send_signal("a")], ids=["an event", "a signal"])
def test_an_engine_of_an_earlier_release_takes_events_and_signals(path: Path, call: Call) -> None:
    asyncio.run(_told(path, _holding(*HERE[:3]), call))


def _pid_of_the_dead() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("lines", "is_sent"),
    [
        (HERE, True),
        ([*HERE[:3], "takes messages 7"], True),  # a later release
        ([*HERE[:3], "takes messages 2", "and more"], True),
        ([*HERE[:3], "takes messages 1"], False),
        ([*HERE[:3], "takes messages \u0667"], False),
        ([], True),  # a closed store
        (HERE[:1], False),  # a release before hosts were written down
        ([HERE[0], "elsewhere", HERE[2]], False),  # a container: it may live
        (["1", socket.gethostname(), "2001-01-01T00:00:00Z"], sys.platform == "linux"),  # the pid was given again
    ],
)
def test_what_a_lock_says_of_its_holder_decides(path: Path, lines: list[str], is_sent: bool) -> None:
    Path(f"{path}.lock").write_text(_holding(*lines))
    if is_sent:
        asyncio.run(_started(path))
        assert len(waiting(path)) == 1
    else:
        with pytest.raises(durable.StoreError, match="takes messages of format 1"):
            asyncio.run(_started(path))


async def _started(path: Path) -> str:
    return await Sender(path).start(waits)


@pytest.mark.skipif(sys.platform == "win32", reason="a pid cannot be asked about there")
def test_what_a_dead_engine_of_an_earlier_release_left_is_no_obstacle(path: Path) -> None:
    Path(f"{path}.lock").write_text(_holding(str(_pid_of_the_dead()), *HERE[1:3]))
    asyncio.run(_started(path))
    assert len(waiting(path)) == 1


def test_nothing_that_lies_at_the_locks_name_stops_a_sender(path: Path) -> None:
    lock = Path(f"{path}.lock")
    for lay in (lambda: lock.symlink_to("nowhere"), lock.mkdir, lambda: os.mkfifo(lock), lambda: None):
        lock.rmdir() if lock.is_dir() and not lock.is_symlink() else lock.unlink(missing_ok=True)
        lay()
        asyncio.run(_started(path))
    assert len(waiting(path)) == 4


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\n\n\n\n", b"9" * 512, b"takes messages 9"])
def test_a_lock_says_whatever_it_says(text: bytes) -> None:
    holder = holder_in(text)
    assert holder.takes == 1 and not (holder.is_dead and holder.pid == "") and str(holder).isprintable()


def test_a_store_of_a_later_release_is_refused_with_both_formats_by_all_that_use_it(path: Path) -> None:
    change(path, "PRAGMA user_version = 99")

    async def opens() -> None:
        async with Engine(store=path):
            pass

    for use in (opens, lambda: Sender(path).send("a"), lambda: _started(path), lambda: Reader(path).runs()):
        with pytest.raises(durable.StoreError, match=r"has format 99, this version of durable reads format 1, "):
            asyncio.run(use())  # type: ignore[arg-type]


def test_a_message_of_a_later_release_stays_for_one_that_knows_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And those behind it are taken."""
    asyncio.run(_started(path))
    Inbox(str(path)).put([Message("later", "dance", '{"format":3,"at":0}')])
    asyncio.run(_started(path))

    async def taken() -> int:
        async with Engine([waits], store=path) as engine:
            while len(await asyncio.to_thread(waiting, path)) > 1:
                await asyncio.sleep(0)
            return len(await engine.runs())

    assert asyncio.run(taken()) == 2
    assert [message.id for message in waiting(path)] == ["later"]
    assert "its format is 3, this version takes formats 1 to 2" in caplog.text
