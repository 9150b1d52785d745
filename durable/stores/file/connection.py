"""Write to a store's file through one connection, under fixed conditions.

Separate because everything that is written, rows, deletions or a mark, must be written under the same conditions.
Leaves to `writer` the transactions, to `recognition` the examination before anything is written.

A lock that another program holds (a shell with `BEGIN IMMEDIATE`, a viewer's open edit, a `VACUUM`) is not a failure:
the transaction has not begun, and is tried again until it can begin. The log says so once. While the store is closing,
waiting ends after a few seconds with an error.

The first transaction of each generation of the `-wal` writes a lineage (see `wal`), and so does one before each
checkpoint. SQLite begins a generation with the first transaction, and a new one after a complete checkpoint, unless a
reader is still active. So every transaction writes the lineage until the head of the `-wal` is seen to have changed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import SystemRandom, uniform
from time import monotonic, sleep
from typing import TypeVar

from durable.errors import StoreError
from durable.stores.file import schema, wal
from durable.stores.file.beside import check_companions
from durable.stores.file.lock import StoreLock

HURRY = 5.0  # seconds for which a closing store still waits for another program
CHECKPOINT_BYTES = 1 << 20  # often: a WAL that is overwritten syncs in half the time of one that grows
_LOOK_S = 0.05  # not at every commit: where a stat makes the next write update times, it costs a third of the rate
_BUSY_S = 0.05
_ASK_AGAIN_S = 0.005
_LETTING_GO_S = 5.0
_CHANCE = SystemRandom()
_NUMBER_BITS = 62

_T = TypeVar("_T")


def _nothing(_connection: sqlite3.Connection) -> None:
    """Do nothing; the transaction has nothing more to write."""


class Patience:
    """Patience says how long a connection waits for another program's lock.

    It waits for ever, until it is told to `hurry`.

    `said(text)` is told once when it begins to wait, and once when it is over; it may be called from any thread.
    """

    def __init__(self, path: str, said: Callable[[str], None]) -> None:
        self._path = path
        self._said = said
        self._until: float | None = None
        self._since: float | None = None

    def hurry(self) -> None:
        """From now on, wait for a few seconds more at the most."""
        if self._until is None:
            self._until = monotonic() + HURRY

    def wait(self, error: sqlite3.Error) -> None:
        """Wait for a moment.

        Raises:
            StoreError: the store is to close, and the time for waiting is over.
        """
        if self._since is None:
            self._since = monotonic()
            self._said(
                f"another program has store {self._path!r} locked: all that is to be recorded waits until it is done"
            )
        if self._until is not None and monotonic() > self._until:
            raise StoreError(
                f"another program has store {self._path!r} locked, and the store is to close: what still waited is not "
                "recorded: end that program, and open the store again"
            ) from error
        sleep(uniform(0, _ASK_AGAIN_S))

    def over(self) -> None:
        """Tell that the wait is over, if there was one."""
        since, self._since = self._since, None
        if since is not None:
            self._said(
                f"store {self._path!r} is free again, after {monotonic() - since:.1f} s: all that waited goes on"
            )


class WriteConnection:
    """A write connection writes to the store at a real path, under its lock.

    Every method runs in one thread.
    """

    def __init__(self, path: str, synchronous: int, lock: StoreLock, patience: Patience) -> None:
        self._path = path
        self._lock = lock
        self._patience = patience
        self._unchecked = 0
        self._looked = 0.0
        self._number: int | None = _new_number()
        self.connection = self._connected(synchronous)
        try:
            self._identity = self._identify()
            self._head = wal.head(path)
            if self._head:  # left by a dead process: all of it is copied into the file
                self.checkpoint()
            self.format = schema.format_of(self.connection)
        except BaseException:
            self.connection.close()
            raise

    def _connected(self, synchronous: int) -> sqlite3.Connection:
        until = monotonic() + _LETTING_GO_S
        check_companions(self._path, self._path)
        while True:
            connection = schema.connect(self._path, "rw", busy=_BUSY_S)
            try:
                self._whenever_free(partial(schema.configure, connection, self._path, synchronous))
                _try_to_write(connection)
            except BaseException as error:
                connection.close()
                code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
                if code != sqlite3.SQLITE_READONLY or monotonic() > until:
                    raise
                sleep(_ASK_AGAIN_S)  # a looking connection of this process is not closed yet
            else:
                return connection

    def close(self) -> None:
        """Close the file; the last one to close it copies its `-wal` into it."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction that is committed at the end.

        After an error it is not rolled back.
        """
        self._whenever_free(lambda: self.connection.execute("BEGIN IMMEDIATE"))
        if self._number is not None:
            self._write_lineage(self._number)
        yield self.connection
        self.connection.execute("COMMIT")
        if self._number is not None and (head := wal.head(self._path)) != self._head:
            self._head, self._number = head, None

    def insert(self, statement: str, row: Sequence[object]) -> None:
        """Execute one statement as a transaction of its own.

        That is half as much work as three statements.
        """
        if self._number is None:
            self._whenever_free(lambda: self.connection.execute(statement, row))
            return
        with self.transaction() as connection:
            connection.execute(statement, row)

    def script(self, text: str) -> None:
        """Execute a script of statements as one transaction."""
        if self._number is not None:
            with self.transaction():
                pass
        self._whenever_free(lambda: self.connection.executescript(f"BEGIN IMMEDIATE; {text}; COMMIT"))

    def _whenever_free(self, act: Callable[[], _T]) -> _T:
        while True:
            try:
                done = act()
            except sqlite3.Error as error:
                if not schema.is_busy(error):
                    raise
                self._patience.wait(error)
            else:
                self._patience.over()
                return done

    def roll_back(self) -> None:
        """Roll back the open transaction, if there is one."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # SQLite has rolled back by itself, or will when the file is opened next

    def number(self, also: Callable[[sqlite3.Connection], object] = _nothing) -> None:
        """Give the present state of the file a number of its own.

        This is done before a checkpoint or a close copies the `-wal` into the file: a copy that was made earlier must
        not pass for this state.
        """
        self._number = _new_number()
        with self.transaction() as connection:
            also(connection)

    def _write_lineage(self, number: int) -> None:
        """Write the lineage inside the open transaction.

        It names the number that the file has, or will have once all of the `-wal` so far is in it.
        """
        row = self.connection.execute(f"SELECT last FROM mark WHERE one = {wal.LINEAGE}").fetchone()
        cookie = int(schema.pragma(self.connection, "schema_version"))
        lineage = wal.Lineage(number, 0 if row is None else row[0], cookie)
        self.connection.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?, ?)", lineage.row())

    # Checkpoints.

    def grew(self, count: int) -> None:
        """Count bytes that were written to the `-wal`."""
        self._unchecked += count

    def checkpoint_in_time(self) -> None:
        """Make a checkpoint if enough has been written to the `-wal`."""
        if self._unchecked >= CHECKPOINT_BYTES:
            self._lock.check()
            self.checkpoint()

    def checkpoint(self) -> None:
        """Copy the `-wal` into the file, as far as no reader needs an older state."""
        self.check_unmoved()
        self.number()
        self._unchecked = 0
        is_busy, pages, taken = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if not is_busy and pages == taken:
            self._number = _new_number()

    def look_in_time(self) -> None:
        """Check that the file was not moved, if the last check was some time ago."""
        if monotonic() - self._looked > _LOOK_S:
            self.check_unmoved()
            if self._number is None and (head := wal.head(self._path)) != self._head:  # another program's checkpoint
                self._head, self._number = head, _new_number()

    def check_unmoved(self) -> None:
        """Check that the file is still at its path.

        Raises:
            StoreError: the file was moved, deleted or replaced: no later opening would find it.
        """
        self._looked = monotonic()
        try:
            found = self._identify()
        except FileNotFoundError:
            found = ()
        if found != self._identity:
            raise StoreError(
                f"store {self._path!r} or its -wal was moved, deleted or replaced while it was open: put both back and "
                "restart; what was appended since is in the files that were open"
            )

    def _identify(self) -> tuple[tuple[int, int], ...]:
        found = [os.stat(path) for path in (self._path, f"{self._path}-wal")]
        return tuple([(one.st_dev, one.st_ino) for one in found])


def _new_number() -> int:
    return _CHANCE.getrandbits(_NUMBER_BITS)


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Check that the connection can write; another program's lock does not count."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if not schema.is_busy(error):
            raise
