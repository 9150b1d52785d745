"""List the runs that a query names, without reading any others.

Separate because the store knows which runs have ended, but only the engine knows which of the others are waiting.
Leaves to the store the rows and their order, to `info` the values about a run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import attrs

from durable.events import FAILED
from durable.journal import RunStatus
from durable.stores import RunQuery, RunRow
from durable.views.info import RunInfo, row_info

LIVE = ("queued", "running", "waiting")
_ROWS_AT_FIRST = 100


class Finding(Protocol):
    """The part of a store that a list is made from."""

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows of the runs that the query finds, newest first."""


async def listed(
    store: Finding,
    query: RunQuery,
    status_of: Callable[[str], RunStatus | None] | None,
    info: Callable[[str], Awaitable[RunInfo]],
) -> list[RunInfo]:
    """Return the runs that a query names, newest first.

    `status_of(run)` returns the status of a run that has not ended, from memory; it is None where only a run's record
    tells that. `info(run)` reads a run; it is called only for runs that may be shown. A run whose record cannot be read
    is shown by its row, with the reason as its error.

    Raises:
        StoreError: the store has failed, or is damaged as a whole.
    """
    found: list[RunInfo] = []
    async for row in _named(store, query):
        if len(found) >= query.limit:
            break
        if query.status in LIVE and status_of is not None and status_of(row.id) != query.status:
            continue
        try:
            one = await info(row.id)
        except KeyError:  # it was forgotten since
            continue
        except Exception as error:  # the others can be shown all the same
            one = row_info(row, None if status_of is None else status_of(row.id), error)
        if query.status in (None, one.status) and _is_of(one, query):  # it may have gone on while it was read
            found.append(one)
    return found


async def _named(store: Finding, query: RunQuery) -> AsyncIterator[RunRow]:
    """Yield the rows that a query names, maybe among those of more runs.

    For "queued", "running" and "waiting", which no row holds, these are all runs that have not ended. Which run has
    invoked a run, or only has an id that begins alike, no row says either.
    """
    is_live = query.status in LIVE
    if not is_live and query.parent is None and query.event_id is None:
        for row in await store.find(query):
            yield row
        return
    seen: set[str] = set()
    limit = max(query.limit, _ROWS_AT_FIRST)
    asked = attrs.evolve(query, status="open") if is_live else query
    while query.limit:
        rows = await store.find(attrs.evolve(asked, limit=limit))
        for row in rows:
            if row.id not in seen:  # runs opened since the last look come first and push known ones down
                seen.add(row.id)
                yield row
        if len(rows) < limit:
            return
        limit *= 4


def _is_of(one: RunInfo, query: RunQuery) -> bool:
    """Return whether a run is of the parent and of the event that a query asks for."""
    if query.parent is not None and one.parent != query.parent:
        return False
    if query.event_id is None:
        return True
    # A run may have the id that is asked for: what it has invoked, and its failure handler, are not of the event.
    is_below = one.parent == query.event_id
    return not is_below and not (one.event.name == FAILED and one.event.data.get("run_id") == query.event_id)
