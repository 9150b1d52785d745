"""The Store protocol: an ordered, durable list of entries that the store never parses.

Separate because anyone may implement it in an afternoon; `durable.testing.store_contract` says when it is right.
Leaves to `journal` when to append, to `codec` what a body means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import attrs

from durable.spelling import shown
from durable.times import aware
from durable.words import checked_count, checked_text

_ANY = 1 << 62  # a store may hold names from before they had a limit


@attrs.frozen
class RunRow:
    """What `Store.find` tells of one run. `status` and `ended_at` are None while it has not ended.

    Raises:
        TypeError, ValueError: at the call, as for an `Entry`.
    """

    id: str
    function: str
    event: str
    opened_at: datetime
    ended_at: datetime | None = None
    status: str | None = None
    error: str | None = None

    def __attrs_post_init__(self) -> None:
        # In one condition: most texts are plain and ASCII, most instants exact, and there is one for each run.
        if not (
            type(self.id) is type(self.function) is type(self.event) is str
            and self.id.isascii()
            and self.function.isascii()
            and self.event.isascii()
            and (self.status is None or (type(self.status) is str and self.status.isascii()))
            and (self.error is None or (type(self.error) is str and self.error.isascii()))
            and type(self.opened_at) is datetime
            and self.opened_at.tzinfo is UTC
            and (self.ended_at is None or (type(self.ended_at) is datetime and self.ended_at.tzinfo is UTC))
        ):
            what = f"the row of run {shown(self.id)}"
            _put_texts(self, ("id", "function", "event", "status", "error"), what)
            _put_instants(self, ("opened_at", "ended_at"), what)


@attrs.frozen
class Entry:
    """One fact, written down. Its texts are plain strings, its instants plain datetimes in UTC, whatever was given.

    Attributes:
        run: the run it belongs to; "" for a fact of no single run.
        kind: the record's class name.
        body: the record as text; it may hold any character and line breaks.
        ends_run: no entry of this run follows, unless the run is opened again.
        keep_until: for facts of no single run: recovery reads it until then.
        row: what `Store.find` says of the run from this entry on; None leaves that as it was. It is no part of the
            fact: what a store reads back may lack it, and entries are compared without it.

    Raises:
        TypeError, ValueError: at the call, for what no store could give back as it was: half of a surrogate pair, what
            is no text, a naive instant; and for a row of another run.
    """

    run: str
    kind: str
    body: str
    ends_run: bool = False
    keep_until: datetime | None = None
    row: RunRow | None = attrs.field(default=None, eq=False)

    def __attrs_post_init__(self) -> None:
        if not (
            type(self.run) is type(self.kind) is type(self.body) is str
            and self.body.isascii()
            and self.run.isascii()
            and self.kind.isascii()
            and (self.keep_until is None or (type(self.keep_until) is datetime and self.keep_until.tzinfo is UTC))
        ):
            what = f"an entry of run {shown(self.run)}"
            _put_texts(self, ("run", "kind", "body"), what)
            _put_instants(self, ("keep_until",), what)
        if type(self.ends_run) is not bool:
            object.__setattr__(self, "ends_run", bool(self.ends_run))
        if self.row is not None and (not self.run or self.row.id != self.run):
            run, id = shown(self.run), shown(self.row.id)
            raise ValueError(f"an entry of run {run} cannot bring the row of run {id}: give both the same id")


def _put_texts(made: RunRow | Entry, fields: Iterable[str], what: str) -> None:
    for field in fields:
        if (text := getattr(made, field)) is not None or field in ("run", "kind", "body", "id", "function", "event"):
            object.__setattr__(made, field, checked_text(text, f"the {field} of {what}", most=_ANY))


def _put_instants(made: RunRow | Entry, fields: Iterable[str], what: str) -> None:
    for field in fields:
        if (when := getattr(made, field)) is not None or field == "opened_at":
            object.__setattr__(made, field, aware(when, what=f"{field} of {what}"))


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
