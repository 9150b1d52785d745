"""Begin a run with what another run has finished.

Separate because it is the one decision that reads the records of a run in their order: what a run had finished when a
step began is a beginning of its record.
Leaves to `ledger` the folding of what is copied, to `delivery` its order, to `engine` the reading of the records.

A copy of a beginning of a record is a state that the run really was in, as after a crash at that instant. So the code
comes through it the same way, with its races and its cancelled steps. Waits, tries and children that were open are not
copied: they begin anew. Of what is left out nothing may be missed:

- Turns are numbered anew, without gaps. A turn of which nothing is left would be delivered as nothing.
- Where an outcome is left out or replaced, or the event's data are, the code may go another way from there on. A
  recorded cancelling holds up all later turns until the code cancels the step again (R9), so from there on none is
  copied: the step begins anew, and the code cancels it or not.
- A closed wait is copied with the time of its beginning, but without what it waited for. The signal may have another
  waiter by now, and a child belongs to the run that invoked it: whatever becomes of the fork, that run stays as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from durable.events import Json
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.records import (
    Cancelled,
    Err,
    Fork,
    Ok,
    Record,
    RunAdmitted,
    RunOpened,
    RunRetried,
    StepClosed,
    StepOpened,
    StepRetried,
)


def finished(records: Sequence[Record], before: str | None) -> dict[str, StepClosed]:
    """Return how the steps of a run had ended, by key, in the order of their ends.

    That is before the first record of the step `before`, or by the end of the records.

    Raises:
        KeyError: there is no record of the step `before`.
    """
    ends: dict[str, StepClosed] = {}
    opened: dict[str, datetime] = {}
    for record in records:
        if isinstance(record, StepOpened | StepRetried | StepClosed) and record.key == before:
            return ends
        if isinstance(record, StepOpened):
            opened[record.key] = record.at
        elif isinstance(record, StepClosed):
            ends[record.key] = attrs.evolve(record, began=record.began or opened.get(record.key))
        elif isinstance(record, RunRetried):
            ends = {key: end for key, end in ends.items() if _stays(end, record)}
    if before is not None:
        raise KeyError(before)
    return ends


def _stays(end: StepClosed, retried: RunRetried) -> bool:
    """Return whether a step stays as it has ended when its function is called again: see `Ledger`."""
    return isinstance(end.outcome, Ok) if retried.reopened else not isinstance(end.outcome, Cancelled)


def first_now_of(records: Sequence[Record]) -> datetime:
    """Return the time that a run was told before its first outcome: of its start, if that is a record."""
    opened, *later = records
    assert isinstance(opened, RunOpened)
    for record in later:
        if isinstance(record, RunAdmitted):
            return record.at
        if isinstance(record, StepOpened | StepRetried | StepClosed):
            break
    return opened.at


def forked(
    opened: RunOpened,
    ends: Mapping[str, StepClosed],
    run: str,
    now: datetime,
    *,
    before: str | None,
    event: RecordedEvent,
    replaced: Mapping[str, Ok],
    singleton: Json | None,
    first_now: datetime,
) -> Iterator[Record]:
    """Open a run with what another had finished; `opened` is that one's opening, `ends` is from `finished`.

    `first_now` is the time that the other was told before its first outcome. `singleton` is the key that it takes. It
    has the other events of a batch, but nothing was held for it. `replaced` are outcomes in place of those that are
    recorded. Without `before`, steps that failed begin anew.
    """
    origin = opened.fork or Fork(opened.run, None, (), opened.run, first_now)
    fork = Fork(opened.run, before, tuple(replaced), origin.seed, origin.now)
    is_same = event.text == recorded_event(opened.event).text
    kept = _kept(ends.values(), replaced, keeps_errors=before is not None, is_same=is_same)
    turns = sorted({end.turn for end in kept if end.turn is not None and not isinstance(end.outcome, Cancelled)})
    others, priority = opened.others, opened.priority
    yield RunOpened(run, opened.function, event, now, fork=fork, singleton=singleton, others=others, priority=priority)
    for end in kept:
        turn = None if end.turn is None else bisect_right(turns, end.turn)
        yield attrs.evolve(end, run=run, turn=turn)


def _kept(
    ends: Iterable[StepClosed], replaced: Mapping[str, Ok], *, keeps_errors: bool, is_same: bool
) -> list[StepClosed]:
    """Return the ends that a fork begins with; `is_same` says that so far its code goes the way that is recorded."""
    kept: list[StepClosed] = []
    for end in ends:
        if end.key in replaced:
            end, is_same = attrs.evolve(end, outcome=replaced[end.key]), False
        elif isinstance(end.outcome, Err) and not keeps_errors:
            is_same = False
            continue
        if is_same or not isinstance(end.outcome, Cancelled):
            kept.append(end)
    return kept
