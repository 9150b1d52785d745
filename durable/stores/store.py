"""The Store protocol: an ordered, durable list of entries that the store never parses.

Separate because anyone may implement it in an afternoon; `durable.testing.store_contract` says when it is right.
Leaves to `journal` when to append, to `codec` what a body means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from durable.records import Ending
from durable.words import checked_count, checked_text

_ANY = 1 << 62  # a store may hold names from before they had a limit


@attrs.frozen
class RunRow:
    """What `Store.find` tells of one run. `status` and `ended_at` are None while it has not ended."""

    id: str
    function: str
    event: str
    opened_at: datetime
    ended_at: datetime | None = None
    status: Ending | None = None
    error: str | None = None


@attrs.frozen
class Entry:
    """One fact, written down.

    Attributes:
        run: the run it belongs to; "" for a fact of no single run.
        kind: the record's class name.
        body: the record as text; it may hold any character and line breaks.
        ends_run: no entry of this run follows, unless the run is opened again.
        keep_until: for facts of no single run: recovery reads it until then.
        row: what `Store.find` says of the run from this entry on; None leaves that as it was. It is no part of the
            fact: what a store reads back may lack it, and entries are compared without it.
    """

    run: str
    kind: str
    body: str
    ends_run: bool = False
    keep_until: datetime | None = None
    row: RunRow | None = attrs.field(default=None, eq=False)


@attrs.frozen
class RunQuery:
    """Which runs to find: every condition that is not None must hold. `status` "open" means: not ended.

    Raises:
        TypeError, ValueError: at the call, for a condition that is no string, or that no store can hold; a limit that
            is no int, or negative.
    """

    status: str | None = None
    function: str | None = None
    event: str | None = None
    limit: int = 100

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        for field in ("status", "function", "event"):
            asked = getattr(self, field)
            if asked is not None:
                put(self, field, checked_text(asked, f"the {field} of runs to find", most=_ANY))
        put(self, "limit", checked_count(self.limit, "the limit of runs to find"))


class Store(Protocol):
    """Where entries are kept.

    The engine awaits one call of `append` at a time, and reads only between two of them or concurrently with one; a
    reader sees whole batches. Every method may raise `StoreError`; after `append` did, the engine appends no more.
    """

    async def open(self) -> None:
        """Take the store for this process: `StoreLockedError` if another has it, `StoreCorruptError` if damaged."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries in order, all or none of them; durable when it returns."""

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield in append order every entry of each run whose last entry does not end it, and every entry that is
        to be kept until later than `now`."""

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of one run in append order, whether it has ended or not; nothing if there is none."""

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows of the runs that the query names, newest first."""

    async def prune(self, ended_before: datetime) -> int:
        """Forget the runs that ended before then, and kept facts that are past; return how many runs."""

    async def close(self) -> None:
        """Give the store back. Closing a store that is not open does nothing."""
