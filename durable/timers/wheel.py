"""Keep any number of deadlines on one callback of the clock.

Separate because a hundred thousand sleeping runs must cost neither a hundred thousand timers of the event loop nor a
scan, and because the rules only name deadlines and never wait for them.
Leaves to `slots` where a deadline is kept, to `clock` the waiting for an instant, to the caller's `on_due` what follows
from a deadline.

Invariants:
- While a timer is set, a callback of the clock is set for an instant not later than the earliest deadline. It may be
  earlier, after the timer it was set for was dropped or moved. One wake-up for nothing is cheaper than a new callback
  at every drop: most timers are timeouts, and most timeouts are dropped. While no timer is set, there is no callback.
- In one turn of the loop at most 200 timers are handed over, and at most 680 are moved to find them, however the clock
  moves. What has run empty is thrown away in such pieces, too. While there is more to do, each of the next turns does
  some, without a callback of the clock: fifty thousand that are due at once must not stop the loop.

Some deadlines are *spans*: back-offs, and how long a try may take. They count from something that happened in this
process, so they are over when either the wall clock or the machine's steady clock says so. When the wall clock was set
back, the clock tells by how much, and every span that was set before is brought forward by that, 340 in a turn.

Why a wheel, and not a binary heap whose dropped entries are swept? `python -m tests.bench --more timers` measures both.
Among 100,000 timers the heap takes a fourth of the time to set one, but more than twice the time to drop one and to
fire one, and twice the memory. All that grows with their number, and its list stops the loop when it grows.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from durable.timers.clock import Clock, Handle, machines
from durable.timers.durations import after
from durable.timers.slots import Due, Slots
from durable.timers.spans import Spans

Key = TypeVar("Key", bound=Hashable)

AT_ONCE = 200  # timers handed over in one turn of the loop: handling so many takes 20 to 40 ms
MOVES = 680  # that are made in one turn to find them, two chunks of them: less than a millisecond


class _SetBack(Generic[Key]):
    """The spans that were set before the wall clock was set back, and are still as they were then."""

    __slots__ = ("by", "spans")

    def __init__(self, spans: Spans[Key], by: timedelta) -> None:
        self.by = by
        self.spans = spans


class TimerWheel(Generic[Key]):
    """Timers keep deadlines by key and hand over those that are due.

    `on_due` receives the timers that are due at a wake-up, at most 200, as a list of `(key, when)`. They stand in the
    order of their deadlines, equal ones in the order in which they were set. They are no longer set by then, so
    `on_due` may set them again; it may drop others, and close the wheel. It is called by the clock, or in a turn of
    the loop that follows, never from within `set` and never before `when`. It runs in a copy of the context in which
    the `TimerWheel` was made; otherwise it would see the context variables of whichever run set the clock's callback.
    If it raises, the exception goes to the caller; the timers it was handed are spent, all others stay set.
    `later(callback)` must call back in the loop's next turn. Source: rule R17.
    """

    def __init__(
        self,
        clock: Clock,
        on_due: Callable[[list[tuple[Key, datetime]]], None] | None,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._clock = clock
        self.on_due = on_due  # None until somebody acts on them
        self._later = later
        self._context = contextvars.copy_context()
        self._slots: Slots[Key] = Slots(clock.now())
        self._armed_for: datetime | None = None
        self._handle: Handle | None = None
        self._closed = False
        self._room = AT_ONCE  # for handing over, in this turn of the loop
        self._moves = MOVES  # that may still be made in it
        self._is_counting = False  # the next turn will make room again
        self._is_behind = False  # there was no room for all that is due: the next turns go on
        self._spans: Spans[Key] = Spans()
        self._set_backs: list[_SetBack[Key]] = []  # whose spans have yet to be brought forward
        self._machine = machines(clock)
        self._unwatch = self._machine.watch(self._set_back) if self._machine is not None else None

    def set(self, key: Key, when: datetime) -> None:
        """Set the deadline of `key` to `when`, an aware datetime.

        It replaces an earlier deadline of the same key. A deadline in the past is due at the clock's next opportunity.
        After `close` this does nothing.
        """
        if self._closed:
            return
        self._forget_span(key)
        self._insert(key, when)

    @contextmanager
    def expecting(self, count: int, some: Sequence[datetime]) -> Iterator[None]:
        """Set so many timers, of whose deadlines `some` are a fair share, at less cost than without saying so."""
        self._slots.expect(count, some)
        try:
            yield
        finally:
            self._slots.expect(0, ())

    def set_span(self, key: Key, when: datetime) -> None:
        """Set `key` as `set` does, for a span that began in this process.

        If the wall clock is set back, it becomes due earlier.
        """
        if self._closed:
            return
        if self._machine is not None:
            self._machine.look()  # an earlier set-back must not bring this span forward
        self._forget_span(key)
        self._spans.set(key, when)
        self._insert(key, when)

    def drop(self, key: Key) -> None:
        """Forget the deadline of `key`; if none is set, do nothing."""
        self._forget_span(key)  # first: where a full stack has no room for the rest, it is dropped once more
        if self._slots.drop(key) and not self._slots:
            self._disarm()
            if not self._slots.is_bare:
                self._wake()

    def next_due(self) -> datetime | None:
        """Return the exact earliest deadline, or None if no timer is set."""
        return self._slots.exactly(self._clock.now())

    def fire(self) -> None:
        """Hand over the timers that are due now, without waiting for the clock.

        As always, at most 200 in one turn of the loop.
        """
        if not self._is_behind and self._slots.is_due(self._clock.now()):
            self._disarm()
            self._wake()

    def close(self) -> None:
        """Forget every deadline and accept no more; closing twice does nothing."""
        self._closed = True
        self._slots.clear()
        self._spans = Spans()
        self._set_backs.clear()
        self._disarm()
        if self._unwatch is not None:
            self._unwatch()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def _insert(self, key: Key, when: datetime) -> None:
        self._slots.set(key, when)
        if not self._is_behind and (self._armed_for is None or when < self._armed_for):
            self._arm(when)

    def _forget_span(self, key: Key) -> None:
        self._spans.drop(key)
        for set_back in self._set_backs:
            set_back.spans.drop(key)

    def _arm(self, when: datetime) -> None:
        self._disarm()
        self._handle = self._context.run(self._clock.call_at, when, self._wake)
        self._armed_for = when

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._armed_for = None

    def _wake(self) -> None:
        self._handle = self._armed_for = None
        if self._is_behind:
            return
        due = self._taken(self._clock.now())
        # Set the clock's next callback first: the other timers are then safe from errors of `on_due`.
        self._arm_next()
        if due and self.on_due is not None:
            self.on_due(due)

    def _taken(self, now: datetime) -> list[Due[Key]]:
        due, moved, self._is_behind = self._slots.take(now, self._room, self._moves)
        self._room -= len(due)
        self._moves -= moved
        for key, _ in due:
            self._forget_span(key)
        if (due or moved or self._is_behind) and not self._is_counting:
            self._is_counting = True
            self._later(self._turn)
        return due

    def _turn(self) -> None:
        self._room, self._moves, self._is_counting = AT_ONCE, MOVES, False
        if self._is_behind:
            self._is_behind = False
            self._context.copy().run(self._wake)

    def _arm_next(self) -> None:
        if not self._is_behind and (following := self._slots.earliest()) is not None:
            self._arm(following)

    def _set_back(self, by: timedelta) -> None:
        for earlier in self._set_backs:
            earlier.by += by
        self._set_backs.append(_SetBack(self._spans, by))
        self._spans = Spans()
        if len(self._set_backs) == 1:
            self._bring_forward()

    def _bring_forward(self) -> None:
        if not self._set_backs:  # closed meanwhile
            return
        set_back = self._set_backs[0]
        for key, when in set_back.spans.take().items():
            earlier = after(when, -set_back.by)
            self._spans.set(key, earlier)
            self._insert(key, earlier)
        if not set_back.spans:
            del self._set_backs[0]
        if self._set_backs:
            self._later(self._bring_forward)
