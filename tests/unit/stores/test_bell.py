"""The bell: it wakes an engine at once, is nothing that could bite, and nobody can do harm with it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

import durable
from durable.stores.file import bell as bells
from durable.stores.file.bell import Bell, ring
from tests.proof.crashes import end, hear, run, start
from tests.proof.crashes.senders import beside, events, hears, listen, made, paid, sent

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@pytest.fixture(params=[True, False], ids=["abstract", "file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Both kinds of names; the folder of those that are files."""
    if request.param and not bells._ABSTRACT:
        pytest.skip("names that are no files are Linux's")
    monkeypatch.setattr(bells, "_ABSTRACT", request.param)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


# Heard.

_ENGINE = """
import asyncio, sys, durable

@durable.function("shop/paid")
async def paid(ctx):
    print("paid", ctx.event.data["n"], flush=True)

async def main():
    async with durable.Engine([paid], store=sys.argv[1]) as engine:
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_engine_leaves_nothing_that_could_bite_and_the_next_one_is_heard(path: Path) -> None:
    for number in range(2):
        child = start(_ENGINE, path)
        try:
            hear(child, "open")
            sent(path, *events(number))
            hear(child, f"paid {number}")
        finally:
            end(child)
        assert all(stat.S_ISREG(one.lstat().st_mode) for one in path.parent.iterdir()), beside(path)
        sent(path, *events(10 + number))  # does not block: nobody is there to hear
        child = start(_ENGINE, path)
        try:
            hear(child, f"paid {10 + number}")
        finally:
            end(child)


@pytest.mark.parametrize("is_alive", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        "cp -r shop copied",
        "tar cf copied.tar shop",
        "grep -rc paid shop",
        "rsync -a shop/ copied",
        "cat shop/* > copied",
    ],
)
def test_what_copies_or_reads_the_folder_ends(tmp_path: Path, command: str, is_alive: bool) -> None:
    """A named pipe that a killed process had left behind made `cp store.db* elsewhere` hang for ever."""
    if shutil.which(command.split()[0]) is None:
        pytest.skip("no such program here")
    (tmp_path / "shop").mkdir()
    path = made(tmp_path / "shop" / "x.db")
    child = start(_ENGINE, path)
    try:
        hear(child, "open")
        sent(path, *events(1))
        hear(child, "paid 1")
        if not is_alive:
            end(child)
        subprocess.run(command, cwd=tmp_path, shell=True, timeout=20, capture_output=True)
    finally:
        end(child)


def test_each_sender_is_heard_at_once(path: Path, kind: Path) -> None:
    async def story() -> list[int]:
        heard, found = listen(), []
        async with durable.Engine([paid], store=path):
            assert len(os.listdir(kind)) == (not bells._ABSTRACT)
            for number in range(5):
                await asyncio.to_thread(sent, path, *events(number))
                found += await asyncio.wait_for(hears(heard, 1), 20)  # far below the 30 s of a look
        return found

    assert asyncio.run(story()) == [0, 1, 2, 3, 4]
    assert list(kind.iterdir()) == []
    assert beside(path) == {"", ".lock", ".inbox"}


def test_two_engines_on_two_stores_hear_their_own_bells(tmp_path: Path, kind: Path) -> None:
    rung: list[str] = []
    made(tmp_path / "a")
    made(tmp_path / "b")

    async def story() -> None:
        one, other = [Bell(str(tmp_path / name), lambda name=name: rung.append(name)) for name in "ab"]
        one.open()
        other.open()
        ring(str(tmp_path / "b"))
        while not rung:
            await asyncio.sleep(0)
        other.close()
        one.close()

    asyncio.run(story())
    assert rung == ["b"]


# Harmless.


def test_garbage_only_wakes_and_not_too_often(path: Path, kind: Path) -> None:
    rung: list[float] = []

    async def story() -> None:
        bell = Bell(str(path), lambda: rung.append(monotonic()))
        bell.open()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            stranger.connect(bells._name(str(path)))
            while len(rung) < 8:
                for size in (1, 0, 2_000):
                    try:
                        stranger.send(os.urandom(size))
                    except BlockingIOError:
                        pass
                await asyncio.sleep(0)
        bell.close()

    asyncio.run(story())
    assert all(later - earlier >= bells._PAUSE_S * 0.9 for earlier, later in pairwise(rung))


def test_to_ring_never_blocks_though_nobody_listens(path: Path, kind: Path) -> None:
    async def story() -> int:
        rung: list[None] = []
        bell = Bell(str(path), lambda: rung.append(None))
        bell.open()
        for _ in range(5_000):  # the loop does nothing meanwhile
            ring(str(path))
        while not rung:
            await asyncio.sleep(0)
        bell.close()
        ring(str(path))
        return len(rung)

    assert asyncio.run(story()) >= 1
    ring(f"{path}.nowhere")


def test_a_bell_that_is_closed_in_its_pause_rings_no_more(path: Path, kind: Path) -> None:
    async def story() -> int:
        rung: list[None] = []
        bell = Bell(str(path), lambda: rung.append(None))
        bell.open()
        ring(str(path))
        while not rung:
            await asyncio.sleep(0)
        ring(str(path))
        bell.close()
        bell.close()
        bell.open()  # what was sent to the old one is not heard by the new
        ring(str(path))
        while len(rung) < 2:
            await asyncio.sleep(0)
        bell.close()
        return len(rung)

    assert asyncio.run(story()) == 2


def test_an_engine_whose_name_somebody_else_has_looks_every_30_seconds(
    path: Path, kind: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with durable.Engine([paid], store=path) as engine:
            await engine.send("a/b", id="mine")

    caplog.set_level(logging.INFO)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        if bells._ABSTRACT:
            stranger.bind(bells._name(str(path)))
        else:
            Path(bells._name(str(path))).symlink_to(path)
        asyncio.run(story())
    assert "the store has no bell" in caplog.text and "within 30 s" in caplog.text
    assert bells._ABSTRACT or Path(bells._name(str(path))).is_symlink()


def test_where_there_are_no_such_sockets_an_engine_opens_and_senders_send(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> list[int]:
        heard = listen()
        async with durable.Engine([paid], store=path):
            return await hears(heard, 1)

    monkeypatch.setattr(bells, "_IS_THERE", False)
    caplog.set_level(logging.INFO)
    sent(path, *events(1))
    assert asyncio.run(story()) == [1]
    assert "the store has no bell" in caplog.text


def test_a_name_that_a_killed_process_has_left_is_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "_ABSTRACT", False)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(bells._name(str(path)))
        rung: list[None] = []

        async def story() -> None:
            bell = Bell(str(path), lambda: rung.append(None))
            bell.open()
            ring(str(path))
            while not rung:
                await asyncio.sleep(0)
            bell.close()

        asyncio.run(story())
        assert os.listdir(name) == []


# What older releases have left.


async def _opens(path: Path) -> None:
    async with durable.Engine(store=path):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_an_older_release_has_left_is_taken_away_at_opening(path: Path) -> None:
    os.mkfifo(f"{path}.bell")
    asyncio.run(_opens(path))
    assert beside(path) == {"", ".lock"}


def test_whatever_else_has_that_name_is_left_alone(path: Path) -> None:
    bell = Path(f"{path}.bell")
    bell.write_text("mine")
    asyncio.run(_opens(path))
    assert bell.read_text() == "mine"
    bell.unlink()
    bell.symlink_to(path)
    asyncio.run(_opens(path))
    assert bell.is_symlink()
    if hasattr(os, "geteuid") and not os.geteuid():
        bell.unlink()
        os.mkfifo(bell)
        os.chown(bell, 12_001, 12_001)
        asyncio.run(_opens(path))
        assert stat.S_ISFIFO(bell.lstat().st_mode)


# Fork.

_FORK = """
import asyncio, os, sys, warnings, durable

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

@durable.function("shop/paid")
async def paid(ctx):
    came.set()

async def heard(sender):
    came.clear()
    await sender.send("shop/paid")
    await came.wait()

async def main():
    global came
    came = asyncio.Event()
    until, end = os.pipe()
    async with durable.Sender(sys.argv[1]) as sender:
        async with durable.Engine([paid], store=sys.argv[1]) as engine:
            child = os.fork()
            if not child:
                engine._owner.runtime.receiver._bell.close()
                os.close(end)
                os.read(until, 1)
                os._exit(0)
            await heard(sender)
        async with durable.Engine([paid], store=sys.argv[1]):
            await heard(sender)
        os.close(end)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_the_bell_to_its_parent_and_may_outlive_it(path: Path) -> None:
    assert run(_FORK, path) == (0, "0\n")
    assert beside(path) == {"", ".lock", ".inbox"}
