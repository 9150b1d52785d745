"""Faults as data: a store that fails at one append, a process that dies in a handler.

Separate because a test should say what breaks and when in one value, not by patching.
Leaves to `lab` to let the process die and come again, to `torture` to try all the instants.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import attrs

from durable.claims import Handler
from durable.errors import StoreError
from durable.stores.store import Entry, RunQuery, RunRow, Store
from durable.words import checked_choice, checked_count

Instant = Literal["before", "after"]


class FailingStore:
    """A store whose append number `at`, counted from 1, fails; everything else is passed on to `store`.

    With `kept` the entries are in the store nevertheless: what was lost is only the answer, as when a disk reports an
    error after the write. It fails once: the engine stops (R31), and when it, or `Lab.crash`, opens the store again,
    all goes well.

    Attributes:
        store: the store behind it.
        appends: how many appends there were.

    Raises:
        TypeError, ValueError: `at` is no int, or less than 1.
    """

    def __init__(self, store: Store, *, at: int, kept: bool = False) -> None:
        at = checked_count(at, "at, the number of an append counted from 1,", least=1)
        self.store = store
        self.appends = 0
        self.immediate = bool(getattr(store, "immediate", False))
        self._at = at
        self._kept = kept

    @property
    def generation(self) -> str | None:
        """Which opening of the store behind it is the newest, where that counts them."""
        return getattr(self.store, "generation", None)

    async def open(self) -> None:
        """Open the store."""
        await self.store.open()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries, but for the one time.

        Raises:
            StoreError: this was append number `at`.
        """
        self.appends += 1
        if self.appends != self._at or self._kept:
            await self.store.append(entries)
        if self.appends == self._at:
            kept = "its entries are kept" if self._kept else "nothing of it is kept"
            raise StoreError(f"append {self._at} failed, as a test asked for; {kept}")

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield what recovery folds."""
        return self.store.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield the entries of one run."""
        return self.store.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query names."""
        return await self.store.find(query)

    async def prune(self, ended_before: datetime) -> int:
        """Forget old runs."""
        return await self.store.prune(ended_before)

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()


def _checked_instant(_dies: Dies, _field: attrs.Attribute[str], when: object) -> None:
    checked_choice(when, get_args(Instant), "Dies(when=...)")


def _checked_times(_dies: Dies, _field: attrs.Attribute[int], times: object) -> None:
    checked_count(times, "Dies(times=...)", least=1)


@attrs.frozen
class Dies:
    """A stub: the process dies while the step's handler runs, and comes again.

    `Lab(..., stubs={"charge": Dies("after")})`: at its first call the real handler has its effect, then everything
    stops before a record is made of it; the Lab opens the store again as `crash` does, and the handler is called
    again. With "before" it dies first. So a test sees whether an effect is had twice, or not at all.

    Attributes:
        when: "before" the handler's effect, or "after" it.
        times: at how many calls it dies; from then on the real handler is called. In a list of stubs: always.

    Raises:
        ValueError: another instant, or less than once.
    """

    when: Instant = attrs.field(default="before", validator=_checked_instant)
    times: int = attrs.field(default=1, validator=_checked_times)


def dying(fault: Dies, handler: Handler, call: int, died: asyncio.Event) -> Handler:
    """Return the handler that is called at call number `call`: one that sets `died` and never returns, or the real."""
    if call > fault.times:
        return handler

    async def die(*args: Any, **kwargs: Any) -> None:
        if fault.when == "after":
            value = handler.function(*args, **kwargs)
            if inspect.isawaitable(value):
                await value
        died.set()
        await asyncio.Event().wait()

    return attrs.evolve(handler, function=die, is_async=True)
