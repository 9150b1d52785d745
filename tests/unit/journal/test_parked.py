"""A parked run says again whatever was said of it, however little of that it keeps as it was."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.events.event import Event
from durable.journal.codec.recorded import RecordedEvent
from durable.journal.records import ForEvent, ForSignal, RunRested, Until
from durable.journal.rules.parked import ParkedRun

NOW = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
LATER = NOW + timedelta(days=1)

ids = st.text(" ~/ab1", min_size=1, max_size=4)
instants = st.sampled_from([NOW, LATER])
rests = st.builds(
    RunRested,
    ids,
    ids,
    ids,
    st.sampled_from(["sleep", "wait_for_event"]),
    st.one_of(st.builds(Until, instants), st.builds(ForEvent, ids, instants), st.builds(ForSignal, ids, instants)),
    st.builds(Event, ids, st.dictionaries(ids, st.integers()), st.none() | ids, st.none() | instants, st.none() | ids),
    instants,
    instants,
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(2, 4),
    st.none() | instants,
    st.integers(0, 1),
    st.none() | instants,
    st.sampled_from([None, "null", "1"]),
    st.lists(ids, max_size=2).map(tuple),
)


@given(rests)
def test_a_parked_run_says_what_was_recorded(rest: RunRested) -> None:
    parked = ParkedRun(rest, count=rest.count - 1, is_said=False)
    assert parked.rest(rest.at) == rest
    assert (parked.event, parked.since, parked.until) == (rest.event, rest.since or rest.opened_at, rest.wait.until)
    ledger = parked.ledger()
    assert (ledger.event, ledger.opened_at, ledger.started_at) == (rest.event, rest.opened_at, rest.started_at)
    assert (ledger.singleton, ledger.other_ids) == (rest.singleton, rest.other_ids)


@pytest.mark.parametrize("run", ["{id}", "{id}/sleeper", "{id}/sleeper~2"])
def test_a_parked_run_takes_little_memory(run: str) -> None:
    """What most runs of a function have in common is kept once, and the event's id is in the run's."""

    def parked(number: int) -> ParkedRun:
        id = f"01M8QWQ831ERGND6MXRG{number:06}"
        event = RecordedEvent("bench/began", f'{{"number":{number}}}', id, NOW)
        rest = RunRested(run.format(id=id), "sleeper", "nap", "sleep", Until(LATER), event, NOW, NOW, 1, 0, 3)
        return ParkedRun(rest, count=2, is_said=False)

    kept = [parked(0)]
    tracemalloc.start()
    try:
        kept += [parked(number) for number in range(1_000)]
        assert tracemalloc.get_traced_memory()[0] / 1_000 < 300
    finally:
        tracemalloc.stop()
    assert kept[1].event.id == kept[0].event.id == "01M8QWQ831ERGND6MXRG000000"
