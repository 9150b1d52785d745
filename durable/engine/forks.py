"""Check what a fork is asked to be, and decide the records with which it begins.

Separate because a sender checks the same before it asks an engine for a fork, and the engine again when it takes that.
Leaves to `rules.forking` what is copied, to `forking` and `taking` the reading of the other run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from durable.errors import CodecError
from durable.events import Event, Json, Signal, is_str, plain
from durable.journal import (
    Cancelled,
    Limits,
    Ok,
    Record,
    RecordedEvent,
    RunOpened,
    State,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Whose,
    accepted,
    begins,
    check_signal,
    decode,
    enclose,
    encode,
    finished,
    first_now_of,
    forked,
    invoked,
    output_too_large,
    recorded_event,
    records_in,
    run_too_large,
    sent_event,
)
from durable.stores import Entry
from durable.timers import shown

NO_STEPS: Mapping[str, Any] = MappingProxyType({})
_ANSWERS: dict[StepKind, tuple[tuple[type, ...], str]] = {
    "sleep": ((type(None),), "None"),
    "wait_for_event": ((Event, type(None)), "an Event, or None for a timeout"),
    "wait_for_signal": ((Signal, type(None)), "a Signal, or None for a timeout"),
    "send_event": ((list,), "the list of the events' ids"),
    "send_signal": ((str, type(None)), "a run's id or None"),
}


@attrs.frozen
class Written:
    """The value of a step, as text."""

    text: Json


@attrs.frozen
class Wanted:
    """What a caller asks a fork to be, before the run is read: see `fork`."""

    before: str | None
    data: Mapping[str, Any] | None
    steps: Mapping[str, Any]


def checked_wanted(before: object, data: Mapping[str, Any] | None, steps: object) -> Wanted:
    """Return the checked arguments of `fork`, as far as they can be checked without the run.

    Raises:
        TypeError: a key that is no string, or `steps` that are no mapping.
    """
    if before is not None and not is_str(before):
        raise TypeError(f"before must be a step's key, not {shown(before)} ({type(before).__name__})")
    if not isinstance(steps, Mapping):
        raise TypeError(f"steps must map step keys to values, not {shown(steps)} ({type(steps).__name__})")
    for key in steps:
        if not is_str(key):
            raise TypeError(f"a key of steps must be a step's key, not {shown(key)} ({type(key).__name__})")
    return Wanted(before and plain(before), data, {plain(key): value for key, value in steps.items()})


def past(entries: Iterable[Entry]) -> list[Record]:
    """Return the records of a run, an empty list if the entries are those of no run."""
    records = records_in(entries)
    return records if records and isinstance(records[0], RunOpened) else []


def begun(
    limits: Limits,
    wanted: Wanted,
    records: Sequence[Record],
    run: str,
    now: datetime,
    sole_key: Callable[[str, Event], Json | None],
) -> list[Record]:
    """Return the records with which a fork of a run begins, all checked.

    `records` are those of the other run, from `past`. `sole_key` gives the singleton key that a run of a function takes
    for an event.

    Raises:
        KeyError, TypeError, CodecError, LimitError: see `fork`.
    """
    opened = records[0]
    assert isinstance(opened, RunOpened)
    ends = _ends(opened.run, records, wanted.before)
    outcomes = {key: end for key, end in ends.items() if not isinstance(end.outcome, Cancelled)}
    for key in wanted.steps:
        if key not in outcomes:
            then = "" if wanted.before is None else f" before step {wanted.before!r}"
            raise KeyError(f"run {opened.run!r} has no outcome of step {key!r}{then} to replace: {_listed(outcomes)}")
    replaced = {key: _outcome(value, outcomes[key], run, limits) for key, value in wanted.steps.items()}
    event = recorded_event(opened.event)
    if wanted.data is not None:
        text = invoked(opened.function, wanted.data, limits).text
        event = RecordedEvent(event.name, text, event.id, event.ts, event.v)
    cause = list(
        forked(
            opened,
            ends,
            run,
            now,
            before=wanted.before,
            event=event,
            replaced=replaced,
            singleton=sole_key(opened.function, event),
            first_now=first_now_of(records),
        )
    )
    _check_size(cause, run, limits)
    return cause


def opening(state: State, cause: Sequence[Record]) -> list[Record]:
    """Return all records of the opening of a fork that begins with a cause.

    Raises:
        ValueError: another run holds its singleton key (F7).
    """
    opened = cause[0]
    assert isinstance(opened, RunOpened)
    state.singletons.check_free(opened.run, opened.function, opened.singleton)
    return [*cause, *begins(state, opened.run, opened.function, opened.at)]


def _ends(run: str, records: Sequence[Record], before: str | None) -> dict[str, StepClosed]:
    try:
        return finished(records, before)
    except KeyError:
        keys = dict.fromkeys(
            [record.key for record in records if isinstance(record, StepOpened | StepRetried | StepClosed)]
        )
        raise KeyError(f"run {run!r} has no record of step {before!r}: {_listed(keys)}") from None


def _listed(keys: Collection[str]) -> str:
    return f"there are {', '.join(map(repr, keys))}" if keys else "there is none yet"


def _outcome(value: object, end: StepClosed, run: str, limits: Limits) -> Ok:
    """Return a value as the outcome of a step in place of the recorded one."""
    what = _named(end.key)
    classes, words = _ANSWERS.get(end.kind, ((object,), ""))
    if words and not isinstance(plainly := _plainly(value), classes):
        raise TypeError(f"{what} must be {words}, since it is a {end.kind}, not {shown(plainly)}")
    if isinstance(value, Event):
        return Ok(accepted(value, limits, sent_event(run, end.key, 0, 0), end.at).as_value())
    if isinstance(value, Signal):
        check_signal(value.name, value.data, limits)
        return Ok(enclose(value))
    text = (value if isinstance(value, Written) else written(value)).text
    _check_step(text, what, limits)
    return Ok(text, deep=text[0] in "[{")


def portable(key: str, value: object, limits: Limits) -> Event | Signal | Written:
    """Return a value for a step as a message has it, checked as far as it can be without the step's record.

    Raises:
        TypeError, ValueError, CodecError, LimitError: see `fork`.
    """
    if isinstance(value, Event):
        accepted(value, limits)
    elif isinstance(value, Signal):
        check_signal(value.name, value.data, limits)
    else:
        value = written(value)
        _check_step(value.text, _named(key), limits)
    return value


def _named(key: str) -> str:
    return f"the value of step {key!r} for fork"


def _check_step(text: Json, what: str, limits: Limits) -> None:
    if len(text) > limits.step_bytes:
        raise output_too_large(limits, len(text), what)


def _plainly(value: object) -> object:
    if not isinstance(value, Written):
        return value
    try:
        return decode(value.text)
    except CodecError:  # an instance, of a class that is not known here
        return value


def written(value: object) -> Written:
    """Return a value of a step as text.

    Raises:
        CodecError: it cannot be kept.
    """
    try:
        return Written(encode(value))
    except CodecError:
        return Written(encode(value, type(value), whose=Whose.DATA))  # an instance comes back only by its own class


def _check_size(cause: Sequence[Record], run: str, limits: Limits) -> None:
    oks = [record.outcome for record in cause if isinstance(record, StepClosed) and isinstance(record.outcome, Ok)]
    if (size := sum(len(ok.value) for ok in oks)) > limits.run_bytes:
        raise run_too_large(limits, size, run)
