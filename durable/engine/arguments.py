"""Check the arguments of the engine's methods: events, run ids, queries, repeated starts.

Separate because a wrong argument must be refused before anything is recorded, in words that say what to write instead.
Leaves to `engine` the work itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from durable.errors import CodecError
from durable.events import Event, Json, can_be_kept, checked_choice, checked_name, checked_text, is_str, plain
from durable.functions import Function, checked_rule
from durable.journal import (
    STATUSES,
    Fork,
    Ledger,
    Limits,
    Ok,
    Outcome,
    ParkedRun,
    Record,
    RunClosed,
    RunOpened,
    ScheduleMade,
    StepClosed,
    enclose,
    invoked,
    key_text,
)
from durable.stores import RunQuery
from durable.timers import aware, shown

_OF_A_TICK = ("cron", "tz", "scheduled_at", "fired_at")
_LIKE_A_LINK = re.compile(r"~[0-9]+\Z")


def checked_events(name: object, data: Mapping[str, Any] | None, *, id: str | None, ts: datetime | None) -> list[Event]:
    """Return the arguments of `send` as a list of events.

    Raises:
        TypeError, ValueError: neither a name with data, nor an Event, nor a sequence of them.
    """
    if type(name) is str or is_str(name):
        return [Event(name, {} if data is None else data, id, ts)]
    if data is not None or id is not None or ts is not None:
        raise TypeError("send(Event) and send([Event, ...]) take nothing else: put data, id and ts into the Event")
    if isinstance(name, Event):
        return [name]
    if not isinstance(name, Sequence):
        raise TypeError(f"send takes a name and data, an Event or a sequence of them, not {shown(name)}")
    for one in name:
        if not isinstance(one, Event):
            raise TypeError(f"a sequence for send must hold Events, not {shown(one)}")
    return list(name)


def checked_run_id(id: object) -> str:
    """Return the checked id that a user gives a run.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`; also for an id in the form of a derived one. Ids
            with a "/" are for the runs that a run opens or invokes, ids that end in "~" and digits for reopened ones.
    """
    what = "the id of a run"
    if is_str(id) and ("/" in plain(id) or not plain(id)):
        raise ValueError(f"{what} must not be empty or hold '/', which is for derived ids: {shown(id)}")
    found = checked_name(id, what)
    if _LIKE_A_LINK.search(found):
        raise ValueError(f"{what} must not end in '~' and digits, which is for derived ids: {shown(found)}")
    return found


def checked_progress(progress: object) -> bool | None:
    """Return whether a script's line is wanted; None leaves that to the terminal.

    Raises:
        TypeError: neither True, False nor None.
    """
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or None, not {shown(progress)} ({type(progress).__name__})")
    return progress


def looked_up(run_id: object) -> str:
    """Return the checked id of a run that a caller looks for.

    It may be of any length, since derived ids can be long.

    Raises:
        TypeError: not a string.
        KeyError: no store could hold this text, so there is no such run.
    """
    if type(run_id) is str and run_id.isascii():
        return run_id
    if not is_str(run_id):
        hint = ": give its id" if hasattr(type(run_id), "result") else ""
        raise TypeError(f"the id of a run must be a string, not {shown(run_id)} ({type(run_id).__name__}){hint}")
    if not can_be_kept(run_id):
        raise KeyError(f"there is no run {shown(run_id)} in this store")
    return plain(run_id)


def checked_query(
    *,
    status: object = None,
    function: object = None,
    event: object = None,
    event_id: object = None,
    parent: object = None,
    opened_after: object = None,
    opened_before: object = None,
    before: object = None,
    limit: object = 100,
) -> RunQuery:
    """Return the query for `engine.runs`.

    Its status may be one that no store knows: "queued", "running" and "waiting" are all open to a store.

    Raises:
        TypeError, ValueError: see `RunQuery`; also for an unknown status.
        KeyError: `before` is a text that no run has as its id.
    """
    word = None if status is None else checked_choice(status, STATUSES, "status")
    id = function.id if isinstance(function, Function) else function
    last = None if before is None else looked_up(before)
    asked: Any = (word, id, event, limit, event_id, parent, opened_after, opened_before, last)
    return RunQuery(*asked)


def checked_function(function: object, what: str) -> str:
    """Return the id of a function that may be unknown here; `what` names the call.

    Raises:
        TypeError, ValueError, LimitError: neither a Function nor a text that can be an id.
    """
    if isinstance(function, Function):
        return function.id
    if not is_str(function):
        raise TypeError(f"{what} takes a Function or a function's id, not {shown(function)}")
    return checked_name(function, "the id of a function")


def checked_key(key: Any) -> str | None:
    """Return the text of a key; None stays None.

    Raises:
        TypeError: it is no value of an expression.
    """
    try:
        return None if key is None else key_text(key)
    except CodecError as error:
        raise TypeError(f"the key of what is held must be a JSON value, as the expression gives it: {error}") from None


def checked_event_id(event_id: object) -> str:
    """Return the checked id of an event that a caller takes back.

    Raises:
        TypeError: not a text, as what `send` returns is a list of ids.
    """
    if not is_str(event_id):
        hint = ": give one of the ids that send returned" if isinstance(event_id, list | tuple) else ""
        raise TypeError(f"the id of an event must be a string, not {shown(event_id)} ({type(event_id).__name__}){hint}")
    return plain(event_id)


def checked_reason(reason: object) -> str:
    """Return the checked reason of a cancel.

    Raises:
        TypeError, ValueError, LimitError: not a text of at most 16 KiB.
    """
    return "by hand" if reason is None else checked_text(reason, "the reason of a cancel")


def check_reopened(run_id: str, ended: Ledger | RunClosed | None, *, is_unfinished: bool) -> None:
    """Check that a run has failed or was cancelled.

    Only such a run can be opened again.

    Raises:
        KeyError: there is no such run.
        ValueError: the run has completed, or has not ended.
    """
    if ended is None and not is_unfinished:
        raise KeyError(f"there is no run {run_id!r} in this store")
    if ended is None:
        raise ValueError(f"run {run_id!r} has not ended: only a run that failed or was cancelled is opened again")
    if ended.status == "completed":
        raise ValueError(
            f"run {run_id!r} has completed: only a run that failed or was cancelled is opened again; fork it"
        )


def check_same(known: Ledger | ParkedRun | RunOpened, function: str, event: Event) -> None:
    """Check that a run that exists is the one that a caller starts again.

    Raises:
        ValueError: the run belongs to another function, or was started with other data.
    """
    if known.function != function:
        raise ValueError(
            f"run {known.run!r} belongs to function {known.function!r}, not to {function!r}: give the new run an id of "
            "its own"
        )
    if not has_same_data(known.event, event):
        raise ValueError(
            f"run {known.run!r} was started with other data: give the new run another id, or start it with the same "
            "data"
        )


def check_same_fork(known: Ledger, cause: Sequence[Record]) -> None:
    """Check that a run that exists is the fork that a caller asks for again; `cause` are the records of a new one.

    Raises:
        ValueError: it is no fork, or one of another run, before another step, or with other data or values.
    """
    opened, *ends = cause
    assert isinstance(opened, RunOpened) and opened.fork is not None
    if _in_any_order(opened.fork) == _in_any_order(known.fork):
        replaced = [end for end in ends if isinstance(end, StepClosed) and end.key in opened.fork.replaced]
        is_same = all(_value(end.outcome) == _value(known.steps[end.key].outcome) for end in replaced)
        if is_same and has_same_data(known.event, opened.event):
            return
    raise ValueError(f"run {known.run!r} exists and is not this fork: give the fork an id of its own")


def _in_any_order(fork: Fork | None) -> Fork | None:
    return None if fork is None else attrs.evolve(fork, replaced=tuple(sorted(fork.replaced)))


def _value(outcome: Outcome | None) -> str | None:
    return _sorted(outcome.value) if isinstance(outcome, Ok) else None


def has_same_data(one: Event, other: Event) -> bool:
    """Return whether two events have the same data, in whatever order their keys are."""
    return _sorted(enclose(one.data)) == _sorted(enclose(other.data))


def _sorted(text: Json) -> str:
    # Compare regardless of the order of keys, as dicts do, but as text, since True == 1 in Python.
    return json.dumps(json.loads(text), sort_keys=True)


def checked_backfill(after: datetime, before: datetime) -> tuple[datetime, datetime]:
    """Return the checked span of a backfill.

    Raises:
        TypeError, ValueError: not an aware datetime.
    """
    return aware(after, what="after of a backfill"), aware(before, what="before of a backfill")


def checked_schedule(
    function: str,
    cron: object,
    id: object,
    data: object,
    tz: object,
    jitter: object,
    missed: object,
    *,
    limits: Limits,
    at: datetime,
) -> ScheduleMade:
    """Check what `engine.schedule` was given, and return the record of the schedule.

    Raises:
        TypeError, ValueError, CodecError, LimitError, ImportError: see `schedule`.
    """
    name = checked_name(id, "the id of a schedule")
    what = f"schedule {name!r}"
    rule = checked_rule(cron, tz, jitter, missed, what=what)
    event = invoked(function, data, limits)
    if clash := [key for key in _OF_A_TICK if key in event.data]:
        raise ValueError(f"the data of {what} cannot have {clash[0]!r}: each tick puts its own there, give another key")
    seconds = rule.jitter.total_seconds() or None
    return ScheduleMade(name, function, rule.cron, rule.tz, rule.missed, event.text, at, seconds)
