"""Connect to a store's file for reading, as the file's state requires.

Separate because SQLite reads a closed store, a live one and what a dead process has left in three ways.
Leaves to `reader` the queries, to `recognition` the refusing of files.

A closed store, which has no `-wal`, is opened as immutable: SQLite would make a `-wal` and a `-shm` to read it, which
needs the right to write and, where that is another user's, shuts the writer out. It takes no locks, so what was read
counts only if the file is still at rest and the same afterwards; otherwise it is opened anew and read again. So is a
file that another one has replaced, such as a copy that was brought back; its writer notices that by itself.

A process that holds the lock and has not begun to write only *looks*: SQLite keeps its `-shm` in memory, so that
nothing has changed if the process closes the store again. SQLite shares this memory among all connections of the
process to the file, and none of them can write meanwhile. So a looking connection is closed before anything is written,
and other readers of the process keep no connection while one looks.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from durable.errors import StoreError
from durable.stores.file import guard, schema
from durable.stores.file.recognition import SpareTask, check, look, recognise
from durable.stores.file.wal import has_content

_T = TypeVar("_T")

_looked_at: Counter[str] = Counter()
_turn = threading.RLock()


class ReadConnection:
    """A read connection reads the store at `path`.

    Its methods may be called by any thread; one call at a time is done.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._turn = threading.RLock()
        self._is_open = self._looks = self._passes = False
        self._connection: sqlite3.Connection | None = None
        self._spare: SpareTask | None = None
        self._rest: tuple[int, ...] | None = None
        self._follows = False
        self._file: guard.Identity | None = None

    def open(self) -> None:
        """Connect, after checking that the file is a whole store (R30)."""
        self.path = os.path.realpath(self.path)
        with self._turn:
            self._follows = True
            self._check()
            self._connect()
            self._is_open = True

    def look(self) -> None:
        """Connect without changing any file beside the store's.

        Only for the holder of the lock, who has examined the file.
        """
        self.path = os.path.realpath(self.path)
        with self._turn:
            with _turn:
                _looked_at[self.path] += 1
            self._looks = True
            try:
                self._look()
            except Exception as error:
                self.close()
                raise schema.failed(self.path, "opening it to read", error) from schema.reason(error)
            self._is_open = True

    def let_go(self) -> None:
        """End the looking of `look`, since the file is about to be written to.

        From now on the store is read as one with a writer.
        """
        with self._turn:
            if self._looks:
                self._disconnect()
                self._looks = False
                with _turn:
                    _looked_at[self.path] -= 1
                if self._spare is not None:
                    self._spare.take_away()

    def close(self) -> None:
        """Disconnect; if it is not connected, do nothing."""
        with self._turn:
            self.let_go()
            self._disconnect()
            self._is_open = False

    def read(self, task: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what `task` reads in one transaction.

        The task may be called again, on a newer state of the store.
        """
        with self._turn:
            while True:
                if not self._is_open:
                    raise StoreError(f"store {self.path!r} is not open: open() it first")
                try:
                    found = self._transact(task)
                except StoreError:
                    if not self._has_moved():
                        raise
                else:
                    if not self._has_moved():
                        return found
                finally:
                    if self._passes:
                        self._disconnect()
                self._disconnect()
                self._check()

    def _transact(self, task: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return schema.patiently(lambda: self._transacted(task))
        except sqlite3.Error as error:
            raise schema.failed(self.path, "reading it", error) from schema.reason(error)

    def _transacted(self, task: Callable[[sqlite3.Connection], _T]) -> _T:
        connection = self._connection or (self._look() if self._looks else self._connect())
        try:
            connection.execute("BEGIN")
            try:
                return task(connection)
            finally:
                schema.end(connection)
        except sqlite3.Error as error:
            if self._looks and schema.is_kept_from_writing(error):
                self._disconnect()  # this connection would never see the `-shm` that is made meanwhile
            raise

    def _has_moved(self) -> bool:
        if self._rest is not None:
            return self._rest != _at_rest(self.path)
        return self._follows and self._file != guard.identity(self.path)

    def _look(self) -> sqlite3.Connection:
        if self._spare is not None:
            self._spare.take_away()
        self._connection, self._spare = look(self.path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            self._file = guard.identity(self.path)
            self._rest = _at_rest(self.path)
            if self._rest is not None:
                self._connection = schema.connect(self.path, "ro&immutable=1")
                return self._connection
            with _turn:
                self._passes = _looked_at[self.path] > 0
                self._connection = schema.connect(self.path, "ro")
                self._connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # only now SQLite opens the -shm
            return self._connection
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise schema.failed(self.path, "opening it to read", error) from schema.reason(error)

    def _disconnect(self) -> None:
        connection, self._connection, self._rest, self._passes = self._connection, None, None, False
        if connection is not None:
            connection.close()

    def _check(self) -> None:
        """Check that the file is a whole store, if possible without writing its `-shm`."""
        try:
            if not recognise(self.path):
                raise StoreError(f"there is no store at {self.path!r}: name one that has been written to")
            is_at_rest = _at_rest(self.path) is not None
            if not is_at_rest and not (has_content(self.path) and os.path.lexists(f"{self.path}-shm")):
                self._check_through("ro")
                return
            try:
                self._check_through("ro&immutable=1" if is_at_rest else "ro&readonly_shm=1")
            except sqlite3.Error as error:
                if not is_at_rest and not os.path.lexists(f"{self.path}-shm"):
                    self._check()  # its writer has just closed the file
                elif schema.is_kept_from_writing(error):
                    self._check_through("ro")  # a writer has just opened the file
                else:
                    raise
        except (sqlite3.Error, OSError) as error:
            raise schema.failed(self.path, "opening it to read", error) from schema.reason(error)

    def _check_through(self, mode: str) -> None:
        with _turn:
            connection = schema.connect(self.path, mode)
            try:
                check(connection, self.path)
            finally:
                connection.close()


def _at_rest(path: str) -> tuple[int, ...] | None:
    """Return a value that identifies the state of a closed store's file.

    None if a writer has the file open, or did not close it.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if any(os.path.lexists(f"{path}{beside}") for beside in ("-wal", "-journal")):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _forget_in_child() -> None:
    global _turn
    _turn = threading.RLock()  # a new lock: another thread of the parent may have held the old one at the fork
    _looked_at.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
