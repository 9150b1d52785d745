"""Keep, for the reference engine, who waits for a slot or a start, and who has come in.

Separate because `model` is to be read on a few pages. It shares no code with the rules of the engine.
Leaves to `model` the runs and the tries themselves, to `counting` the arithmetic of a period.

Whoever waits asks for rooms: the slots of a bucket, or a place in a period. All who wait are gone through, the first
first, whenever something may have changed, and whoever finds room everywhere comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

from durable import Event, Function
from durable.functions import declaration_of
from tests.proof.torture.counting import Most
from tests.proof.torture.facts import ModelRun, Time

SECOND = timedelta(seconds=1)
PRIORITY = "event.data.k * 300.0"
PRIORITY_S = 300  # the seconds that it gives an event whose k is 1

Bucket = tuple[str, str]  # a function, or "" for the engine; and a key


def flow_of(function: Function[Any]) -> Any:
    """Return the flow control that a function declares, or None."""
    return declaration_of(function).flow


def key_of(expression: Any, event: Event) -> str:
    """Return the key of an event; the generator's only one is data.k, an int."""
    return "all" if expression is None else repr(event.data.get("k"))


def most_of(window: Any) -> Most:
    """Return the limit of a period as the model counts it."""
    return Most(window.limit, window.period, window.key is not None, window.burst)


@attrs.define(eq=False)
class _Waiting:
    """Somebody who waits; `order` is their place."""

    run: ModelRun
    order: tuple[datetime, datetime, int]
    come_in: Callable[[], object]
    is_bound: bool  # it had to have a turn, be it at once


class Waiting:
    """All runs that wait for their start, or all tries that wait for theirs."""

    def __init__(self, time: Time, counts: Literal["runs", "steps"]) -> None:
        self._time, self._counts = time, counts
        self._waiting: list[_Waiting] = []
        self._starts: dict[Bucket, list[datetime]] = {}
        self._inside: dict[Bucket, dict[ModelRun, ModelRun]] = {}  # the runs that hold or share a slot, and whose it is
        self._pauses: dict[str, list[tuple[datetime, datetime | None]]] = {}
        self._number = 0

    def pause(self, function: str) -> None:
        """Let nobody in of a function."""
        if not self._is_paused(function):
            self._pauses.setdefault(function, []).append((self._time.now, None))

    def resume(self, function: str) -> None:
        """Let those of a function in again."""
        if self._is_paused(function):
            begin, _ = self._pauses[function].pop()
            self._pauses[function].append((begin, self._time.now))
            self.admit()

    def _is_paused(self, function: str) -> bool:
        pauses = self._pauses.get(function)
        return pauses is not None and pauses[-1][1] is None

    def due_to_start(self, run: ModelRun) -> datetime | None:
        """Return when a run must have started; None: not before its function is resumed."""
        limit = run.function.timeouts.start
        assert limit is not None
        due = run.since + limit
        for begin, end in self._pauses.get(run.function.id, ()):
            if begin < due and (end is None or end > run.since):
                if end is None:
                    return None
                due += end - max(begin, run.since)
        return due

    def asks(self, run: ModelRun, come_in: Callable[[], object]) -> Callable[[], None]:
        """Let somebody wait until `come_in` is called, which may be at once; return what makes them wait no more."""
        self._number += 1
        first = run.opened_at - SECOND * _priority(run)
        is_bound = bool(self._throttle(run) or self._slots(run) or self._is_paused(run.function.id))
        one = _Waiting(run, (first, run.opened_at, self._number), come_in, is_bound)
        self._waiting.append(one)
        self.admit()

        def leave() -> None:
            if one in self._waiting:
                self._waiting.remove(one)

        return leave

    def forget(self, runs: Collection[ModelRun]) -> None:
        """Let runs wait no more that end together: else one could come in for another."""
        self._waiting = [one for one in self._waiting if one.run not in runs]

    def ended(self, run: ModelRun) -> None:
        """Let a run wait no more, and give back its slots."""
        self._waiting = [one for one in self._waiting if one.run is not run]
        for inside in self._inside.values():
            inside.pop(run, None)
        self.admit()

    def admit(self) -> None:
        """Let in all who have room."""
        while (one := next((one for one in self._in_order() if self._has_room(one.run)), None)) is not None:
            self._waiting.remove(one)
            self._enters(one.run)
            if self._counts == "runs" and one.is_bound and not one.run.steps:
                one.run.admitted_at = one.run.admitted_at or self._time.now
            one.come_in()

    def _in_order(self) -> list[_Waiting]:
        return sorted(self._waiting, key=lambda one: one.order)

    def _has_room(self, run: ModelRun) -> bool:
        throttle, now = self._throttle(run), self._time.now
        if self._counts == "runs" and self._is_paused(run.function.id):
            return False
        if throttle is not None and not most_of(throttle).has_room(self._starts.get(_of(run, throttle), []), now):
            return False
        for slots in self._slots(run):
            inside = self._inside.get(_bucket(run, slots), {})
            if _above_inside(run, inside) is None and len(set(inside.values())) >= slots.limit:
                return False
        return True

    def _enters(self, run: ModelRun) -> None:
        if (throttle := self._throttle(run)) is not None:
            starts = self._starts.setdefault(_of(run, throttle), [])
            starts.append(self._time.now)
            for begun in starts:
                for when in _steps(begun, most_of(throttle)):
                    if when > self._time.now:
                        self._time.alarm(when, self.admit)
        for slots in self._slots(run):
            inside = self._inside.setdefault(_bucket(run, slots), {})
            above = _above_inside(run, inside)
            inside[run] = run if above is None else inside[above]

    def _throttle(self, run: ModelRun) -> Any:
        throttle = getattr(flow_of(run.function), "throttle", None)
        is_start = self._counts == "steps" or not run.openings  # R32 is no start
        return throttle if throttle is not None and throttle.counts == self._counts and is_start else None

    def _slots(self, run: ModelRun) -> list[Any]:
        if self._counts == "steps":  # a handler takes no time here, so it keeps nobody waiting
            return []
        flow = flow_of(run.function)
        return [] if flow is None else [slots for slots in flow.concurrency if slots.counts == "runs"]


def _steps(begun: datetime, most: Most) -> Iterator[datetime]:
    """The instants at which a start may make room again: a period later, and at the parts of one."""
    for part in range(1, most.limit + 1):
        yield begun + most.period * part / most.limit


def _priority(run: ModelRun) -> int:
    flow = flow_of(run.function)
    return PRIORITY_S * run.event.data["k"] if flow is not None and flow.priority is not None else 0


def _of(run: ModelRun, window: Any) -> Bucket:
    return run.function.id, key_of(window.key, run.event)


def _bucket(run: ModelRun, slots: Any) -> Bucket:
    return "" if slots.is_shared else run.function.id, key_of(slots.key, run.event)


def _above_inside(run: ModelRun, inside: dict[ModelRun, ModelRun]) -> ModelRun | None:
    """Return the run above that holds a slot: the two share it, else they would wait for each other."""
    above = run.parent and run.parent.run
    while above is not None and above.status == "open":
        if above in inside:
            return above
        above = above.parent and above.parent.run
    return None
