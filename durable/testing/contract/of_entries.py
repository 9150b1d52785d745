"""Check a store's promises about entries, cancelled appends and second openers.

Separate from `of_runs` only for its length.
Leaves to `contract` the running of the checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from durable.errors import StoreError, StoreLockedError
from durable.testing.contract.trial import MINUTE, NOON, Promise, Trial, listed

OF_ENTRIES: list[Promise] = []
promise = listed(OF_ENTRIES)


@promise
async def a_batch_is_in_order(trial: Trial) -> None:
    entries = [trial.step(body=str(number)) for number in range(100)]
    await trial.store.append(entries)
    assert await trial.history() == entries


@promise
async def batches_are_in_order(trial: Trial) -> None:
    entries = [trial.step(body=str(number)) for number in range(20)]
    for entry in entries:
        await trial.store.append([entry])
    assert await trial.history() == entries


@promise
async def order_is_kept_when_reopened(trial: Trial) -> None:
    entries = [trial.step(body=str(number)) for number in range(20)]
    await trial.store.append(entries[:7])
    await trial.reopen()
    await trial.store.append(entries[7:])
    await trial.reopen()
    assert await trial.history() == entries


@promise
async def an_interleaved_batch_keeps_each_run_in_order(trial: Trial) -> None:
    entries = [trial.step(number % 3, str(number)) for number in range(30)]
    await trial.store.append(entries)
    assert [await trial.history(which) for which in range(3)] == [entries[which::3] for which in range(3)]


@promise
async def unfinished_is_in_append_order_across_runs(trial: Trial) -> None:
    entries = [trial.step(number % 3, str(number)) for number in range(30)]
    entries.insert(10, trial.fact(NOON + MINUTE))
    for start in range(0, len(entries), 4):
        await trial.store.append(entries[start : start + 4])
    await trial.reopen()
    assert await trial.unfinished() == entries


@promise
async def an_append_of_nothing_does_nothing(trial: Trial) -> None:
    await trial.store.append([])
    await trial.store.append(())
    assert await trial.unfinished() == []


@promise
async def the_sequence_may_change_after_the_append(trial: Trial) -> None:
    entries = [trial.step()]
    await trial.store.append(entries)
    entries.clear()
    assert await trial.history() == [trial.step()]


@promise
async def appends_awaited_together_are_all_kept_in_order(trial: Trial) -> None:
    batches = [[trial.step(body=f"{batch}.{part}") for part in range(3)] for batch in range(50)]
    await asyncio.gather(*[trial.store.append(batch) for batch in batches])
    expected = [entry for batch in batches for entry in batch]
    assert await trial.history() == expected
    await trial.reopen()
    assert await trial.history() == expected


@promise
async def a_cancelled_append_is_kept_whole_or_not_at_all(trial: Trial) -> None:
    entries = [trial.step(body=str(number)) for number in range(50)]
    append = asyncio.ensure_future(trial.store.append(entries))
    await asyncio.sleep(0)
    append.cancel()
    await asyncio.wait([append])
    await trial.store.append([trial.step(body="next")])
    assert await trial.history() in ([*entries, trial.step(body="next")], [trial.step(body="next")])


@promise
async def a_store_goes_on_after_a_cancelled_append(trial: Trial) -> None:
    first, second = (asyncio.ensure_future(trial.store.append([trial.step(body=body)])) for body in "ab")
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first, second])
    await trial.reopen()
    assert [entry.body for entry in await trial.history()] in (["a", "b"], ["b"])


@promise
async def a_reader_sees_whole_batches(trial: Trial) -> None:
    appends = [trial.store.append([trial.step(body=f"{batch}")] * 10) for batch in range(20)]
    writing = asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(append) for append in appends]))
    while not writing.done():
        assert len(await trial.history()) % 10 == 0
        await asyncio.sleep(0)
    assert len(await trial.history()) == 200


@promise
async def an_appended_entry_is_read_at_once(trial: Trial) -> None:
    for number in range(1, 6):
        await trial.store.append([trial.step(body=str(number))])
        assert len(await trial.history()) == len(await trial.unfinished()) == number


@promise
async def a_run_that_is_not_there_has_no_history(trial: Trial) -> None:
    assert await trial.history("nowhere") == []


@promise
async def ids_that_differ_little_are_different_runs(trial: Trial) -> None:
    ids = ["a", "A", "a ", " a", "a\0", "a%", "a_", "a/b", "á", "a\u0301", "1", "01"]
    await trial.store.append([trial.step(which, body=which) for which in ids])
    await trial.reopen()
    assert [[entry.body for entry in await trial.history(which)] for which in ids] == [[which] for which in ids]


@promise
async def a_store_can_be_closed_twice(trial: Trial) -> None:
    await trial.store.close()
    await trial.store.close()
    await trial.store.open()
    await trial.store.append([trial.step()])


@promise
async def a_store_that_was_never_opened_can_be_closed(trial: Trial) -> None:
    await trial.make_store().close()


@promise
async def a_closed_store_refuses_to_append(trial: Trial) -> None:
    await trial.store.close()
    await _refuses(lambda: trial.store.append([trial.step()]), "append to a closed store")
    await trial.store.open()
    assert await trial.history() == []


@promise
async def a_closed_store_refuses_to_read(trial: Trial) -> None:
    await trial.store.close()
    for call in (trial.history, trial.unfinished, trial.find, lambda: trial.store.prune(NOON)):
        await _refuses(call, "reading a closed store")


@promise
async def an_unopened_store_refuses_to_append(trial: Trial) -> None:
    await trial.store.close()
    await _refuses(lambda: trial.make_store().append([trial.step()]), "append to a store that was never opened")


@promise
async def a_second_opener_of_the_place_is_refused_or_takes_over(trial: Trial) -> None:
    await trial.store.append([trial.step()])
    second = Trial(trial.make_store)
    if second.store is trial.store:
        return
    try:
        await second.store.open()
    except StoreLockedError:
        await trial.store.append([trial.step()])
        return
    second.name = trial.name
    if await second.history():
        await _refuses(lambda: trial.store.append([trial.step()]), "append through a store that was taken over")
    await second.store.close()


@promise
async def an_opener_that_takes_over_finds_what_was_acknowledged(trial: Trial) -> None:
    await trial.store.append([trial.step()])
    second, third = Trial(trial.make_store), Trial(trial.make_store)
    second.name = third.name = trial.name
    if second.store is trial.store:
        return
    try:
        await second.store.open()
    except StoreLockedError:
        return
    found = await second.history()
    await second.store.close()
    await trial.store.close()
    await third.store.open()
    try:
        assert await third.history() == found, "what was acknowledged came only with close()"
    finally:
        await third.store.close()


@promise
async def another_opener_finds_what_a_closed_one_left(trial: Trial) -> None:
    await trial.store.append([trial.step(body="left")])
    await trial.store.close()
    second = Trial(trial.make_store)
    second.name = trial.name
    await second.store.open()
    try:
        assert await second.history() in ([], [trial.step(body="left")])
    finally:
        await second.store.close()


async def _refuses(call: Callable[[], Awaitable[object]], what: str) -> None:
    try:
        await call()
    except StoreError:
        return
    raise AssertionError(f"{what} must raise StoreError")
