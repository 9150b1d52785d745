"""Examine the place of a store: what may be slow, full, unsafe or in the way there.

Separate because it judges the machine, not the store: `checkup` reads that.
Leaves to `stores.file.site` the measuring, to the command line the printing.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from errno import ENOSPC
from functools import partial
from typing import Literal

import attrs

from durable.engine.condition import LEAST_FREE
from durable.errors import StoreError
from durable.stores import (
    FileReader,
    FileSystem,
    Holder,
    Inbox,
    StoreThread,
    file_system_of,
    holder_of,
    perform_each,
    recognise,
    room_of,
    settings_in,
    sync_cost,
)
from durable.timers import on_a_line

Verdict = Literal["ok", "note", "bad"]

_PATIENCE = 2.0  # seconds for an inbox that somebody has locked
_LITTLE_ROOM = 1 << 30  # bytes
_SLOW, _VERY_SLOW, _UNSYNCED = 0.01, 0.1, 2e-5  # seconds a commit
_LARGE_WAL = 64 << 20


@attrs.frozen
class Finding:
    """A finding is one thing that a doctor has looked at.

    Attributes:
        about: what was looked at, in a word or two.
        value: what was found, in words.
        verdict: "ok", "note" (it may matter to you) or "bad" (do something about it).
        advice: what to do, unless it is ok.
    """

    about: str
    value: str
    verdict: Verdict = "ok"
    advice: str = ""

    def __str__(self) -> str:
        """Return the finding as one line."""
        mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[self.verdict]
        return on_a_line(f"{mark}  {self.about}: {self.value}{f': {self.advice}' if self.advice else ''}")


@attrs.frozen
class Examination:
    """An examination is all that a doctor has found about the place of a store."""

    path: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings' verdicts."""
        verdicts = {one.verdict for one in self.findings}
        return "bad" if "bad" in verdicts else "note" if "note" in verdicts else "ok"

    @property
    def has_store(self) -> bool:
        """Whether there is a store that can be read."""
        return any(one.about == "inbox" for one in self.findings)  # which only a store has

    def __str__(self) -> str:
        """Return the findings in lines."""
        return "\n".join(map(str, self.findings))

    def to_dict(self) -> dict[str, object]:
        """Return the attributes and the verdict in a form that JSON can hold."""
        return {**attrs.asdict(self), "verdict": self.verdict}


async def examine(path: str | os.PathLike[str]) -> Examination:
    """Examine the place of a store, which need not exist yet.

    Looked at are the versions, the file system, the room, what a commit costs there, who has the store open, its
    settings, its `-wal` and its inbox. A store and its engine are not disturbed. To measure, a folder is made beside
    the store and deleted again.

    Raises:
        TypeError, ValueError: not a path of a store.
    """
    given = FileReader(path).path
    thread = StoreThread("durable-doctor", perform_each)
    try:
        findings: tuple[Finding, ...] = await thread.post(partial(_findings, given))
        return Examination(given, findings)
    finally:
        thread.stop()


def _findings(given: str) -> tuple[Finding, ...]:
    path = os.path.realpath(given)
    folder = os.path.dirname(path)
    found = [_versions()]
    if not os.path.isdir(folder):
        return *found, Finding("folder", f"{folder} does not exist", "bad", "create it")
    found += [_file_system(file_system_of(folder)), _room(path), _sync(folder), _holder(holder_of(path))]
    return *found, *_store(path)


def _versions() -> Finding:
    value = f"Python {platform.python_version()} on {platform.system()}, SQLite {sqlite3.sqlite_version}"
    return Finding("versions", value)


def _file_system(found: FileSystem) -> Finding:
    about, value = "file system", "the system does not tell" if found.kind is None else f"{found.kind} at {found.mount}"
    if found.is_network:
        return Finding(about, value, "bad", "a network file system cannot hold a store: keep it on a local disk")
    if found.is_memory:
        return Finding(about, value, "note", "it is in memory: all is gone with the machine, or with the container")
    return Finding(about, value)


def _room(path: str) -> Finding:
    try:
        room = room_of(path)
    except OSError as error:
        return Finding("room", f"cannot be asked: {error}", "bad", "give this user the right to read the folder")
    value = f"{_mib(room.free)} free, the store takes {_mib(room.size)}"
    if room.free < LEAST_FREE:
        return Finding("room", value, "bad", "make room: an engine stops when the disk is full")
    return Finding("room", value, "note", "this is not much") if room.free < _LITTLE_ROOM else Finding("room", value)


def _sync(folder: str) -> Finding:
    try:
        seconds = sync_cost(folder)
    except (OSError, sqlite3.Error) as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == ENOSPC
        remedy = "make room" if full else "give this user the right to write in the folder"
        return Finding("commits", f"none can be made: {error}", "bad", remedy)
    value = f"{seconds * 1e3:.2f} ms each, {1 / seconds:,.0f} a second one after the other"
    if seconds > _VERY_SLOW:
        return Finding("commits", value, "bad", "the disk is very slow: use another, or durability='process'")
    if seconds > _SLOW:
        advice = "each step of a run that goes alone takes at least as long; many runs share their commits"
        return Finding("commits", value, "note", advice)
    if seconds < _UNSYNCED:
        return Finding("commits", value, "note", "so quick that nothing can have been synced: do not trust a power cut")
    return Finding("commits", value)


def _holder(found: Holder | None) -> Finding:
    if found is None:
        return Finding("open in", "no process")
    if found.is_dead:
        return Finding("open in", f"{found}, which has died", "note", "the next opening takes in what it has left")
    return Finding("open in", f"{found}")


def _store(path: str) -> Iterator[Finding]:
    try:
        if not recognise(path):  # an empty file is none, either
            yield Finding("store", "there is none yet", "note", "the first engine that opens it makes it")
            return
        settings = settings_in(path)
    except StoreError as error:
        yield Finding("store", str(error), "bad", "`durable check` says more")
        return
    value = ", ".join(f"{name} {value}" for name, value in settings.items())
    if settings["auto_vacuum"] != 2:
        advice = "what prune forgets gives no space back: close it and run `PRAGMA auto_vacuum = 2; VACUUM` on it"
        yield Finding("store", value, "note", advice)
    else:
        yield Finding("store", value)
    wal = room_of(path).wal
    advice = (
        "a reader that never ends its transaction keeps it from being copied into the file: close viewers and shells"
    )
    yield Finding("-wal", _mib(wal), "note", advice) if wal > _LARGE_WAL else Finding("-wal", _mib(wal))
    yield _inbox(path)


def _inbox(path: str) -> Finding:
    try:
        waiting = len(Inbox(path, patience=_PATIENCE).ids())
    except StoreError as error:
        return Finding("inbox", str(error), "bad", "`durable check` says more")
    if not waiting:
        return Finding("inbox", "empty")
    return Finding("inbox", f"{waiting:,} waiting", "note", "an engine that has the store open takes them within 30 s")


def _mib(count: int) -> str:
    return f"{count / (1 << 30):,.1f} GiB" if count >= 10 << 30 else f"{count / (1 << 20):,.1f} MiB"
