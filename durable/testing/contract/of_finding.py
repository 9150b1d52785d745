"""Check a store's promises about the conditions of `find`: events, parents, times, pages.

Separate from `of_runs` only for its length.
Leaves to `contract` the running of the checks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

from durable.stores import Entry, RunQuery
from durable.testing.contract.trial import MINUTE, NOON, Promise, Trial, listed

OF_FINDING: list[Promise] = []
promise = listed(OF_FINDING)

_TICK = timedelta(microseconds=1)
_ODD = "o'd%_d \0/\U0001f600\u0301"


def _of(trial: Trial, which: object, *event_ids: str) -> Entry:
    return _with(trial, trial.opened(which), *event_ids)


def _with(trial: Trial, entry: Entry, *event_ids: str) -> Entry:
    assert entry.row is not None
    return attrs.evolve(entry, row=attrs.evolve(entry.row, event_ids=tuple([f"{trial.name}{id}" for id in event_ids])))


async def _by_event(trial: Trial, id: str) -> list[str]:
    return await trial.found(RunQuery(event_id=f"{trial.name}{id}"))


@promise
async def a_run_is_found_by_every_id_of_its_events(trial: Trial) -> None:
    await trial.store.append([_of(trial, 1, "a", _ODD), trial.opened(2), _of(trial, 3, "b", "a"), _of(trial, 4, "c")])
    await trial.store.append([_with(trial, trial.closed(1), "a", _ODD), trial.step(3)])
    for _ in range(2):
        assert await _by_event(trial, "a") == [trial.run(3), trial.run(1)]
        assert await _by_event(trial, _ODD) == [trial.run(1)]
        assert await _by_event(trial, "A") == await _by_event(trial, "") == await _by_event(trial, "aa") == []
        await trial.reopen()


@promise
async def a_run_is_found_by_its_event_whatever_becomes_of_it(trial: Trial) -> None:
    await trial.store.append([_of(trial, 1, "a"), _with(trial, trial.closed(1, status="failed"), "a")])
    assert await trial.find(RunQuery(event_id=f"{trial.name}a", status="failed")) == [trial.row(1, status="failed")]
    await trial.store.append([trial.step(1, body="again")])
    await trial.reopen()
    assert await trial.find(RunQuery(event_id=f"{trial.name}a", status="open")) == [trial.row(1)]


@promise
async def ids_of_events_are_no_ids_of_parents(trial: Trial) -> None:
    await trial.store.append([_of(trial, 1, "a")])
    assert await trial.found(RunQuery(parent=f"{trial.name}a")) == []


@promise
async def a_pruned_run_is_not_found_by_its_event(trial: Trial) -> None:
    await trial.store.append([_of(trial, 1, "a"), _with(trial, trial.closed(1), "a"), _of(trial, 2, "a")])
    await trial.store.prune(NOON + 2 * MINUTE)
    assert await _by_event(trial, "a") == [trial.run(2)]
    await trial.store.append([trial.opened(1)])
    await trial.reopen()
    assert await _by_event(trial, "a") == [trial.run(2)]


@promise
async def runs_whose_ids_derive_from_one_are_found_by_it(trial: Trial) -> None:
    for odd in ("", _ODD.replace("/", "")):
        base = f"{odd}x"
        names = [f"{base}/a", f"{base}/b", base, f"{base}/a/c", f"{base}0", f"{base}0/a", f"{base}/{odd}~s", f"{base}."]
        await trial.store.append([trial.opened(name) for name in names])
        children = [trial.run(f"{base}/{name}") for name in (f"{odd}~s", "b", "a")]
        for _ in range(2):
            assert await trial.found(RunQuery(parent=trial.run(base))) == children
            assert await trial.found(RunQuery(event_id=trial.run(base))) == children
            assert await trial.found(RunQuery(parent=trial.run(f"{base}/a"))) == [trial.run(f"{base}/a/c")]
            assert await trial.found(RunQuery(parent=trial.run(base), limit=1)) == children[:1]
            await trial.reopen()


@promise
async def times_of_opening_include_the_first_and_not_the_last(trial: Trial) -> None:
    times = [NOON - _TICK, NOON, NOON + _TICK, datetime(1903, 5, 6, tzinfo=UTC)]
    await trial.store.append([trial.opened(which, at) for which, at in enumerate(times)])
    await trial.store.append([trial.closed(1)])
    for _ in range(2):
        assert await trial.found(RunQuery(opened_after=NOON)) == [trial.run(2), trial.run(1)]
        assert await trial.found(RunQuery(opened_before=NOON)) == [trial.run(3), trial.run(0)]
        assert await trial.found(RunQuery(opened_after=NOON, opened_before=NOON + _TICK)) == [trial.run(1)]
        assert await trial.found(RunQuery(opened_after=NOON, opened_before=NOON)) == []
        await trial.reopen()


@promise
async def a_page_goes_on_behind_a_run(trial: Trial) -> None:
    await trial.store.append([trial.opened(which) for which in range(5)])
    await trial.store.append([trial.closed(which) for which in (1, 3)])
    for _ in range(2):
        assert await trial.found(RunQuery(before=trial.run(3), limit=2)) == [trial.run(2), trial.run(1)]
        assert await trial.found(RunQuery(before=trial.run(3), status="completed")) == [trial.run(1)]
        assert await trial.found(RunQuery(before=trial.run(0))) == []
        await trial.reopen()


@promise
async def a_page_behind_an_unknown_run_is_a_key_error(trial: Trial) -> None:
    await trial.store.append([trial.opened(1), trial.closed(1), trial.step("without a row")])
    await trial.store.prune(NOON + 2 * MINUTE)
    for unknown in (trial.run("nowhere"), trial.run("without a row"), trial.run(1), ""):
        try:
            await trial.found(RunQuery(before=unknown))
        except KeyError:
            continue
        raise AssertionError(f"find(before={unknown!r}) is no KeyError")
