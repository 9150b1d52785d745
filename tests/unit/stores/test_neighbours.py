"""Hostile neighbours: whatever lies at the name of a file beside a store, nothing is created, changed or given away."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import durable
from tests.proof.crashes.senders import made, sent, waiting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and owners are of another kind there")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
OWNER, OTHER = 12_001, 12_002


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a store in it, and beside it, where a link may lead, a victim."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # one whose sockets have short names
        place = Path(name)
        (place / "shop").mkdir()
        (place / "victim").write_text("precious")
        (place / "victim").chmod(0o600)
        made(place / "shop" / "x.db")
        yield place


def _link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def _empty_link(path: Path) -> None:
    (path.parent.parent / "victim").write_bytes(b"")
    path.symlink_to(path.parent.parent / "victim")


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent.parent / "not there")


def _hard_link(path: Path) -> None:
    path.hardlink_to(path.parent.parent / "victim")


def _empty_hard_link(path: Path) -> None:
    (path.parent.parent / "victim").write_bytes(b"")
    path.hardlink_to(path.parent.parent / "victim")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _of_another_user(path: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs another user")
    path.write_bytes(b"")
    os.chown(path, OTHER, OTHER)


HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (_link, "is a link"),
    (_empty_link, "is a link"),
    (_dangling, "is a link"),
    (_hard_link, "has 2 names"),
    (_empty_hard_link, "has 2 names"),
    (os.mkfifo, "no regular file"),
    (Path.mkdir, "no regular file"),
    (_socket, "no regular file"),
    (_of_another_user, f"belongs to user {OTHER}"),
]


def seen(folder: Path) -> dict[str, object]:
    """Return what is in a folder: names, kinds, rights, owners, and the contents of files."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        one = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(one.st_mode) else b""
        link = path.readlink() if path.is_symlink() else None
        found[str(path.relative_to(folder))] = one.st_mode, one.st_uid, one.st_gid, one.st_ino, content, link
    return found


async def _opens(path: Path) -> None:
    async with durable.Engine(store=path):
        pass


@pytest.mark.parametrize(("lay", "said"), HOSTILE, ids=[lay.__name__ for lay, _ in HOSTILE])
def test_what_lies_at_the_inboxs_name_and_is_none_is_refused_and_left_alone(
    folder: Path, lay: Callable[[Path], object], said: str
) -> None:
    path = folder / "shop" / "x.db"
    lay(Path(f"{path}.inbox"))
    before = seen(folder)
    with pytest.raises(durable.StoreError, match=rf"x.db.inbox.* {said}.*take it away"):
        sent(path, "a/b")
    assert seen(folder) == before
    with pytest.raises(durable.StoreError, match=rf"x.db.inbox.* {said}.*take it away"):
        asyncio.run(_opens(path))
    assert seen(folder) == before


@pytest.mark.parametrize(("lay", "said"), HOSTILE, ids=[lay.__name__ for lay, _ in HOSTILE])
def test_what_lies_at_the_locks_name_and_is_none_is_refused_and_left_alone(
    folder: Path, lay: Callable[[Path], object], said: str
) -> None:
    """A link made root truncate the file that it led to, and write a pid into it."""
    path = folder / "shop" / "x.db"
    Path(f"{path}.lock").unlink()
    lay(Path(f"{path}.lock"))
    before = seen(folder)
    with pytest.raises(durable.StoreError, match=rf"x.db.lock.* {said}.*take it away"):
        asyncio.run(_opens(path))
    assert seen(folder) == before


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_an_inbox_that_root_makes_belongs_to_the_owner_of_the_store_with_its_rights(folder: Path, mode: int) -> None:
    path = folder / "shop" / "x.db"
    for one in (path.parent, path, Path(f"{path}.lock")):
        os.chown(one, OWNER, OTHER)
    path.chmod(mode)
    sent(path, "a/b")
    found = os.stat(f"{path}.inbox")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (OWNER, OTHER, mode)
    assert len(waiting(path)) == 1


@pytest.mark.skipif(not IS_ROOT, reason="needs another user")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "is_trusted"),
    [
        (0, 0, 0o600, True),
        (OWNER, 0, 0o600, True),  # the store's own
        (OTHER, OTHER, 0o660, True),  # of the group that may write to the store
        (OTHER, OTHER, 0o640, False),
        (OTHER, 0, 0o660, False),
        (OTHER, 0, 0o666, True),
    ],
)
def test_an_inbox_is_trusted_if_its_owner_may_write_to_the_store(
    folder: Path, owner: int, group: int, mode: int, is_trusted: bool
) -> None:
    path = folder / "shop" / "x.db"
    sent(path, "a/b")
    os.chown(path, OWNER, OTHER)
    path.chmod(mode)
    os.chown(f"{path}.inbox", owner, group)
    if is_trusted:
        assert len(waiting(path)) == 1
        return
    with pytest.raises(durable.StoreError, match=f"belongs to user {owner}"):
        waiting(path)


def test_an_inbox_replaced_while_it_is_opened_is_not_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite opens by name: what it has opened must be what was looked at."""
    path = folder / "shop" / "x.db"
    inbox, connect = Path(f"{path}.inbox"), durable.stores.file.schema.connect
    sent(path, "a/b")
    shutil.copy(inbox, folder / "victim")

    def racing(name: str, mode: str, **options: float) -> object:
        if mode == "rw":
            inbox.unlink()
            inbox.symlink_to(folder / "victim")
        return connect(name, mode, **options)

    monkeypatch.setattr("durable.stores.file.schema.connect", racing)
    before = (folder / "victim").read_bytes()
    with pytest.raises(durable.StoreError, match="was replaced"):
        sent(path, "a/b")
    assert (folder / "victim").read_bytes() == before
