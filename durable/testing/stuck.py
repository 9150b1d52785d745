"""Explain why a run cannot go on in a test.

Separate because tests often hang on a misspelt event, and the message should end the search: it tells what each run
waits for, and which events nearly matched.
Leaves to `lab` the decision that a run is stuck.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import attrs

from durable.engine import Runtime
from durable.events import Event, Listener, at_path, same_value, seen_by_filters
from durable.views import RunInfo

MOST = 10


@attrs.frozen
class Sent:
    """An event that the test has sent, and the instant of its delivery."""

    event: Event
    at: datetime


def explain(runtime: Runtime, stuck: RunInfo, others: Iterable[RunInfo], recent: Sequence[Sent]) -> str:
    """Return a text on a stuck run and its surroundings.

    It says what the run waits for, what other unfinished runs wait for, and which recent events nearly matched.
    """
    lines = [f"{_waits(stuck)}; nothing is due"]
    lines += [f"  {_waits(info)}" for info in list(others)[:MOST]]
    lines += [f"  {text}" for text in _near(runtime, recent)[-MOST:]]
    return "\n".join(lines)


def _waits(info: RunInfo) -> str:
    waits = "; ".join(f"step {key!r} for {what}" for key, what in info.waiting_for.items())
    return f"run {info.id!r} of function {info.function_id!r} waits: {waits or 'no step is pending'}"


def _near(runtime: Runtime, recent: Sequence[Sent]) -> list[str]:
    texts: list[str] = []
    bus, names = runtime.state.bus, _awaited(runtime)
    for sent in recent:
        name = sent.event.name
        listeners = bus.near_misses(name)
        for listener in listeners[:MOST]:
            texts.append(f"event {name!r} did not answer {_who(listener)}: {_why(listener, sent)}")
        like = [] if listeners else get_close_matches(name, names, 1, 0.8)
        texts += [f"event {name!r} was sent, but {_who(names[one])} is for event {one!r}" for one in like]
    return texts


def _awaited(runtime: Runtime) -> dict[str, Listener]:
    return {listener.event: listener for listener in runtime.state.bus.listeners()}


def _who(listener: Listener) -> str:
    run, key = listener.place
    return f"the Cancel of run {run!r}" if listener.cancels else f"step {key!r} of run {run!r}"


def _why(listener: Listener, sent: Sent) -> str:
    seen = seen_by_filters(sent.event)
    if listener.path is not None:
        path = ".".join(listener.path)
        mine, theirs = at_path(listener.own, listener.path), at_path(seen, listener.path)
        missing = [whose for whose, value in (("the run's event", mine), ("it", theirs)) if type(value) is object]
        if missing:
            return f"{' and '.join(missing)} has no {path}"
        if not same_value(mine, theirs):
            return f"its {path} is {theirs!r}, in the run's event it is {mine!r}"
    if not _hears(listener, seen, sent.at):
        late = listener.until is not None and sent.at >= listener.until
        expression = listener.expression
        return "it came too late" if late or expression is None else f"if_exp {expression.source!r} is not true for it"
    return "it was sent before that began to wait"


def _hears(listener: Listener, seen: Mapping[str, Any], at: datetime) -> bool:
    try:
        return listener.hears(seen, at)
    except Exception:  # the log told the error when the event was sent
        return False
