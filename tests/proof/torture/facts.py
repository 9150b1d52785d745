"""Define the reference engine's runs, steps and time, and the matching of events.

Separate because `model` is to be read on a few pages.
Leaves to `model` everything that happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any

import attrs

from durable import Event, Function
from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.values import truthy
from durable.journal.codec.failures import recorded


@attrs.define(eq=False)
class Fact:
    """One step: what it waits for, and what came of it."""

    run: ModelRun
    key: str
    kind: str
    status: str = "new"  # then open; completed, failed, cancelled
    value: Any = None
    error: tuple[str, str] | None = None
    at: datetime | None = None
    until: datetime | None = None
    tries: int = 0
    rule: dict[str, Any] = attrs.field(factory=dict)
    child: ModelRun | None = None
    is_unasked: bool = False  # it waits for its child since the run was opened again

    def end(self, value: Any, error: tuple[str, str] | None, at: datetime) -> None:
        self.status, self.value, self.error, self.at = "failed" if error else "completed", value, error, at
        self.run.order.append(self)


@attrs.define(eq=False)
class ModelRun:
    """One run. `order` are its ended steps, in the order in which they ended."""

    id: str
    function: Function[Any]
    event: Event
    opened_at: datetime
    since: datetime  # when it was opened for the last time
    parent: Fact | None = None
    status: str = "open"
    output: Any = None
    error: tuple[str, str] | None = None
    attempt: int = 0
    openings: int = 0
    is_started: bool = False
    admitted_at: datetime | None = None  # when it first had its turn, before any of its steps
    others: tuple[Event, ...] = ()
    ended_at: datetime | None = None
    steps: dict[str, Fact] = attrs.field(factory=dict)
    order: list[Fact] = attrs.field(factory=list)

    def is_cancelled_by(self, event: Event) -> bool:
        return any(matches(attrs.asdict(rule), self.event, event) for rule in self.function.cancel)


class Time:
    """The time of a model: alarms, in no order. `moved` counts whatever has happened; two of the same: all is quiet."""

    def __init__(self, now: datetime, random: Random) -> None:
        self.now, self.random, self.moved = now, random, 0
        self._alarms: list[tuple[datetime, Callable[[], object]]] = []
        self._late: set[asyncio.Task[None]] = set()

    def alarm(self, when: datetime | None, ring: Callable[[], object] = lambda: None) -> None:
        if when is not None and when <= self.now:
            self._late.add(asyncio.create_task(self._ring_late(ring)))
        elif when is not None:
            self._alarms.append((when, ring))

    async def _ring_late(self, ring: Callable[[], object]) -> None:
        """For an instant that has passed: what the code does next may come before it, or not."""
        for _ in range(self.random.choice((0, 4))):
            self.moved += 1
            await rounds(50)
        self.moved += 1
        ring()

    async def settle(self) -> None:
        before = -1
        while before != self.moved:
            before = self.moved
            for alarm in [one for one in self._alarms if one[0] <= self.now]:
                self._alarms.remove(alarm)
                self.moved += 1
                alarm[1]()
            await rounds(60)

    async def advance_to(self, end: datetime) -> None:
        await self.settle()
        while due := [when for when, _ in self._alarms if when <= end]:
            self.now = max(self.now, min(due))
            await self.settle()
        self.now = end


async def rounds(count: int) -> None:
    """Let a number of rounds of the loop pass."""
    for _ in range(count):
        await asyncio.sleep(0)


def named(error: BaseException) -> tuple[str, str]:
    """Return the recorded part of an error."""
    kept = recorded(error)
    return kept.name, kept.message


def matches(rule: Mapping[str, Any], own: Event, event: Event) -> bool:
    """Say whether an event answers who asks for `event`, with `match` a name below "data." and `if_exp`."""
    path, source = rule.get("match"), rule.get("if_exp")
    if rule["event"] != event.name:
        return False
    if path is not None:
        name = path.removeprefix("data.")
        if name not in own.data or name not in event.data or own.data[name] != event.data[name]:
            return False
    seen = {"event": {"name": own.name, "data": own.data}, "async": {"name": event.name, "data": event.data}}
    try:
        return source is None or truthy(parse(source).evaluate(seen))
    except EvaluationError:
        return False
