"""Define a case, and play it in a Lab and on the model.

A case has functions, and moves that are made from outside at given times.

Separate because the corpus and the generator make cases, and the results of all plays are compared.
Leaves to `simulated` the crashes, to `invariants` the checks of a single play.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

import attrs

from durable import Event, Function, RateLimitedError, RunInfo, Signal, StepInfo
from durable.testing import Lab
from durable.testing.lab import START
from tests.proof.torture.facts import Fact, ModelRun
from tests.proof.torture.model import Model
from tests.proof.torture.waiting import flow_of

# Whose message names a run, which has another id on the model.
UNTOLD = (
    "LookupError",
    "RateLimitedError",
    "RunCancelled",
    "InvokeTimeoutError",
    "SignalConflictError",
    "NestedStepError",
)


@attrs.frozen
class Move:
    """Something done from outside, so many seconds after the beginning.

    `name` is a function, an event, a signal, a run, or the id of an event that is taken back; `id` makes a start or an
    event one that may be done again without doing it twice.
    """

    at: float
    kind: Literal["start", "send", "signal", "cancel", "retry", "pause", "resume", "flush", "unsend"]
    name: str
    data: dict[str, Any] = attrs.field(factory=dict)
    id: str | None = None
    delay: float | None = None  # of an event: its ts, from then


@attrs.frozen
class Case:
    """Functions and the moves that are made, in order of time; `seconds` is when the story ends."""

    name: str
    functions: list[Function[Any]]
    moves: tuple[Move, ...]
    seconds: float = 1e7

    @property
    def counts_tries(self) -> bool:
        """Whether a try that dies with its process is counted, and so puts off those behind it (F2)."""
        throttles = [getattr(flow_of(one), "throttle", None) for one in self.functions]
        return any(throttle is not None and throttle.counts == "steps" for throttle in throttles)

    def event(self, move: Move) -> Event:
        ts = None if move.delay is None else instant(move.at + move.delay)
        return Event(move.name, move.data, id=move.id, ts=ts)


def instant(seconds: float) -> datetime:
    """Return an instant of the story."""
    return START + timedelta(seconds=seconds)


@attrs.frozen
class Seen:
    """What came of a case: its runs, without their ids, and how often each step's handler was called."""

    runs: tuple[str, ...]
    calls: Counter[str]


async def make(lab: Lab, case: Case, move: Move, sent: dict[str, str]) -> Any:
    """Make one move; `sent` are the runtime's ids of events by their senders'."""
    engine = lab.engine
    match move.kind:
        case "start":
            with contextlib.suppress(RateLimitedError):
                return await engine.start(move.name, move.data, id=move.id)  # type: ignore[arg-type]
            return None
        case "send":
            [sent[str(move.id)]] = await engine.send(case.event(move))
        case "unsend":
            await engine.unsend(sent[move.name])
        case "signal":
            await engine.send_signal(move.name, move.data)
        case "retry":
            with contextlib.suppress(ValueError):  # it has completed, or has not ended: there is nothing to do
                await engine.retry(move.name)
        case _:
            does = {"cancel": engine.cancel, "pause": engine.pause, "resume": engine.resume, "flush": engine.flush}
            await does[move.kind](move.name)
    return None


async def in_lab(case: Case, lab: Lab) -> Seen:
    """Play a case undisturbed."""
    sent = dict[str, str]()
    for move in case.moves:
        await lab.advance(instant(move.at) - lab.clock.now())
        await make(lab, case, move, sent)
        await lab.settle()
    await lab.advance(instant(case.seconds) - lab.clock.now())
    return await seen_of(lab)


async def seen_of(lab: Lab) -> Seen:
    """Return what a Lab's engine has to show."""
    infos = await lab.engine.runs(limit=100_000)
    return Seen(tuple(sorted(_shown(info) for info in infos)), Counter(lab.calls))


async def in_model(case: Case, random: Random) -> Seen:
    """Play a case on the reference engine."""
    model = Model(case.functions, START, random)
    for move in case.moves:
        await model.time.advance_to(instant(move.at))
        match move.kind:
            case "start":
                event = Event("durable/function.invoked", move.data)
                model.doors.open(model.functions[move.name], event, id=move.id or "")
            case "send":
                model.send(case.event(move))
            case "signal":
                model.signal(move.name, move.data)
            case "cancel":
                model.end(next(run for run in model.runs if run.id == move.name), "cancelled")
            case "retry":
                run = next(run for run in model.runs if run.id == move.name)
                if run.status in ("failed", "cancelled") and model.doors.may_open_again(run):
                    model.reopen(run)
            case "pause" | "resume":
                model.starts.pause(move.name) if move.kind == "pause" else model.resume(move.name)
            case "flush":
                model.doors.flush(model.functions[move.name])
            case "unsend":
                model.unsend(move.name)
        await model.time.settle()
    await model.time.advance_to(instant(case.seconds))
    for execution in model.executions.values():
        execution.stop()
    return Seen(tuple(sorted(_modelled(run) for run in model.runs)), model.calls)


# One line for a run, the same for both.


def _shown(info: RunInfo) -> str:
    steps = [
        (_bare(key), step.kind, step.status, _value(step.kind, step.output), _failure(step), step.ended_at)
        for key, step in info.steps.items()
        if step.ended_at is not None
    ]
    error = info.error and (info.error.name, _message(info.error.name, info.error.message))
    status = info.status if info.ended_at else "open"
    return _line(info.function_id, info.events, status, info.output, error, info.attempt, info.ended_at, steps)


def _modelled(run: ModelRun) -> str:
    steps = [
        (_bare(fact.key), fact.kind, fact.status, _value(fact.kind, fact.value), _name(fact), fact.at)
        for fact in run.steps.values()
        if fact.status in ("completed", "failed", "cancelled")
    ]
    error = run.error and (run.error[0], _message(*run.error))
    return _line(
        run.function.id, [run.event, *run.others], run.status, run.output, error, run.attempt, run.ended_at, steps
    )


def _line(
    function: str,
    events: Sequence[Event],
    status: str,
    output: Any,
    error: Any,
    attempt: int,
    ended: datetime | None,
    steps: Any,
) -> str:
    event, *others = events
    data: Any = {} if event.name.startswith("durable/function.f") else dict(event.data)
    data = [data, *(dict(other.data) for other in others)] if others else data
    shown = [f"{key} {kind} {state} {value!r} {name} {_at(at)}" for key, kind, state, value, name, at in steps]
    head = f"{function} by {event.name} {data}: {status} {output!r} attempt {attempt} at {_at(ended)}"
    return "\n    ".join([f"{head} {error if status == 'failed' else ''}", *sorted(shown)])


def _at(when: datetime | None) -> str:
    return "-" if when is None else f"{(when - START).total_seconds():g}"


def _bare(key: str) -> str:
    return re.sub(r":\d+$", "", key.rpartition("»")[2])


def _name(fact: Fact) -> str | None:
    return fact.error[0] if fact.error else None


def _message(name: str, message: str) -> str:
    return "" if name in UNTOLD else message


def _value(kind: str, value: Any) -> Any:
    match kind:
        case "send_event":
            return None
        case "send_signal":
            return bool(value)
        case _ if isinstance(value, Event | Signal):
            return (value.name, value.data)
        case _:
            return value


def _failure(step: StepInfo) -> str | None:
    return step.error.name if step.status == "failed" and step.error else None
