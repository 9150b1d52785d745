"""S3's doctor: what may be slow, full, unsafe or in the way where a store stands, at no harm to it or its engine."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import durable
from durable.engine import doctor
from durable.engine.doctor import Examination, Finding, examine
from durable.stores import FileSystem, file_system_of
from tests.support.places import ROOT

pytestmark = pytest.mark.anyio
linux = pytest.mark.skipif(sys.platform != "linux", reason="the system must tell")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def about(found: Examination, what: str) -> Finding:
    [one] = [finding for finding in found.findings if finding.about == what]
    return one


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


@linux
async def test_a_store_that_an_engine_has_open_is_examined_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with durable.Engine(store=path) as engine:
        await durable.Sender(path).send("nobody/listens", {})
        before = names(tmp_path) | {"x.db.inbox"}
        found = await examine(path)
        assert names(tmp_path) | {"x.db.inbox"} == before
        assert about(found, "open in").value.startswith(f"process {os.getpid()} on host ")
        assert about(found, "open in").verdict == "ok"
        assert "ms each, " in about(found, "commits").value
        assert about(found, "store").value.startswith("format 1, page_size 4096, pages ")
        assert "free, the store takes" in about(found, "room").value
        await engine.send("nobody/listens", {})
        while about(await examine(path), "inbox").value == "1 waiting":
            await asyncio.sleep(0)
    found = await examine(path)
    assert about(found, "open in").value == "no process" and about(found, "inbox").value == "empty"
    assert found.verdict in ("ok", "note") and str(found).count("\n") + 1 == len(found.findings)
    assert json.loads(json.dumps(found.to_dict()))["findings"][0]["about"] == "versions"


@linux
async def test_examining_never_keeps_an_engine_from_opening(tmp_path: Path) -> None:
    """The lock is looked at, not tried."""
    path, ends = tmp_path / "x.db", 0
    while ends <= 5:
        examining = asyncio.ensure_future(examine(path))
        while not examining.done():
            async with durable.Engine(store=path):
                ends += 1
        await examining


_HOLDS = """
import asyncio, sys
import durable

async def main():
    async with durable.Engine(store=sys.argv[1]):
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def killed(path: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.Popen([sys.executable, "-c", _HOLDS, str(path)], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None and child.stdout.readline() == b"open\n"
    child.kill()
    child.communicate()
    return child.pid


@linux
async def test_a_dead_holder_and_waiting_messages_are_noted(tmp_path: Path) -> None:
    pid = killed(tmp_path / "x.db")
    await durable.Sender(tmp_path / "x.db").send("nobody/listens", {})
    found = await examine(tmp_path / "x.db")
    holder = about(found, "open in")
    assert holder.value.startswith(f"process {pid} on host") and holder.value.endswith(", which has died")
    assert (holder.verdict, about(found, "inbox").value) == ("note", "1 waiting")


async def test_a_file_that_cannot_shrink_and_a_wal_that_is_never_copied_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    async with durable.Engine(store=path) as engine:
        await engine.send("nobody/listens", {})
        assert about(await examine(path), "-wal").verdict == "ok"
        monkeypatch.setattr(doctor, "_LARGE_WAL", -1)
        assert "close viewers and shells" in about(await examine(path), "-wal").advice
    assert about(await examine(path), "store").verdict == "ok"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA auto_vacuum = 0; VACUUM")
    store = about(await examine(path), "store")
    assert store.verdict == "note" and "run `PRAGMA auto_vacuum = 2; VACUUM` on it" in store.advice


async def test_what_is_not_there_or_no_store_is_told_of_and_the_rest_is_examined(tmp_path: Path) -> None:
    found = await examine(tmp_path / "none" / "x.db")
    assert (found.verdict, found.findings[-1].advice) == ("bad", "create it")
    found = await examine(tmp_path / "x.db")
    assert about(found, "store").value == "there is none yet" and names(tmp_path) == set()
    (tmp_path / "x.db").touch()  # as one does so that others may read and write what an engine will make of it
    found = await examine(tmp_path / "x.db")
    assert (about(found, "store").value, found.verdict, found.has_store) == ("there is none yet", "note", False)
    (tmp_path / "x.db-wal").write_text("what is left when only the store was deleted")
    assert "is gone but its -wal is there" in about(await examine(tmp_path / "x.db"), "store").value
    (tmp_path / "x.db").unlink()
    assert (await examine(tmp_path / "x.db")).verdict == "bad"
    (tmp_path / "x.db-wal").unlink()
    (tmp_path / "x.db").write_text("text" * 1_000)
    found = await examine(tmp_path / "x.db")
    assert about(found, "store").verdict == "bad" and "ms each" in about(found, "commits").value
    with pytest.raises(ValueError, match=":memory:"):
        await examine(":memory:")


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("ext4", "ok"),
        ("nfs4", "bad"),
        ("cifs", "bad"),
        ("fuse.sshfs", "bad"),
        ("9p", "bad"),
        ("tmpfs", "note"),
        (None, "ok"),
    ],
)
def test_a_network_file_system_is_named(kind: str | None, verdict: str) -> None:
    assert doctor._file_system(FileSystem(kind, "/mnt")).verdict == verdict


@linux
def test_the_mount_that_is_nearest_tells_the_file_system(tmp_path: Path) -> None:
    assert file_system_of("/proc/self") == FileSystem("proc", "/proc")
    assert file_system_of("/procession").mount != "/proc"
    found = file_system_of(str(tmp_path.resolve()))
    assert found.kind is not None and str(tmp_path.resolve()).startswith(found.mount or "?")


@pytest.mark.parametrize(("seconds", "verdict"), [(1e-6, "note"), (2e-4, "ok"), (0.02, "note"), (0.5, "bad")])
def test_what_a_commit_costs_is_judged(seconds: float, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "sync_cost", lambda folder: seconds)
    assert doctor._sync("/anywhere").verdict == verdict


def _full() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_full(), "make room"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (PermissionError(errno.EACCES, "Permission denied"), "give this user the right to write in the folder"),
    ],
)
def test_why_no_commit_can_be_made_is_told_with_its_remedy(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: str) -> float:
        raise error

    monkeypatch.setattr(doctor, "sync_cost", fail)
    found = doctor._sync("/anywhere")
    assert (found.verdict, found.advice) == ("bad", remedy) and str(error) in found.value
