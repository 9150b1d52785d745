"""Keep any number of deadlines on one callback of the clock.

Separate because a hundred thousand sleeping runs must cost neither a hundred thousand timers of the event loop nor a
scan, and because the rules only name deadlines and never wait for them.
Leaves to `clock` the waiting for an instant, to the caller's `on_due` what follows from a deadline.

The idea: a binary heap of entries `(when, number, key)` and a dict from each key to its one live entry. Setting a key
again or dropping it leaves its former entry dead in the heap. Dead entries are thrown away when they come to the top.
When they outnumber the live ones, the heap is put aside as `_old`. From then on every set and drop moves a few of its
live entries to a new heap. They are taken from the end of `_old`, which leaves it a valid heap. So set and drop are
O(log n) in C at worst, amortised, and neither ever stops the loop to rebuild a hundred thousand entries.

Invariants:
- An entry is live exactly if the dict maps its key to that very object; a live one is in `_heap` or in `_old`.
- Numbers rise, so live entries leave the heaps in the order of deadline, then of being set; keys are never compared.
- While a timer is set, a callback of the clock is set for an instant not later than the earliest deadline. It may be
  earlier, after the timer it was set for was dropped or moved. One wake-up for nothing is cheaper than a new callback
  at every drop: most timers are timeouts, and most timeouts are dropped. While no timer is set, there is no callback.
- In one turn of the loop at most 200 timers are handed over, however the clock moves. While more are due, each of the
  next turns takes some, without a callback of the clock: fifty thousand that are due at once must not stop the loop.

Some deadlines are *spans*: back-offs, and how long a try may take. They count from something that happened in this
process, so they are over when either the wall clock or the machine's steady clock says so. When the wall clock was set
back, the clock tells by how much, and every span that was set before is brought forward by that.

Why not a hierarchical timing wheel (Varghese & Lauck 1987; tokio's)? One that knows its exact next deadline was
measured in CPython with 100,000 timers. A set took half the time, a set and a drop twice the time, and firing the same.
But cascading a crowded slot stopped the loop for 70 to 150 ms, more than a timer may be late (R17); here the longest
stop was 3 ms.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Hashable, Iterator
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import Generic, TypeVar

from durable.timers.clock import Clock, Handle, machines
from durable.timers.durations import after

Key = TypeVar("Key", bound=Hashable)

AT_ONCE = 200  # timers handed over in one turn of the loop: handling so many takes 20 to 40 ms
_MOVED_FORWARD_AT_ONCE = 2_000
_DEAD_ALLOWED = 64  # for fewer dead entries it is not worth moving the live ones
_MOVED_AT_ONCE = 4  # more than are added meanwhile, so the old heap becomes empty


class TimerWheel(Generic[Key]):
    """Timers keep deadlines by key and hand over those that are due.

    `on_due` receives the timers that are due at a wake-up, at most 200, as a list of `(key, when)`. They stand in the
    order of their deadlines, equal ones in the order in which they were set. They are no longer set by then, so
    `on_due` may set them again. It is called by the clock, or in a turn of the loop that follows, never from within
    `set` and never before `when`. It runs in a copy of the context in which the `TimerWheel` were made; otherwise it
    would see the context variables of whichever run set the clock's callback. If it raises, the exception goes to the
    caller; the timers it was handed are spent, all others stay set. `later(callback)` must call back in the loop's
    next turn. Source: rule R17.
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
        self._entries: dict[Key, tuple[datetime, int, Key]] = {}
        self._heap: list[tuple[datetime, int, Key]] = []
        self._old: list[tuple[datetime, int, Key]] = []
        self._number = 0
        self._armed_for: datetime | None = None
        self._handle: Handle | None = None
        self._closed = False
        self._room = AT_ONCE  # in this turn of the loop
        self._is_counting = False  # the next turn will make room again
        self._is_behind = False  # there was no room for all that is due: the next turns go on
        self._spans: dict[Key, None] = {}
        self._machine = machines(clock)
        self._unwatch = self._machine.watch(self._set_back) if self._machine is not None else None

    def set(self, key: Key, when: datetime) -> None:
        """Set the deadline of `key` to `when`, an aware datetime.

        It replaces an earlier deadline of the same key. A deadline in the past is due at the clock's next opportunity.
        After `close` this does nothing.
        """
        if self._closed:
            return
        self._spans.pop(key, None)
        self._insert(key, when)

    def set_span(self, key: Key, when: datetime) -> None:
        """Set `key` as `set` does, for a span that began in this process.

        If the wall clock is set back, it becomes due earlier.
        """
        if self._closed:
            return
        if self._machine is not None:
            self._machine.look()  # an earlier set-back must not bring this span forward
        self._spans[key] = None
        self._insert(key, when)

    def _insert(self, key: Key, when: datetime) -> None:
        self._number += 1
        entry = (when, self._number, key)
        self._entries[key] = entry
        heappush(self._heap, entry)
        self._sweep()
        if not self._is_behind and (self._armed_for is None or when < self._armed_for):
            self._arm(when)

    def drop(self, key: Key) -> None:
        """Forget the deadline of `key`; if none is set, do nothing."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._spans.pop(key, None)
        if not self._entries:
            self._clear()
        elif self._heap and self._heap[0] is entry:
            heappop(self._heap)
        else:
            self._sweep()

    def next_due(self) -> datetime | None:
        """Return the exact earliest deadline, or None if no timer is set."""
        heap = self._earliest()
        return heap[0][0] if heap else None

    def fire(self) -> None:
        """Hand over the timers that are due now, without waiting for the clock.

        As always, at most 200 in one turn of the loop.
        """
        due = self.next_due()
        if due is not None and due <= self._clock.now() and not self._is_behind:
            self._disarm()
            self._wake()

    def close(self) -> None:
        """Forget every deadline and accept no more; closing twice does nothing."""
        self._closed = True
        self._clear()
        if self._unwatch is not None:
            self._unwatch()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def _clear(self) -> None:
        self._entries.clear()
        self._heap.clear()
        self._old.clear()
        self._spans.clear()
        self._disarm()

    def _sweep(self) -> None:
        old, entries = self._old, self._entries
        if not old:
            if len(self._heap) > 2 * len(entries) + _DEAD_ALLOWED:
                self._old, self._heap = self._heap, []
            return
        for _ in range(min(_MOVED_AT_ONCE, len(old))):
            entry = old.pop()
            if entries.get(entry[2]) is entry:
                heappush(self._heap, entry)

    def _earliest(self) -> list[tuple[datetime, int, Key]]:
        # Return the heap that has the earliest live entry on top; an empty heap if no timer is set.
        heap, old = self._heap, self._old
        self._uncover(heap)
        if not old:
            return heap
        self._uncover(old)
        return old if old and (not heap or old[0] < heap[0]) else heap

    def _uncover(self, heap: list[tuple[datetime, int, Key]]) -> None:
        entries = self._entries
        while heap and entries.get(heap[0][2]) is not heap[0]:
            heappop(heap)

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

    def _taken(self, now: datetime) -> list[tuple[Key, datetime]]:
        due: list[tuple[Key, datetime]] = []
        while (heap := self._earliest()) and heap[0][0] <= now:
            if not self._room:
                self._is_behind = True
                break
            when, _, key = heappop(heap)
            del self._entries[key]
            self._spans.pop(key, None)
            self._room -= 1
            due.append((key, when))
        if due and not self._is_counting:
            self._is_counting = True
            self._later(self._turn)
        return due

    def _turn(self) -> None:
        self._room, self._is_counting = AT_ONCE, False
        if self._is_behind:
            self._is_behind = False
            self._context.copy().run(self._wake)

    def _arm_next(self) -> None:
        if not self._is_behind and (following := self.next_due()) is not None:
            self._arm(following)

    def _set_back(self, by: timedelta) -> None:
        self._bring_forward(iter(list(self._spans)), by, self._number)

    def _bring_forward(self, keys: Iterator[Key], by: timedelta, last: int) -> None:
        some = list(islice(keys, _MOVED_FORWARD_AT_ONCE))
        for key in some:
            entry = self._entries.get(key)
            if key in self._spans and entry is not None and entry[1] <= last:  # else the key was set anew meanwhile
                self._insert(key, after(entry[0], -by))
        if some:
            self._later(lambda: self._bring_forward(keys, by, last))
