"""Check a store's promises about deaths of the process and damage.

Nothing acknowledged is lost, no batch is there by half, and no loss is hidden.

Separate because only a store's author knows what a death leaves of it, and how its medium can be damaged.
Leaves to `contract` the running of the checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Literal

from durable.errors import StoreError
from durable.stores import Entry, RunRow, Store
from durable.testing.contract.trial import Trial

Part = Literal["tail", "body"]
ReopenAfterDeath = Callable[[Store], Store]
"""Takes an open store; returns one that is not open, over a copy of its place as a death at this instant leaves it."""

Damage = Callable[[Store, Part], Iterable[Store]]
"""Takes a store and a part; yields stores that are not open, each over a copy of the place with that part damaged.

"tail": the store is open; what was written last is cut short or garbled, like a write that a power failure interrupts.
"body": the store is closed; something that was written before is changed or missing.
"""


async def what_was_acknowledged_is_there_after_a_death(reopen: ReopenAfterDeath, trial: Trial) -> None:
    """Check rule R30."""
    entries = [trial.opened(1), trial.opened(2), trial.step(1), trial.closed(1)]
    for count, entry in enumerate(entries, 1):
        await trial.store.append([entry])
        async with _opened(trial, reopen(trial.store)) as other:
            histories = await other.history(1), await other.history(2)
            assert histories == ([e for e in entries[:count] if e != entries[1]], entries[1:count][:1])
            assert await other.unfinished() == (entries[:count] if count < len(entries) else [entries[1]])
            assert await other.find() == await trial.find()


async def a_batch_that_a_death_interrupts_is_there_whole_or_not_at_all(reopen: ReopenAfterDeath, trial: Trial) -> None:
    """Check rule R30."""
    first, batch = trial.step(body="first"), [trial.step(body=str(number)) for number in range(50)]
    await trial.store.append([first])
    append = asyncio.ensure_future(trial.store.append(batch))
    await asyncio.sleep(0)
    async with _opened(trial, reopen(trial.store)) as other:
        assert await other.history() in ([first], [first, *batch])
    await append


async def a_store_goes_on_after_a_death(reopen: ReopenAfterDeath, trial: Trial) -> None:
    """Check rule R30."""
    before, after = trial.opened(), [trial.step(), trial.closed()]
    await trial.store.append([before])
    async with _opened(trial, reopen(trial.store)) as other:
        await other.store.append(after)
        assert await other.history() == [before, *after]
        async with _opened(trial, reopen(other.store)) as third:
            assert await third.history() == [before, *after]
            assert await third.unfinished() == []


async def a_torn_tail_opens_as_an_earlier_whole_state(damage: Damage, trial: Trial) -> None:
    """Check rule R30."""
    batches = await _written(trial)
    damaged = 0
    for store in damage(trial.store, "tail"):
        damaged += 1
        async with _opened(trial, store) as other:
            found = await other.unfinished()
            count = len(found) // len(batches[0])
            kept = [entry for batch in batches[:count] for entry in batch]
            assert found == kept, "a batch is there by half, or one is missing before it"
            await store.append([trial.step(1, "next")])
            assert await other.history(1) == [*[e for e in kept if e.run == trial.run(1)], trial.step(1, "next")]
    assert damaged, 'damage(store, "tail") yields no store'


async def damage_is_refused_or_changes_nothing(damage: Damage, trial: Trial) -> None:
    """Check rule R30."""
    await _written(trial)
    await trial.store.append([trial.closed(2)])
    whole = await _contents(trial)
    await trial.store.close()
    refused = 0
    for store in damage(trial.store, "body"):
        try:
            async with _opened(trial, store) as other:
                found = await _contents(other)
        except StoreError:
            refused += 1
        else:
            assert found == whole, "what is damaged was read as if it were whole"
    assert refused, 'damage(store, "body") yields no store that was refused'


OF_DEATHS: tuple[Callable[[ReopenAfterDeath, Trial], Awaitable[None]], ...] = (
    what_was_acknowledged_is_there_after_a_death,
    a_batch_that_a_death_interrupts_is_there_whole_or_not_at_all,
    a_store_goes_on_after_a_death,
)
OF_DAMAGE: tuple[Callable[[Damage, Trial], Awaitable[None]], ...] = (
    a_torn_tail_opens_as_an_earlier_whole_state,
    damage_is_refused_or_changes_nothing,
)


async def _written(trial: Trial) -> list[list[Entry]]:
    batches = [[trial.step(1, f"{n}a"), trial.opened(2), trial.step(1, f"{n}b")] for n in range(8)]
    for batch in batches:
        await trial.store.append(batch)
    return batches


async def _contents(trial: Trial) -> tuple[list[Entry], list[Entry], list[Entry], list[RunRow]]:
    return await trial.unfinished(), await trial.history(1), await trial.history(2), await trial.find()


@asynccontextmanager
async def _opened(trial: Trial, store: Store) -> AsyncIterator[Trial]:
    try:
        await store.open()
        yield trial.over(store)
    finally:
        await store.close()
