"""Use what some stores offer beyond the Store protocol.

Separate because a store that is one object for two engines cannot tell which of them calls, and an engine should know
no kind of store. Anybody may open some stores again without closing them: an opening knows if it is still the newest.
Leaves to the store everything else, to `dict` the counting of openings, to `ways` the faster ways in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVarTuple, runtime_checkable

from durable.errors import StoreError
from durable.stores.store import Entry, RunQuery, RunRow, Store

_Given = TypeVarTuple("_Given")


@runtime_checkable
class Counted(Store, Protocol):
    """A counted store names its newest opening, None while it is closed."""

    generation: str | None


def opening_of(store: Store) -> Store:
    """Return the store that an engine uses, or its opening.

    It is the opening if another engine may take the store over (R29).
    """
    return Opening(store) if isinstance(store, Counted) else store


async def begin_writing(store: Store) -> None:
    """Tell a store, if it can wait for this, that it may be written to now.

    Raises:
        StoreError: it cannot be written to.
    """
    begin = getattr(store, "begin", None)
    if begin is not None:
        await begin()


def hurry(store: Store) -> None:
    """Tell a store, if it may be waiting for other programs, that it is to close."""
    tell = getattr(store, "hurry", None)
    if tell is not None:
        tell()


class Opening:
    """An opening is a store as one of its openers sees it.

    Once the store has been opened again, the calls of an older opening raise `StoreError`.
    """

    def __init__(self, store: Counted) -> None:
        self.immediate = bool(getattr(store, "immediate", False))
        self.store = store
        self.generation: str | None = None

    async def open(self) -> None:
        """Open the store, and take it over from an earlier opening."""
        await self.store.open()
        self.generation = self.store.generation

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append, if this is the newest opening."""
        self.check()
        await self.store.append(entries)

    def guarded(self, way: Callable[[*_Given], None]) -> Callable[[*_Given], None]:
        """Return a way into the store that refuses unless this is the newest opening."""

        def checked(*given: *_Given) -> None:
            if self.store.generation != self.generation:
                self.check()
            way(*given)

        return checked

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield the entries that recovery reads, if this is the newest opening."""
        self.check()
        return self.store.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield one run's entries, if this is the newest opening."""
        self.check()
        return self.store.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Find rows, if this is the newest opening."""
        self.check()
        return await self.store.find(query)

    async def prune(self, ended_before: datetime) -> int:
        """Delete ended runs, if this is the newest opening."""
        self.check()
        return await self.store.prune(ended_before)

    async def close(self) -> None:
        """Close the store, unless a newer opening has taken it over."""
        if self.store.generation == self.generation:
            await self.store.close()

    def check(self) -> None:
        """Check that this is the newest opening.

        Raises:
            StoreError: the store has been opened again since.
        """
        if self.store.generation != self.generation:
            raise StoreError(
                "another engine has opened the same store since, and goes on with its runs: this one is out of date, "
                "use the newer"
            )
