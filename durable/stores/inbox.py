"""A store's inbox: the messages that were sent from outside and that no engine has taken yet.

Separate because one process at a time may write to a store, and any process may send to it.
Leaves to `sender` and `intake` who puts and who takes, to `messages` what a body means.

It is a small SQLite file of its own, `<path>.inbox`, which the first to send makes. A message is one row, under a
checksum, so it is there as a whole or not at all. `mark` counts the rows ever put and ever taken: a row that is missing
is missed. Every call opens the file, does one transaction and closes it: a file that was taken away or put back between
two calls is seen, and nothing is left open that a forked child could disturb.

It keeps a rollback journal and no WAL: few rows go through it, and so there is nothing beside it while nobody writes.
In that mode a commit is the deletion of a file, which only `synchronous = EXTRA` makes outlive a loss of power.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from durable.errors import StoreCorruptError, StoreError
from durable.stores import schema
from durable.stores.seal import seal_values

APPLICATION_ID = 0x64757269  # "duri"
FORMAT = 1
MOST_MESSAGES = 200  # taken at a time: they are posted in one go, in which the loop does nothing else
MOST_BYTES = 1 << 20

_TABLES = {
    "message": "CREATE TABLE message (no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, "
    "body TEXT NOT NULL, crc INTEGER NOT NULL)",
    "mark": "CREATE TABLE mark (one INTEGER PRIMARY KEY, last INTEGER NOT NULL, taken INTEGER NOT NULL, "
    "crc INTEGER NOT NULL)",
}
_SETTINGS = (("journal_mode", b"delete"), ("synchronous", 3), ("fullfsync", 1), ("checkpoint_fullfsync", 1))
_WAITING = "SELECT no, id, kind, body, crc FROM message WHERE id NOT IN (SELECT value FROM json_each(?)) ORDER BY no"
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@attrs.frozen
class Message:
    """What one call sent. `id` is its own; `kind` and `body` are the sender's words, which the inbox never parses."""

    id: str
    kind: str
    body: str


class Inbox:
    """The inbox of the store at a real path. Every method blocks, and may be called by several processes at once."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.path = f"{store}.inbox"

    def put(self, messages: Sequence[Message]) -> None:
        """Keep the messages, all or none; durable when it returns. Without any, only look whether they could be kept.

        Raises:
            StoreCorruptError: the store or its inbox is damaged, cut short, or not a SQLite file.
            StoreError: there is no store, store or inbox is something else's or of another format, or writing failed:
                then the messages are not known to be kept.
        """
        if not schema.recognise(self.store):
            raise StoreError(f"there is no store at {self.store!r} to send to: name one that an engine has opened")
        is_there = self._is_there()
        if not messages and not is_there:
            return
        with self._opened("sending to it", "rw" if is_there else "rwc") as connection:
            if not is_there:
                self._hand_over()
                connection.execute("PRAGMA auto_vacuum = 1")  # is taken only before there are tables
            with self._transaction(connection, "BEGIN IMMEDIATE"):
                if _is_blank(connection):
                    self._create(connection)
                last, taken = self._check(connection)
                for no, message in enumerate(messages, last + 1):
                    row = no, message.id, message.kind, message.body
                    connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (*row, seal_values(row)))
                _write_mark(connection, last + len(messages), taken)

    def look(self, besides: Collection[str] = ()) -> list[Message]:
        """Return the messages that have waited longest, in the order in which they were put, without those `besides`.

        At most 200, or 1 MiB and one more; none where there is no inbox.

        Raises:
            StoreCorruptError: the inbox is damaged, or a message is missing.
            StoreError: it is something else's or of another format, or reading failed.
        """
        if not self._is_there():
            return []
        found: list[Message] = []
        size = 0
        with self._opened("looking into it", "rw") as connection, self._transaction(connection, "BEGIN"):
            if _is_blank(connection):  # whoever began to make it was killed: SQLite has taken that back just now
                return []
            last, taken = self._check(connection)
            missing = last - taken - connection.execute("SELECT count(*) FROM message").fetchone()[0]
            if missing:
                raise self._damaged(f"it lacks {missing} message(s)")
            for row in connection.execute(_WAITING, (json.dumps(list(besides)),)):
                found.append(self._unsealed(row))
                size += len(found[-1].body)
                if len(found) == MOST_MESSAGES or size > MOST_BYTES:
                    break
        return found

    def remove(self, ids: Collection[str]) -> None:
        """Forget messages that were taken; those that are not there are ignored.

        Raises:
            StoreError: as `look`; they are not known to be gone.
        """
        if not self._is_there():
            return
        with self._opened("removing from it", "rw") as connection, self._transaction(connection, "BEGIN IMMEDIATE"):
            if _is_blank(connection):
                return
            last, taken = self._check(connection)
            chosen = "SELECT value FROM json_each(?)"
            gone = connection.execute(f"DELETE FROM message WHERE id IN ({chosen})", (json.dumps(list(ids)),)).rowcount
            _write_mark(connection, last, taken + gone)

    def _is_there(self) -> bool:
        """Return whether there is an inbox; refuse a file that is something else's before it is opened to write."""
        if not _size(self.path):
            return False
        try:
            connection = schema.connect(self.path, "ro&immutable=1")
            try:
                if _is_blank(connection):  # whoever began to make it was killed, or is about to go on
                    return False
                self._check_owner(connection)
            finally:
                connection.close()
        except sqlite3.Error:  # damaged, or seen amid another's commit: whoever opens it under a lock will know
            return True
        return True

    @contextmanager
    def _opened(self, doing: str, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = schema.connect(self.path, mode)
            try:
                self._configure(connection)
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _CORRUPT:
                raise self._damaged(f"found while {doing}: {error}") from error
            raise StoreError(
                f"the inbox {self.path!r} failed while {doing}: {error}: mend that and try again"
            ) from error

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        connection.execute(begin)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _configure(self, connection: sqlite3.Connection) -> None:
        for name, value in _SETTINGS:
            text = value.decode() if isinstance(value, bytes) else value
            connection.execute(f"PRAGMA {name} = {text}").fetchall()
            if (got := schema.pragma(connection, name)) != value:
                raise StoreError(f"the inbox {self.path!r} does not take {name} = {text}, it stays {got!r}")

    def _hand_over(self) -> None:
        """Give a new inbox the rights of the store, and its owner where root makes it: the engine must write, too."""
        if sys.platform == "win32":
            return
        like = os.stat(self.store)
        try:
            os.chmod(self.path, like.st_mode & 0o777)
            if not os.geteuid():
                os.chown(self.path, like.st_uid, like.st_gid)
        except PermissionError:  # another user has made it at the same time
            return

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        for table in _TABLES.values():
            connection.execute(table)
        _write_mark(connection, 0, 0)

    def _check(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Refuse a file that is not an inbox; return how many messages were ever put and ever taken. R30"""
        self._check_owner(connection)
        schema.check_tables(connection, self.path, _TABLES)
        mark = connection.execute("SELECT last, taken, crc FROM mark WHERE one = 1").fetchone()
        if mark is None or seal_values([_plain(value) for value in mark[:2]]) != mark[2]:
            raise self._damaged("its mark does not match its checksum")
        last, taken, _ = mark
        return last, taken

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        owner, version = schema.pragma(connection, "application_id"), schema.pragma(connection, "user_version")
        if owner != APPLICATION_ID:
            raise StoreError(
                f"{self.path!r} is a SQLite database of something else (application_id {owner:#x}, an inbox has "
                f"{APPLICATION_ID:#x}) and was left as it is: move it away, the store's inbox belongs there"
            )
        if version != FORMAT:
            raise StoreError(
                f"the inbox {self.path!r} has format {version}, this version of durable reads format {FORMAT}: "
                "use the version that wrote it, or a newer one"
            )

    def _unsealed(self, row: tuple[Any, ...]) -> Message:
        values = [_plain(value) for value in row[:4]]
        if seal_values(values) != row[4]:
            raise self._damaged(f"its message {row[0]} does not match its checksum")
        return Message(*values[1:])

    def _damaged(self, how: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"the inbox {self.path!r} is damaged, {how}: restore a copy, or move it away with the messages that no "
            "engine has taken yet"
        )


def _is_blank(connection: sqlite3.Connection) -> bool:
    owner, version = schema.pragma(connection, "application_id"), schema.pragma(connection, "user_version")
    return not owner and not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _write_mark(connection: sqlite3.Connection, last: int, taken: int) -> None:
    crc = seal_values((last, taken))
    connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?)", (last, taken, crc))


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
