"""Define the Store protocol, an ordered and durable list of entries.

Separate because anyone may implement it in an afternoon: a store never parses an entry's body, and
`durable.testing.store_contract` checks the result.
Leaves to `journal` the time of an append, and the meaning of a body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import attrs

from durable.events import checked_count, checked_text
from durable.timers import aware, shown

Kept = Callable[[Exception | None], None]
"""Called with None when a batch is durable, or with the error because of which it may not be."""

_ANY = 1 << 62  # no limit: an older store may hold longer names than are accepted now


@attrs.frozen
class RunRow:
    """A run row is what `Store.find` tells about a run.

    `status` and `ended_at` are None while the run has not ended. `opened_at` and `ended_at` are aware datetimes in UTC.

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
        # One condition for the usual case: texts that are plain and ASCII, instants that are exact. There is a row for
        # each run, so it must be quick.
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
    """An entry is one record, written down for a store.

    Strings of subclasses become plain strings, aware datetimes become plain datetimes in UTC.

    Attributes:
        run: the id of the run it belongs to; "" for a fact that belongs to no single run.
        kind: the name of the record's class.
        body: the record as text; it may hold any character, line breaks too.
        ends_run: whether the run ends with this entry. No entry of the run follows, unless the run is opened again.
        keep_until: for a fact of no single run: the instant until which recovery reads it.
        row: the run's row for `Store.find` from this entry on; None leaves the row as it was. It is not part of the
            record: an entry that a store reads back may lack it, and entries are compared without it.
        sums_up: whether this entry stands for all earlier ones of its run. While it is the run's last, `unfinished` may
            leave those out. A store that does not keep this mark yields them all.

    Raises:
        TypeError, ValueError: at the call, for a value that no store could give back as it was: half of a surrogate
            pair, a value that is not a string, a naive datetime. Also for a row of another run.
    """

    run: str
    kind: str
    body: str
    ends_run: bool = False
    keep_until: datetime | None = None
    row: RunRow | None = attrs.field(default=None, eq=False)
    sums_up: bool = attrs.field(default=False, eq=False)

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
    """A run query says which runs to find.

    Every condition that is not None must hold. `status` is "completed", "failed", "cancelled", or "open" for runs that
    have not ended. At most `limit` runs are found.

    Raises:
        TypeError, ValueError: at the call, for a condition that is not a string, or that no store can hold; for a limit
            that is not an int, or is negative.
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
    """A store keeps the entries of all runs, in order.

    The engine awaits one call of `append` at a time, and reads only between two of them or concurrently with one. A
    reader must see whole batches. Every method may raise `StoreError`; after `append` has raised, the engine appends no
    more.

    A store may have a faster way in beside `append`, which the engine then uses instead. It keeps the same promises,
    and the engine never changes the sequence that it hands over. A subclass that overrides `append` gets `append`.

    `keep(entries)`: of a store whose class says `immediate = True`, whose `append` never suspends. It does without a
    coroutine what `append` does.

    `submit(entries, told)`: returns at once. Later, once the batch is durable, `told(None)` is called; if it cannot be
    kept, `told(error)`. It is called once, on the loop on which the batch was submitted, and never within `submit`. The
    engine submits a batch when the one before has been told, and none after an error. If `submit` itself raises, the
    batch was not taken, and `told` is not called.
    """

    async def open(self) -> None:
        """Open the store for this engine alone.

        Raises:
            StoreLockedError: another process or engine has it open.
            StoreCorruptError: the store is damaged.
        """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep a batch of entries in order, all or nothing.

        The batch is durable when this returns.
        """

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield the entries that recovery reads, in append order.

        These are all entries of each run whose last entry does not end it, and all entries whose `keep_until` is later
        than `now`. Of a run whose last entry `sums_up` this entry is enough.
        """

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of one run in append order, ended or not."""

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows of the runs that the query finds, newest first."""

    async def prune(self, ended_before: datetime) -> int:
        """Delete runs that ended before an instant; return how many.

        Facts whose `keep_until` is past by then are deleted, too.
        """

    async def close(self) -> None:
        """Close the store; closing one that is not open does nothing."""
