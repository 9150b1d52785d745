"""Define faults for tests: a store that fails, a process that dies.

Separate because a test should say in one value what breaks and when, and not patch the engine.
Leaves to `lab` the death and the restart of the process, to `torture` deaths at every instant.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import attrs

from durable.errors import StoreError
from durable.events import checked_choice, checked_count
from durable.functions import Handler
from durable.stores import Entry, RunQuery, RunRow, Store

Instant = Literal["before", "after"]


class FailingStore:
    """A failing store fails once, at append number `at`, counted from 1.

    Everything else is passed on to `store`. With `kept` the entries of that append are stored nevertheless, and only
    the answer is lost, as when a disk reports an error after the write. The engine then stops (R31). When it is opened
    again, or by `Lab.crash`, the store works.

    Attributes:
        store: the store behind this one.
        appends: how many appends there have been.

    Raises:
        TypeError, ValueError: `at` is not an int, or less than 1.
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
        """The newest opening of the store behind, or None if it counts none."""
        return getattr(self.store, "generation", None)

    async def open(self) -> None:
        """Open the store."""
        await self.store.open()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Pass the entries on; fail if this is append number `at`.

        Raises:
            StoreError: this is append number `at`.
        """
        self.appends += 1
        if self.appends != self._at or self._kept:
            await self.store.append(entries)
        if self.appends == self._at:
            kept = "its entries are kept" if self._kept else "nothing of it is kept"
            raise StoreError(f"append {self._at} failed, as a test asked for; {kept}")

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield the entries that recovery reads."""
        return self.store.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield the entries of one run."""
        return self.store.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query names."""
        return await self.store.find(query)

    async def prune(self, ended_before: datetime) -> int:
        """Delete runs that ended before an instant; return how many."""
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
    """A stub that lets the process die while a handler runs.

    With `Lab(..., stubs={"charge": Dies("after")})`, the real handler has its effect at the first call. Then the
    process dies before anything is recorded. The Lab opens the store again, as `crash` does, and the handler is called
    again. With "before" the process dies before the effect. So a test sees whether an effect happens twice, or not at
    all.

    Attributes:
        when: "before" the handler's effect, or "after" it.
        times: at how many calls the process dies, default 1; later calls reach the real handler. In a list of stubs it
            dies at the call that the stub is for.

    Raises:
        TypeError, ValueError: an unknown `when`, or `times` is not an int, or less than 1.
    """

    when: Instant = attrs.field(default="before", validator=_checked_instant)
    times: int = attrs.field(default=1, validator=_checked_times)


def dying(fault: Dies, handler: Handler, call: int, died: asyncio.Event) -> Handler:
    """Return the handler for call number `call`, counted from 1.

    While the process is to die, it is a handler that sets `died` and never returns; afterwards it is the real one.
    """
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
