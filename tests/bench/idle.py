"""Count how often a loop wakes up while an engine has nothing to do.

Separate because it needs a loop of its own, which counts its sleeps and can skip time.
Leaves to the rows and to `tests/unit/scheduler/test_idle.py` the engine, and the judging of the count.

A wake-up is a `select` that was to block and has returned. While time is `skipped`, a `select` that would block until a
timer is due returns at once, and the loop's clock has moved to that timer; with `clock` the engine's has moved as much.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import datetime, timedelta
from typing import Any

from durable.timers.clock import SystemClock


class _CountingSelector:
    """A selector that counts the sleeps of its loop."""

    def __init__(self) -> None:
        self.wake_ups = 0
        self.skipped = 0.0
        self.skips = False
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return self._real.select(timeout)
        self.wake_ups += 1
        if timeout is None or not self.skips:
            return self._real.select(timeout)
        events = self._real.select(0)
        if not events:
            self.skipped += timeout
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its wake-ups, and can skip the time in which it would sleep."""

    def __init__(self) -> None:
        self._counting = _CountingSelector()
        super().__init__(self._counting)  # type: ignore[arg-type]

    def time(self) -> float:
        """Return the loop's time: seconds that have passed or were skipped."""
        return super().time() + self._counting.skipped

    @property
    def skipped(self) -> timedelta:
        """How much time was skipped."""
        return timedelta(seconds=self._counting.skipped)

    async def wake_ups_in(self, seconds: float, *, skipping: bool) -> int:
        """Return how often the loop wakes up for others in so many seconds, slept or skipped."""
        self._counting.skips = skipping
        before = self._counting.wake_ups
        await asyncio.sleep(seconds)
        self._counting.skips = False
        return self._counting.wake_ups - before - 1  # the last one was for this very sleep


class SkippingClock(SystemClock):
    """The wall clock of a machine whose time a loop skips."""

    def __init__(self, loop: CountingLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the wall clock's time, in UTC, as if the skipped time had passed."""
        return super().now() + self._loop.skipped
