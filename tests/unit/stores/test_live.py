"""S2: what an open engine tells other processes is read while its holder lives, and never after that."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from durable.errors import StoreError
from durable.stores import FileStore, LiveFile
from durable.stores.file import live as live_file
from durable.stores.file.flock import lock
from durable.stores.file.live import read_live
from tests.support.places import ROOT

_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
_TELL = """
import sys
from durable.stores import LiveFile
live = LiveFile(sys.argv[1])
live.write("from a process")
print("told", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    async def make() -> None:
        store = FileStore(tmp_path / "x.db")
        await store.open()
        await store.close()

    asyncio.run(make())
    return os.path.realpath(tmp_path / "x.db")


def test_the_last_text_is_read_while_its_writer_holds_the_file(store: str) -> None:
    live = LiveFile(store)
    for text in ("one", "", "a longer one\nof two lines", "short", 'any {"text"}: \x00 ☃'):
        live.write(text)
        assert read_live(store) == text
    live.close()
    assert read_live(store) is None
    live.write("again")
    assert read_live(store) == "again"
    live.remove()
    assert read_live(store) is None and not Path(live.path).exists()
    live.remove()


def test_what_a_killed_process_has_left_counts_for_nothing_and_bites_nobody(store: str, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _TELL, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT
    )
    assert child.stdout is not None and child.stdout.readline() == "told\n"
    assert read_live(store) == "from a process"
    child.kill()
    child.communicate()
    assert read_live(store) is None
    left = Path(f"{store}.live")
    assert left.is_file() and b"from a process" in left.read_bytes()
    with tarfile.open(tmp_path / "backup.tar", "w") as tar:  # whatever stands there is a plain file
        tar.add(left)
    next_one = LiveFile(store)
    next_one.write("mine")
    assert read_live(store) == "mine"
    next_one.remove()
    assert not left.exists()


def test_what_another_has_left_is_never_shown_as_the_new_holders(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is emptied before the lock is taken, which makes it count."""
    old = LiveFile(store)
    old.write("of the dead")
    old.close()
    seen: list[str | None] = []
    new = LiveFile(store)
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: seen.append(read_live(store)) or real(file, data))
    new.write("mine")
    assert seen == [None] and read_live(store) == "mine"
    new.remove()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:20],
        lambda whole: whole[:-1] + b"X",
        lambda whole: b"durable live 2 00000000 0\n",
        lambda whole: b"durable live 1 \xff\n",
        lambda whole: b"\n",
        lambda whole: b"",
        lambda whole: b"something else",  # beside the writer, which had made the file
    ],
)
def test_a_text_that_is_not_whole_is_no_text(store: str, damage: Callable[[bytes], bytes]) -> None:
    live = LiveFile(store)
    live.write("a text of a few words")
    path = Path(live.path)
    path.write_bytes(damage(path.read_bytes()))
    assert read_live(store) is None
    live.write("whole")
    assert read_live(store) == "whole"
    live.remove()


def test_a_file_that_is_taken_away_is_made_again(store: str) -> None:
    live = LiveFile(store)
    live.write("one")
    os.unlink(live.path)
    assert read_live(store) is None
    live.write("two")
    assert read_live(store) == "two"
    live.remove()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_does_not_keep_it_alive(store: str) -> None:
    live = LiveFile(store)
    live.write("one")
    begin, go_on = os.pipe()
    there, is_there = os.pipe()
    child = os.fork()
    if not child:
        os.close(go_on)
        os.write(is_there, b"x")
        os.read(begin, 1)
        os._exit(0)
    try:
        os.read(there, 1)
        assert read_live(store) == "one"
        live.close()
        assert read_live(store) is None
    finally:
        os.close(go_on)
        os.waitpid(child, 0)
        for file in (begin, there, is_there):
            os.close(file)


@pytest.mark.skipif(sys.platform == "win32", reason="rights and links")
def test_it_has_the_rights_of_the_store_and_follows_no_link(store: str, tmp_path: Path) -> None:
    os.chmod(store, 0o640)
    live = LiveFile(store)
    live.write("one")
    assert os.stat(live.path).st_mode & 0o777 == 0o640
    live.remove()
    other = tmp_path / "precious"
    other.write_text("mine")
    for make in (os.symlink, os.link):
        make(other, live.path)
        with pytest.raises(StoreError, match=r"x\.db\.live' (is a link|has 2 names)"):
            live.write("two")
        assert read_live(store) is None and other.read_text() == "mine"
        os.unlink(live.path)


def test_a_disk_that_is_full_leaves_no_text_and_does_not_last(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveFile(store)
    live.write("one")
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: real(file, data[:10]))
        with pytest.raises(OSError, match="in part"):
            live.write("two")
    assert read_live(store) is None
    live.write("three")
    assert read_live(store) == "three"
    live.remove()


@pytest.mark.parametrize(
    "content",
    [b"SQLite format 3\x00" + b"rows" * 2_000, b"mine", b"\n", b"durable-live 1", b"\x00" * 5_000 + b"x", b"\x00d"],
)
def test_what_is_no_live_file_is_neither_emptied_nor_removed(store: str, content: bytes) -> None:
    """Another store may have this name, as a copy of a live one."""
    live, other = LiveFile(store), Path(f"{store}.live")
    other.write_bytes(content)
    for use in (lambda: live.write("mine"), live.remove):
        with pytest.raises(StoreError, match=r"x\.db\.live' is a file of something else"):
            use()
    assert other.read_bytes() == content and read_live(store) is None


@pytest.mark.parametrize(
    "left", [b"", b"dura", b"durable live 1 00", b"durable live 7 \xff", b"du\x00\x00", b"\x00" * 9]
)
def test_what_a_writer_of_any_version_has_left_half_done_is_written_over_and_removed(store: str, left: bytes) -> None:
    live, path = LiveFile(store), Path(f"{store}.live")
    path.write_bytes(left)
    live.write("mine")
    assert read_live(store) == "mine"
    live.close()
    path.write_bytes(left)
    live.remove()
    assert not path.exists()


def left_by_the_dead(store: str) -> str:
    dead = LiveFile(store)
    dead.write("of the dead")
    dead.close()
    return dead.path


def test_two_readers_at_once_do_not_take_each_other_for_a_living_engine(store: str) -> None:
    with open(left_by_the_dead(store), "rb") as other:
        lock(other.fileno(), is_shared=True)
        assert read_live(store) is None


def test_a_reader_that_looks_at_this_instant_does_not_keep_the_writer_out(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveFile(store)
    with open(left_by_the_dead(store), "rb") as reader:
        lock(reader.fileno(), is_shared=True)
        monkeypatch.setattr(live_file, "sleep", lambda _: reader.close())
        live.write("mine")
        assert reader.closed and read_live(store) == "mine"
    live.remove()
