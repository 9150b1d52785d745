"""Wake the engine when a message was put into its store's inbox.

Separate because it must wake an event loop without polling, and nothing may depend on it.
Leaves to `receiver` the looking without a bell: a ring may be lost, and not every system or loop has bells.

The bell is a datagram socket that the engine binds. It is named after the device and the inode of the store's file, so
every process that has the file knows the name. It is not on disk beside the store: a pipe there, left behind by a
killed process, would make `cp store* elsewhere` hang for ever. Linux has names that are not files, one set for each
network namespace. On other systems the name is a file in the folder for temporary files.

Every process may ring it, with any content: a ring only makes the engine look, at most fifty times a second.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from weakref import WeakSet

_IS_THERE = hasattr(socket, "AF_UNIX")
_ABSTRACT = sys.platform == "linux"
_MANY = 64
_PAUSE_S = 0.02

_open: WeakSet[Bell] = WeakSet()


class Bell:
    """A bell calls back when it is rung.

    Only the engine that has the store's lock may open it.
    """

    def __init__(self, store: str, rung: Callable[[], None]) -> None:
        self._store = store
        self._rung = rung
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.TimerHandle | None = None
        self._pid = 0
        self.socket: socket.socket | None = None

    def open(self) -> None:
        """Listen from now on: the running loop calls `rung()` after each ring.

        Raises:
            OSError, NotImplementedError: the system has no such sockets, another program has the name, or the loop
                cannot watch a socket.
        """
        if not _IS_THERE:
            raise NotImplementedError("there are no sockets here that a loop can watch")
        _take_old_away(self._store)
        self.socket, self._pid = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), os.getpid()
        _open.add(self)
        try:
            self.socket.setblocking(False)
            _bind(self.socket, self._store)
            loop = asyncio.get_running_loop()
            loop.add_reader(self.socket.fileno(), self._hear)
        except BaseException:
            self.close()
            raise
        self._loop = loop

    def close(self) -> None:
        """Stop listening, and remove the bell's name.

        If the bell is not open, or in a forked child, nothing happens: the socket that the loop watches belongs to the
        parent.
        """
        if self.socket is None or self._pid != os.getpid():
            return
        if self._again is not None:
            self._again.cancel()
        elif self._loop is not None:
            self._loop.remove_reader(self.socket.fileno())
        self._loop = self._again = None
        name = self.socket.getsockname()
        self.socket.close()
        self.socket = None
        if isinstance(name, str) and name:
            os.unlink(name)

    def leave(self) -> None:
        """Close a forked child's copy, which would keep the name alive after the engine."""
        if self.socket is not None:
            self.socket.close()

    def _hear(self) -> None:
        assert self.socket is not None and self._loop is not None
        self._loop.remove_reader(self.socket.fileno())
        self._again = self._loop.call_later(_PAUSE_S, self._listen)
        try:
            for _ in range(_MANY):
                self.socket.recv(1)
        except BlockingIOError:
            pass
        self._rung()

    def _listen(self) -> None:
        self._again = None
        if self._loop is not None and self.socket is not None:
            self._loop.add_reader(self.socket.fileno(), self._hear)


def ring(store: str) -> None:
    """Ring the bell of the store at a real path.

    This never blocks, and does nothing if no engine listens.
    """
    if not _IS_THERE:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ringing:
            ringing.setblocking(False)
            ringing.sendto(b"!", _name(store))
    except OSError:  # the socket is full, so it was rung often enough; or no engine listens
        return


def _name(store: str) -> str:
    found = os.stat(store)
    name = f"durable-bell-{found.st_dev:x}-{found.st_ino:x}"
    return f"\0{name}" if _ABSTRACT else os.path.join(tempfile.gettempdir(), name)


def _bind(hearing: socket.socket, store: str) -> None:
    name = _name(store)
    if not _ABSTRACT and _is_ours(name, store, stat.S_ISSOCK):  # left by a killed process: the lock is ours
        os.unlink(name)
    hearing.bind(name)
    if not _ABSTRACT:
        os.chmod(name, os.stat(store).st_mode & 0o666)  # those who may write to the store may ring


def _take_old_away(store: str) -> None:
    """Remove the named pipe that an earlier release left beside the store when it was killed."""
    if _is_ours(f"{store}.bell", store, stat.S_ISFIFO):
        try:
            os.unlink(f"{store}.bell")
        except OSError:  # there is no right to write to the folder
            return


def _is_ours(path: str, store: str, is_kind: Callable[[int], bool]) -> bool:
    """Return whether a file of that kind belongs to this user or the store's owner."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return is_kind(found.st_mode) and found.st_uid in (os.geteuid(), os.stat(store).st_uid)


def _leave_in_child() -> None:
    for bell in tuple(_open):
        bell.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)
