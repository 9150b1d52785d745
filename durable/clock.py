"""What time it is, and one callback at an instant.

Separate because it is a seam: everything that follows from time asks a Clock, so a test can bring its own.
Leaves to `timers` how many deadlines share one armed callback, to `durable.testing` the clock that a test moves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from durable.times import aware

# R17: the loop counts monotonic time, which stands still while the machine is suspended and knows nothing of a wall
# clock that is set anew. A wait in hops of at most this looks at the wall clock often enough to be at most so late.
_LONGEST_HOP_SECONDS = 30.0
# Loops round short waits to zero, and a last hop of microseconds would then spin until the instant has come.
_SHORTEST_HOP_SECONDS = 0.001
# A clock that is slewed goes slower by far less than this between two looks.
_SET_BACK_SECONDS = 0.05


class Handle(Protocol):
    """One armed callback."""

    def cancel(self) -> None:
        """Take the callback back: it is not called any more. After it was called this does nothing."""


class Clock(Protocol):
    """The time, and a callback when it has come."""

    def now(self) -> datetime:
        """Return the time: aware, in UTC."""

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        """Call `callback()` once, as soon as `now() >= when`: never earlier, and never from within `call_at`.

        An instant in the past is due at the next opportunity. The callback runs in a copy of the context in which
        `call_at` was called, as with the event loop's own timers.
        """


class SystemClock:
    """The wall clock of the machine; callbacks run on the event loop that was running when they were armed.

    A callback is at most a few milliseconds late while the loop is idle, and at most 30 s after the wall clock was
    set or the machine suspended. An armed callback wakes the loop at most once in 30 s until it is due, and so it is
    noticed within 30 s that the wall clock was set back. Source: R17.
    """

    _ahead: float | None = None  # of the steady clock, in seconds, when it was looked at last
    _told: tuple[Callable[[timedelta], None], ...] = ()

    def now(self) -> datetime:
        """Return the wall clock's time, in UTC."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Return the seconds of a clock that nobody sets; it may stand still while the machine is suspended."""
        return time.monotonic()

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        """Call `callback()` on the running loop once `now() >= when`.

        Raises:
            RuntimeError: no event loop is running.
            TypeError: `when` is naive.
        """
        return _Alarm(self, when, callback)

    def watch(self, told: Callable[[timedelta], None]) -> Callable[[], None]:
        """Call `told(by)` when it is noticed that the wall clock was set back by so much; return what ends that."""
        self._told = (*self._told, told)
        if self._ahead is None:
            self.look()

        def unwatch() -> None:
            self._told = tuple([one for one in self._told if one is not told])

        return unwatch

    def look(self) -> None:
        """Compare the wall clock with the steady one, and tell those who watch if it was set back."""
        before, wall, after = self.steady(), self.now().timestamp(), self.steady()
        # The process may stand still between two readings: what is told is at the least so much.
        last, self._ahead = self._ahead, wall - after
        if last is not None and last - (wall - before) > _SET_BACK_SECONDS:
            by = timedelta(seconds=last - (wall - before))
            for told in self._told:
                told(by)


def exact(clock: Clock) -> Clock:
    """Return the clock, whose every `now` is a plain datetime in UTC, whatever subclass and zone a foreign one gives.

    Raises:
        TypeError, ValueError: at once and at every `now`, where it gives no aware datetime.
    """
    if type(clock) is SystemClock:
        return clock
    foreign = _Exact(clock)
    foreign.now()
    return foreign


class _Exact:
    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return aware(self._clock.now(), what="what now() of the clock gives")

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        return self._clock.call_at(when, callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)  # what it has beyond a Clock


def machines(clock: Clock) -> SystemClock | None:
    """Return the machine's clock, if it is that which a clock reads."""
    source = clock._clock if isinstance(clock, _Exact) else clock
    return source if isinstance(source, SystemClock) else None


class _Alarm:
    __slots__ = ("_callback", "_clock", "_hop", "_is_cancelled", "_when")

    def __init__(self, clock: SystemClock, when: datetime, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._when = when
        self._callback = callback
        self._is_cancelled = False
        self._hop = self._hopped()

    def cancel(self) -> None:
        self._is_cancelled = True
        self._hop.cancel()

    def _hopped(self) -> asyncio.TimerHandle:
        wait = (self._when - self._clock.now()).total_seconds()
        if wait > 0:
            wait = min(max(wait, _SHORTEST_HOP_SECONDS), _LONGEST_HOP_SECONDS)
        return asyncio.get_running_loop().call_later(max(wait, 0.0), self._ring)

    def _ring(self) -> None:
        self._clock.look()
        if self._is_cancelled:  # by somebody who was told that the clock was set back, and arms another
            return
        if self._clock.now() < self._when:
            self._hop = self._hopped()
        else:
            self._callback()
