"""Check a store's promises about its other ways, `keep`, `submit` and `prunes`.

Separate because a store need not have them: each promise holds of one that has only `append` and `prune`, too.
Leaves to `contract` the running of the checks, to `stores.ways` which of them an engine uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from durable.errors import StoreError
from durable.stores import Entry, keeping, pruning, submitting
from durable.testing.contract.trial import MINUTE, NOON, Promise, Trial, listed

OF_WAYS: list[Promise] = []
promise = listed(OF_WAYS)


async def _kept(trial: Trial, entries: Sequence[Entry]) -> None:
    """Keep a batch in the way in which an engine does; raise what it would be told."""
    submit = submitting(trial.store)
    if getattr(trial.store, "immediate", False):
        keeping(trial.store)(entries)
    elif submit is None:
        await trial.store.append(entries)
    else:
        await _submitted(trial, entries)


async def _submitted(trial: Trial, entries: Sequence[Entry]) -> None:
    submit = submitting(trial.store)
    assert submit is not None
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    errors: list[Exception | None] = []

    def tell(error: Exception | None) -> None:
        assert asyncio.get_running_loop() is loop, "`told` must be called on the loop on which the batch was submitted"
        errors.append(error)
        told.set()

    submit(entries, tell)
    assert not errors, "`told` must not be called within `submit`"
    await told.wait()
    await asyncio.sleep(0)
    assert len(errors) == 1, "`told` must be called once"
    if errors[0] is not None:
        raise errors[0]


@promise
async def batches_kept_the_faster_way_are_in_order(trial: Trial) -> None:
    batches = [[trial.step(body=f"{batch}.{part}") for part in range(batch)] for batch in range(1, 12)]
    for batch in batches:
        await _kept(trial, batch)
    expected = [entry for batch in batches for entry in batch]
    assert await trial.history() == expected
    await trial.reopen()
    assert await trial.history() == expected


@promise
async def both_ways_in_keep_one_order(trial: Trial) -> None:
    for number in range(6):
        entries = [trial.step(body=str(number))]
        await (_kept(trial, entries) if number % 2 else trial.store.append(entries))
    assert [entry.body for entry in await trial.history()] == [*"012345"]


@promise
async def a_run_that_opens_and_ends_the_faster_way_is_found(trial: Trial) -> None:
    await _kept(trial, [trial.opened(), trial.step()])
    assert await trial.unfinished() == [trial.opened(), trial.step()]
    await _kept(trial, [trial.closed()])
    assert await trial.unfinished() == []
    assert await trial.find() == [trial.closed().row]


@promise
async def a_closed_store_refuses_the_faster_way(trial: Trial) -> None:
    await trial.store.close()
    try:
        await _kept(trial, [trial.step()])
    except StoreError:
        return
    raise AssertionError("a closed store must raise StoreError, for what is appended would be lost")


@promise
async def a_run_that_goes_on_between_two_pieces_of_a_prune_stays(trial: Trial) -> None:
    whole = {trial.run(which): [trial.opened(which), *[trial.step(which)] * 5, trial.closed(which)] for which in "abc"}
    for entries in whole.values():
        await trial.store.append(entries)
    async with aclosing(pruning(trial.store, NOON + 2 * MINUTE, 1)) as pieces:
        await anext(pieces)
        left = set(await trial.found())
        again = [trial.step(which, "again") for which in "abc" if trial.run(which) in left]
        await trial.store.append([*again, trial.opened("new")])
        async for _ in pieces:
            continue
    for _ in range(2):
        for which in "abc":
            run = trial.run(which)
            assert await trial.history(which) == ([*whole[run], trial.step(which, "again")] if run in left else [])
        assert set(await trial.found()) == left | {trial.run("new")}
        await trial.reopen()
