"""What debounce, batch and singleton decide, step by step: folded from the text alike, and taken back whole."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Batch, Debounce, Function, Limits, Singleton
from durable.functions import declaration_of
from durable.journal import Decisions, Record, State, accepted, read, write
from durable.journal.rules.flow.singleton import Singletons
from durable.journal.rules.retraction import retraction

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def _code(ctx: durable.Context) -> None: ...


FUNCTIONS: list[Function[Any]] = [
    durable.function("e", id="index", debounce=Debounce("5s", "12s", "event.data.k"))(_code),
    durable.function("e", id="bulk", batch_events=Batch(3, "10s", "event.data.k", "event.data.n % 5 != 0"))(_code),
    durable.function("e", id="skips", singleton=Singleton(key="event.data.k"))(_code),
    durable.function("e", id="cancels", singleton=Singleton("cancel", "event.data.k"))(_code),
    durable.function(["e", "durable/function.cancelled"], id="tells", batch_events=Batch(2, "1m"))(_code),
]


def _decisions() -> Decisions:
    state = State(lambda about, text: None)
    for function in FUNCTIONS:
        state.declare(declaration_of(function))
    return Decisions(state, Limits())


def _facts(state: State) -> Any:
    groups = {
        id: (group.function, group.mode, group.key, group.since, group.due, list(group.events.items()), group.size)
        for id, group in state.held.groups.items()
    }
    runs = {run: (one.status, one.singleton, one.group, one.others) for run, one in state.ledgers.items()}
    return groups, dict(state.held._by_key), dict(state.singletons.runs), runs, dict(state.seen)


def _posted(decisions: Decisions, cause: Iterable[Record]) -> list[Record]:
    """Fold a cause, each record forth and back and forth again."""
    records = []
    for record in cause:
        before = _facts(decisions.state)
        put_back = retraction(decisions.state, record)
        decisions.state.fold(record)
        put_back()
        assert _facts(decisions.state) == before, record
        decisions.state.fold(record)
        records.append(record)
    return records


@pytest.mark.parametrize("seed", range(20))
def test_what_is_held_and_who_holds_a_key_is_the_fold_of_the_records(seed: int) -> None:
    """Also of the records as recovery reads them: of a debounce the last alone, of ended groups and runs none."""
    rng, decisions, journal, now = random.Random(seed), _decisions(), list[Record](), NOON
    for number in range(60):
        now += timedelta(seconds=rng.choice([0, 1, 3]))
        state, move = decisions.state, rng.random()
        due = [group.id for group in state.held.groups.values() if group.due <= now]
        if due and move < 0.5:
            journal += _posted(decisions, decisions.gathering.due(rng.choice(due), now))
        elif move < 0.7:
            data, ts = {"n": number, "k": rng.choice([1, 1.0, True, None])}, now - timedelta(seconds=rng.choice([0, 9]))
            event = durable.Event("e", data, id=rng.choice([None, f"mine{number}"]), ts=ts)
            sent = [(f"id{number:02}", accepted(event, Limits(), f"id{number:02}", now))]
            journal += _posted(decisions, decisions.events_sent(sent, now)[1])
        elif move < 0.8 and state.held.groups:
            group = rng.choice(list(state.held.groups.values()))
            journal += _posted(decisions, decisions.event_withdrawn(rng.choice(list(group.events)), now))
        elif move < 0.9 and state.ledgers:
            journal += _posted(decisions, decisions.run_ended(rng.choice(list(state.ledgers)), "completed", now))
        else:
            journal += _posted(decisions, decisions.gathering.flushed("index", None, now))
    assert {"EventHeld", "GroupClosed", "RunOpened", "EventSkipped"} <= {type(record).__name__ for record in journal}
    again = _decisions().state
    for record in journal:
        again.fold(read(type(record).__name__, write(record)))
    assert _facts(again) == _facts(decisions.state)
    recovered = _decisions().state
    for record in _as_recovered(journal, decisions.state):
        recovered.fold(record)
    assert _facts(recovered)[:4] == _facts(decisions.state)[:4]


def _as_recovered(journal: list[Record], state: State) -> list[Record]:
    """Return what a store yields of the records: those of what has not ended."""
    found: dict[int, Record] = {}
    last: dict[str, int] = {}
    for number, record in enumerate(journal):
        group = getattr(record, "group", None)
        if type(record).__name__ in ("EventHeld", "EventUnheld") and group in state.held.groups:
            if getattr(record, "mode", "") == "debounce" and group in last:
                del found[last[group]]
            found[number], last[group] = record, number
        elif getattr(record, "run", None) in state.ledgers:
            found[number] = record
    return list(found.values())


def test_a_run_that_ends_leaves_a_key_that_another_holds() -> None:
    """As after an import of a run from another store."""
    singletons = Singletons()
    singletons.take("f", "1", "first")
    singletons.take("f", "1", "second")
    singletons.free("f", "1", "first")
    assert singletons.holder("f", "1") == "second" and singletons.holder("g", "1") is None
    with pytest.raises(ValueError, match="run 'third' cannot be opened: run 'second' holds"):
        singletons.check_free("third", "f", "1")
