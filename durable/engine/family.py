"""A run and the children that it waited for: read together, for one who opens them again.

Separate because reading awaits a store, and two who open the same family must not meet in the middle.
Leaves to `journal` which children those are, and what is recorded of a reopening.
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
    """Read a run, the children that it waited for when it ended, and theirs: those that have ended, by id.

    The others go on, or are forgotten. While this is open, nobody else opens one of them again: `locks` are by run.
    `load` reads a ledger of its own, as the store holds it: an execution that has yet to leave has the old one.
    """
    ended: dict[str, Ledger] = {}
    going: set[str] = set()
    locked: set[str] = set()
    left = [run]
    async with AsyncExitStack() as held:
        while left:
            one = left.pop()
            if one not in locked:  # from a parent to its children: nobody waits for one who waits for him
                locked.add(one)
                await held.enter_async_context(locks.setdefault(one, asyncio.Lock()))
            ledger = None if state.is_unfinished(one) else await load(one)
            if state.is_unfinished(one):
                going.add(one)
            elif ledger is not None and ledger.status is not None:
                ended[one] = ledger
                if ledger.status != "completed":
                    left += awaited_children(ledger).values()
            if not left:  # has one ended while others were read?
                left = [one for one in going if not state.is_unfinished(one)]
                going.difference_update(left)
        yield ended
