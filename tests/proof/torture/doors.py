"""Keep, for the reference engine, what its functions hold back and which of their runs stand alone.

Separate because `model` is to be read on a few pages. It shares no code with the rules of the engine.
Leaves to `model` the opening and the end of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

import attrs

from durable import Event, Function
from tests.proof.torture.facts import Fact, ModelRun, Time
from tests.proof.torture.waiting import flow_of, key_of, most_of


class Opening(Protocol):
    """The part of a model that opens and ends runs."""

    time: Time
    runs: list[ModelRun]

    def open(self, name: str, event: Event, parent: Fact | None = None, id: str = "") -> ModelRun: ...
    def end(self, run: ModelRun, status: str) -> None: ...


Opened = ModelRun | str
"""A run, or the name of the error with which it does not open."""


@attrs.define(eq=False)
class Group:
    """Events that are held, till `due`."""

    since: datetime
    due: datetime
    events: list[Event] = attrs.field(factory=list)


class Doors:
    """Every run that is not `on_failure`'s goes through these."""

    def __init__(self, model: Opening) -> None:
        self._model = model
        self._held: dict[tuple[str, str], Group] = {}
        self._openings: dict[tuple[str, str], list[datetime]] = {}

    def come(self, function: Function[Any], event: Event) -> None:
        """Let an event open a run, or hold it."""
        flow, now = flow_of(function), self._model.time.now
        if flow is not None and flow.debounce is not None:
            place = function.id, key_of(flow.debounce.key, event)
            group = self._held.setdefault(place, Group(now, now))
            group.due = now + flow.debounce.period
            if flow.debounce.timeout is not None:
                group.due = min(group.due, group.since + flow.debounce.timeout)
            group.events = [event]
            self._model.time.alarm(group.due, self._opener(function, place, group, group.due))
        elif flow is not None and flow.batch is not None:
            place = function.id, key_of(flow.batch.key, event)
            group = self._held.setdefault(place, Group(now, now + flow.batch.timeout))
            group.events.append(event)
            if len(group.events) == flow.batch.max_size:
                self._open(function, place)
            elif len(group.events) == 1:
                self._model.time.alarm(group.due, self._opener(function, place, group, group.due))
        else:
            self.open(function, event)

    def open(self, function: Function[Any], event: Event, parent: Fact | None = None, id: str = "") -> Opened:
        """Open a run if a rate limit and the function's other runs let it; else return the name of the error."""
        flow, now, count = flow_of(function), self._model.time.now, None
        if flow is not None and flow.rate_limit is not None:
            count = self._openings.setdefault((function.id, key_of(flow.rate_limit.key, event)), [])
            if not most_of(flow.rate_limit).has_room(count, now):
                return "RateLimitedError"
        if not self._gives_way(function, event):
            return "LookupError"
        if count is not None:
            count.append(now)
        return self._model.open(function.id, event, parent, id)

    def _opener(
        self, function: Function[Any], place: tuple[str, str], group: Group, due: datetime
    ) -> Callable[[], None]:
        def ring() -> None:
            if self._held.get(place) is group and group.due == due:
                self._open(function, place)

        return ring

    def flush(self, function: Function[Any]) -> None:
        """Open now what is held for a function."""
        for place in [place for place in self._held if place[0] == function.id]:
            self._open(function, place)

    def unsend(self, event: str) -> None:
        """Hold an event no longer."""
        for place, group in list(self._held.items()):
            group.events = [one for one in group.events if one.id != event]
            if not group.events:
                del self._held[place]

    def _open(self, function: Function[Any], place: tuple[str, str]) -> None:
        first, *others = self._held.pop(place).events
        run = self.open(function, first)
        if isinstance(run, ModelRun):
            run.others = tuple(others)

    def _gives_way(self, function: Function[Any], event: Event) -> bool:
        """Say whether no run is in the way of an event's; end the one that gives way to it."""
        holder = self._holder(function, event)
        if holder is not None and flow_of(function).singleton.mode == "cancel":
            self._model.end(holder, "cancelled")
        return holder is None or holder.status != "open"

    def _holder(self, function: Function[Any], event: Event) -> ModelRun | None:
        flow = flow_of(function)
        if flow is None or flow.singleton is None:
            return None
        key = key_of(flow.singleton.key, event)
        return next(
            (
                run
                for run in self._model.runs
                if run.function is function and run.status == "open" and key_of(flow.singleton.key, run.event) == key
            ),
            None,
        )

    def may_open_again(self, run: ModelRun) -> bool:
        """Say whether nobody has the key of a run, or of the children that open with it (R32)."""
        taken: set[tuple[str, str]] = set()
        for one in _family(run):
            flow = flow_of(one.function)
            if flow is None or flow.singleton is None:
                continue
            place = one.function.id, key_of(flow.singleton.key, one.event)
            if place in taken or self._holder(one.function, one.event) is not None:
                return False
            taken.add(place)
        return True


def _family(run: ModelRun) -> Iterator[ModelRun]:
    yield run
    for fact in run.steps.values():
        child = fact.child if fact.status in ("open", "failed") else None
        if child is not None and child.status in ("failed", "cancelled"):
            yield from _family(child)
