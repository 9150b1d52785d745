"""Check a store's promises about `unfinished`, `find` and `prune`.

Separate from `of_entries` only for its length.
Leaves to `contract` the running of the checks.
"""

from __future__ import annotations

from datetime import UTC, datetime

from durable.stores import Entry, RunQuery
from durable.testing.contract.trial import MINUTE, NOON, Promise, Trial, listed

OF_RUNS: list[Promise] = []
promise = listed(OF_RUNS)


@promise
async def the_history_of_an_ended_run_stays(trial: Trial) -> None:
    entries = [trial.opened(), trial.step(), trial.closed()]
    await trial.store.append(entries)
    await trial.reopen()
    assert await trial.history() == entries


@promise
async def an_ended_run_is_not_unfinished(trial: Trial) -> None:
    await trial.store.append([trial.opened(1), trial.opened(2), trial.closed(1)])
    assert await trial.unfinished() == [trial.opened(2)]
    await trial.reopen()
    assert await trial.unfinished() == [trial.opened(2)]


@promise
async def a_run_that_opens_and_ends_in_one_batch_is_finished(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.step(), trial.closed()])
    assert await trial.unfinished() == []
    assert await trial.found(RunQuery(status="completed")) == [trial.run()]


@promise
async def a_run_opened_again_is_unfinished_whole(trial: Trial) -> None:
    entries = [trial.opened(), trial.closed(status="failed"), trial.step(body="again")]
    await trial.store.append(entries[:2])
    await trial.store.append(entries[2:])
    assert await trial.unfinished() == entries
    await trial.reopen()
    assert await trial.unfinished() == entries


@promise
async def a_run_opened_again_in_the_batch_that_ended_it_is_unfinished(trial: Trial) -> None:
    entries = [trial.opened(), trial.closed(), trial.step(body="again")]
    await trial.store.append(entries)
    assert await trial.unfinished() == entries
    assert [row.status for row in await trial.find()] == [None]


@promise
async def a_run_opened_again_may_end_again(trial: Trial) -> None:
    for entry in (trial.opened(), trial.closed(status="failed"), trial.step(), trial.closed()):
        await trial.store.append([entry])
    assert await trial.unfinished() == []
    assert await trial.find() == [trial.row(status="completed")]


@promise
async def a_run_opened_again_is_found_as_open(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.closed(status="failed")])
    await trial.reopen()
    await trial.store.append([trial.step(body="again")])
    assert await trial.find() == [trial.row()]
    await trial.reopen()
    assert await trial.find(RunQuery(status="open")) == [trial.row()]


@promise
async def a_run_without_a_row_is_not_found_but_unfinished(trial: Trial) -> None:
    await trial.store.append([trial.step()])
    await trial.reopen()
    assert await trial.found() == []
    assert await trial.unfinished() == await trial.history() == [trial.step()]


@promise
async def a_run_without_a_row_can_end(trial: Trial) -> None:
    ended = Entry(trial.run(), "RunClosed", "end", ends_run=True)
    await trial.store.append([trial.step(), ended])
    assert await trial.unfinished() == []
    assert await trial.history() == [trial.step(), ended]


@promise
async def the_latest_row_is_found(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.step()])
    assert await trial.find() == [trial.row()]
    await trial.store.append([trial.closed(status="failed")])
    assert await trial.find() == [trial.row(status="failed")]


@promise
async def an_entry_without_a_row_leaves_what_is_found(trial: Trial) -> None:
    await trial.store.append([trial.opened()])
    await trial.store.append([trial.step()])
    await trial.reopen()
    assert await trial.find() == [trial.row()]


@promise
async def runs_of_another_function_are_not_found(trial: Trial) -> None:
    await trial.store.append([trial.opened()])
    assert await trial.store.find(RunQuery(function=f"{trial.name}-other")) == []


@promise
async def facts_are_found_nowhere_but_in_unfinished(trial: Trial) -> None:
    await trial.store.append([trial.fact(NOON + MINUTE), trial.fact(NOON + MINUTE, "second")])
    assert await trial.found() == []
    assert len(await trial.unfinished()) == 2


@promise
async def a_fact_to_be_kept_for_ever_is_kept(trial: Trial) -> None:
    until = datetime.max.replace(tzinfo=UTC)
    await trial.store.append([trial.fact(until)])
    await trial.reopen()
    assert await trial.unfinished(until - MINUTE) == [trial.fact(until)]


@promise
async def a_fact_without_keep_until_is_not_unfinished(trial: Trial) -> None:
    await trial.store.append([trial.fact(None)])
    assert await trial.unfinished() == []


@promise
async def prune_forgets_a_run_that_ended_before(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.step(), trial.closed()])
    assert await trial.store.prune(NOON + 2 * MINUTE) >= 1
    assert (await trial.history(), await trial.found(), await trial.unfinished()) == ([], [], [])


@promise
async def prune_keeps_a_run_that_ended_then_or_later(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.closed()])
    await trial.store.prune(NOON + MINUTE)
    assert len(await trial.history()) == 2


@promise
async def prune_keeps_unfinished_runs(trial: Trial) -> None:
    entries = [trial.opened(1), trial.opened(2), trial.closed(2), trial.step(2, "again")]
    await trial.store.append(entries)
    await trial.store.prune(NOON + 60 * MINUTE)
    assert await trial.unfinished() == entries
    assert await trial.found() == [trial.run(2), trial.run(1)]


@promise
async def prune_counts_the_runs(trial: Trial) -> None:
    await trial.store.prune(NOON + 2 * MINUTE)
    for which in range(5):
        await trial.store.append([trial.opened(which), trial.closed(which)])
    assert await trial.store.prune(NOON + 2 * MINUTE) == 5
    assert await trial.store.prune(NOON + 2 * MINUTE) == 0


@promise
async def prune_forgets_facts_that_are_past(trial: Trial) -> None:
    facts = [trial.fact(NOON - MINUTE, "past"), trial.fact(NOON + MINUTE, "kept")]
    await trial.store.append(facts)
    assert await trial.unfinished(NOON - 2 * MINUTE) == facts
    await trial.store.prune(NOON)
    assert await trial.unfinished(NOON - 2 * MINUTE) == facts[1:]


@promise
async def what_prune_forgot_stays_forgotten(trial: Trial) -> None:
    await trial.store.append([trial.opened(1), trial.closed(1), trial.opened(2)])
    await trial.store.prune(NOON + 2 * MINUTE)
    await trial.reopen()
    assert await trial.history(1) == []
    assert await trial.history(2) == [trial.opened(2)]


@promise
async def an_id_that_was_pruned_can_be_used_again(trial: Trial) -> None:
    await trial.store.append([trial.opened(), trial.closed()])
    await trial.store.prune(NOON + 2 * MINUTE)
    await trial.store.append([trial.opened()])
    await trial.reopen()
    assert await trial.history() == await trial.unfinished() == [trial.opened()]


@promise
async def prune_takes_a_run_of_many_entries(trial: Trial) -> None:
    await trial.store.append([trial.opened(), *[trial.step()] * 2_500, trial.closed()])
    await trial.store.append([trial.opened("left")])
    await trial.store.prune(NOON + 2 * MINUTE)
    await trial.reopen()
    assert (await trial.history(), await trial.unfinished()) == ([], [trial.opened("left")])


@promise
async def ten_thousand_runs_are_kept(trial: Trial) -> None:
    await trial.store.append([trial.opened(which) for which in range(10_000)])
    await trial.store.append([trial.closed(which) for which in range(0, 10_000, 2)])
    await trial.reopen()
    assert len(await trial.unfinished()) == 5_000
    assert len(await trial.found(RunQuery(limit=20_000))) == 10_000
    assert await trial.history(9_999) == [trial.opened(9_999)]
