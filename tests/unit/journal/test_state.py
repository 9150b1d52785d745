"""What is kept in memory of runs, beside the fold of their records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs
import pytest

from durable.events.event import Event
from durable.journal.records import (
    ForChild,
    ForEvent,
    Fork,
    ForSignal,
    Ok,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    Until,
)
from durable.journal.rules.state import State

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


OPENED = RunOpened("r", "f", Event("e", {"n": 1}, "i", NOON), NOON)
DONE = StepClosed("r", "a", "run", Ok("1"), None, at(1), 1)
SLEEPS = StepOpened("r", "s", "sleep", Until(at(60)), at(2))
WOKEN = StepClosed("r", "s", "sleep", Ok("null"), 1, at(60))


def state_of(*records: Record) -> State:
    state = State(lambda about, text: None)
    for record in records:
        state.fold(record)
    return state


def test_a_run_is_forgotten_when_its_end_was_told() -> None:
    ended = RunClosed("r", "completed", at(1), "1")
    state = state_of(OPENED, ended)
    assert state.known("r") is not None and not state.is_unfinished("r")
    state.told(ended)
    assert state.known("r") is None
    state.told(ended)


def test_a_run_that_was_opened_again_is_not_forgotten_for_its_first_end() -> None:
    first, second = RunClosed("r", "cancelled", at(1)), RunClosed("r", "completed", at(3), "1")
    state = state_of(OPENED, first, RunRetried("r", 0, at(2), None, at(2), reopened=True))
    state.told(first)
    assert state.is_unfinished("r")
    state.fold(second)
    state.told(first)
    assert state.known("r") is not None
    state.told(second)
    assert state.known("r") is None


def test_a_parked_run_is_whole_again_with_the_ledger_that_the_store_holds() -> None:
    state, store = state_of(OPENED, DONE, SLEEPS), state_of(OPENED, DONE, SLEEPS)
    state.park("r", "s")
    assert state.whole("r") is None and state.is_waiting(("r", "s"))
    state.fold(WOKEN)
    with pytest.raises(ValueError, match="has records that its ledger lacks"):
        state.unpark(store.ledgers["r"])
    store.fold(WOKEN)
    state.unpark(store.ledgers["r"])
    assert state.whole("r") is store.ledgers["r"] and state.count == 1


OPENED_LATE = StepOpened("r", "s", "sleep", Until(at(7_202)), at(2))
CHILD = RunOpened("r", "f", Event("e", {"n": 1}, "i", NOON), NOON, ("p", "c"))
FORKED = RunOpened("r", "f", Event("e", {}, "i", NOON), NOON, fork=Fork("old", None, (), "old", NOON))
BATCH = RunOpened("r", "f", Event("e", {}, "i", NOON), NOON, group="g", others=(Event("e", {}, "j", NOON),))
URGENT = RunOpened("r", "f", Event("e", {}, "i", NOON), NOON, singleton='"k"', priority=3.0)
ALONE = RunOpened("r", "f", Event("e", {}, "i", NOON), NOON, singleton='"k"')
EVENT = StepOpened("r", "s", "wait_for_event", ForEvent("paid", at(62), "data.i", "true"), at(2))
ASKED = StepOpened("r", "s", "wait_for_event", ForEvent("paid", at(62), ask='"who"'), at(2))
SIGNAL = StepOpened("r", "s", "wait_for_signal", ForSignal("paid", at(62)), at(2))
INSTANT = StepOpened("r", "s", "sleep", Until(at(62) + timedelta(microseconds=3)), at(2))
ABROAD = StepOpened("r", "s", "sleep", Until(at(62).astimezone(ZoneInfo("Asia/Tokyo"))), at(2))
EARLIER = StepOpened("r", "s", "sleep", Until(at(62)), at(-1))
INVOKES = StepOpened("r", "s", "invoke", ForChild("c"), at(2))
STARTED, ADMITTED = RunStarted("r", at(2)), RunAdmitted("r", at(2))


@pytest.mark.parametrize(
    ("records", "is_whole"),
    [
        ((OPENED, SLEEPS), True),
        ((OPENED, OPENED_LATE), True),
        ((OPENED, EVENT), True),
        ((OPENED, SIGNAL), True),
        ((ALONE, SLEEPS), True),
        ((OPENED, DONE, SLEEPS), False),
        ((OPENED, STARTED, SLEEPS), False),
        ((OPENED, ADMITTED, SLEEPS), False),
        ((OPENED, ASKED), False),
        ((OPENED, INSTANT), False),
        ((OPENED, ABROAD), False),
        ((OPENED, EARLIER), False),
        ((OPENED, INVOKES), False),
        ((CHILD, SLEEPS), False),
        ((FORKED, SLEEPS), False),
        ((BATCH, SLEEPS), False),
        ((URGENT, SLEEPS), False),
    ],
)
def test_a_parked_run_that_has_recorded_only_its_wait_is_whole_without_the_store(
    records: tuple[Record, ...], is_whole: bool
) -> None:
    state, never_parked = state_of(*records), state_of(*records)
    state.park("r", "s")
    state.fold(WOKEN)
    never_parked.fold(WOKEN)
    assert (state.whole("r") is not None) == is_whole
    if is_whole:
        assert attrs.asdict(state.ledgers["r"]) == attrs.asdict(never_parked.ledgers["r"])


def test_the_ends_that_a_store_holds_are_told_already() -> None:
    state = state_of(OPENED, RunClosed("r", "completed", at(1), "1"))
    state.told_all()
    assert state.known("r") is None and state.count == 0
