"""Read all of a store's file, and find what is damaged, run by run.

Separate because any other reading stops at the first damaged row, and here the others are wanted as well.
Leaves to `reader` the check of one run, to `engine.checkup` what the entries say.

The rows are read a few runs at a time, each time in a transaction of its own, so that a live engine's checkpoints are
not held up. So a run is as it was at some instant of the survey.
"""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import attrs

from durable.errors import StoreCorruptError
from durable.stores.file.checksums import ENTRY_COLUMNS, RUN_COLUMNS, EntryRow, RunRecord, unseal
from durable.stores.file.reader import check_chain
from durable.stores.file.reading import ReadConnection
from durable.stores.file.schema import pragma
from durable.stores.file.witness import place_in
from durable.stores.store import Entry

_RUNS = f"SELECT {RUN_COLUMNS} FROM runs WHERE no > ? ORDER BY no LIMIT ?"
_ROWS = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE run = ? ORDER BY seq"
_FACTS = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE run = 0 AND seq > ? ORDER BY seq LIMIT ?"
_STRAYS = "SELECT DISTINCT run FROM journal WHERE run > 0 AND run NOT IN (SELECT no FROM runs)"
_RUNS_AT_ONCE, _FACTS_AT_ONCE = 200, 2_000


@attrs.frozen
class Surveyed:
    """What a survey has found of one run, or of some of the facts that belong to none.

    Attributes:
        at: where the next survey goes on.
        run: the id of the run; "" for the facts; None for a run that is being forgotten, or whose id is not known.
        entries: the entries, in order; all that are not damaged.
        damages: what is damaged.
    """

    at: int
    run: str | None
    entries: tuple[Entry, ...] = ()
    damages: tuple[str, ...] = ()


def survey_pages(connection: ReadConnection) -> list[str]:
    """Return what SQLite itself finds wrong with the file's pages and indexes, at most a hundred things."""

    def ask(sqlite: sqlite3.Connection) -> list[str]:
        found = [text.decode("utf-8", "replace") for (text,) in sqlite.execute("PRAGMA integrity_check")]
        strays = [f"there are rows of a run number {no}, which is not listed" for (no,) in sqlite.execute(_STRAYS)]
        return [one for one in found if one != "ok"] + strays[:100]

    return connection.read(ask)


def settings_in(path: str) -> dict[str, int]:
    """Return the settings of the store at a real path, by name: its format, page size, pages and auto_vacuum.

    Raises:
        StoreError: there is no store, it cannot be read or is damaged.
    """
    names = {"format": "user_version", "page_size": "page_size", "pages": "page_count", "auto_vacuum": "auto_vacuum"}
    connection = ReadConnection(path)
    try:
        connection.open()
        return connection.read(lambda sqlite: {name: int(pragma(sqlite, asked)) for name, asked in names.items()})
    finally:
        connection.close()


def survey_runs(after: int, connection: ReadConnection) -> list[Surveyed]:
    """Return what is found of the next runs behind run number `after`; nothing behind the last."""

    def ask(sqlite: sqlite3.Connection) -> list[Surveyed]:
        records = sqlite.execute(_RUNS, (after, _RUNS_AT_ONCE)).fetchall()
        _check_order([record[0] for record in records], after, connection.path)
        return [_surveyed(sqlite, record) for record in records]

    return connection.read(ask)


def survey_facts(after: int, connection: ReadConnection) -> Surveyed | None:
    """Return what is found of the next facts of no single run behind row `after`; None behind the last."""

    def ask(sqlite: sqlite3.Connection) -> Surveyed | None:
        rows = sqlite.execute(_FACTS, (after, _FACTS_AT_ONCE)).fetchall()
        _check_order([row[0] for row in rows], after, connection.path)
        return _unsealed(rows, rows[-1][0], "") if rows else None

    return connection.read(ask)


def _check_order(numbers: list[int], after: int, path: str) -> None:
    """Check that rows come as they were asked for: in a damaged tree the same ones could come for ever."""
    for before, number in pairwise([after, *numbers]):
        if number <= before:
            raise StoreCorruptError(
                f"store {path!r} has row {number} behind row {before}: it is damaged, restore a copy"
            )


def _surveyed(sqlite: sqlite3.Connection, record: RunRecord) -> Surveyed:
    no = record[0]
    named = record[1].decode("utf-8", "replace") if isinstance(record[1], bytes) else None
    try:
        place = place_in(sqlite, record)
    except StoreCorruptError as error:
        return Surveyed(no, named, (), (str(error),))
    if place.id is None:
        return Surveyed(no, None)
    rows = sqlite.execute(_ROWS, (no,)).fetchall()
    found = _unsealed(rows, no, place.id)
    try:
        check_chain(place.id, place, rows)
    except StoreCorruptError as error:
        return attrs.evolve(found, damages=(*found.damages, str(error)))
    return found


def _unsealed(rows: list[EntryRow], at: int, run: str) -> Surveyed:
    entries, damages = [], []
    for row in rows:
        try:
            entries.append(unseal(row, run))
        except StoreCorruptError as error:
            damages.append(str(error))
    return Surveyed(at, run, tuple(entries), tuple(damages))
