"""Say why a run does not move: what each open step waits for, and what nearly answered it.

Separate because a picture shows how a run is, and this says what must happen for it to go on.
Leaves to `info` the picture, to `events` the reasons for which an event was not an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import attrs

from durable.events import Event, Listener, filter_of, missed
from durable.journal import ForChild, ForEvent, ForSignal, Ledger, StepFacts, StepKind, Until, recorded_event
from durable.timers import on_a_line
from durable.views.in_line import Lines, waiter
from durable.views.info import RunInfo, StepInfo, readable
from durable.views.plain import brief, plainly

Near = Callable[[str], Sequence[str]]
"""Returns for a step's key what nearly answered its wait, each in a line."""
_NO_LINES: Lines = {}


@attrs.frozen
class Wait:
    """A wait is what one open step waits for; what does not apply is None.

    Attributes:
        step: the step's key; None for a run that has yet to begin.
        kind: the name of the step method, as in `StepInfo`.
        event: the name of the event.
        signal: the name of the signal.
        filter: what the event must fulfil, as CEL with the values of the run's own event: "async.data.id == 7".
        until: an aware datetime in UTC: when the wait is over, or the next try is due.
        run: the id of the run whose end is waited for.
        queue: the limit before which it stands in line.
        position: its place in that line, from 1.
    """

    step: str | None
    kind: StepKind
    event: str | None = None
    signal: str | None = None
    filter: str | None = None
    until: datetime | None = None
    run: str | None = None
    queue: str | None = None
    position: int | None = None


@attrs.frozen
class Why:
    """A why says what a run waits for, or how it has ended.

    Attributes:
        text: lines for people, beginning with the run's status.
        waits: what each open step waits for; empty for a run that has ended.
    """

    text: str
    waits: tuple[Wait, ...] = ()

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Return text and waits in plain values that JSON can hold, as `RunInfo.to_dict` does."""
        return {"text": self.text, "waits": plainly(self.waits)}


def _nothing(_key: str) -> Sequence[str]:
    return ()


def why_of(
    ledger: Ledger,
    info: RunInfo,
    now: datetime,
    near: Near = _nothing,
    notes: Sequence[str] = (),
    in_line: Lines = _NO_LINES,
) -> Why:
    """Return why a run does not move, from its ledger and its picture at `now`.

    `near` tells what nearly answered a step's wait. `notes` are lines about the run as a whole. `in_line` are the
    places of the run and of its tries before limits.
    """
    name = f"run {info.id!r} of function {info.function_id!r}"
    if (ended_at := info.ended_at) is not None:
        return Why(on_a_line(f"{name} {_ended(info)}, at {_instant(ended_at)}"))
    waits: list[Wait] = []
    lines = [*notes, *_again(ledger, now)]
    for key, place in in_line.items():
        waits.append(Wait(key or None, "run", until=place.until, queue=place.queue, position=place.position))
        lines.append(f"{waiter(key)} waits for {place}")
    for key, step in info.steps.items():
        facts = ledger.steps.get(key)
        if step.status == "running":
            lines.append(f"step {key!r} {_running(step)}")
        elif facts is not None and step.status in ("waiting", "retrying") and key not in in_line:
            wait = _wait(key, facts, ledger)
            waits.append(wait)
            lines.append(f"step {key!r} {_told(wait, facts)}")
            lines += [f"  {line}" for line in near(key)]
    if not lines:
        lines = ["its function has yet to be called" if info.status == "queued" else "its code runs, in no step"]
    return Why("\n".join([f"{name} is {info.status}:", *(f"  {on_a_line(line)}" for line in lines)]), tuple(waits))


def with_lines(why: Why, lines: Sequence[str]) -> Why:
    """Return a why with lines below it, about what the run does not wait for."""
    return attrs.evolve(why, text="\n".join([why.text, *(f"  {line}" for line in lines)]))


def _ended(info: RunInfo) -> str:
    if info.status == "failed":
        return f"has failed: {info.error}"
    if info.status == "cancelled":
        return f"was cancelled: {info.reason or 'no reason given'}"
    return "has completed"


def _again(ledger: Ledger, now: datetime) -> Iterator[str]:
    if ledger.due is not None and ledger.due > now:
        after = f", after {ledger.error}" if ledger.error is not None else ""
        yield f"its function is called again at {_instant(ledger.due)}, for attempt {ledger.attempt + 1}{after}"


def _running(step: StepInfo) -> str:
    again = f", in try {step.attempts + 1}" if step.attempts else ""
    since = "waits for a thread" if step.began_at is None else f"runs since {_instant(step.began_at)}"
    return f"{since}{again}{'' if step.progress is None else f': {step.progress}'}"


def _wait(key: str, facts: StepFacts, ledger: Ledger) -> Wait:
    match facts.wait if facts.is_waiting else None:
        case Until(until=until):
            return Wait(key, facts.kind, until=until)
        case ForEvent() as wait:
            own = recorded_event(ledger.event).seen()
            filter = filter_of(wait.match, wait.expression, own)
            return Wait(key, facts.kind, event=wait.event, filter=filter, until=wait.until)
        case ForSignal() as wait:
            return Wait(key, facts.kind, signal=wait.signal, until=wait.until)
        case ForChild() as wait:
            return Wait(key, facts.kind, run=wait.child, until=wait.until)
        case None:
            return Wait(key, facts.kind, until=facts.due)


def _told(wait: Wait, facts: StepFacts) -> str:
    until = "" if wait.until is None else _instant(wait.until)
    if not facts.is_waiting:
        after = f", after {facts.error}" if facts.error is not None else ""
        return f"is tried again at {until}, in try {facts.attempt + 1}{after}"
    if isinstance(facts.wait, Until):
        return f"sleeps until {until}"
    filter = "" if wait.filter is None else f" with {wait.filter}"
    what = f"event {wait.event!r}{filter}" if wait.event is not None else f"the end of run {wait.run!r}"
    what = what if wait.signal is None else f"signal {wait.signal!r}"
    ask = facts.wait.ask if isinstance(facts.wait, ForEvent | ForSignal) else None
    asked = "" if ask is None else f", asks {brief(readable(ask, object))}"
    return f"waits for {what}{until and f', until {until}'}{asked}"


def near_misses(listener: Listener, came: Sequence[tuple[Event, datetime]]) -> list[str]:
    """Return for each event of the awaited name why it was no answer."""
    return [f"one came at {_instant(at)}: {missed(listener, event, at)}" for event, at in came]


def _instant(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"
