"""Find the fastest way into a store, and the one out of it that holds nobody up.

Separate because any store works with `append` and `prune` alone, and nobody should care what else one has.
Leaves to `opening` the check that no other engine has taken the store over, to `journal` the batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from durable.stores.opening import Opening
from durable.stores.store import Entry, Kept, Store

Keep = Callable[[Sequence[Entry]], None]
Submit = Callable[[Sequence[Entry], Kept], None]


def keeping(store: Store) -> Keep:
    """Return the function that keeps a batch in an immediate store, at once.

    It is the store's `keep`, or drives its `append` in place.
    """
    if isinstance(store, Opening):
        return store.guarded(keeping(store.store))
    keep: Keep | None = _beside(store, "keep", "append")
    return keep or partial(_append_in_place, store)


def submitting(store: Store) -> Submit | None:
    """Return the store's `submit`, or None if it has none."""
    if isinstance(store, Opening):
        submit = submitting(store.store)
        return None if submit is None else store.guarded(submit)
    found: Submit | None = _beside(store, "submit", "append")
    return found


async def pruning(store: Store, ended_before: datetime, *rows: int) -> AsyncGenerator[int, None]:
    """Forget runs that ended before an instant, and yield after each piece how many were forgotten.

    A piece has so many rows, if this is given. A store without a `prunes` of its own forgets them all in one piece.

    Raises:
        StoreError: as `Store.prune`.
    """
    if isinstance(store, Opening):
        store.check()
        async for count in pruning(store.store, ended_before, *rows):
            yield count
            store.check()
        return
    prunes: Callable[..., AsyncIterator[int]] | None = _beside(store, "prunes", "prune")
    if prunes is None:
        yield await store.prune(ended_before)
        return
    async for count in prunes(ended_before, *rows):
        yield count


class Appending:
    """An appending submits batches to a store that has only `append`, one at a time.

    They are appended in the task that runs `work`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._submitted: list[tuple[Sequence[Entry], Kept]] = []
        self._more = asyncio.Event()

    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        """Have a batch appended, and `told` called as `submit` of a store does."""
        self._submitted.append((entries, told))
        self._more.set()

    async def work(self) -> None:
        """Append what is submitted, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._submitted:
                entries, told = self._submitted.pop(0)
                told(await self._appended(entries))

    async def _appended(self, entries: Sequence[Entry]) -> Exception | None:
        try:
            await self._store.append(entries)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return RuntimeError("a part of the store that append waited for was cancelled")
        except Exception as error:
            return error
        return None


def _beside(store: Store, name: str, plain: str) -> Any:
    # Whoever overrides `append` means that one: a way in of a class further up would pass it by. So with `prune`.
    for names in (getattr(store, "__dict__", {}), *map(vars, type(store).__mro__)):
        if name in names:
            return getattr(store, name)
        if plain in names:
            return None
    return None


def _append_in_place(store: Store, entries: Sequence[Entry]) -> None:
    appending = store.append(entries)
    try:
        appending.send(None)
    except StopIteration:
        return
    appending.close()
    raise RuntimeError("a store that says immediate = True suspended in append")
