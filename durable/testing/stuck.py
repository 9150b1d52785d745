"""Explain why a run cannot go on in a test, and why an event led to nothing.

Separate because tests often hang on a misspelt event, and the message should end the search: it tells what each run
waits for, at which line, and which events nearly matched.
Leaves to `lab` the decision that a run is stuck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import attrs

from durable.engine import Runtime
from durable.events import Event, Listener, missed
from durable.functions import Function, TriggerEvent
from durable.scheduler import Session
from durable.testing.source_lines import UNKNOWN, awaited_line
from durable.views import RunInfo, waiter

MOST = 10


@attrs.frozen
class Sent:
    """An event that the test has sent, and the instant of its delivery."""

    event: Event
    at: datetime


def explain(
    runtime: Runtime, stuck: RunInfo, others: Iterable[RunInfo], recent: Sequence[Sent], due: datetime | None
) -> str:
    """Return a text on a stuck run and its surroundings.

    It says what the run waits for and at which lines, what other unfinished runs wait for, and which recent events
    nearly matched. `due` is the next deadline of all.
    """
    next_due = "nothing is due" if due is None else f"the next deadline is at {due}"
    lines = [f"{_waits(runtime, stuck)}; {next_due}", *_lines(runtime, stuck)]
    for info in list(others)[:MOST]:
        lines += [f"  {_waits(runtime, info)}", *_lines(runtime, info)]
    lines += [f"  {text}" for text in _near(runtime, recent)[-MOST:]]
    return "\n".join(lines)


def _waits(runtime: Runtime, info: RunInfo) -> str:
    waits = [f"{waiter(key)} for {what}" for key, what in info.waiting_for.items()] or [_idle(runtime, info)]
    if info.function_id not in runtime.parts.registry.functions:
        waits.append("its function is not in this Lab: give it to Lab([...])")
    return f"run {info.id!r} of function {info.function_id!r} waits: {'; '.join(waits)}"


def _lines(runtime: Runtime, info: RunInfo) -> list[str]:
    session = runtime.scheduler.sessions.get(info.id)
    calls = [] if session is None else [(session, call) for call in session.calls.values() if call is not None]
    return [
        f"    step {call.key!r} is awaited at {line}"
        for session, call in calls[:MOST]
        if (line := _line(session, call.awaited_by)) != UNKNOWN
    ]


def _line(session: Session, task: asyncio.Task[Any] | None) -> str:
    # A step that gather has put into a task is awaited there at no line of the user's: that of the function counts.
    line = UNKNOWN if task is None else awaited_line(task)
    return awaited_line(session.main) if line == UNKNOWN else line


def _idle(runtime: Runtime, info: RunInfo) -> str:
    ledger = runtime.state.ledgers.get(info.id)
    if ledger is not None and ledger.due is not None:
        return f"its next attempt, number {ledger.attempt + 1}, at {ledger.due}"
    return "no step is pending"


def _near(runtime: Runtime, recent: Sequence[Sent]) -> list[str]:
    texts: list[str] = []
    bus, names = runtime.state.bus, _awaited(runtime)
    for sent in recent:
        name = sent.event.name
        listeners = bus.near_misses(name)
        for listener in listeners[:MOST]:
            texts.append(f"event {name!r} did not answer {_who(listener)}: {missed(listener, sent.event, sent.at)}")
        like = [] if listeners else get_close_matches(name, names, 1, 0.8)
        texts += [f"event {name!r} was sent, but {_who(names[one])} is for event {one!r}" for one in like]
    return texts


def _awaited(runtime: Runtime) -> dict[str, Listener]:
    return {listener.event: listener for listener in runtime.state.bus.listeners()}


def _who(listener: Listener) -> str:
    run, key = listener.place
    return f"the Cancel of run {run!r}" if listener.cancels else f"step {key!r} of run {run!r}"


# An event that opened no run.


def unheard(functions: Iterable[Function[Any]], bus: Any, sent: Sent, now: datetime) -> str:
    """Return why an event opened no run, as far as its name and time tell, or an empty text.

    `functions` are those that the test has given.
    """
    name = sent.event.name
    if sent.at > now:
        return f"event {name!r} comes at {sent.at}: move the clock with lab.advance"
    if bus.is_heard(name):
        return ""
    triggers = {
        trigger.event: function.id
        for function in functions
        for trigger in function.triggers
        if isinstance(trigger, TriggerEvent)
    }
    waits = {listener.event: _who(listener) for listener in bus.listeners()}
    whose = {**{event: f"function {function!r}" for event, function in triggers.items()}, **waits}
    like = get_close_matches(name, whose, 1, 0.6)
    if like:
        return f"event {name!r} was heard by nobody: {whose[like[0]]} listens to {like[0]!r}"
    known = ", ".join(map(repr, list(whose)[:MOST])) or "nothing"
    return f"event {name!r} was heard by nobody: what is listened to here is {known}"
