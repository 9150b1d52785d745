"""Let one opener at a time write to a store's file.

Separate because the lock must hold between processes, within one process, and across a fork. SQLite's own locks do not.
Leaves to `guard` the lock on the store's file itself, to `holder` the text in the lock's file, to `writer` the work
under both locks.

The lock is on a file of its own, `<path>.lock`, because SQLite drops the locks on a database when anything else in the
process opens and closes that file. The lock's file is deleted only if it was made for an opening that was refused: an
opener that has locked a file checks that it still has the lock's name. The lock ends with its holder's process, so a
file that a dead process left behind is no obstacle. The file names the holder.

The lock is taken in two steps, since an opener that is refused must have changed nothing: `acquire` locks the files
that exist, `claim` makes those that do not. If the lock's file is deleted or replaced while it is held, the guard still
refuses every other opener, and the holder finds out at its next check.
"""

from __future__ import annotations

import errno
import os
import threading

from durable.errors import StoreError, StoreLockedError
from durable.stores.file import guard
from durable.stores.file.beside import open_beside
from durable.stores.file.flock import lock
from durable.stores.file.holder import MOST_BYTES, SUFFIX, holder_in, signature

_held: dict[str, StoreLock] = {}
_turn = threading.Lock()


class StoreLock:
    """A store lock is the right to write to the store at `path` (R29).

    `path` must be a real path, so that two spellings of one file are one lock.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: int | None = None
        self._guarded: guard.Identity | None = None
        self._before: bytes | None = b""

    def acquire(self) -> None:
        """Take the lock on the files that exist, or fail at once; make no file.

        Raises:
            StoreLockedError: another process has it, or another opener in this one; the message names the holder.
            StoreError: the lock's file or the store's cannot be opened to write, or locked here.
        """
        with _turn:
            if self.path in _held:
                raise _locked_here(self.path)
            try:
                self._lock_file(make=False)
                self.guard()
                if self._file is not None:
                    self._sign()
            except BaseException:
                self._let_go()
                raise
            _held[self.path] = self

    def claim(self) -> bool:
        """Make the lock's file if there was none, and lock it.

        Returns whether another opener may have been here since `acquire`.

        Raises:
            StoreLockedError, StoreError: see `acquire`.
        """
        if self._file is not None:
            return False
        with _turn:
            self._lock_file(make=True)
            self._sign()
            self._before = None
        return True

    def guard(self) -> None:
        """Take the guard of the store's file, if it exists and is not guarded yet.

        Raises:
            StoreLockedError, StoreError: see `acquire`.
        """
        if self._guarded is not None:
            return
        try:
            self._guarded = guard.seize(self.path)
        except BlockingIOError:
            raise StoreLockedError(
                f"store {self.path!r} is open to write in another process, though its {SUFFIX} file does not say so: "
                "that was deleted or replaced, or the store has another name there: end that process, or only read here"
            ) from None
        except OSError as error:
            if error.errno == errno.EDEADLK:
                raise _locked_here(self.path) from None
            raise StoreError(
                f"store {self.path!r} cannot be opened to write: {error}: {_remedy(error)}, or only read here"
            ) from error

    def check(self) -> None:
        """Check that the lock's file is still the one that is held.

        If it is, its time is renewed, so that it does not look abandoned.

        Raises:
            StoreError: the lock's file was deleted, moved or replaced.
        """
        assert self._file is not None
        if guard.identity(f"{self.path}{SUFFIX}") != guard.identity_of(self._file):
            raise StoreError(
                f"the lock of store {self.path!r}, the file {self.path + SUFFIX!r}, was deleted, moved or replaced "
                "while the store was open: let no program clean up there, and restart: nothing recorded is lost"
            )
        if os.utime in os.supports_fd:
            os.utime(self._file)

    def release(self, *, refused: bool = False) -> None:
        """Release the lock; if it is not held, do nothing.

        After a refused opening, the lock's file is as it was before.
        """
        with _turn:
            try:
                if _held.get(self.path) is self:
                    del _held[self.path]
                    if self._file is not None and refused and self._before is None:
                        os.unlink(f"{self.path}{SUFFIX}")  # a process that has it open sees that it is gone
                    elif self._file is not None:
                        _write(self._file, self._before if refused and self._before else b"")
            finally:
                self._let_go()

    def _lock_file(self, *, make: bool) -> None:
        while True:
            try:
                file = open_beside(self.path, SUFFIX, make=make)
            except OSError as error:
                raise StoreError(
                    f"store {self.path!r} cannot be opened to write, its lock cannot be made: {error}: "
                    f"{_remedy(error)}, or only read here"
                ) from error
            if file is None:
                return
            try:
                self._seize(file)
                which = guard.identity_of(file)
            except BaseException:
                os.close(file)
                raise
            if guard.identity(f"{self.path}{SUFFIX}") == which:
                self._file = file
                return
            os.close(file)  # it was deleted in between: the next process would not see this lock

    def _seize(self, file: int) -> None:
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            raise _locked(self.path, os.read(file, MOST_BYTES)) from None
        except OSError as error:
            raise StoreError(f"store {self.path!r} cannot be locked: {error}: keep it on a local disk") from error
        if os.fstat(file).st_size > MOST_BYTES:  # such as a store of this name
            raise StoreError(
                f"{self.path + SUFFIX!r} is no lock of a store, it is too large for one, and was left as it is: move "
                "it away"
            )

    def _sign(self) -> None:
        assert self._file is not None
        self._before = os.read(self._file, MOST_BYTES)
        _write(self._file, signature())

    def _let_go(self) -> None:
        if self._guarded is not None:
            guard.release(self._guarded)
        if self._file is not None:
            os.close(self._file)
        self._file = self._guarded = None


def _remedy(error: OSError) -> str:
    return "give this user the right to write there" if isinstance(error, PermissionError) else "mend that"


def _write(file: int, text: bytes) -> None:
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text)


def _locked_here(path: str) -> StoreLockedError:
    return StoreLockedError(
        f"store {path!r} is open in this process already (pid {os.getpid()}): close the engine that has it, or share "
        "that"
    )


def _locked(path: str, text: bytes) -> StoreLockedError:
    return StoreLockedError(f"store {path!r} is open to write in {holder_in(text)}: end that first, or only read here")


def _forget_in_child() -> None:
    """Close the descriptors in a forked child.

    With one left open, the lock would outlive the process that holds it.
    """
    global _turn
    _turn = threading.Lock()  # the parent may have been inside it at the fork
    for held in _held.values():
        if held._file is not None:
            os.close(held._file)
            held._file = held._guarded = None
    _held.clear()
    guard.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
