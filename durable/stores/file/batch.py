"""Write the rows of one transaction.

Separate because nearly all rows have the same few values, and so are written by statements of their own, many rows at
once. For each execution of a statement, SQLite's module gives Python's lock away, and must wait for it again: while the
event loop is at work, this takes several times as long as the insertion of a row.
Leaves to `writer` the numbers and places of entries, to `connection` the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from durable.errors import StoreCorruptError
from durable.stores.file import schema
from durable.stores.file.checksums import ENTRY_COLUMNS, RUN_COLUMNS, BareRow, EntryRow, Place, RunRecord, seal_run

_SIZES = (64, 8, 1)
INSERT_BARE = f"INSERT INTO journal ({ENTRY_COLUMNS}) VALUES (?, ?, ?, 0, NULL, ?, ?, NULL, ?)"
_INSERT = f"INSERT INTO journal ({ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OPEN_RUN = f"INSERT INTO runs ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TURN_RUN = (
    "UPDATE runs SET open = ?, last = ?, function = ?, event = ?, opened_at = ?, ended_at = ?, status = ?, error = ?, "
    "crc = ? WHERE no = ?"
)
_OPENED_BY = f"INSERT OR IGNORE INTO {schema.BY_EVENT} (event, run) VALUES (?, ?)"
_FIND_RUNS = f"SELECT {RUN_COLUMNS} FROM runs WHERE id IN (?"

_T = TypeVar("_T")


def find_runs(connection: sqlite3.Connection, ids: Sequence[str]) -> list[RunRecord]:
    """Return the rows that there are of the runs with these ids."""
    found: list[RunRecord] = []
    for some in _cut(ids):
        found += connection.execute(f"{_FIND_RUNS}{', ?' * (len(some) - 1)})", some).fetchall()
    return found


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    _, _, values = statement.partition(" VALUES ")
    for some in _cut(rows):
        connection.execute(f"{statement}{f', {values}' * (len(some) - 1)}", tuple(chain.from_iterable(some)))


def _cut(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    # In pieces of few lengths, since each makes a statement of its own, which is kept.
    begin = 0
    for size in _SIZES:
        while len(items) - begin >= size:
            yield items[begin : begin + size]
            begin += size


class Batch:
    """A batch is what one transaction writes.

    Attributes:
        bare, rows: rows of the journal; nearly all are bare.
        turned: by number, the runs that open, end, or are opened again.
        before: the highest number of a run before this.
        openers: ids of events that have opened runs, with the numbers of these.
        format: the least format of a store that may hold the rows.
    """

    __slots__ = ("bare", "before", "format", "openers", "rows", "turned")

    def __init__(self, before: int) -> None:
        self.bare: list[BareRow] = []
        self.rows: list[EntryRow] = []
        self.turned: dict[int, Place] = {}
        self.before = before
        self.openers: list[tuple[str, int]] = []
        self.format = 0

    def needs(self, format: int) -> None:
        """Note that a row needs a store of this format."""
        self.format = max(self.format, format)

    def put(self, connection: sqlite3.Connection) -> None:
        """Write the rows inside the open transaction.

        Raises:
            StoreCorruptError: somebody has taken the row of a run away.
        """
        _insert(connection, INSERT_BARE, self.bare)
        _insert(connection, _INSERT, self.rows)
        records = [seal_run(place) for place in self.turned.values()]
        _insert(connection, _OPEN_RUN, [record for record in records if record[0] > self.before])
        known = [(*record[2:], record[0]) for record in records if record[0] <= self.before]
        if known and connection.executemany(_TURN_RUN, known).rowcount != len(known):
            raise StoreCorruptError("the row of a run is not there any more: restore a copy")
        if self.openers:
            schema.make_later_tables(connection)
            connection.executemany(_OPENED_BY, self.openers)
