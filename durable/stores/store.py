"""Define the Store protocol, an ordered and durable list of entries.

Separate because anyone may implement it in an afternoon: a store never parses an entry's body, and
`durable.testing.store_contract` checks the result.
Leaves to `journal` the time of an append, and the meaning of a body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol

import attrs

from durable.events import checked_count, checked_text
from durable.timers import aware, shown

Kept = Callable[[Exception | None], None]
"""Called with None when a batch is durable, or with the error because of which it may not be."""

_ANY = 1 << 62  # no limit on names, since an older store may hold longer ones than are accepted now; nor on runs


# Nobody changes a row or an entry, but they are not frozen: there is one for each record, and a frozen one takes four
# times as long to make.


@attrs.define(unsafe_hash=True)
class RunRow:
    """A run row is what `Store.find` tells about a run.

    `status` and `ended_at` are None while the run has not ended. `opened_at` and `ended_at` are aware datetimes in UTC.
    `event_ids` are ids of events that opened the run, from which its own id does not derive. A run's first row brings
    them, and its later ones repeat them; a row that is found may lack them.

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
    event_ids: tuple[str, ...] = attrs.field(default=(), eq=False)

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
        if self.event_ids:
            what = f"an id of the events of run {shown(self.id)}"
            ids = tuple([checked_text(id, what, most=_ANY) for id in self.event_ids])
            self.event_ids = ids


@attrs.define(unsafe_hash=True)
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
            self.ends_run = bool(self.ends_run)
        if self.row is not None and (not self.run or self.row.id != self.run):
            run, id = shown(self.run), shown(self.row.id)
            raise ValueError(f"an entry of run {run} cannot bring the row of run {id}: give both the same id")


def _put_texts(made: RunRow | Entry, fields: Iterable[str], what: str) -> None:
    for field in fields:
        if (text := getattr(made, field)) is not None or field in ("run", "kind", "body", "id", "function", "event"):
            setattr(made, field, checked_text(text, f"the {field} of {what}", most=_ANY))


def _put_instants(made: RunRow | Entry, fields: Iterable[str], what: str) -> None:
    for field in fields:
        if (when := getattr(made, field)) is not None or field == "opened_at":
            setattr(made, field, aware(when, what=f"{field} of {what}"))


@attrs.frozen
class RunQuery:
    """A run query says which runs to find.

    Every condition that is not None must hold. Runs stand in the order in which they were opened, the newest first.

    Attributes:
        status: "completed", "failed", "cancelled", or "open" for runs that have not ended.
        function, event: the function's id, and the name of the event that opened the run.
        limit: at most so many runs are found.
        event_id: the run's id is this, "/" and one more name without a "/"; or the id is among its `event_ids`.
        parent: the run's id is this, "/" and one more name without a "/".
        opened_after, opened_before: aware datetimes; the run was opened at the first or later, and before the second.
        before: the id of a run; only runs that stand behind it are found.

    Raises:
        TypeError, ValueError: at the call, for a condition that is not a string, or that no store can hold; for a limit
            that is not an int, or is negative; for an instant that is no datetime, or has no time zone.
    """

    status: str | None = None
    function: str | None = None
    event: str | None = None
    limit: int = 100
    event_id: str | None = None
    parent: str | None = None
    opened_after: datetime | None = None
    opened_before: datetime | None = None
    before: str | None = None

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        for field in ("status", "function", "event", "event_id", "parent", "before"):
            asked = getattr(self, field)
            if asked is not None:
                put(self, field, checked_text(asked, f"the {field} of runs to find", most=_ANY))
        for field in ("opened_after", "opened_before"):
            when = getattr(self, field)
            if when is not None:
                put(self, field, aware(when, what=f"the {field} of runs to find"))
        put(self, "limit", checked_count(self.limit, "the limit of runs to find"))

    def choose(self, rows: Iterable[RunRow]) -> list[RunRow]:
        """Return the rows that the query finds among those of all runs, which come newest first.

        For a store that has them at hand; one with an index finds them in its own way.

        Raises:
            KeyError: `before` is the id of none of these runs.
        """
        left = iter(rows)
        if self.before is not None and not any(row.id == self.before for row in left):
            raise no_run_before(self.before)
        return list(islice(filter(self._fits, left), min(self.limit, _ANY)))

    def _fits(self, row: RunRow) -> bool:
        return (
            self.function in (None, row.function)
            and self.event in (None, row.event)
            and self.status in (None, row.status or "open")
            and (self.opened_after is None or self.opened_after <= row.opened_at)
            and (self.opened_before is None or row.opened_at < self.opened_before)
            and (self.parent is None or derives_from(row.id, self.parent))
            and (self.event_id is None or self.event_id in row.event_ids or derives_from(row.id, self.event_id))
        )


def derives_from(run: str, id: str) -> bool:
    """Return whether a run's id is another one, "/" and one more name."""
    return run.startswith(id) and run.startswith("/", len(id)) and "/" not in run[len(id) + 1 :]


def no_run_before(run: str) -> KeyError:
    """Return the error for a query whose `before` is the id of no run."""
    return KeyError(f"there is no run {shown(run)} in this store, before which others could stand")


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

    `prunes(ended_before, rows)`: an async iterator that does what `prune` does piece by piece. It yields after each how
    many runs it has deleted. A piece has about so many rows, by default as many as the store likes. The engine goes on
    between the pieces. A subclass that overrides `prune` gets `prune`.
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
        """Return the rows of the runs that the query finds, newest first.

        Raises:
            KeyError: the query's `before` is no run that can be found.
        """

    async def prune(self, ended_before: datetime) -> int:
        """Delete runs that ended before an instant; return how many.

        Facts whose `keep_until` is past by then are deleted, too.
        """

    async def close(self) -> None:
        """Close the store; closing one that is not open does nothing."""
