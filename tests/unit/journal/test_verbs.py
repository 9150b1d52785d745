"""A verb of the journal leaves what its record leaves: in the ledger, in the store, and read back."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable import DictStore
from durable.events.event import Event
from durable.journal import records
from durable.journal.codec.values import encode
from durable.journal.codec.write import read
from durable.journal.records import Ok, Record, RunOpened, StepClosed, StepOpened, StepRetried, Until
from durable.journal.rules.state import State
from durable.journal.writer import Journal
from durable.stores import Entry

NOON = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
RUNS = ["r", "räksmörgås", 'a "quoted"\nrun', "\U0001f600"]
KEYS = ["a", "a:1", "0.1>b", "ö", "\\", "two\u2028lines"]
VALUES = [None, True, 0, -1.5, "text", "ö", "\ud83d\ude00", [1, [2]], {"k": "v"}, 10**400, {1: NOON}]


class _Lives:
    """The same run twice: one journal is given records, the other one verbs."""

    def __init__(self, run: str) -> None:
        self.states = [State(lambda about, text: None) for _ in range(2)]
        self.stores: list[dict[str, Any]] = [{}, {}]
        self.run = run
        self.joined: list[tuple[int, int]] = []
        self.told: list[str] = []

    async def __aenter__(self) -> _Lives:
        self.kept = [DictStore(mapping) for mapping in self.stores]
        self.journals = []
        for store, state in zip(self.kept, self.states, strict=True):
            await store.open()
            self.journals.append(Journal(store, state, asyncio.Event()))
        self.journals[1].watchers.append(self.told.append)
        self.post(RunOpened(self.run, "f", Event("e", {}, "i", NOON), NOON))
        return self

    async def __aexit__(self, *error: object) -> None:
        for journal in self.journals:
            await journal.synced()

    def post(self, record: Record) -> None:
        for journal in self.journals:
            journal.post(record)

    def close(self, record: StepClosed) -> None:
        assert isinstance(record.outcome, Ok)
        self.journals[0].post(record, at_once=record.turn is None)
        ledger = self.states[1].ledgers[self.run]
        self.journals[1].close_step(
            ledger,
            record.key,
            record.kind,
            record.outcome,
            record.turn,
            record.at,
            record.tries,
            record.began,
            lambda turn, number: self.joined.append((turn, number)),
        )

    def ledgers(self) -> list[dict[str, Any]]:
        return [attrs.asdict(state.ledgers[self.run]) for state in self.states]

    async def entries(self) -> list[list[Entry]]:
        return [[entry async for entry in store.history(self.run)] for store in self.kept]


async def check(run: str, before: list[Record], closings: list[StepClosed]) -> None:
    async with _Lives(run) as lives:
        for record in before:
            lives.post(record)
        for number, record in enumerate(closings, start=len(before) + 2):
            lives.close(record)
            one, other = lives.ledgers()
            assert one == other
            assert lives.journals[1].posted == lives.journals[0].posted == number
            assert record.turn is None or lives.joined[-1] == (record.turn, number)
        assert lives.told == [run] * len(closings)
    one, other = await lives.entries()
    assert one == other and [entry.kind for entry in one[1 + len(before) :]] == ["StepClosed"] * len(closings)
    read_back = [read(entry.kind, entry.body) for entry in other]
    assert read_back[1 + len(before) :] == closings
    again = State(lambda about, text: None)
    for record in read_back:
        again.fold(record)
    assert attrs.asdict(again.ledgers[run]) == lives.ledgers()[1]


def befores(run: str, keys: list[str]) -> list[Record]:
    """Some steps had a failed try before, some have waited in an earlier attempt."""
    error = records.RecordedError("ValueError", "no")
    tried = [StepRetried(run, key, "run", 2, NOON, error, NOON) for key in keys[::2]]
    waited: list[Record] = [StepOpened(run, key, "sleep", Until(NOON), NOON) for key in keys[1::3]]
    return [*tried, *waited]


def closing(run: str, key: str, kind: records.StepKind, value: object, turn: int | None, late: int) -> StepClosed:
    text = encode(value)
    return StepClosed(run, key, kind, Ok(text, text[0] in "[{"), turn, NOON + timedelta(microseconds=late), 1, NOON)


def in_order(turns: list[int | None]) -> list[int | None]:
    """Turns as a run has them: each at most one after the last."""
    last, found = 1, []
    for turn in turns:
        if turn is not None:
            last = turn = min(max(turn, last), last + 1)
        found.append(turn)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_step_that_ends_by_the_verb_leaves_what_its_record_leaves(seed: int) -> None:
    chance = random.Random(seed)
    run = chance.choice(RUNS)
    keys = chance.sample(KEYS, chance.randint(1, len(KEYS)))
    turns = in_order([chance.choice([None, 1, 2, 3]) for _ in keys])
    kinds = [chance.choice(get_args(records.StepKind)) for _ in keys]
    closings = [
        closing(run, key, kind, chance.choice(VALUES), turn, chance.choice([-5, 0, 1, 10**7]))
        for key, kind, turn in zip(keys, kinds, turns, strict=True)
    ]
    asyncio.run(check(run, befores(run, keys) if chance.random() < 0.5 else [], closings))


words = st.text(st.characters(codec=None), min_size=1, max_size=6)
values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | words, st.lists, max_leaves=4)


@given(
    st.sampled_from(RUNS) | st.text(min_size=1, max_size=6),
    st.lists(words, unique=True, max_size=5),
    st.lists(st.tuples(st.sampled_from(get_args(records.StepKind)), values, st.none() | st.integers(1, 9)), max_size=5),
    st.lists(st.integers(-(10**9), 10**9), min_size=5, max_size=5),
    st.booleans(),
)
def test_it_does_so_whatever_the_step_is(
    run: str, keys: list[str], parts: list[Any], lates: list[int], has_been_tried: bool
) -> None:
    turns = in_order([part[2] for part in parts])
    closings = [
        closing(run, key, kind, value, turn, late)
        for key, (kind, value, _), turn, late in zip(keys, parts, turns, lates, strict=False)
    ]
    asyncio.run(check(run, befores(run, keys) if has_been_tried else [], closings))


def test_a_turn_that_cannot_be_is_refused_by_both() -> None:
    state = State(lambda about, text: None)
    state.fold(RunOpened("r", "f", Event("e", {}, "i", NOON), NOON))
    with pytest.raises(ValueError, match="ended in turn 7, where 1 was the last"):
        state.fold(closing("r", "a", "run", 1, 7, 0))
    with pytest.raises(ValueError, match="ended in turn 7, where 1 was the last"):
        state.ledgers["r"].close_step("a", "run", Ok("1"), 7, NOON, 1, NOON)
