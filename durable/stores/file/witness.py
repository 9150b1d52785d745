"""Check rows of the table of runs, also those that an older release sealed wrongly.

Separate because rows are checked by themselves, except in this one case, in which the journal must confirm a row.
Leaves to `checksums` the content of a checksum.

Up to version 0.1.0 the checksum of such a row was made of Python's objects. If the id of a run or of a function was a
member of a StrEnum, its `repr` went into the checksum and its text into the row, so the two never matched. But all that
the row says also stands in the journal, whose rows have checksums of their own: the fields for `find`, the entry that
ended the run, and the run's id, in the body of the first entry.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, cast

from durable.errors import StoreCorruptError
from durable.stores.file.checksums import ENDS_RUN, ENTRY_COLUMNS, EntryRow, Place, RunRecord, checked_run, unseal
from durable.stores.rows import Fields, reopened

_ROWS = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE run = ? ORDER BY seq"
_NO_FIELDS = (None,) * 6


def place_in(connection: sqlite3.Connection, record: RunRecord) -> Place:
    """Return the place in a row of the table of runs.

    Raises:
        StoreCorruptError: a field has changed since it was written (R30).
    """
    no, run, is_open, last, *fields = values_in(connection, record)
    known = None if fields[0] is None else cast(Fields, tuple(fields))
    return Place(no, run, bool(is_open), last, known)


def values_in(connection: sqlite3.Connection, record: RunRecord) -> Sequence[Any]:
    """Return the values in a row of the table of runs, without the checksum.

    Raises:
        StoreCorruptError: a field has changed since it was written (R30).
    """
    try:
        return checked_run(record)
    except StoreCorruptError:
        values = _vouched_for(connection, record)
        if values is None:
            raise
        return values


def _vouched_for(connection: sqlite3.Connection, record: RunRecord) -> Sequence[Any] | None:
    """Return the row's values if the run's own rows confirm them, else None."""
    try:
        values = [one.decode() if type(one) is bytes else one for one in record[:-1]]
        no, run, is_open, last, *fields = values
        rows: list[EntryRow] = connection.execute(_ROWS, (no,)).fetchall()
        told_open, told = _told_by(rows, run)
        named = rows[0][8].startswith(f'{{"run":{_quoted(run)},'.encode())
    except (StoreCorruptError, IndexError, TypeError, ValueError):
        return None
    is_there = any(row[0] == last for row in rows) if told_open else rows[-1][0] == last
    is_told = (is_open, tuple(fields)) == (int(told_open), told or _NO_FIELDS)
    return values if named and is_there and is_told else None


def _told_by(rows: Sequence[EntryRow], run: str) -> tuple[bool, Fields | None]:
    """Return whether a run is open, and its fields for `find`, as its own rows say.

    The checksum of each of these rows is checked.
    """
    is_open, fields, last = True, None, 0
    for row in rows:
        unseal(row, run)
        if row[2] != last:
            raise ValueError("a row is missing")
        last = row[0]
        if row[7] is not None:
            fields = cast(Fields, tuple(json.loads(row[7])))
        elif not is_open:
            fields = reopened(fields)
        is_open = not row[3] & ENDS_RUN
    return is_open, fields
