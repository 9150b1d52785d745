"""Keep spans by key, in the order in which they were set, in many small dicts.

Separate because a single dict stops the loop when it grows, and all of it is asked for when the clock is set back.
Leaves to `wheel` what a span is, and the timers themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

from durable.timers.table import FULL, Table, shrink

Key = TypeVar("Key", bound=Hashable)

CHUNK = 340  # spans in a dict, which then has no spare room


class Spans(Generic[Key]):
    """Spans keep a deadline for each key, and give the oldest ones out first."""

    __slots__ = ("_chunks", "_count", "_places")

    def __init__(self) -> None:
        self._chunks: deque[dict[Key, datetime]] = deque()
        self._places: Table[Key, dict[Key, datetime]] = Table()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def set(self, key: Key, when: datetime) -> None:
        """Keep a span as the newest, in place of any earlier one of the same key."""
        self.drop(key)
        if not self._chunks or len(self._chunks[-1]) >= CHUNK:
            self._chunks.append({})
        chunk = self._chunks[-1]
        chunk[key] = when
        part = self._places.parts[hash(key) & self._places.mask]
        part[key] = chunk
        self._count += 1
        if len(part) > FULL:
            self._places.divide(key)

    def drop(self, key: Key) -> None:
        """Forget the span of a key, if there is one."""
        if not self._count:
            return
        part = self._places.parts[hash(key) & self._places.mask]
        chunk = part.pop(key, None)
        if chunk is not None:
            del chunk[key]
            shrink(chunk)
            shrink(part)
            self._count -= 1
            self._pass_empty()

    def take(self) -> dict[Key, datetime]:
        """Take out the oldest spans, at most 340; none if none is left."""
        if not self._chunks:
            return {}
        oldest = self._chunks.popleft()
        for key in oldest:
            part = self._places.parts[hash(key) & self._places.mask]
            del part[key]
            shrink(part)
        self._count -= len(oldest)
        self._pass_empty()
        return oldest

    def _pass_empty(self) -> None:
        while self._chunks and not self._chunks[0]:
            self._chunks.popleft()
