"""A lone cause leaves what its record leaves: in the state, in the store, with those who follow, and read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable import DictStore
from durable.errors import RecordedError
from durable.events.event import Event
from durable.journal.codec.recorded import recorded_event
from durable.journal.codec.write import read
from durable.journal.lone import Lone, LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import (
    Ending,
    Err,
    ForChild,
    ForEvent,
    ForSignal,
    Ok,
    Outcome,
    Record,
    RunClosed,
    RunOpened,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Until,
    Wait,
)
from durable.journal.rules.declaration import CancelRule, Declaration
from durable.journal.rules.state import State
from durable.journal.writer import Journal
from durable.stores import Entry
from tests.support.picture import picture

NOON = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
RUNS = ["r", "i/f", "räksmörgås", 'a "quoted"\nrun', "\U0001f600"]
FUNCTIONS = ["f", "cancels", "ö"]
DECLARED = [Declaration("f"), Declaration("cancels", cancels=(CancelRule("stop", "data.k"),))]
ERROR = RecordedError("ValueError", "no \ud83d\ude00", "a stack", "s", (RecordedError("KeyError", "'k'"),))


@attrs.frozen
class Follows:
    """One who notes what opens and ends, waits and is answered."""

    told: Callable[[Any], None]

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return what is to be called with a record of each kind."""
        return dict.fromkeys((RunOpened, RunClosed, StepOpened, StepClosed), self.told)


class Life:
    """A journal on a store of its own, and what those who follow were told."""

    def __init__(self) -> None:
        self.state = State(lambda about, text: None)
        for declaration in DECLARED:
            self.state.declare(declaration)
        self.store = DictStore()
        self.told: list[Any] = []

    async def open(self) -> Journal:
        await self.store.open()
        self.journal = Journal(self.store, self.state, asyncio.Event())
        self.journal.follow(Follows(self.told.append))
        return self.journal

    async def kept(self, run: str) -> list[tuple[Entry, Any, bool]]:
        await self.journal.synced()
        return [(entry, entry.row, entry.ends_run) async for entry in self.store.history(run)]


def fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("run", "at")}


async def check(opening: LoneOpening, steps: list[Record], ending: LoneEnding) -> None:
    causes: list[Lone] = [opening, ending]
    one, other = Life(), Life()
    by_records, by_verbs = await one.open(), await other.open()
    for cause, after in zip(causes, (steps, []), strict=True):
        by_records.post_all(list(cause))
        assert list(by_verbs.post_all(cause)) == list(cause)
        for record in after:
            by_records.post(record)
            by_verbs.post(record)
        assert picture(one.state) == picture(other.state)
        assert one.journal.posted == other.journal.posted
        assert fields(other.told[-1]) == fields(one.told[-1])
    kept = await other.kept(opening.run)
    assert await one.kept(opening.run) == kept
    read_back = [read(entry.kind, entry.body) for entry, _, _ in kept]
    assert [read_back[0], read_back[-1]] == [record for cause in causes for record in cause]
    again = Life()
    for record in read_back:
        again.state.fold(record)
    assert picture(again.state) == picture(other.state)


def befores(run: str) -> list[Record]:
    """Steps of all sorts: ended, tried, and waiting in each way."""
    return [
        StepClosed(run, "a", "run", Ok("1"), None, NOON, 1, NOON),
        StepRetried(run, "b", "run", 2, NOON, RecordedError("ValueError", "no"), NOON, NOON),
        StepOpened(run, "c", "sleep", Until(NOON), NOON),
        StepOpened(run, "d", "wait_for_event", ForEvent("paid", NOON, "data.k"), NOON),
        StepOpened(run, "e", "wait_for_signal", ForSignal("asked", NOON), NOON),
    ]


async def check_wait(run: str, before: list[Record], wait: LoneWait, answer: LoneAnswer) -> None:
    one, other = Life(), Life()
    by_records, by_verbs = await one.open(), await other.open()
    opening = LoneOpening(run, "f", recorded_event(Event("go", {"k": 1})), NOON)
    for journal in (by_records, by_verbs):
        journal.post_all(opening)
        for record in before:
            journal.post(record)
    causes: list[Lone] = [wait, answer]
    for cause in causes:
        [record] = cause
        by_records.post_all([record])
        assert list(by_verbs.post_all(cause)) == [record]
        assert picture(one.state) == picture(other.state)
        assert one.journal.posted == other.journal.posted
        told = {name: getattr(other.told[-1], name) for name in attrs.asdict(record, recurse=False)}
        assert told == attrs.asdict(record, recurse=False) == attrs.asdict(one.told[-1], recurse=False)
    kept = await other.kept(run)
    assert await one.kept(run) == kept
    read_back = [read(entry.kind, entry.body) for entry, _, _ in kept]
    assert read_back[-2:] == [record for cause in causes for record in cause]
    again = Life()
    for record in read_back:
        again.state.fold(record)
    assert picture(again.state) == picture(other.state)


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
events = st.builds(
    Event,
    words,
    st.dictionaries(words, st.integers() | words, max_size=2) | st.just({"k": 1}),
    st.none() | words,
    st.none() | st.just(NOON),
    st.none() | words,
)
endings = st.sampled_from(
    [("completed", '"ö"', None, None), ("failed", None, ERROR, None), ("cancelled", None, None, "by\nhand")]
)


@given(
    st.sampled_from(RUNS) | words,
    st.sampled_from(FUNCTIONS),
    events,
    st.none() | st.just(("p", "a/b")),
    endings,
    st.booleans(),
    st.integers(-(10**9), 10**9),
)
def test_a_run_that_opens_and_ends_alone_leaves_what_its_records_leave(
    run: str, function: str, event: Event, parent: Any, how: tuple[Ending, Any, Any, Any], has_steps: bool, late: int
) -> None:
    status, output, error, reason = how
    opening = LoneOpening(run, function, recorded_event(event), NOON, parent)
    ending = LoneEnding(run, status, NOON + timedelta(microseconds=late), output, error, reason)
    asyncio.run(check(opening, befores(run) if has_steps else [], ending))


texts = st.none() | words
waits = st.one_of(
    st.builds(Until, st.just(NOON)),
    st.builds(ForEvent, words, st.just(NOON), st.sampled_from([None, "data.k", "data.ö"]), st.none(), texts),
    st.builds(ForEvent, words, st.just(NOON), st.none(), st.just('async.data.k == "ö"')),
    st.builds(ForSignal, words, st.just(NOON), texts),
    st.builds(ForChild, words, st.none() | st.just(NOON)),
)
outcomes = st.sampled_from([Ok("null"), Ok('["ö"]', deep=True), Err(ERROR)])


@given(
    st.sampled_from(RUNS) | words,
    words,
    st.sampled_from(get_args(StepKind)),
    waits,
    outcomes,
    st.booleans(),
    st.integers(-(10**9), 10**9),
)
def test_a_step_that_waits_and_is_answered_alone_leaves_what_its_records_leave(
    run: str, key: str, kind: StepKind, wait: Wait, outcome: Outcome, has_steps: bool, late: int
) -> None:
    at = NOON + timedelta(microseconds=late)
    waiting, answer = LoneWait(run, key, kind, wait, at), LoneAnswer(run, key, kind, outcome, 1, at)
    asyncio.run(check_wait(run, befores(run) if has_steps else [], waiting, answer))


def test_a_step_is_not_answered_in_a_turn_that_cannot_be_or_without_its_run() -> None:
    async def story() -> None:
        life = Life()
        journal = await life.open()
        journal.post_all(LoneOpening("r", "f", Event("go"), NOON))
        before = picture(life.state)
        with pytest.raises(ValueError, match="ended in turn 7, where 1 was the last"):
            journal.post_all(LoneAnswer("r", "s", "sleep", Ok("null"), 7, NOON))
        with pytest.raises(KeyError, match="other"):
            journal.post_all(LoneWait("other", "s", "sleep", Until(NOON), NOON))
        assert picture(life.state) == before and journal.posted == 1 and len(life.told) == 1

    asyncio.run(story())


def test_a_run_that_is_opened_twice_or_ends_twice_is_refused_as_its_record_is() -> None:
    async def story() -> None:
        life = Life()
        journal = await life.open()
        opening = LoneOpening("r", "f", Event("go"), NOON)
        journal.post_all(opening)
        before = picture(life.state)
        with pytest.raises(ValueError, match="run 'r' is opened twice"):
            journal.post_all(opening)
        with pytest.raises(KeyError, match="there is no run 'other'"):
            journal.post_all(LoneEnding("other", "completed", NOON, "1", None, None))
        assert picture(life.state) == before and journal.posted == 1 and len(life.told) == 1

    asyncio.run(story())


def test_halves_of_a_surrogate_pair_in_a_key_stay_apart() -> None:
    """Two halves side by side are read as one character where nothing keeps them apart."""
    asyncio.run(
        check(
            LoneOpening("r", "f", recorded_event(Event("go")), NOON, ("p", "\ud83d")),
            [],
            LoneEnding("r", "failed", NOON, None, RecordedError("E", "\ud83d\ude00"), "\ud83d"),
        )
    )
    key = "\ud83d"
    wait, answer = LoneWait("r", key, "sleep", Until(NOON), NOON), LoneAnswer("r", key, "sleep", Ok("1"), 1, NOON)
    asyncio.run(check_wait("r", [], wait, answer))
