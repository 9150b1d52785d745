"""Keep messages from other processes until an engine takes them.

Separate because one process at a time may write to a store, but any process may send to it.
Leaves to `sender` the putting, to `receiver` the taking, to `messages` the meaning of a body.

The inbox is a small SQLite file of its own, `<path>.inbox`, which the first sender makes. A message is one row with a
checksum, so it is there as a whole or not at all. `mark` counts the rows ever put and ever taken, and the index over
the ids says which they are. So a missing row is noticed, even if another stands in its place. Every call opens the
file, does one transaction and closes the file. So a call notices a file that was removed or replaced since the last
call, and nothing is left open that a forked child could disturb. In one process, only one call at a time uses the file:
closing a file drops every other lock that the process has on it.

The file has a rollback journal instead of a WAL. Few rows go through it, and so there are no further files beside it
while no process writes. In this mode a commit is the deletion of a file, which is safe from a loss of power only with
`synchronous = EXTRA`.

Many processes may send at once. SQLite's own wait for a lock sleeps longer each time, so that the first to come waits
longest. Here every sender tries again after a random few milliseconds, so each of them gets in after some tries.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from errno import EROFS
from random import uniform
from time import monotonic, sleep
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import attrs

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file import schema
from durable.stores.file.beside import check_companions, open_beside
from durable.stores.file.checksums import seal_values
from durable.stores.file.recognition import check_name, is_blank, recognise

APPLICATION_ID = 0x64757269  # "duri"
FORMAT = 1
MESSAGES = 2  # the newest format of messages that this release takes
SUFFIX = ".inbox"
MOST_MESSAGES = 200  # taken at a time: all are posted in one turn of the loop, which does nothing else meanwhile
MOST_BYTES = 1 << 20
PATIENCE = 30.0  # seconds for which a call waits while another program has the file locked
_HURRY = 1.0
_ASK_AGAIN = 0.005

_TABLES = {
    "message": "CREATE TABLE message (no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, "
    "body TEXT NOT NULL, crc INTEGER NOT NULL)",
    "mark": "CREATE TABLE mark (one INTEGER PRIMARY KEY, last INTEGER NOT NULL, taken INTEGER NOT NULL, "
    "crc INTEGER NOT NULL)",
}
_SETTINGS = (("journal_mode", b"delete"), ("synchronous", 3), ("fullfsync", 1), ("checkpoint_fullfsync", 1))
_WAITING = "SELECT no, id, kind, body, crc FROM message WHERE id NOT IN (SELECT value FROM json_each(?)) ORDER BY no"
_BY_ID = "message INDEXED BY sqlite_autoindex_message_1"
_KNOWN = f"SELECT count(*), total(no <= ?) FROM {_BY_ID}"
_THERE = "SELECT count(*) FROM message NOT INDEXED WHERE no <= ?"
_NAMED = (
    f"SELECT count(*) FROM json_each(?) n JOIN {_BY_ID} "
    "ON message.id = json_extract(n.value, '$[0]') AND message.no = json_extract(n.value, '$[1]')"
)
_HIGHEST = (1 << 63) - 1
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_T = TypeVar("_T")
_TAKEN = "durable/inbox/"
_turns: WeakValueDictionary[tuple[int, str], _Turn] = WeakValueDictionary()


def message_run(message: str) -> str:
    """Return the run under which the taking of a message is recorded.

    It is a run of the message's own, and ends with that record. So the record costs recovery nothing, and can be looked
    up for as long as the message may be found in the inbox again.
    """
    return f"{_TAKEN}{message}"


def message_of(run: str) -> str | None:
    """Return the message of a run that `message_run` named, or None for another run."""
    return run.removeprefix(_TAKEN) if run.startswith(_TAKEN) else None


class _Turn:
    """A turn lets one call of this process at a time use an inbox."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@attrs.frozen
class Message:
    """A message holds what one call sent.

    `id` is the message's own. `kind` and `body` are the sender's texts, which the inbox never parses.
    """

    id: str
    kind: str
    body: str


class Inbox:
    """An inbox keeps the messages for the store at a real path.

    Every method blocks, and may be called by several processes at once.

    If another program has locked the file, a call waits for `patience` seconds, and less after `hurry`.
    """

    def __init__(self, store: str, *, patience: float = PATIENCE) -> None:
        self.store = store
        self.path = f"{store}{SUFFIX}"
        self._patience = patience
        self._until: float | None = None

    def hurry(self) -> None:
        """Wait at most a second more for another program's lock, now and in later calls."""
        self._until = monotonic() + _HURRY

    def put(self, messages: Sequence[Message]) -> None:
        """Keep messages, all or nothing; they are durable when this returns.

        Without messages, only check whether some could be kept.

        Raises:
            StoreCorruptError: the store or its inbox is damaged, cut short, or not a SQLite file.
            StoreError: there is no store; or the store or the inbox belongs to another program or has another format;
                or writing failed, and it is not known whether the messages are kept.
        """
        check_name(self.store)
        if not recognise(self.store):
            raise StoreError(f"there is no store at {self.store!r} to send to: name one that an engine has opened")

        def keep(connection: sqlite3.Connection) -> None:
            if is_blank(connection):
                self._create(connection)
            last, taken = self._check(connection)
            for no, message in enumerate(messages, last + 1):
                row = no, message.id, message.kind, message.body
                connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (*row, seal_values(row)))
            _write_mark(connection, last + len(messages), taken)

        self._transact("sending to it", "BEGIN IMMEDIATE", keep, make=bool(messages))

    def look(self, besides: Collection[str] = ()) -> list[Message]:
        """Return the messages that have waited longest, in the order of their putting.

        Those in `besides` are left out. There are at most 200 messages, or 1 MiB and one message more. Without an inbox
        the list is empty.

        Raises:
            StoreCorruptError: the inbox is damaged, or a message is missing.
            StoreError: the file belongs to another program or has another format, or reading failed.
        """

        def find(connection: sqlite3.Connection) -> list[Message]:
            if is_blank(connection):  # its maker was killed while making it, and SQLite has just undone that
                return []
            last, taken = self._check(connection)
            found: dict[int, Message] = {}
            size, end = 0, _HIGHEST
            for row in connection.execute(_WAITING, (json.dumps(list(besides)),)):
                if found and row[0] <= max(found):
                    raise self._damaged(f"message {row[0]} stands behind message {max(found)}")
                found[row[0]] = self._unsealed(row)
                size += len(found[row[0]].body)
                if len(found) == MOST_MESSAGES or size > MOST_BYTES:
                    end = row[0]
                    break
            self._check_none_missing(connection, last - taken, found, end)
            return list(found.values())

        return self._transact("looking into it", "BEGIN", find) or []

    def remove(self, ids: Collection[str]) -> None:
        """Delete messages that were taken, and ignore those that are not there.

        Raises:
            StoreError: as for `look`; it is not known whether the messages are deleted.
        """

        def forget(connection: sqlite3.Connection) -> None:
            if is_blank(connection):
                return
            last, taken = self._check(connection)
            chosen = "SELECT value FROM json_each(?)"
            gone = connection.execute(f"DELETE FROM message WHERE id IN ({chosen})", (json.dumps(list(ids)),)).rowcount
            _write_mark(connection, last, taken + gone)

        self._transact("removing from it", "BEGIN IMMEDIATE", forget)

    def ids(self) -> set[str]:
        """Return the ids of all messages that are there.

        Raises:
            StoreError: as for `look`.
        """

        def find(connection: sqlite3.Connection) -> set[str]:
            if is_blank(connection):
                return set()
            self._check(connection)
            return {_plain(id) for (id,) in connection.execute("SELECT id FROM message NOT INDEXED")}

        return self._transact("looking into it", "BEGIN", find) or set()

    def _transact(
        self, doing: str, begin: str, work: Callable[[sqlite3.Connection], _T], *, make: bool = False
    ) -> _T | None:
        """Return what `work` returns when it is called in one transaction.

        None if there is no inbox and `make` is false. The work is begun again for as long as another program has the
        file locked.
        """
        until = monotonic() + self._patience
        with self._turn(until):
            while True:
                try:
                    return self._attempt(begin, work, make)
                except (sqlite3.Error, OSError) as error:
                    if not schema.is_busy(error):
                        raise self._failed(doing, error) from error
                    self._check_patience(until, error)
                sleep(uniform(0, _ASK_AGAIN))

    @contextmanager
    def _turn(self, until: float) -> Iterator[None]:
        turn = _turns.setdefault((os.getpid(), self.path), _Turn())  # by process: a parent's may be taken for ever
        while not turn.lock.acquire(timeout=_ASK_AGAIN):
            self._check_patience(until, None)
        try:
            yield
        finally:
            turn.lock.release()

    def _check_patience(self, until: float, error: BaseException | None) -> None:
        if monotonic() > (until if self._until is None else min(until, self._until)):
            raise StoreError(
                f"the inbox {self.path!r} is kept locked by another program: end that, or wait until it is done, and "
                "try again"
            ) from error

    def _attempt(self, begin: str, work: Callable[[sqlite3.Connection], _T], make: bool) -> _T | None:
        try:
            file = open_beside(self.store, SUFFIX, make=make)
        except OSError as error:
            if error.errno != EROFS or begin != "BEGIN":
                raise
            return self._at_rest(work)
        if file is None:
            return None
        try:  # this stays open until SQLite has closed the file, so that no other file can get its number
            found = os.fstat(file)
            check_companions(self.path, self.store)
            return None if self._is_none(found.st_size) and not make else self._within(found, begin, work, make)
        finally:
            os.close(file)

    def _at_rest(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Look into the file where nobody can write: it is on a medium that can only be read."""
        with closing(schema.connect(self.path, "ro&immutable=1")) as connection:
            return work(connection)

    def _within(
        self, found: os.stat_result, begin: str, work: Callable[[sqlite3.Connection], _T], make: bool
    ) -> _T | None:
        connection = schema.connect(self.path, "rw", busy=_ASK_AGAIN)
        try:
            if make and is_blank(connection):
                connection.execute("PRAGMA auto_vacuum = 1")  # has an effect only before there are tables
            self._configure(connection)
            connection.execute(begin)
            try:
                self._check_same(found)
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result
        finally:
            connection.close()

    def _is_none(self, size: int) -> bool:
        """Return whether there is no inbox yet.

        A file of another program is refused here, before it is opened to write.
        """
        if not size:
            return True
        try:
            connection = schema.connect(self.path, "ro&immutable=1")
            try:
                if is_blank(connection):  # its maker was killed while making it, or is about to go on
                    return True
                self._check_owner(connection)
            finally:
                connection.close()
        except sqlite3.Error:  # damaged, or in the middle of a commit: the opening under a lock will find out
            return False
        return False

    def _check_same(self, found: os.stat_result) -> None:
        """Check that SQLite, which opens by name, has opened the file that was examined."""
        now = os.stat(self.path, follow_symlinks=False)
        if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
            raise StoreError(f"the inbox {self.path!r} was replaced while it was opened: try again")

    def _configure(self, connection: sqlite3.Connection) -> None:
        for name, value in _SETTINGS:
            text = value.decode() if isinstance(value, bytes) else value
            connection.execute(f"PRAGMA {name} = {text}").fetchall()
            if (got := schema.pragma(connection, name)) != value:
                raise StoreError(f"the inbox {self.path!r} does not take {name} = {text}, it stays {got!r}")

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        for table in _TABLES.values():
            connection.execute(table)
        _write_mark(connection, 0, 0)

    def _check(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Check that the file is an inbox (R30).

        Returns how many messages were ever put and ever taken.
        """
        self._check_owner(connection)
        schema.check_tables(connection, self.path, _TABLES)
        mark = connection.execute("SELECT last, taken, crc FROM mark WHERE one = 1").fetchone()
        if mark is None or seal_values([_plain(value) for value in mark[:2]]) != mark[2]:
            raise self._damaged("its mark does not match its checksum")
        last, taken, _ = mark
        return last, taken

    def _check_none_missing(
        self, connection: sqlite3.Connection, count: int, found: dict[int, Message], end: int
    ) -> None:
        """Check that no message up to number `end` is missing (R30).

        The table and its index are compared, too: two copies of one page would give the right count.
        """
        known, before = connection.execute(_KNOWN, (end,)).fetchone()
        if missing := count - known:
            raise self._damaged(f"it lacks {missing} message(s)")
        if missing := int(before) - connection.execute(_THERE, (end,)).fetchone()[0]:
            raise self._damaged(f"it lacks {missing} message(s) that its index knows")
        named = json.dumps([(message.id, no) for no, message in found.items()])
        if missing := len(found) - connection.execute(_NAMED, (named,)).fetchone()[0]:
            raise self._damaged(f"it has {missing} message(s) that its index does not know")

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

    def _failed(self, doing: str, error: Exception) -> StoreError:
        if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _CORRUPT:
            return self._damaged(f"found while {doing}: {error}")
        return StoreError(f"the inbox {self.path!r} failed while {doing}: {error}: mend that and try again")

    def _damaged(self, how: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"the inbox {self.path!r} is damaged, {how}: restore a copy, or move it away with the messages that no "
            "engine has taken yet"
        )


def _write_mark(connection: sqlite3.Connection, last: int, taken: int) -> None:
    crc = seal_values((last, taken))
    connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?)", (last, taken, crc))


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
