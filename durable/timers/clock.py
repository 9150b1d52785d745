"""Define clocks, which tell the time and call back at an instant.

Separate because everything that depends on time asks a `Clock`, so that a test can bring its own.
Leaves to `timers` the sharing of one callback by many deadlines, to `durable.testing` the clock that a test moves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from durable.timers.durations import aware

# R17: the loop's timers count monotonic time. It stands still while the machine is suspended, and does not follow a
# wall clock that is set anew. So a long wait is made of hops of at most this length, with a look at the wall clock
# after each: an alarm is then at most this much too late.
_LONGEST_HOP_SECONDS = 30.0
# Loops round short waits to zero: a last hop of microseconds would spin until the instant has come.
_SHORTEST_HOP_SECONDS = 0.001
# A smaller difference may come from slewing, by which the system slows a clock down to correct it.
_SET_BACK_SECONDS = 0.05


class Handle(Protocol):
    """A handle cancels one callback of a clock."""

    def cancel(self) -> None:
        """Cancel the callback; after it was called, this does nothing."""


class Clock(Protocol):
    """A clock tells the time and calls back at an instant."""

    def now(self) -> datetime:
        """Return the current time, an aware datetime in UTC."""

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        """Call `callback()` once, as soon as `now() >= when`.

        It is never called earlier, and never from within `call_at`.

        For an instant in the past it is called at the next opportunity. The callback runs in a copy of the context in
        which `call_at` was called, as with the event loop's own timers.
        """


class SystemClock:
    """The system clock tells the machine's wall-clock time.

    Callbacks run on the event loop that was running when they were asked for. A callback is at most a few milliseconds
    late while the loop is idle, and at most 30 s late after the wall clock was set or the machine was suspended. A
    waiting callback wakes the loop once in 30 s. So it is noticed within 30 s if the wall clock was set back. Source:
    R17.
    """

    _ahead: float | None = None  # seconds by which the wall clock was ahead of the steady one at the last look
    _told: tuple[Callable[[timedelta], None], ...] = ()

    now = staticmethod(partial(datetime.now, UTC))
    """Return the wall clock's time, an aware datetime in UTC."""

    def steady(self) -> float:
        """Return the seconds of the steady clock, which nobody can set.

        It may stand still while the machine is suspended.
        """
        return time.monotonic()

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        """Call `callback()` on the running loop once `now() >= when`.

        Raises:
            RuntimeError: no event loop is running.
            TypeError: `when` is naive.
        """
        return _Alarm(self, when, callback)

    def watch(self, told: Callable[[timedelta], None]) -> Callable[[], None]:
        """Call `told(by)` whenever the wall clock was set back; return a function that ends this.

        `by` is the time by which it was set back.
        """
        self._told = (*self._told, told)
        if self._ahead is None:
            self.look()

        def unwatch() -> None:
            self._told = tuple([one for one in self._told if one is not told])

        return unwatch

    def look(self) -> None:
        """Compare the wall clock with the steady one; tell the watchers if it was set back."""
        before, wall, after = self.steady(), self.now().timestamp(), self.steady()
        # The process may stand still between two readings: the reported time is then too short, never too long.
        last, self._ahead = self._ahead, wall - after
        if last is not None and last - (wall - before) > _SET_BACK_SECONDS:
            by = timedelta(seconds=last - (wall - before))
            for told in self._told:
                told(by)


def exact(clock: Clock) -> Clock:
    """Return a clock whose `now` is always a plain datetime in UTC.

    A clock of the user's may give datetimes of a subclass and in any time zone.

    Raises:
        TypeError, ValueError: at once and at every `now`, if the clock does not give an aware datetime.
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
        return getattr(self._clock, name)  # what the user's clock has beyond the protocol


def machines(clock: Clock) -> SystemClock | None:
    """Return the system clock behind a clock, or None if there is none."""
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
        if self._is_cancelled:  # by a watcher that was just told of a set-back and has asked for another callback
            return
        if self._clock.now() < self._when:
            self._hop = self._hopped()
        else:
            self._callback()
