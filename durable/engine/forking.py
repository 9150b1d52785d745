"""Begin a run with what another has finished, and perhaps with other outcomes.

Separate because it reads a whole run, and checks values that stand for outcomes of steps of every kind.
Leaves to `rules.forking` what is copied, to `arguments` ids, to `steering` what acts on a run itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from durable.engine.answers import no_such_run
from durable.engine.arguments import check_same_fork, checked_run_id, looked_up
from durable.engine.opened import Opened, asked, known
from durable.engine.run import Run
from durable.engine.runtime import Runtime
from durable.errors import CodecError
from durable.events import Event, Json, Signal, is_str, plain
from durable.journal import (
    Cancelled,
    Limits,
    Ok,
    Record,
    RecordedEvent,
    RunOpened,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Whose,
    accepted,
    check_signal,
    enclose,
    encode,
    finished,
    forked,
    invoked,
    output_too_large,
    read,
    recorded_event,
    run_too_large,
    sent_event,
)
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
class Wanted:
    """What a caller asks a fork to be, before the run is read: see `fork`."""

    before: str | None
    data: Mapping[str, Any] | None
    steps: Mapping[str, Any]


async def fork(
    engine: Opened,
    run_id: str,
    *,
    before: str | None = None,
    data: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] = NO_STEPS,
    id: str | None = None,
) -> Run[Any]:
    """Begin a new run with what another run has finished; return its handle once it is durable.

    The new run takes over the ends of steps that are recorded before the first record of the step with the key
    `before`, in their order, and the steps that the code had cancelled by then. Without `before` it takes over all
    steps that have ended well. Everything else begins anew: that step and later ones, open waits, tries and invoked
    runs. The function, its event, `ctx.random` and, up to the first new outcome, `ctx.now()` are those of the other
    run. The id of the run, ids of invoked runs and idempotency keys are new. The other run, which may have ended or
    not, stays as it is. No idempotency key, rate limit, debounce or batch of the function is asked for.

    Args:
        data: the event's data in place of the recorded ones; None keeps them.
        steps: values by step key, in place of recorded outcomes, failures too. An instance is kept by its own class; a
            wait takes an Event, a Signal or None. Where a value or the data are given anew, the code may go another
            way: from there on, steps that it had cancelled begin anew.
        id: the id of the new run, by default a fresh one. The same id again returns the same run.

    Raises:
        KeyError: there is no such run, it has no record of the step `before`, or no outcome for a key of `steps`: the
            error lists the keys there are.
        LookupError: the engine does not have the run's function.
        TypeError, ValueError: an invalid argument, an id that belongs to another run, or a singleton key that another
            run holds.
        CodecError, LimitError: a value or the data cannot be kept, or are too large.
        StoreError: it is not known whether the new run is recorded.
    """
    runtime, run_id = asked(engine, "fork", "a step whose handler calls it"), looked_up(run_id)
    wanted = checked_wanted(before, data, steps)
    id = None if id is None else checked_run_id(id)
    await runtime.admission.enter()
    records = await past(runtime, run_id)
    run = id or runtime.ids.fresh(runtime.clock.now())
    async with runtime.starting.setdefault(run, asyncio.Lock()):  # as for `start`
        ledger = None if id is None else await known(engine, run)
        cause = begun(runtime, wanted, records, run, runtime.clock.now())
        if ledger is not None:
            check_same_fork(ledger, cause)
        else:
            check_free(runtime, cause)
            with runtime.parts.callers.calling():
                runtime.journal.post_all(cause)
        await runtime.journal.synced()
    return Run(engine, run)


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


async def past(runtime: Runtime, run_id: str) -> list[Record]:
    """Return the records of a run, which are durable.

    Raises:
        KeyError: there is no such run.
    """
    records = [read(entry.kind, entry.body) for entry in await runtime.history.entries(run_id)]
    if not records or not isinstance(records[0], RunOpened):
        raise no_such_run(run_id, runtime.parts.registry.functions)
    return records


def begun(runtime: Runtime, wanted: Wanted, records: Sequence[Record], run: str, now: datetime) -> list[Record]:
    """Return the records with which a fork begins, all checked.

    Raises: see `fork`.
    """
    opened, limits = records[0], runtime.decisions.limits
    assert isinstance(opened, RunOpened)
    runtime.parts.registry.found(opened.function, "fork")
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
    singleton = runtime.decisions.openings.sole_key(opened.function, event)
    cause = list(
        forked(opened, ends, run, now, before=wanted.before, event=event, replaced=replaced, singleton=singleton)
    )
    _check_size(cause, run, limits)
    return cause


def check_free(runtime: Runtime, cause: Sequence[Record]) -> None:
    """Check that no other run holds the singleton key of a fork that is about to open.

    Raises:
        ValueError: another run holds it (F7).
    """
    opened = cause[0]
    assert isinstance(opened, RunOpened)
    runtime.state.singletons.check_free(opened.run, opened.function, opened.singleton)


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
    what = f"the value of step {end.key!r} for fork"
    classes, words = _ANSWERS.get(end.kind, ((object,), ""))
    if not isinstance(value, classes):
        raise TypeError(f"{what} must be {words}, since it is a {end.kind}, not {shown(value)}")
    if isinstance(value, Event):
        return Ok(accepted(value, limits, sent_event(run, end.key, 0, 0), end.at).as_value())
    if isinstance(value, Signal):
        check_signal(value.name, value.data, limits)
        return Ok(enclose(value))
    text = _written(value)
    if len(text) > limits.step_bytes:
        raise output_too_large(limits, len(text), what)
    return Ok(text, deep=text[0] in "[{")


def _written(value: object) -> Json:
    try:
        return encode(value)
    except CodecError:
        return encode(value, type(value), whose=Whose.DATA)  # an instance comes back only by its own class


def _check_size(cause: Sequence[Record], run: str, limits: Limits) -> None:
    oks = [record.outcome for record in cause if isinstance(record, StepClosed) and isinstance(record.outcome, Ok)]
    if (size := sum(len(ok.value) for ok in oks)) > limits.run_bytes:
        raise run_too_large(limits, size, run)
