"""Put the state back to where it was before a record was folded.

Separate because a cause is kept or lost as one: if its fifth record cannot be written, the first four must be undone.
Leaves to `writer` the time of the undoing, to `state` the changes that a record makes.

Before a record is folded, the values that it will change are remembered, and only these: a few fields of the run, the
step, and the places where its waits are found. Two things are not put back: the order of entries in tables, and ids and
keys that had expired. A retraction is made for every record and almost never used, so it is made in one go, of bare
values.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import attrs

from durable.events import Place
from durable.journal.gathered import EventHeld, EventSkipped, EventUnheld, GroupClosed
from durable.journal.ids import cancel_place
from durable.journal.records import (
    Counted,
    EngineClosed,
    EventSent,
    ForChild,
    ForEvent,
    ForSignal,
    KeyClaimed,
    MessageTaken,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRested,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
    Wait,
)
from durable.journal.rules.ledger import Ledger, StepFacts
from durable.journal.rules.parked import ParkedRun
from durable.journal.rules.state import State
from durable.journal.schedule_records import TicksPassed, TicksReplaced

K = TypeVar("K")
V = TypeVar("V")
PutBack = Callable[[], object]

_LEDGER_NAMES = [field.name for field in attrs.fields(Ledger) if field.name not in ("run", "steps", "turns")]
_STEP_NAMES = [field.name for field in attrs.fields(StepFacts)]
# The record of a step changes these fields of its run's ledger, and the step and its turn.
_COUNTS = ("count", "latest", "deaths", "alone", "size", "open_turn")
_ENDS = (RunClosed, RunRetried)  # of one call of the function: they change its steps, too
_of_ledger, _counts_of, _of_facts = attrgetter(*_LEDGER_NAMES), attrgetter(*_COUNTS), attrgetter(*_STEP_NAMES)


def retraction(state: State, record: Record) -> PutBack:
    """Return a function that undoes the folding of a record, whole or in part."""
    match record:
        case StepClosed() | StepOpened() | StepRetried():  # first, since they are the most frequent
            return _of_step(state, record)
        case RunOpened() | RunClosed() | RunRetried() | RunRested() | RunResumed() | RunStarted() | RunAdmitted():
            return _of_run(state, record)
        case TicksPassed() | TicksReplaced():
            return state.standing.retraction(record)
        case EventSent():
            id, given = record.id, ("", record.event.id or "")
            return _all(_entry(state.scheduled, id), _entry(state.coming, given[1]), _entry(state.seen, given))
        case KeyClaimed():
            return _entry(state.seen, (record.function, record.key))
        case EventHeld() | EventUnheld() | GroupClosed():
            return state.held.retraction(record)
        case Counted():
            return state.windows.retraction(record)
        case EventSkipped() | MessageTaken() | EngineClosed():
            return _nothing
        case _:
            return state.standing.retraction(record)


def _of_step(state: State, record: StepClosed | StepOpened | StepRetried) -> PutBack:
    run, key = record.run, record.key
    ledger = state.ledgers.get(run)
    if ledger is None:
        return _of_parked_step(state, run, state.parked.get(run), record)
    facts = ledger.steps.get(key)
    known = None if facts is None else _of_facts(facts)
    turn = record.turn if type(record) is StepClosed else None
    keys = None if turn is None else ledger.turns.get(turn)
    length = -1 if keys is None else len(keys)
    found = _found(state, (run, key), None if facts is None else facts.wait)
    if type(record) is StepOpened:
        found += _found(state, (run, key), record.wait)
    return partial(_put_step_back, ledger, _counts_of(ledger), key, facts, known, turn, length, found)


def _put_step_back(
    ledger: Ledger,
    counts: tuple[Any, ...],
    key: str,
    facts: StepFacts | None,
    known: tuple[Any, ...] | None,
    turn: int | None,
    length: int,
    found: tuple[PutBack, ...],
) -> None:
    _set(ledger, _COUNTS, counts)
    if facts is None or known is None:
        ledger.steps.pop(key, None)
    else:
        _set(facts, _STEP_NAMES, known)
    if turn is not None and length < 0:
        ledger.turns.pop(turn, None)
    elif turn is not None:
        del ledger.turns[turn][length:]
    for put_back in found:
        put_back()


def _of_parked_step(state: State, run: str, parked: ParkedRun | None, record: Record) -> PutBack:
    found = () if parked is None else _found(state, (run, parked.key), parked.wait)
    if type(record) is StepOpened:
        found += _found(state, (run, record.key), record.wait)
    return _all(_entry(state.ledgers, run), _entry(state.parked, run), *found)


def _of_run(
    state: State, record: RunOpened | RunClosed | RunRetried | RunRested | RunResumed | RunStarted | RunAdmitted
) -> PutBack:
    run, kind = record.run, type(record)
    running, parked, ended = state.ledgers.get(run), state.parked.get(run), state.ended.get(run)
    ledger = running or ended
    known = None if ledger is None else _of_ledger(ledger)
    found = () if parked is None else _found(state, (run, parked.key), parked.wait)
    if ledger is not None and kind in _ENDS:
        found += _of_steps(state, ledger, every=kind is RunRetried)
    of = record if type(record) is RunOpened else parked if ledger is None else ledger
    function, key = ("", None) if of is None else (of.function, of.singleton)
    if key is not None and (kind is RunOpened or kind in _ENDS):
        found += (_entry(state.singletons.runs, (function, key)),)
    declaration = state.functions.get(function)
    if declaration is not None and declaration.cancels:
        places = [cancel_place(run, number) for number in range(len(declaration.cancels))]
        found += tuple([partial(state.bus.put, place, state.bus.at(place)) for place in places])
    return partial(_put_run_back, state, run, running, parked, ended, known, found)


def _put_run_back(
    state: State,
    run: str,
    running: Ledger | None,
    parked: ParkedRun | None,
    ended: Ledger | None,
    known: tuple[Any, ...] | None,
    found: tuple[PutBack, ...],
) -> None:
    _put(state.ledgers, run, running)
    _put(state.parked, run, parked)
    _put(state.ended, run, ended)
    if known is not None:
        _set(running or ended, _LEDGER_NAMES, known)
    for put_back in found:
        put_back()


def _of_steps(state: State, ledger: Ledger, *, every: bool) -> tuple[PutBack, ...]:
    found: list[PutBack] = []
    for key, facts in ledger.steps.items():
        if every or facts.is_waiting:
            found.append(partial(_set, facts, _STEP_NAMES, _of_facts(facts)))
            found += _found(state, (ledger.run, key), facts.wait)
    if every:
        found += [partial(ledger.turns.__setitem__, turn, list(keys)) for turn, keys in ledger.turns.items()]
    return tuple(found)


def _found(state: State, place: Place, wait: Wait | None) -> tuple[PutBack, ...]:
    """Return the functions that put back how a wait is found from outside its run."""
    match wait:
        case ForEvent():
            return (partial(state.bus.put, place, state.bus.at(place)),)
        case ForSignal():
            return (_entry(state.signals, wait.signal),)
        case ForChild():
            return (_entry(state.parents, wait.child),)
        case _:
            return ()


def _put(table: MutableMapping[str, V], key: str, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _entry(table: MutableMapping[K, V], key: K) -> PutBack:
    """Return a function that puts back the value under a key, or its absence."""
    return partial(table.__setitem__, key, table[key]) if key in table else partial(table.pop, key, None)


def _set(of: object, names: tuple[str, ...] | list[str], values: tuple[Any, ...]) -> None:
    for name, value in zip(names, values, strict=True):
        setattr(of, name, value)


def _all(*parts: PutBack) -> PutBack:
    def put_back() -> None:
        for part in parts:
            part()

    return put_back


def _nothing() -> None:
    """Put nothing back, for a record that changes nothing in memory."""
