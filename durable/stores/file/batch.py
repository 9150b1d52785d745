"""Write the rows of one transaction.

Separate because there are few kinds of rows, which are written by statements of their own, many rows at once. For each
execution of a statement, SQLite's module gives Python's lock away, and must wait for it again: while the event loop is
at work, this takes several times as long as the insertion of a row. What is the same in all rows of a kind stands in
their statement, None above all: for each None that it is given, the module looks for an adapter, and makes an error.
Leaves to `writer` the numbers and places of entries, to `connection` the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

from durable.errors import StoreCorruptError
from durable.stores.file import schema
from durable.stores.file.checksums import ENTRY_COLUMNS, RUN_COLUMNS, EntryRow, Place, RunRecord, seal_run

_SIZES = (64, 8, 1)
_OF_JOURNAL = f"INSERT INTO journal ({ENTRY_COLUMNS}) VALUES"
INSERT_BARE = f"{_OF_JOURNAL} (?, ?, ?, 0, NULL, ?, ?, NULL, ?)"
_INSERT_MARKED = f"{_OF_JOURNAL} (?, ?, ?, ?, NULL, ?, ?, NULL, ?)"
_INSERT_TOLD = f"{_OF_JOURNAL} (?, ?, ?, ?, NULL, ?, ?, ?, ?)"
_INSERT_KEPT = f"{_OF_JOURNAL} (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_RUNS = f"INSERT INTO runs ({RUN_COLUMNS}) VALUES"
_OPEN_RUN = f"{_OF_RUNS} (?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?)"
_OPEN_UNTOLD = f"{_OF_RUNS} (?, ?, ?, ?, NULL, NULL, NULL, NULL, NULL, NULL, ?)"
_OPEN_OTHER = f"{_OF_RUNS} (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TURN = (
    "UPDATE runs SET open = column2, last = column3, function = column4, event = column5, opened_at = column6, "
    "ended_at = column7, status = column8, error = column9, crc = column10 FROM (VALUES"
)
_END_WELL = f"{_TURN} (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)) WHERE no = column1"
_TURN_OTHER = f"{_TURN} (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) WHERE no = column1"
_TURN_ONE = (
    "UPDATE runs SET open = ?, last = ?, function = ?, event = ?, opened_at = ?, ended_at = ?, status = ?, error = ?, "
    "crc = ? WHERE no = ?"
)
_TURNS_MANY = sqlite3.sqlite_version_info >= (3, 33)  # the first with UPDATE FROM
_OPENED_BY = f"INSERT OR IGNORE INTO {schema.BY_EVENT} (event, run) VALUES (?, ?)"
_FIND_RUNS = f"SELECT {RUN_COLUMNS} FROM runs WHERE id IN (VALUES (?))"

_T = TypeVar("_T")


def find_runs(connection: sqlite3.Connection, ids: list[str]) -> list[RunRecord]:
    """Return the rows that there are of the runs with these ids."""
    found: list[RunRecord] = []
    for some in _cut(ids, 1):
        found += connection.execute(_of_many(_FIND_RUNS, len(some)), some).fetchall()
    return found


def _put(connection: sqlite3.Connection, statement: str, values: list[Any]) -> int:
    """Execute a statement for all rows, given as one list of values; return how many rows of a table were written."""
    width, written = statement.count("?"), 0
    for some in _cut(values, width):
        written += connection.execute(_of_many(statement, len(some) // width), some).rowcount
    return written


@lru_cache(maxsize=64)
def _of_many(statement: str, rows: int) -> str:
    """Return a statement on the values of one row as one on those of many."""
    before, word, behind = statement.partition("VALUES (")
    places, end, after = behind.partition(")")
    return f"{before}{word}{'), ('.join([places] * rows)}{end}{after}"


def _cut(values: list[_T], width: int) -> Iterator[list[_T]]:
    # In pieces of few lengths, since each makes a statement of its own, which is kept.
    begin, end = 0, len(values)
    for size in _SIZES:
        piece = size * width
        while end - begin >= piece:
            yield values[begin : begin + piece]
            begin += piece


class Batch:
    """A batch is what one transaction writes.

    Attributes:
        before: the highest number of a run before this.
        turned: by number, the runs that open, end, or are opened again.
        openers: ids of events that have opened runs, with the numbers of these.
        format: the least format of a store that may hold the rows.
        bare: the values of bare rows of the journal, one row after the other; nearly all rows are bare.
    """

    __slots__ = ("_kept", "_marked", "_told", "bare", "before", "format", "openers", "turned")

    def __init__(self, before: int) -> None:
        self.bare: list[Any] = []
        self._marked: list[Any] = []  # with flags alone
        self._told: list[Any] = []  # with what is told of a run
        self._kept: list[Any] = []
        self.turned: dict[int, Place] = {}
        self.before = before
        self.openers: list[tuple[str, int]] = []
        self.format = 0

    def needs(self, format: int) -> None:
        """Note that a row needs a store of this format."""
        self.format = max(self.format, format)

    def add(self, row: EntryRow) -> None:
        """Add a row of the journal."""
        seq, run, prev, flags, keep, crc, kind, told, body = row
        if keep is not None:
            self._kept += row
        elif told is not None:
            self._told += (seq, run, prev, flags, crc, kind, told, body)
        else:
            self._marked += (seq, run, prev, flags, crc, kind, body)

    def put(self, connection: sqlite3.Connection) -> None:
        """Write the rows inside the open transaction.

        Raises:
            StoreCorruptError: somebody has taken the row of a run away.
        """
        _put(connection, INSERT_BARE, self.bare)
        _put(connection, _INSERT_MARKED, self._marked)
        _put(connection, _INSERT_TOLD, self._told)
        _put(connection, _INSERT_KEPT, self._kept)
        records = [seal_run(place) for place in self.turned.values()]
        _open_runs(connection, [record for record in records if record[0] > self.before])
        known = [record for record in records if record[0] <= self.before]
        if known and _turn_runs(connection, known) != len(known):
            raise StoreCorruptError("the row of a run is not there any more: restore a copy")
        if self.openers:
            schema.make_later_tables(connection)
            connection.executemany(_OPENED_BY, self.openers)


def _open_runs(connection: sqlite3.Connection, records: list[RunRecord]) -> None:
    opened: list[Any] = []
    untold: list[Any] = []
    others: list[Any] = []
    for record in records:
        no, id, is_open, last, function, event, opened_at, ended_at, status, error, crc = record
        if function is None:
            untold += (no, id, is_open, last, crc)
        elif ended_at is None and status is None and error is None:
            opened += (no, id, is_open, last, function, event, opened_at, crc)
        else:
            others += record
    _put(connection, _OPEN_RUN, opened)
    _put(connection, _OPEN_UNTOLD, untold)
    _put(connection, _OPEN_OTHER, others)


def _turn_runs(connection: sqlite3.Connection, records: list[RunRecord]) -> int:
    """Write what has changed in rows of the table of runs, and return how many of them are there."""
    if not _TURNS_MANY:
        return connection.executemany(_TURN_ONE, [(*record[2:], record[0]) for record in records]).rowcount
    ended: list[Any] = []
    others: list[Any] = []
    for record in records:
        no, _, is_open, last, function, event, opened_at, ended_at, status, error, crc = record
        if error is None and status is not None:
            ended += (no, is_open, last, function, event, opened_at, ended_at, status, crc)
        else:
            others += (no, is_open, last, function, event, opened_at, ended_at, status, error, crc)
    return _put(connection, _END_WELL, ended) + _put(connection, _TURN_OTHER, others)
