"""Read a run and its awaited children, so that all can be opened again.

Separate because reading awaits the store, and two callers that open the same runs again must not interfere.
Leaves to `reopening` the choice of children, and the records of a reopening.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager

from durable.journal import Ledger, State, awaited_children


@asynccontextmanager
async def family(
    run: str, state: State, load: Callable[[str], Awaitable[Ledger | None]], locks: MutableMapping[str, asyncio.Lock]
) -> AsyncIterator[dict[str, Ledger]]:
    """Give the ledgers of a run and of its awaited children, by id.

    The children's own children follow. Only runs that have ended are given: the others go on, or are no longer known.
    Inside the context no other caller can open one of these runs again. `locks` are the locks for this, by run. `load`
    reads a new ledger from the store: an execution that has not left yet may still use the old one.
    """
    ended: dict[str, Ledger] = {}
    going: set[str] = set()
    locked: set[str] = set()
    left = [run]
    async with AsyncExitStack() as held:
        while left:
            one = left.pop()
            if one not in locked:  # always a parent before its children, so that two callers cannot block each other
                locked.add(one)
                await held.enter_async_context(locks.setdefault(one, asyncio.Lock()))
            ledger = None if state.is_unfinished(one) else await load(one)
            if state.is_unfinished(one):
                going.add(one)
            elif ledger is not None and ledger.status is not None:
                ended[one] = ledger
                if ledger.status != "completed":
                    left += awaited_children(ledger).values()
            if not left:  # some may have ended while others were read
                left = [one for one in going if not state.is_unfinished(one)]
                going.difference_update(left)
        yield ended
