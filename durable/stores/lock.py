"""The lock that lets one opener at a time write to a store's file.

Separate because it must hold between processes, inside one, and across a fork, which SQLite's own locks do not.
Leaves to `writer` what is done under it.

The lock is on a file of its own, `<path>.lock`, because SQLite drops the locks on a database when anything else in the
process opens and closes that file. It is never deleted: a newcomer that locks a deleted file's successor would hold
another lock. It dies with its holder, so a file that a dead process left behind is no obstacle.
"""

from __future__ import annotations

import os
import sys
import threading

from durable.errors import StoreError, StoreLockedError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PID_BYTES = 32

_held: dict[str, int] = {}
_guard = threading.Lock()


class StoreLock:
    """The right to write to the store at `path`, a real path: two spellings of one file are one lock. R29."""

    def __init__(self, path: str) -> None:
        self.path = path

    def acquire(self) -> None:
        """Take the lock, or fail at once.

        Raises:
            StoreLockedError: another process has it, or another opener in this one; the message names the pid.
            StoreError: the lock's file cannot be written or locked here.
        """
        with _guard:
            if self.path in _held:
                raise _locked(self.path, str(os.getpid()))
            try:
                file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise StoreError(
                    f"store {self.path!r} cannot be opened to write, its lock cannot be made: {error}"
                ) from error
            try:
                self._seize(file)
            except BaseException:
                os.close(file)
                raise
            _held[self.path] = file

    def release(self) -> None:
        """Give the lock back; without it, nothing happens."""
        with _guard:
            file = _held.pop(self.path, None)
            if file is not None:
                os.ftruncate(file, 0)
                os.close(file)

    def _seize(self, file: int) -> None:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise _locked(self.path, os.read(file, _PID_BYTES).decode("ascii", "replace").strip()) from None
        except OSError as error:
            raise StoreError(f"store {self.path!r} cannot be locked: {error}: keep it on a local disk") from error
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, f"{os.getpid()}\n".encode())


def _locked(path: str, pid: str) -> StoreLockedError:
    if pid == str(os.getpid()):
        return StoreLockedError(
            f"store {path!r} is open in this process already (pid {pid}): close the engine that has it, or share that"
        )
    holder = f"process {pid}" if pid else "another process"
    return StoreLockedError(f"store {path!r} is open to write in {holder}: end that first, or only read here")


def _lock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, 1 << 30, os.SEEK_SET)  # far behind the pid, which others must be able to read
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget_in_child() -> None:
    """Close a forked child's copies: with one left open the lock would outlive the process that holds it."""
    global _guard
    _guard = threading.Lock()  # the parent may have been inside it at the fork
    for file in _held.values():
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
