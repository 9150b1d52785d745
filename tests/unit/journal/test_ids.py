"""Ids that derive from others: no two ways lead to one id (R15, R22, R24, R32)."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

from durable.events.event import CANCELLED, FAILED, FINISHED
from durable.journal.ids import (
    Ids,
    cancel_place,
    child_run,
    ending_event,
    failure_run,
    is_fresh,
    opened_run,
    scheduled_run,
    sent_event,
)

NAMES = ["a", "b", "a/b", "a#0", "a~r1", "failure", "~failure", "finished", "a~", "0"]


def test_ids_are_spelled_as_every_release_has_spelled_them() -> None:
    """They stand in stores: a run that is recovered must derive what it derived before."""
    assert opened_run("E", "f/x") == "E/f~sx"
    assert sent_event("r", "a:1", 2, 0) == "r/a:1#2" and sent_event("r", "a", 0, 1) == "r/a#0~r1"
    assert child_run("r", "a/b", 0) == "r/a~sb" and child_run("r", "a", 2) == "r/a~r2"
    assert child_run("r", "failure", 0) == "r/~failure"
    assert failure_run("r", 0) == "r/failure" and failure_run("r", 1) == "r/failure~r1"
    assert ending_event("r", FINISHED, 0) == "r#finished" and ending_event("r", FAILED, 3) == "r#failed~r3"
    assert scheduled_run("E") == "durable/event/E"
    assert cancel_place("r", 1) == ("r", "»cancel 1")


def test_no_two_ways_lead_to_one_id() -> None:
    """Of one run and of its children, whatever their steps are called."""
    made: dict[str, object] = {}

    def make(id: str, *how: object) -> None:
        assert made.setdefault(id, how) == how, f"{id} is that of {made[id]} and of {how}"

    runs = ["r"]
    for depth, run in product(range(2), list(runs)):
        for key, times in product(NAMES, range(3)):
            make(child_run(run, key, times), "child", run, key, times)
            make(sent_event(run, key, 0, times), "sent", run, key, times)
            if depth == 0:
                runs.append(child_run(run, key, times))
    for run, times in product(runs, range(3)):
        make(failure_run(run, times), "failure", run, times)
        for name in (FINISHED, FAILED, CANCELLED):
            make(ending_event(run, name, times), "ending", run, name, times)


def test_fresh_ids_rise_also_within_a_millisecond() -> None:
    ids, now = Ids(), datetime(2030, 1, 1, tzinfo=UTC)
    made = [ids.fresh(now) for _ in range(1_000)]
    assert all(first < second for first, second in pairwise(made))
    assert {len(id) for id in made} == {26}
    assert all(is_fresh(id) for id in made)


def test_fresh_ids_sort_by_their_time_to_the_millisecond() -> None:
    ids, now = Ids(), datetime(2030, 1, 1, tzinfo=UTC)
    made = [ids.fresh(now + timedelta(microseconds=200 * number)) for number in range(1_000)]
    assert all(first < second for first, second in pairwise(made))
    assert len({id[:10] for id in made}) == 200


def test_two_processes_of_one_make_different_ids() -> None:
    """A fork copies what ids are made of; each of the two processes goes on with it."""
    ids, now = Ids(), datetime(2030, 1, 1, tzinfo=UTC)
    ids.fresh(now)
    child = copy(ids)
    made = [both.fresh(now) for _ in range(100) for both in (ids, child)]
    assert len(set(made)) == 200
