"""Spell a run query as SQL over the table of runs.

Separate because the two tables that answer it know nothing of each other, nor of the reading of rows.
Leaves to `reader` the reading, to `schema` the tables.

Most runs are found by what stands in their row, and in the order of their numbers. Runs of an event or a parent are
found by their ids, which derive from these: through the index over ids. Only for an event whose id does not show in the
ids of its runs, since the sender gave it, there is a row in `runs_by_event`, a table that the first such run makes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from durable.stores.file.checksums import RUN_COLUMNS, RunRecord
from durable.stores.file.schema import BY_EVENT, has_table
from durable.stores.rows import micros
from durable.stores.store import RunQuery, no_run_before

_MOST = 1 << 62
_DERIVED = "SELECT no FROM runs WHERE id > ? AND id < ? AND instr(substr(CAST(id AS BLOB), ?), x'2f') = 0"
_OF_EVENT = f"SELECT run FROM {BY_EVENT} WHERE event = ?"
_NUMBER = "SELECT no FROM runs WHERE id = ? AND function IS NOT NULL"

Condition = tuple[str, tuple[Any, ...]]
"""A condition in SQL, and the values of its places."""


def matching(connection: sqlite3.Connection, query: RunQuery) -> list[RunRecord]:
    """Return the rows of the table of runs that match a query, the highest number first.

    Raises:
        KeyError: the query's `before` is no run that can be found.
    """
    conditions, values = ["function IS NOT NULL"], list[Any]()
    for condition, bound in _conditions(connection, query):
        conditions.append(condition)
        values += bound
    text = f"SELECT {RUN_COLUMNS} FROM runs WHERE {' AND '.join(conditions)} ORDER BY no DESC LIMIT ?"
    return connection.execute(text, (*values, min(query.limit, _MOST))).fetchall()


def _conditions(connection: sqlite3.Connection, query: RunQuery) -> Iterator[Condition]:
    if query.status == "open":
        yield "status IS NULL", ()
    elif query.status is not None:
        yield "status = ?", (query.status,)
    if query.function is not None:
        yield "function = ?", (query.function,)
    if query.event is not None:
        yield "event = ?", (query.event,)
    if query.opened_after is not None:
        yield "opened_at >= ?", (micros(query.opened_after),)
    if query.opened_before is not None:
        yield "opened_at < ?", (micros(query.opened_before),)
    if query.before is not None:
        yield "no < ?", (_number(connection, query.before),)
    if query.parent is not None:
        yield f"no IN ({_DERIVED})", _range(query.parent)
    if query.event_id is not None:
        if has_table(connection, BY_EVENT):
            yield f"no IN ({_DERIVED} UNION {_OF_EVENT})", (*_range(query.event_id), query.event_id)
        else:
            yield f"no IN ({_DERIVED})", _range(query.event_id)


def _range(id: str) -> tuple[str, str, int]:
    """Return the bounds of the ids below an id, and the byte, from 1, behind its "/"."""
    return f"{id}/", f"{id}0", len(id.encode()) + 2  # "0" is the character behind "/"


def _number(connection: sqlite3.Connection, run: str) -> int:
    found = connection.execute(_NUMBER, (run,)).fetchone()
    if found is None:
        raise no_run_before(run)
    return int(found[0])
