"""Define the tables, marks and settings that make a SQLite file a store.

Separate because the writer and the reader must agree on the form of the file.
Leaves to `checksums` the form of a row, to `recognition` the file at a path, to `writer` and `reader` their use.

`journal` is append-only. Its only index over every row is the run's rising number: an index over the run's text costs
two thirds of the rate. `runs` is written when a run opens, ends or is opened again, never per step. `mark` has one row,
written at a clean close and by prune: the highest numbers ever given and how many rows prune has taken, so that numbers
are never given twice and a row that is missing is missed, whichever it is: `count(journal) + pruned == last`. A second
row of it, which only `wal` reads, says whose a `-wal` is.

The file is created in SQLite's rollback mode and only then turned to WAL. So the header of the file itself, not a WAL
beside it, says from the first instant whose it is: a foreign file can be refused by reading it as immutable, without
a lock, a recovery or a checkpoint that would change it.
"""

from __future__ import annotations

import sqlite3
import urllib.parse  # noqa: F401  # as_uri would import it late, when a process may have given up the right to read it
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file.checksums import seal_values

APPLICATION_ID = 0x64757262  # "durb"
FORMAT = 1
SUMMED = 2  # the format of a store with rows that sum up their run: releases that do not know such rows refuse it
LATER = 3  # the format of a store with records of the kinds below
FORMATS = (FORMAT, SUMMED, LATER)
# The kinds of records that came after format 2. The first of them raises the format of its store, in its own write: a
# release that does not know them refuses such a store, and reads all others.
LATER_KINDS = frozenset(
    "Counted RunAdmitted EventHeld EventSkipped EventUnheld GroupClosed "
    "TicksPassed TicksReplaced ScheduleMade ScheduleEnded FunctionPaused FunctionResumed".split()
)
SYNCHRONOUS = {"power": 2, "process": 1, "none": 0}

_TABLES = {
    "journal": "CREATE TABLE journal (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, prev INTEGER NOT NULL, "
    "flags INTEGER NOT NULL, keep_until INTEGER, crc INTEGER NOT NULL, kind TEXT NOT NULL, row TEXT, "
    "body TEXT NOT NULL)",
    "journal_run": "CREATE INDEX journal_run ON journal (run)",
    "journal_kept": "CREATE INDEX journal_kept ON journal (keep_until) WHERE keep_until IS NOT NULL",
    "runs": "CREATE TABLE runs (no INTEGER PRIMARY KEY, id TEXT UNIQUE, open INTEGER NOT NULL, last INTEGER NOT NULL, "
    "function TEXT, event TEXT, opened_at INTEGER, ended_at INTEGER, status TEXT, error TEXT, crc INTEGER NOT NULL)",
    "runs_open": "CREATE INDEX runs_open ON runs (no) WHERE open = 1",
    "mark": "CREATE TABLE mark (one INTEGER PRIMARY KEY, last INTEGER NOT NULL, pruned INTEGER NOT NULL, "
    "runs INTEGER NOT NULL, forgotten INTEGER NOT NULL, crc INTEGER NOT NULL)",
}
BY_EVENT = "runs_by_event"
# Tables that a store gets when it first needs them, in a transaction that raises its format.
_LATER_TABLES = {
    BY_EVENT: f"CREATE TABLE {BY_EVENT} (event TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (event, run)) "
    "WITHOUT ROWID",
    f"{BY_EVENT}_run": f"CREATE INDEX {BY_EVENT}_run ON {BY_EVENT} (run)",
}
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_KEPT_OUT = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_SHARING = frozenset(
    {
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)
_BUSY_S = 5.0
_PATIENCE, _ASK_AGAIN = 2.0, 0.002  # seconds

_T = TypeVar("_T")

Mark = tuple[int, int, int, int]
"""Highest entry number given, entries pruned, highest run number given, runs forgotten."""


def failed(path: str, doing: str, error: Exception) -> StoreError:
    """Return the StoreError for an error of SQLite or of the system."""
    if isinstance(error, StoreError):
        return error
    if is_busy(error):
        return StoreError(
            f"another program has store {path!r} locked, found while {doing}: end that, or wait until it is done, and "
            "try again; nothing recorded is lost"
        )
    if is_damage(error):
        return StoreCorruptError(f"store {path!r} is damaged, found while {doing}: {error}: restore a copy")
    if _is_kept_out(error):
        return StoreError(
            f"store {path!r} cannot be used, found while {doing}: {error}: see that this user may write to it and in "
            "its folder, that it is on a local disk, for SQLite shares memory through its -shm, and that this "
            "process may open more files; nothing recorded is lost"
        )
    return StoreError(f"store {path!r} failed while {doing}: {error}: mend that and restart, nothing recorded is lost")


def reason(error: Exception) -> BaseException | None:
    """Return what the error that `failed` gives was raised from: a StoreError keeps its own reason."""
    return error.__cause__ if isinstance(error, StoreError) else error


def is_busy(error: BaseException) -> bool:
    """Return whether an error only says that another program has the file locked.

    Then nothing was done, and it may be tried again.
    """
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_BUSY


def patiently(task: Callable[[], _T]) -> _T:
    """Return what `task` returns, which only looks at the file; call it again while SQLite refuses that for a moment.

    It refuses to where a reader of another process is just making the `-shm`, as if this were an attempt to write.
    """
    until = monotonic() + _PATIENCE
    while True:
        try:
            return task()
        except sqlite3.Error as error:
            if not is_kept_from_writing(error) or monotonic() > until:
                raise
            sleep(_ASK_AGAIN)


def is_kept_from_writing(error: sqlite3.Error) -> bool:
    """Return whether SQLite has refused to write."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_READONLY


def end(connection: sqlite3.Connection) -> None:
    """End a transaction that has only read; after some errors SQLite has ended it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _is_kept_out(error: BaseException) -> bool:
    """Return whether an error says that a file cannot be written to or shared."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return isinstance(error, PermissionError) or code & 0xFF in _KEPT_OUT or code in _SHARING


def is_damage(error: BaseException) -> bool:
    """Return whether an error says that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return isinstance(error, StoreCorruptError) or code & 0xFF in _CORRUPT


def connect(path: str, mode: str, *, busy: float = _BUSY_S) -> sqlite3.Connection:
    """Open the file through SQLite, in one of SQLite's modes.

    Text is returned as bytes, for the checksums. If another program has the file locked, SQLite waits for `busy`
    seconds.
    """
    uri = f"{Path(path).as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Make an empty file a store."""
    # EXTRA: without it, a `-journal` that is there again after a power failure would undo all of it.
    connection.execute("PRAGMA synchronous = 3")
    connection.execute("PRAGMA auto_vacuum = 2")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for table in _TABLES.values():
        connection.execute(table)
    write_mark(connection, (0, 0, 0, 0))
    connection.execute("COMMIT")


def format_of(connection: sqlite3.Connection) -> int:
    """Return the format of the store."""
    return int(pragma(connection, "user_version"))


def raise_format(connection: sqlite3.Connection, format: int) -> None:
    """Raise the format of the store, inside the transaction that writes the first row that needs it."""
    connection.execute(f"PRAGMA user_version = {format:d}")


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether there is a table or an index of this name."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def make_later_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that not every store has, unless they are there, inside the open transaction."""
    if not has_table(connection, BY_EVENT):
        for table in _LATER_TABLES.values():
            connection.execute(table)


def configure(connection: sqlite3.Connection, path: str, synchronous: int) -> None:
    """Make the settings on which durability depends, and read them back.

    Raises:
        StoreError: a setting was not accepted, such as WAL on a network file system.
    """
    wanted: Sequence[tuple[str, Any]] = (
        ("journal_mode", b"wal"),
        ("synchronous", synchronous),
        ("fullfsync", 1),
        ("checkpoint_fullfsync", 1),
        ("wal_autocheckpoint", 0),
    )
    for name, value in wanted:
        text = value.decode() if isinstance(value, bytes) else value
        connection.execute(f"PRAGMA {name} = {text}").fetchall()
        if (got := pragma(connection, name)) != value:
            raise StoreError(f"store {path!r} does not take {name} = {text}, it stays {got!r}: keep it on a local disk")


def check_tables(connection: sqlite3.Connection, path: str, wanted: Mapping[str, str] = _TABLES) -> None:
    """Check that the tables and indexes of these names are exactly the store's.

    If they differ, every row would be misread.

    Other tables in the file are left alone. But triggers and indexes on our own tables are refused, since they would
    act within our transactions.

    Raises:
        StoreCorruptError: one of ours is missing, or another than it was made.
        StoreError: a table of ours has a foreign trigger or index.
    """
    if wanted is _TABLES and has_table(connection, BY_EVENT):
        wanted = _TABLES | _LATER_TABLES
    found: dict[str, object] = {}
    for kind, name, table, sql in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        kind, name, table, sql = text(kind), text(name), text(table), text(sql)
        if kind in ("table", "index") and name in wanted:
            found[str(name)] = sql
        elif kind in ("trigger", "index") and str(table).lower() in wanted and sql is not None:
            raise StoreError(
                f"{path!r} has a foreign {kind} {name!r} on its own table {table!r}, which would act in everything "
                f'that is written there: take it away (DROP {str(kind).upper()} "{name}"), and keep it elsewhere'
            )
    for name, sql in wanted.items():
        if found.get(name) != sql:
            how = "has another {} than it was made with" if name in found else "lacks its {}"
            what = how.format(f"{'index' if sql.startswith('CREATE INDEX') else 'table'} {name!r}")
            raise StoreCorruptError(f"{path!r} {what}: it is damaged, restore a copy")


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Return the value of a setting."""
    row = connection.execute(f"PRAGMA {name}").fetchone()
    return None if row is None else row[0]


def write_mark(connection: sqlite3.Connection, mark: Mark) -> None:
    """Write the mark inside the open transaction."""
    connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?, ?, ?)", (*mark, seal_values(mark)))


def read_mark(connection: sqlite3.Connection, path: str) -> Mark:
    """Return the mark.

    Raises:
        StoreCorruptError: it is not what was written.
    """
    record = connection.execute("SELECT last, pruned, runs, forgotten, crc FROM mark WHERE one = 1").fetchone()
    if record is None or not all(isinstance(value, int) for value in record) or seal_values(record[:4]) != record[4]:
        raise StoreCorruptError(f"the mark of store {path!r} does not match its checksum: restore a copy")
    last, pruned, runs, forgotten, _ = record
    return last, pruned, runs, forgotten


def text(value: object) -> object:
    """Return a column's value, with text as a string: connections give bytes."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
