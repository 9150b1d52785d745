"""What is kept in memory of runs, beside the fold of their records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durable.events.event import Event
from durable.journal.records import Ok, Record, RunClosed, RunOpened, RunRetried, StepClosed, StepOpened, Until
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


def test_the_ends_that_a_store_holds_are_told_already() -> None:
    state = state_of(OPENED, RunClosed("r", "completed", at(1), "1"))
    state.told_all()
    assert state.known("r") is None and state.count == 0
