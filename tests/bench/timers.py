"""Measure timers in the wheel, in the heap that it replaced, and in the event loop.

Separate because no engine is needed to measure them.
Leaves to `heap` the keeping of deadlines as it was before the wheel.

The deadlines of a measurement lie within a day, in random order. All are due at once when they fire, as after a machine
was suspended. A stop is one set, one drop, or one turn of the loop in which timers fire, in this thread's processor
time. The interpreter's collections of garbage are left out: they grow with everything that lives in the process.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Hashable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

import attrs

from durable.timers.slots import Slots
from durable.timers.wheel import AT_ONCE, MOVES
from tests.bench.figures import Figure, Goal, Size
from tests.bench.heap import Heap

_COUNTS = (1_000, 100_000, 1_000_000)
_START = datetime(2030, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_STOP_SECONDS = 0.005


class _Timers(Protocol):
    def set(self, key: Hashable, when: datetime) -> object: ...

    def drop(self, key: Hashable) -> object: ...

    def fire(self) -> int:
        """Go round once, a day later; return how many were due."""


class _Wheel(Slots[Hashable]):
    def __init__(self) -> None:
        super().__init__(_START)

    def fire(self) -> int:
        return len(self.take(_START + _DAY, AT_ONCE, MOVES)[0])


class _Heap(Heap):
    def fire(self) -> int:
        return len(self.take(_START + _DAY, AT_ONCE))


class _Loop(asyncio.SelectorEventLoop):
    """An event loop has timers of its own; here it keeps a handle for each key, and the bench sets its time."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()
        self._handles: dict[Hashable, asyncio.TimerHandle] = {}

    def time(self) -> float:
        return self.now

    def set(self, key: Hashable, when: datetime) -> None:
        self._handles[key] = self.call_at((when - _START).total_seconds(), self._handles.pop, key)

    def drop(self, key: Hashable) -> None:
        self._handles.pop(key).cancel()

    def fire(self) -> int:
        before, self.now = len(self._handles), _DAY.total_seconds()
        self.call_soon(self.stop)
        self.run_forever()
        return before - len(self._handles)


@attrs.frozen
class Cost:
    """A cost is what one timer takes, in seconds and bytes, and the longest stop."""

    set: float
    drop: float
    fire: float
    weight: float
    stop: float


def _same(loop: _Loop) -> _Loop:
    return loop


def _each(act: Callable[[], object], count: int) -> float:
    began = time.process_time()
    act()
    return (time.process_time() - began) / count


def _longest(acts: list[Callable[[], object]]) -> float:
    longest, clock = 0.0, time.thread_time
    for act in acts:
        began = clock()
        act()
        longest = max(longest, clock() - began)
    return longest


def _weight(make: Callable[[], _Timers], due: list[tuple[Hashable, datetime]]) -> float:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    timers = make()
    for key, when in due:
        timers.set(key, when)
    weight = (tracemalloc.get_traced_memory()[0] - before) / len(due)
    tracemalloc.stop()
    for key, _ in due:
        timers.drop(key)
    return weight


def cost(make: Callable[[], _Timers], count: int) -> Cost:
    """Measure timers of one kind."""
    random = Random(count)
    due: list[tuple[Hashable, datetime]] = [
        ((f"run-{number}", "step"), _START + timedelta(microseconds=random.randrange(1, 86_400_000_000)))
        for number in range(count)
    ]
    weight = _weight(make, due)
    gc.collect()
    gc.disable()
    try:
        timers = make()
        setting = _each(lambda: [timers.set(key, when) for key, when in due], count)
        dropping = _each(lambda: [timers.drop(key) for key, _ in due], count)
        timers = make()
        stop = _longest([lambda key=key, when=when: timers.set(key, when) for key, when in due])  # type: ignore[misc]
        stop = max(stop, _longest([lambda key=key: timers.drop(key) for key, _ in due]))  # type: ignore[misc]
        for key, when in due:
            timers.set(key, when)
        left, began = count, time.process_time()
        while left:
            turn = time.thread_time()
            left -= timers.fire()
            stop = max(stop, time.thread_time() - turn)
        firing = (time.process_time() - began) / count
    finally:
        gc.enable()
    return Cost(setting, dropping, firing, weight, stop)


async def timers(size: Size) -> list[Figure]:
    """1,000, 100,000 and 1,000,000 timers, in the wheel, in the heap that it replaced, and in the loop."""
    return await asyncio.to_thread(_measured, size)  # which runs a loop of its own


def _measured(size: Size) -> list[Figure]:
    figures = []
    for count in map(size.of, _COUNTS):
        wheel, heap = cost(_Wheel, count), cost(_Heap, count)
        with closing(_Loop()) as loop:
            plain = cost(partial(_same, loop), count)
        for what, unit, scale, name, goal in (
            ("CPU to set one", "µs", 1e6, "set", None),
            ("CPU to drop one", "µs", 1e6, "drop", None),
            ("CPU to fire one", "µs", 1e6, "fire", None),
            ("weight of one", "bytes", 1, "weight", Goal("under", 1.0)),
            ("longest stop", "ms", 1e3, "stop", Goal("at most", 1.0)),
        ):
            ours, theirs, loops = (getattr(one, name) * scale for one in (wheel, heap, plain))
            beside = f"heap {theirs:.2f} {unit}, loop.call_at {loops:.2f} {unit}"
            if name == "stop":
                beside, ratio = f"{_STOP_SECONDS * 1e3:g} ms; {beside}", wheel.stop / _STOP_SECONDS
            else:
                ratio = ours / theirs
            figures.append(Figure(f"{count:,} timers, {what}", f"{ours:.2f} {unit}", beside, ratio, goal))
    return figures
