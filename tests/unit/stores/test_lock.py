"""R29: one opener at a time writes to a file."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable.errors import StoreError, StoreLockedError
from durable.stores.file.lock import StoreLock
from durable.stores.file.store import FileStore
from durable.stores.store import Entry
from tests.proof.crashes import end, hear, start
from tests.support.places import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="the guard and these locks are Linux's")
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
_HOLD = """
import os, sys
from durable.stores.file.lock import StoreLock
lock = StoreLock(sys.argv[1])
lock.acquire()
lock.claim()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT,
    )
    assert child.stdout is not None and int(child.stdout.readline()) == child.pid
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def _take_and_give_back(path: Path) -> None:
    lock = StoreLock(os.path.realpath(path))
    lock.acquire()
    lock.claim()
    lock.release()


def test_a_second_process_is_refused_at_once_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """And with its host and its beginning: in two containers everything may be process 1."""
    child = _holder(tmp_path / "x.db")
    said = rf"process {child.pid} on host '{socket.gethostname()}', which began at {datetime.now(UTC):%Y-%m-%d}T"
    try:
        with pytest.raises(StoreLockedError, match=said):
            _take_and_give_back(tmp_path / "x.db")
    finally:
        _end(child)


def test_a_file_store_refuses_what_another_process_has_open(tmp_path: Path) -> None:
    child = _holder(tmp_path / "x.db")
    try:
        with pytest.raises(StoreLockedError, match=rf"process {child.pid}\b"):
            asyncio.run(FileStore(tmp_path / "x.db").open())
    finally:
        _end(child)
    assert not (tmp_path / "x.db").exists()


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    child = _holder(tmp_path / "x.db")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert (tmp_path / "x.db.lock").read_text().splitlines()[:2] == [str(child.pid), socket.gethostname()]
    _take_and_give_back(tmp_path / "x.db")


def _file_store(path: Path) -> None:
    async def made() -> None:
        store = FileStore(path)
        await store.open()
        try:
            await store.append([Entry("r", "K", "{}", False)])
        finally:
            await store.close()

    asyncio.run(made())


def test_a_lock_file_that_was_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "x.db.lock").write_text("1\n")
    _take_and_give_back(tmp_path / "x.db")


def test_what_is_too_large_for_a_lock_is_something_else_and_stays_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "x.db.lock"
    _file_store(other)
    content = other.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"x\.db\.lock' is no lock of a store, .* left as it is: move it away"):
            _file_store(tmp_path / "x.db")
    assert other.read_bytes() == content and not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"123\n", r"in process 123: end"),  # of releases before hosts were written down
        (
            b"1\nweb-1\n2030-01-01T00:00:00Z\n",
            r"in process 1 on host 'web-1', which began at 2030-01-01T00:00:00Z: end",
        ),
        (b"", "in another process: end"),
        (b"7", "in process 7: end"),
        ("\u0663\nhost".encode(), "in another process: end"),
        (b"\x1b[2J\n\x07\n\xff" + b"x" * 1_000_000, r"in another process on host '.*x07'"),
    ],
)
def test_whatever_a_lock_says_of_its_holder_is_told_in_words(tmp_path: Path, text: bytes, said: str) -> None:
    child = _holder(tmp_path / "x.db")
    (tmp_path / "x.db.lock").write_bytes(text)
    try:
        with pytest.raises(StoreLockedError, match=said) as caught:
            _take_and_give_back(tmp_path / "x.db")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 2_000
    finally:
        _end(child)
    assert (tmp_path / "x.db.lock").read_bytes() == text


def test_the_lock_file_is_never_deleted(tmp_path: Path) -> None:
    _take_and_give_back(tmp_path / "x.db")
    first = (tmp_path / "x.db.lock").stat().st_ino
    _take_and_give_back(tmp_path / "x.db")
    assert (tmp_path / "x.db.lock").stat().st_ino == first


def test_a_second_opener_in_this_process_is_refused_with_its_pid(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = FileStore(tmp_path / "x.db"), FileStore(tmp_path / "x.db")
        await first.open()
        with pytest.raises(StoreLockedError, match=rf"in this process already \(pid {os.getpid()}\)"):
            await second.open()
        with pytest.raises(StoreLockedError):
            await first.open()
        await first.close()
        await second.open()
        await second.close()

    asyncio.run(main())


def test_a_symbolic_link_to_a_store_is_the_same_store(tmp_path: Path) -> None:
    os.symlink(tmp_path / "x.db", tmp_path / "link.db")

    async def main() -> None:
        first = FileStore(tmp_path / "link.db")
        await first.open()
        with pytest.raises(StoreLockedError):
            await FileStore(tmp_path / "x.db").open()
        await first.close()

    asyncio.run(main())
    assert (tmp_path / "x.db.lock").exists() and not (tmp_path / "link.db.lock").exists()


_FORK = """
import os, sys
from durable.stores.file.lock import StoreLock
lock = StoreLock(sys.argv[1])
lock.acquire()
lock.claim()
child = os.fork()
if child:
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_outlives_the_holder_does_not_hold_the_lock(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _FORK, str(tmp_path / "x.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.wait()
    try:
        os.kill(child, 0)
        _take_and_give_back(tmp_path / "x.db")
    finally:
        parent.communicate("")


_MADE_BEFORE_A_FORK = """
import asyncio, os, sys, warnings, durable
from durable.stores import FileReader, FileStore
from durable.stores.store import RunQuery

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

@durable.function("a/b")
async def greet(ctx):
    return await ctx.step.run("greet", lambda: "hello")

async def uses():
    async with engine:
        print(await engine.invoke(greet), flush=True)
    await store.open()
    await store.append([])
    await store.close()
    async with reader:
        print(len(await reader.find(RunQuery())), flush=True)
    async with sender:
        await sender.send("a/b")
    async with engine:
        await engine.settled()
        print(len(await engine.runs()), flush=True)

path = sys.argv[1]
engine, sender = durable.Engine([greet], store=path), durable.Sender(path)
store, reader = FileStore(path), FileReader(path)
child = os.fork()
if not child:
    asyncio.run(uses())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
asyncio.run(uses())
child = os.fork()  # opened and closed again is as good as never opened
if not child:
    asyncio.run(uses())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_was_made_before_a_fork_and_is_not_open_belongs_to_whoever_opens_it(tmp_path: Path) -> None:
    """A module-level engine of a server that loads its application before it forks."""
    command = [sys.executable, "-c", _MADE_BEFORE_A_FORK, str(tmp_path / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["hello", "1", "2", "hello", "3", "4", "hello", "5", "6"]


_FORKED_STORE = """
import asyncio, os, sys
from durable.stores import FileStore
from durable.stores.store import Entry

async def main():
    store = FileStore(sys.argv[1])
    await store.open()
    await store.append([Entry("r", "k", "parent")])
    child = os.fork()
    if not child:
        refused = 0
        calls = [store.append([Entry("r", "k", "child")]), store.close(), store.open()]
        for call in calls:
            try:
                call.send(None)
            except RuntimeError as error:
                refused += "forked child" in str(error)
        os._exit(refused)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    await store.append([Entry("r", "k", "parent again")])
    print([entry.body async for entry in store.history("r")])
    await store.close()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_store_refuses_in_a_forked_child_and_goes_on_in_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKED_STORE, str(tmp_path / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=True)
    assert done.stdout.splitlines() == ["3", "['parent', 'parent again']"]


_LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.readline()
"""


@linux
@pytest.mark.parametrize(
    ("suffix", "call", "said"),
    [
        (".lock", "flock", r"open to write in another process: end that first, or only read here"),
        (".lock", "lockf", None),  # of another kind: the guard on the store's file stands by itself
        ("", "flock", None),  # which SQLite does not heed either
        ("", "lockf", r"open to write in another process, though its \.lock file does not say so"),
    ],
)
def test_a_lock_that_another_program_has_on_a_file_of_the_store_refuses_or_is_no_obstacle(
    tmp_path: Path, suffix: str, call: str, said: str | None
) -> None:
    """Whatever `flock(1)` or a backup locks: nothing is changed, nobody waits, and two never write."""
    path = tmp_path / "x.db"

    async def use() -> int:
        store = FileStore(path)
        await store.open()
        await store.append([Entry("r", "StepClosed", "body")])
        found = len([entry async for entry in store.history("r")])
        await store.close()
        return found

    assert asyncio.run(use()) == 1
    child = start(_LOCKER, f"{path}{suffix}", call)
    try:
        hear(child, "locked")
        before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
        if said is None:
            assert asyncio.run(use()) == 2
        else:
            with pytest.raises(StoreLockedError, match=said):
                asyncio.run(use())
            assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    finally:
        end(child)
    assert asyncio.run(use()) == (3 if said is None else 2)
