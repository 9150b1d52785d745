"""Tell what a store already shows against what is to be asked of its engine.

Separate because a sender has the file alone: neither the functions, nor what the engine is doing.
Leaves to `outbox` the messages that stand before, to `taking` what the engine finds when it takes the message.

A look returns an error, which is the one of the engine's own method, or `DONE` where nothing is left to do, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from durable.engine.answers import no_such_run
from durable.engine.arguments import check_reopened, check_same, check_same_fork
from durable.engine.forks import Wanted, begun, past
from durable.errors import DurableError
from durable.events import Event, Json
from durable.journal import (
    HELD,
    FunctionPaused,
    Group,
    Limits,
    ends_in,
    folded,
    held_in,
    pause_fact,
    records_in,
    schedule_fact,
    scheduled_run,
)
from durable.stores import Glance

DONE: Final = "done"
Found = Exception | str | None
Look = Callable[[Glance], Found]


def nothing(store: Glance) -> Found:
    """Look at nothing: the store cannot tell what speaks against it."""
    return None


def of_start(run: str, function: str, event: Event) -> Look:
    """Look whether a run of a given id is there, and is another than the one to start."""

    def look(store: Glance) -> Found:
        opened, _ = ends_in(store.history(run))
        if opened is None:
            return None
        try:
            check_same(opened, function, event)
        except ValueError as error:
            return error
        return DONE

    return look


def of_cancel(run: str) -> Look:
    """Look whether a run is there, and has ended."""

    def look(store: Glance) -> Found:
        opened, closed = ends_in(store.history(run))
        if opened is None:
            return no_such_run(run, ())
        return None if closed is None else DONE

    return look


def of_retry(run: str) -> Look:
    """Look whether a run is there, and has failed or was cancelled."""

    def look(store: Glance) -> Found:
        opened, closed = ends_in(store.history(run))
        if opened is None:
            return no_such_run(run, ())
        try:
            check_reopened(run, closed, is_unfinished=closed is None)
        except ValueError as error:
            return error
        return None

    return look


def of_unsend(event: str) -> Look:
    """Look whether an event is still to come, or held."""

    def look(store: Glance) -> Found:
        entries = store.history(scheduled_run(event))
        is_coming = bool(entries) and not entries[-1].ends_run
        return None if is_coming or any(event in group.events for group in _held(store)) else DONE

    return look


def of_flush(function: str, key: Json | None) -> Look:
    """Look whether anything is held for a function, with this key if one is given."""

    def look(store: Glance) -> Found:
        groups = [group for group in _held(store) if group.function == function]
        return None if any(key in (None, group.key) for group in groups) else DONE

    return look


def _held(store: Glance) -> list[Group]:
    entries = [entry for group in store.open(HELD) for entry in store.history(group)]
    return held_in(records_in(entries)).in_order()


def of_pause(function: str, *, resumes: bool) -> Look:
    """Look whether a function is paused, or with `resumes` whether it is not."""

    def look(store: Glance) -> Found:
        entries = store.history(pause_fact(function))
        is_paused = bool(entries) and entries[-1].kind == FunctionPaused.__name__
        return None if is_paused == resumes else DONE

    return look


def of_unschedule(schedule: str) -> Look:
    """Look whether a schedule is there."""

    def look(store: Glance) -> Found:
        entries = store.history(schedule_fact(schedule))
        return None if entries and not entries[-1].ends_run else DONE

    return look


def of_fork(origin: str, wanted: Wanted, run: str, limits: Limits, now: datetime, *, is_named: bool) -> Look:
    """Look whether a run has what a fork wants of it, and whether the fork is there already."""

    def look(store: Glance) -> Found:
        if not (records := past(store.history(origin))):
            return no_such_run(origin, ())
        try:
            cause = begun(limits, wanted, records, run, now, lambda function, event: None)
            known = folded(store.history(run)) if is_named else None
            if known is None:
                return None
            check_same_fork(known, cause)
        except (KeyError, TypeError, ValueError, DurableError) as error:
            return error
        return DONE

    return look
