"""Define a clock that stands still until a test moves it.

Separate because it is the other implementation of the Clock protocol, and useful without a Lab.
Leaves to `lab` the waiting for everything to settle between two instants.
"""

from __future__ import annotations

import contextvars
from bisect import bisect_left, insort
from collections.abc import Callable
from datetime import datetime

import attrs

from durable.timers import Duration, Handle, after, aware, duration

_Alarm = tuple[datetime, int, Callable[[], object], contextvars.Context]


class VirtualClock:
    """A virtual clock shows the time that a test has set.

    It needs no event loop and never waits. Callbacks run only inside `advance` and `advance_to`, one after the other.
    They run in the order of their instants, equal ones in the order of the calls of `call_at`, and `now()` is then
    exactly their instant. A callback for an instant in the past runs at the next move, even of zero length, and the
    time does not go back for it.
    """

    def __init__(self, start: datetime) -> None:
        """Set the time to `start`, an aware datetime.

        Raises:
            TypeError, ValueError: not a datetime, or a naive one.
        """
        self._now = aware(start, what="the start of a VirtualClock")
        self._alarms: list[_Alarm] = []
        self._number = 0
        self._moving = False

    def now(self) -> datetime:
        """Return the time that the test has set, an aware datetime in UTC."""
        return self._now

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        """Call `callback()` when the clock is moved to or past `when`.

        It runs in a copy of the context of this call.
        """
        self._number += 1
        when = aware(when, what="the instant of a callback")
        insort(self._alarms, (when, self._number, callback, contextvars.copy_context()), key=_place)
        return _Armed(self._alarms, (when, self._number))

    def next_due(self) -> datetime | None:
        """Return the instant at which the next callback would run.

        It is never before `now()`; None if there is no callback.
        """
        return max(self._alarms[0][0], self._now) if self._alarms else None

    def advance(self, step: Duration) -> None:
        """Move the clock forward by a duration, as `advance_to` does.

        Raises:
            TypeError, ValueError: not a duration, or a negative one.
        """
        self.advance_to(after(self._now, duration(step)))

    def advance_to(self, when: datetime) -> None:
        """Move the clock forward to `when`, and run the callbacks on the way.

        The clock stops at the instant of each callback, up to and including `when`. Callbacks that are added meanwhile
        run, too, if they are due by then. An exception of a callback is raised here: the clock stays at that instant,
        the callback is spent, and the next move goes on with the others.

        Raises:
            ValueError: `when` lies before `now()`, or is naive.
            RuntimeError: called by a callback of this clock.
        """
        when = aware(when, what="the instant to advance to")
        if when < self._now:
            raise ValueError(f"a clock cannot go back: it is {self._now.isoformat()}, asked for {when.isoformat()}")
        if self._moving:
            raise RuntimeError("a callback of a VirtualClock cannot move it: arm another callback with call_at instead")
        self._moving = True
        try:
            self._ring_until(when)
        finally:
            self._moving = False
        self._now = when

    def _ring_until(self, when: datetime) -> None:
        while self._alarms and self._alarms[0][0] <= when:
            instant, _, callback, context = self._alarms.pop(0)
            self._now = max(self._now, instant)
            context.run(callback)


@attrs.frozen
class _Armed:
    alarms: list[_Alarm]
    place: tuple[datetime, int]

    def cancel(self) -> None:
        index = bisect_left(self.alarms, self.place, key=_place)
        if index < len(self.alarms) and _place(self.alarms[index]) == self.place:
            del self.alarms[index]


def _place(alarm: _Alarm) -> tuple[datetime, int]:
    return alarm[:2]
