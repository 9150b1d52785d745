"""Fold the entries of a run into its ledger, or read its two ends alone.

Separate because an open engine and a reader in another process must do this alike.
Leaves to `stores` the reading of entries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from durable.errors import StoreCorruptError
from durable.journal.codec.write import read
from durable.journal.records import Record, RunClosed, RunOpened, RunRecord
from durable.journal.rules.ledger import Ledger
from durable.journal.writer import Journal
from durable.stores import Entry, Store


def records_in(entries: Iterable[Entry]) -> list[Record]:
    """Return the records of entries.

    Raises:
        StoreCorruptError: an entry cannot be read.
    """
    return [read(entry.kind, entry.body) for entry in entries]


def folded(entries: Iterable[Entry]) -> Ledger | None:
    """Return the ledger of one run's entries, or None if there are no entries.

    Raises:
        StoreCorruptError: an entry cannot be read, or does not belong to a run.
    """
    ledger: Ledger | None = None
    for entry in entries:
        record = read(entry.kind, entry.body)
        if isinstance(record, RunOpened) and ledger is None:
            ledger = Ledger.opened(record)
        elif not isinstance(record, RunRecord):
            return None  # a fact that is kept as a run of its own
        elif ledger is None:
            raise StoreCorruptError(f"a {entry.kind} of run {entry.run!r} is recorded, but not its opening")
        else:
            try:
                ledger.fold(record)
            except ValueError as error:
                raise StoreCorruptError(f"the records of run {entry.run!r} contradict each other: {error}") from error
    if ledger is not None:
        ledger.close_turns()
    return ledger


async def ledger_of(entries: AsyncIterator[Entry]) -> Ledger | None:
    """Return the ledger of the entries that a store yields for one run: see `folded`."""
    return folded([entry async for entry in entries])


def ends_in(entries: Iterable[Entry]) -> tuple[RunOpened | None, RunClosed | None]:
    """Return the records of a run's opening and end, or None for a missing one.

    The entries in between are not decoded.

    Raises:
        StoreCorruptError: one of the two cannot be read.
    """
    opened = closed = None
    for entry in entries:
        if entry.kind == RunOpened.__name__:
            opened = entry
        closed = entry if entry.ends_run else None
    first = None if opened is None else read(opened.kind, opened.body)
    last = None if closed is None else read(closed.kind, closed.body)
    return first if isinstance(first, RunOpened) else None, last if isinstance(last, RunClosed) else None


async def ends_of(entries: AsyncIterator[Entry]) -> tuple[RunOpened | None, RunClosed | None]:
    """Return the ends of the entries that a store yields for one run: see `ends_in`."""
    return ends_in([entry async for entry in entries])


class History:
    """A history reads runs back from an open engine's store.

    Each reading first waits until all posted records are stored.
    """

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def ledger(self, run: str) -> Ledger | None:
        """Return the ledger of a run, or None if there is no such run.

        Raises:
            StoreError: the store has failed, or is damaged.
        """
        await self._journal.synced()
        return await ledger_of(self._store.history(run))

    async def entries(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries, as the store holds them.

        Raises:
            StoreError: the store has failed, or is damaged.
        """
        await self._journal.synced()
        return tuple([entry async for entry in self._store.history(run)])

    async def ends(self, run: str) -> tuple[RunOpened | None, RunClosed | None]:
        """Return the records of a run's opening and end: see `ends_in`.

        Raises:
            StoreError: the store has failed, or is damaged.
        """
        await self._journal.synced()
        return await ends_of(self._store.history(run))
