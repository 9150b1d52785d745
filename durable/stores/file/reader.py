"""Read a store's file, and check that what is read is whole.

Separate because reading needs no lock and may happen in another process, beside the writer.
Leaves to `reading` the opening of the file, to `checksums` the check of a single row, to `store` the event loop.

Every row holds the number of the row before it in its run, and the table of runs holds a row number that must exist. So
a row that is missing inside a run, or at the end of an ended run, is noticed when the run is read. The last rows of an
unfinished run are missed by the count when the file is opened (`recognition.check_whole`). Of an unfinished run whose
last row sums it up, recovery is given this row alone; the others are checked when the run is read.

The rows that recovery folds are chosen in one short transaction, by number only, and read in chunks, each in its own
transaction. So there are never 300,000 rows in memory, and no long snapshot delays the writer's checkpoints. Rows never
change, so later chunks fit the choice. Only prune may delete rows meanwhile, which the mark then shows.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable
from functools import partial

import attrs

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file import schema
from durable.stores.file.checksums import (
    ENDS_RUN,
    ENTRY_COLUMNS,
    RUN_COLUMNS,
    SUMS_UP,
    EntryRow,
    Place,
    RunRecord,
    unseal,
)
from durable.stores.file.inbox import Inbox, message_of
from durable.stores.file.queries import matching
from durable.stores.file.reading import ReadConnection
from durable.stores.file.witness import place_in, values_in
from durable.stores.rows import row_of
from durable.stores.store import Entry, RunQuery, RunRow

_COLUMNS = ", ".join(f"j.{column}" for column in ENTRY_COLUMNS.split(", "))
_ROWS = f"SELECT {_COLUMNS} FROM json_each(?) n CROSS JOIN journal j ON j.seq = n.value"
_OPEN = f"SELECT {RUN_COLUMNS} FROM runs WHERE open = 1"
_LAST_ROWS = (
    "SELECT r.no, j.seq FROM runs r CROSS JOIN journal j ON j.seq = (SELECT max(seq) FROM journal WHERE run = r.no) "
    f"WHERE r.open = 1 AND j.flags & {SUMS_UP} AND j.seq >= r.last"
)
_ROWS_OF = "SELECT j.seq FROM json_each(?) n CROSS JOIN journal j ON j.run = n.value"
_CHUNK = 2_000
_PATIENCE = 1.0  # seconds for a locked inbox, since the engine's own reading waits meanwhile


@attrs.define(eq=False, repr=False)
class Choice:
    """A choice is a list of rows that are to be read.

    Attributes:
        numbers: the numbers of the rows, in append order.
        names: the ids of runs, by their numbers.
        due: for each run that is read as a whole, the number that must be among its rows.
        last: for each of these runs, the row that was read last.
        pruned: how many rows prune had ever deleted.
        at: how many of the rows have been read.
    """

    numbers: array[int]
    names: dict[int, str]
    due: dict[int, int]
    pruned: int
    last: dict[int, int] = attrs.field(factory=dict)
    at: int = 0


class Reader:
    """A reader reads a store's file through a connection, in a thread of its own."""

    def __init__(self, connection: ReadConnection) -> None:
        self._connection = connection
        self._read = connection.read

    @property
    def path(self) -> str:
        """The path of the file."""
        return self._connection.path

    def history(self, run: str) -> list[Entry]:
        """Return every entry of the run in append order."""
        place, rows = self._read(partial(self._rows, run))
        if place is None:
            return []
        entries = [unseal(row, run) for row in rows]
        if run:
            check_chain(run, place, rows)
        return entries

    def standing(self, prefix: str) -> list[Entry]:
        """Return every entry of each unfinished run whose id begins with a prefix in ASCII, run by run."""
        return [entry for run in self.open_runs(prefix) for entry in self.history(run)]

    def _rows(self, run: str, connection: sqlite3.Connection) -> tuple[Place | None, list[EntryRow]]:
        place = self._place(connection, run)
        if place is None:
            return None, []
        text = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE run = ? ORDER BY seq"
        return place, connection.execute(text, (place.no,)).fetchall()

    def _place(self, connection: sqlite3.Connection, run: str) -> Place | None:
        if not run:
            return Place(0, "", True, 0, None)
        record = connection.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?", (run,)).fetchone()
        return None if record is None else place_in(connection, record)

    def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that match a query, the highest number first; see `queries.matching`."""
        if query.limit <= 0:
            return []
        places = self._read(lambda connection: _places(connection, matching(connection, query)))
        return [row_of(place.id or "", place.fields) for place in places if place.fields is not None]

    def open_runs(self, prefix: str) -> list[str]:
        """Return the ids of unfinished runs that begin with a prefix in ASCII, in their order."""
        bounds = prefix, f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}"
        text = f"{_OPEN} AND id >= ? AND id < ? ORDER BY no"
        places = self._read(lambda connection: _places(connection, connection.execute(text, bounds).fetchall()))
        return [place.id for place in places if place.id]

    def prunable(self, before: int) -> list[int]:
        """Return the numbers of the runs that prune may delete, the oldest last: see `FileStore.prune`.

        The record that a message was taken is kept while the message may still be in the inbox. Otherwise the message
        would be taken again.
        """
        found = self._read(partial(_prunable, before))
        taken = {no: message for no, run in found.items() if (message := message_of(run)) is not None}
        if taken:
            there = self._waiting(set(taken.values()))
            found = {no: run for no, run in found.items() if taken.get(no) not in there}
        return sorted(found, reverse=True)

    def _waiting(self, taken: set[str]) -> set[str]:
        """Return those of these messages that may still be in the inbox.

        If the inbox cannot be read, these are all of them.
        """
        try:
            return Inbox(self.path, patience=_PATIENCE).ids()
        except StoreError:  # the inbox is locked or damaged, which its engine reports
            return taken

    def choose(self, now: int) -> Choice:
        """Choose the rows that recovery folds at an instant."""
        return self._read(partial(self._choose, now))

    def _choose(self, now: int, connection: sqlite3.Connection) -> Choice:
        execute = connection.execute
        names: dict[int, str] = {}
        due: dict[int, int] = {}
        for record in execute(_OPEN):
            no, run, _, last, *_ = values_in(connection, record)
            names[no], due[no] = run or "", last
        alone = dict(execute(_LAST_ROWS).fetchall())
        due = {no: last for no, last in due.items() if no not in alone}
        numbers = [seq for (seq,) in execute(_ROWS_OF, (json.dumps(list(due)),))]
        numbers += alone.values()
        kept = execute("SELECT seq, run FROM journal WHERE keep_until > ?", (now,)).fetchall()
        for no in {no for _, no in kept} - names.keys():
            names[no] = self._name(connection, no)
        pruned = schema.read_mark(connection, self.path)[1]
        numbers += [seq for seq, no in kept if no not in due and alone.get(no) != seq]
        return Choice(array("q", sorted(numbers)), names, due, pruned)

    def _name(self, connection: sqlite3.Connection, no: int) -> str:
        record = connection.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ?", (no,)).fetchone()
        if no and record is None:
            raise StoreCorruptError(f"store {self.path!r} has rows of a run number {no} that it lacks: restore a copy")
        return "" if record is None else place_in(connection, record).id or ""

    def read(self, choice: Choice) -> list[Entry]:
        """Return the next entries of a choice, or an empty list at its end.

        Raises:
            StoreCorruptError: a row is damaged or missing. R30
        """
        numbers = choice.numbers[choice.at : choice.at + _CHUNK]
        rows, pruned = self._read(partial(self._chunk, numbers))
        choice.at += len(numbers)
        if (
            pruned != choice.pruned
        ):  # another process has pruned: runs that have ended since may be gone, which is no damage
            return [unseal(row, choice.names.get(row[1], "?")) for row in rows]
        names, last, due = choice.names, choice.last, choice.due
        entries = [unseal(row, names.get(row[1], f"number {row[1]}")) for row in rows]
        for row in rows:
            no = row[1]
            if no not in due:
                continue
            if row[2] != last.get(no, 0):
                raise _torn(names[no], row, last.get(no, 0))
            last[no] = row[0]
        if len(rows) != len(numbers):
            missing = min(set(numbers) - {row[0] for row in rows})
            raise StoreCorruptError(f"store {self.path!r} lacks row {missing}: restore a copy")
        if choice.at >= len(choice.numbers):
            _check_ends(choice)
        return entries

    def _chunk(self, numbers: array[int], connection: sqlite3.Connection) -> tuple[list[EntryRow], int]:
        rows = connection.execute(_ROWS, (json.dumps(numbers.tolist()),)).fetchall()
        return rows, schema.read_mark(connection, self.path)[1]


def _places(connection: sqlite3.Connection, records: Iterable[RunRecord]) -> list[Place]:
    return [place_in(connection, record) for record in records]


def _prunable(before: int, connection: sqlite3.Connection) -> dict[int, str]:
    execute = connection.execute
    ended = execute("SELECT no, last FROM runs WHERE open = 0 AND ended_at < ?", (before,)).fetchall()
    newest = max([last for _, last in ended], default=0)
    others = execute("SELECT no, id FROM runs WHERE open = 0 AND ended_at IS NULL AND last < ?", (newest,))
    left = execute("SELECT no FROM runs WHERE id IS NULL")
    named = {no: (run or b"").decode() for no, run in others}
    return {**{no: "" for no, *_ in (*ended, *left)}, **named}


def _torn(run: str, row: EntryRow, last: int) -> StoreCorruptError:
    missing = f"row {row[2]}" if row[2] > last else f"a row after row {last}"
    return StoreCorruptError(f"run {run!r} lacks {missing}, which row {row[0]} follows: restore a copy")


def check_chain(run: str, place: Place, rows: list[EntryRow]) -> None:
    last = 0
    for row in rows:
        if row[2] != last:
            raise _torn(run, row, last)
        last = row[0]
    if last < place.last or not rows:
        raise StoreCorruptError(f"run {run!r} lacks row {place.last}, row {last} is its last: restore a copy")
    if not place.open and (last != place.last or not rows[-1][3] & ENDS_RUN):
        raise StoreCorruptError(f"run {run!r} ended with row {place.last}, but row {last} is its last: restore a copy")


def _check_ends(choice: Choice) -> None:
    for no, due in choice.due.items():
        if (last := choice.last.get(no, 0)) < due:
            raise StoreCorruptError(f"run {choice.names[no]!r} lacks row {due}, row {last} is its last: restore a copy")
