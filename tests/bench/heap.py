"""Keep deadlines in a heap with lazy deletion, as the library did before the wheel.

Separate because the wheel is measured beside it.
Leaves to `durable.timers` what does not depend on it: the callback of the clock, spans, contexts.

Setting a key again or dropping it leaves its former entry dead in the heap. When the dead ones outnumber the live ones,
the heap is put aside, and every set and drop moves a few of its live entries to a new one.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from heapq import heappop, heappush

Entry = tuple[datetime, int, Hashable]

_DEAD_ALLOWED = 64
_MOVED_AT_ONCE = 4


class Heap:
    """A heap keeps deadlines by key, and gives those that are due in order."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, Entry] = {}
        self._heap: list[Entry] = []
        self._old: list[Entry] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: Hashable, when: datetime) -> None:
        """Set the deadline of a key."""
        self._number += 1
        entry = (when, self._number, key)
        self._entries[key] = entry
        heappush(self._heap, entry)
        self._sweep()

    def drop(self, key: Hashable) -> None:
        """Forget the deadline of a key."""
        entry = self._entries.pop(key)
        if self._heap and self._heap[0] is entry:
            heappop(self._heap)
        else:
            self._sweep()

    def take(self, now: datetime, most: int) -> list[tuple[Hashable, datetime]]:
        """Take out what is due, at most so many."""
        due: list[tuple[Hashable, datetime]] = []
        while len(due) < most and (heap := self._earliest()) and heap[0][0] <= now:
            when, _, key = heappop(heap)
            del self._entries[key]
            due.append((key, when))
        return due

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

    def _earliest(self) -> list[Entry]:
        heap, old = self._heap, self._old
        self._uncover(heap)
        if not old:
            return heap
        self._uncover(old)
        return old if old and (not heap or old[0] < heap[0]) else heap

    def _uncover(self, heap: list[Entry]) -> None:
        entries = self._entries
        while heap and entries.get(heap[0][2]) is not heap[0]:
            heappop(heap)
