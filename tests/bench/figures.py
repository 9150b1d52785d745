"""Measure how long something takes, and compare that with its limit and its goal.

Separate because every row is measured and judged alike: rounds of limit and subject alternate, and medians are taken,
so that other work of the machine affects both.
Leaves to the rows the work, to `__main__` the output.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Literal

import attrs


@attrs.frozen
class Size:
    """How much is measured: `rounds` of limit and subject, and `scale`, the share of a row's full size."""

    rounds: int = 7
    scale: float = 1.0

    def of(self, count: int) -> int:
        """Return a count of this size, at least 10."""
        return max(10, int(count * self.scale))


@attrs.frozen
class Goal:
    """What a ratio must be to count as reached."""

    word: Literal["at least", "at most", "under"]
    bound: float

    def is_reached(self, ratio: float) -> bool:
        """Return whether a ratio is good enough."""
        compare = {"at least": operator.ge, "at most": operator.le, "under": operator.lt}[self.word]
        return bool(compare(ratio, self.bound))


@attrs.frozen
class Figure:
    """One row of the report. Without a goal it only informs; without a ratio it could not be measured."""

    what: str
    measured: str
    limit: str
    ratio: float | None = None
    goal: Goal | None = None


@attrs.frozen
class Lap:
    """So many things done, in so many seconds of the wall clock and of all of this process's threads."""

    count: int
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        """Things per second."""
        return self.count / self.wall

    @property
    def cpu_rate(self) -> float:
        """Things per second of processor time."""
        return self.count / self.cpu


Rate = Callable[[Lap], float]


async def lap(count: int, work: Callable[[], Awaitable[object]]) -> Lap:
    """Await `work()` once, which does `count` things."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return Lap(count, time.perf_counter() - wall, time.process_time() - cpu)


@attrs.frozen
class Race:
    """Laps of a limit and of a subject, in turns."""

    limits: list[Lap]
    subjects: list[Lap]

    def ratio(self, rate: Rate) -> float:
        """Return the median of the rounds' ratios: what slows a whole round down falls out of each."""
        pairs = zip(self.limits, self.subjects, strict=True)
        return median(rate(subject) / rate(limit) for limit, subject in pairs)

    def limit(self, rate: Rate) -> float:
        """Return the median rate of the limit."""
        return median(map(rate, self.limits))

    def subject(self, rate: Rate) -> float:
        """Return the median rate of the subject."""
        return median(map(rate, self.subjects))


async def race(limit: Callable[[], Awaitable[Lap]], subject: Callable[[], Awaitable[Lap]], rounds: int) -> Race:
    """Run limit and subject in turns, after one round of each that does not count."""
    await limit()
    await subject()
    limits, subjects = [], []
    for _ in range(rounds):
        limits.append(await limit())
        subjects.append(await subject())
    return Race(limits, subjects)


def wall_rate(lap: Lap) -> float:
    """The rate by the wall clock: for what waits for the disk."""
    return lap.rate


def cpu_rate(lap: Lap) -> float:
    """The rate by processor time: for what only computes, and must not depend on what else the machine does."""
    return lap.cpu_rate
