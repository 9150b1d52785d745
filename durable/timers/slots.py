"""Keep deadlines in slots of time, and give them out in order.

Separate because this is arithmetic alone: it needs no clock, no loop and no callback.
Leaves to `wheel` the times at which it looks, and what follows.

The idea is the timing wheel of Varghese and Lauck (1987), made sparse. Time is cut into slots of six widths, from
4 ms to 143 years, each 256 times as wide as the one before. A timer goes into a slot that is as wide as it is far.
Slots are made when they are needed. They stand in a dict, and in a small heap of the instants at which they begin, so
empty time costs nothing. When a wide slot comes first, its timers are dealt out to finer ones. A slot of at most five
minutes is sorted instead.

No crowd may stop the loop. So a slot holds its timers in chunks, dicts of at most 500, and one chunk is dealt out or
sorted at a time. A slot that has eight does not wait until it comes first: whenever its last chunk is full, the first
one is dealt out. So a million timers in one hour cost each set a little, and little is left to be done when they are
due. The dict that finds a timer's chunk is 64 dicts for the same reason: the growing of one large dict stops the loop.

Invariants:
- `_shards` maps each key to the chunk that holds it, and the chunk maps it to its deadline. So set and drop are O(1),
  and leave nothing behind but slots and chunks that are empty: a thousand or two at most, thrown away as they are met.
- A new timer goes into the coarsest slot there is that covers it, and a chunk into the coarsest below its own; chunks
  leave a slot in the order in which they came. So of two timers for one instant the one that was set first is always in
  the finer slot, or in the earlier chunk of the same. Timers leave in the order of deadline, then of being set.
- A slot begins no later than the finer ones within it, and comes before them. It is dealt out before any of them is.
- No slot begins within one that has sorted chunks: what is set there goes to that one, and is sorted, too.
- `_Slot.first` is not later than any deadline in the slot's unsorted chunks; earlier only if the first was dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from operator import itemgetter
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

PIECE = 500  # timers that are moved at a time, and in a chunk: half a millisecond

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FINEST = 12  # bits of microseconds: a finest slot is 4.096 ms wide
_STEP = 8  # bits: a slot of one level is as wide as 256 of the level below
_COARSEST = 5
_SHIFTS = [_FINEST + _STEP * level for level in range(_COARSEST + 1)]
_SORTED_LEVELS = 3  # slots of these levels may be sorted as a whole: what is set within the next minutes goes there
_CROWD = 8  # chunks of a coarse slot: dealing out fewer would make more slots than it is worth
_SHARDS = 64
_ROOMY = 240  # bytes: a dict that has so many for each of its timers is mostly room
_SMALL = 400

# A slot's place is the microsecond at which it begins, and in that number's lowest bits, which are zero, how much finer
# it is than the coarsest. So places stand in the order of beginning; where two begin at once, the coarser comes first.

Chunk = dict[Key, datetime]
Due = tuple[Key, datetime]
Ripe = tuple[datetime, int, Chunk[Key]]
"""A chunk that is sorted, its first timer last: that timer's deadline, the chunk's place among others, the chunk."""

_NOTHING_RIPE: list[Any] = []  # for all slots without a sorted chunk: nothing is ever put into it


def _microseconds(when: datetime) -> int:
    passed = when - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _shrink(table: dict[Any, Any]) -> None:
    """Give back the room of what was taken out of a dict, in its order: a dict never does so by itself."""
    if not len(table) & 7 and table.__sizeof__() > _ROOMY * len(table) + _SMALL:
        rest: dict[Any, Any] = {}
        rest.update(table)  # where it is as small as it can be; a copy may be as large as the original
        table.clear()
        table.update(rest)


class _Slot(Generic[Key]):
    """A slot holds the timers of a span of time in chunks; `ripe` is a heap of those that are sorted."""

    __slots__ = ("chunks", "first", "level", "place", "ripe")

    def __init__(self, place: int, level: int, first: datetime) -> None:
        self.place = place
        self.level = level
        self.first = first
        self.chunks: list[Chunk[Key]] = [{}]
        self.ripe: list[Ripe[Key]] = _NOTHING_RIPE  # most slots are dealt out, or run empty

    @property
    def end(self) -> int:
        """The instant at which the next slot of this width begins."""
        shift = _SHIFTS[self.level]
        return (self.place >> shift) + 1 << shift

    @property
    def sorted_first(self) -> datetime:
        """The earliest deadline in the sorted chunks, of which there is one."""
        return self.ripe[0][0]

    def put(self, key: Key, when: datetime) -> Chunk[Key]:
        """Take a timer in, and return the chunk that holds it."""
        chunks = self.chunks
        if not chunks or when < self.first:
            self.first = when
        if not chunks or len(chunks[-1]) >= PIECE:
            chunks[:] = [chunk for chunk in chunks if chunk]
            chunks.append({})
        chunk = chunks[-1]
        chunk[key] = when
        return chunk

    def ripen(self, chunk: Chunk[Key], number: int) -> None:
        """Sort a chunk, so that `popitem` gives its first timer."""
        ordered = sorted(chunk.items(), key=itemgetter(1))
        chunk.clear()
        chunk.update(reversed(ordered))
        if self.ripe is _NOTHING_RIPE:
            self.ripe = []
        ripe = self.ripe
        heappush(ripe, (ordered[0][1], number, chunk))
        if len(ripe) >= 16 and not len(ripe) & len(ripe) - 1:
            ripe[:] = [one for one in ripe if one[2]]
            heapify(ripe)

    def pick(self) -> Due[Key]:
        """Take the first of the sorted timers out."""
        ripe = self.ripe
        _, number, chunk = ripe[0]
        picked = chunk.popitem()
        if chunk:
            heapreplace(ripe, (chunk[next(reversed(chunk))], number, chunk))
        else:
            heappop(ripe)
        return picked

    def shed(self) -> None:
        """Drop empty chunks before the first timer; put sorted ones whose first was dropped where they belong."""
        chunks, ripe = self.chunks, self.ripe
        while chunks and not chunks[0]:
            del chunks[0]
        while ripe:
            when, number, chunk = ripe[0]
            if not chunk:
                heappop(ripe)
                continue
            first = chunk[next(reversed(chunk))]
            if first is when:
                return
            heapreplace(ripe, (first, number, chunk))


class Slots(Generic[Key]):
    """Slots keep deadlines by key, in the order of deadline, then of being set.

    `now` in a call says where the hand of the wheel stands; it may go back.
    """

    def __init__(self, now: datetime) -> None:
        self._hand = _microseconds(now)
        self._count = 0
        self._shards: list[dict[Key, Chunk[Key]]] = [{} for _ in range(_SHARDS)]
        self._slots: dict[int, _Slot[Key]] = {}
        self._places: list[int] = []  # of each slot: a heap
        self._made = [0] * (_COARSEST + 1)  # how many slots there are of each level
        self._filled: deque[_Slot[Key]] = deque()  # slots of which a chunk has become full
        self._numbers = count()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: Key) -> bool:
        return key in self._shards[hash(key) % _SHARDS]

    def set(self, key: Key, when: datetime) -> None:
        """Keep a deadline, an aware datetime, in place of any earlier one of the same key.

        It moves at most 500 others, and on the average each is moved less than once for each width of slots.
        """
        at = _microseconds(when)
        shard = self._shards[hash(key) % _SHARDS]
        chunk = shard.get(key)
        if chunk is None:
            self._count += 1
        else:
            del chunk[key]
            _shrink(chunk)
        slot = self._slot(at, when, self._level(at), _COARSEST)
        shard[key] = chunk = slot.put(key, when)
        if len(chunk) >= PIECE:
            self._filled.append(slot)
        if self._filled:
            self._relieve(self._filled.popleft())

    def drop(self, key: Key) -> bool:
        """Forget the deadline of a key; return whether there was one."""
        shard = self._shards[hash(key) % _SHARDS]
        chunk = shard.pop(key, None)
        if chunk is None:
            return False
        del chunk[key]
        _shrink(chunk)
        self._count_off(shard)
        if not self._count:
            self._forget_slots()
        return True

    def clear(self) -> None:
        """Forget every deadline."""
        for shard in self._shards:
            shard.clear()
        self._forget_slots()

    def take(self, now: datetime, most: int, moves: int) -> tuple[list[Due[Key]], int, bool]:
        """Take out what is due by now, at most so many, and move at most so many timers for it.

        Return that, how many were moved, and whether more has to be looked at. If not, `earliest` is known.
        """
        self._hand = _microseconds(now)
        due: list[Due[Key]] = []
        moved = 0
        while (slot := self._head()) is not None:
            if slot.chunks and (slot.first <= now or self._is_divided(slot)):
                if moved + len(slot.chunks[0]) > moves:
                    return due, moved, True
                moved += self._turn(slot)
            elif not slot.ripe or slot.sorted_first > now:
                break
            elif len(due) >= most:
                return due, moved, True
            else:
                due.append(self._pick(slot))
        return due, moved, False

    def is_due(self, now: datetime) -> bool:
        """Say whether `take` has anything to do."""
        slot = self._head()
        if slot is None:
            return False
        if slot.chunks and (slot.first <= now or self._is_divided(slot)):
            return True
        return bool(slot.ripe) and slot.sorted_first <= now

    def earliest(self) -> datetime | None:
        """Return an instant not later than the earliest deadline, after `take` had nothing more to do."""
        slot = self._head()
        if slot is None:
            return None
        if not slot.ripe:
            return slot.first
        return min(slot.first, slot.sorted_first) if slot.chunks else slot.sorted_first

    def exactly(self, now: datetime) -> datetime | None:
        """Return the earliest deadline, whatever has to be moved to know it."""
        self._hand = _microseconds(now)
        while (slot := self._head()) is not None and slot.chunks:
            self._turn(slot)
        return None if slot is None else slot.sorted_first

    def _count_off(self, shard: dict[Key, Chunk[Key]]) -> None:
        """Count a timer less in a shard; of large ones, one in a turn of the loop may shrink."""
        self._count -= 1
        if len(shard) < PIECE or not self._count & 255:
            _shrink(shard)

    def _forget_slots(self) -> None:
        self._count = 0
        self._slots.clear()
        self._places.clear()
        self._filled.clear()
        self._made = [0] * (_COARSEST + 1)

    def _head(self) -> _Slot[Key] | None:
        """Return the slot that comes first; those that have run empty are thrown away."""
        places = self._places
        while places:
            slot = self._slots[places[0]]
            slot.shed()
            if slot.chunks or slot.ripe:
                return slot
            del self._slots[heappop(places)]
            self._made[slot.level] -= 1
        return None

    def _is_divided(self, head: _Slot[Key]) -> bool:
        """Say whether a finer slot begins within the one that comes first."""
        end = head.end
        return any(place < end for place in self._places[1:3])  # of a heap, one of these two is the second

    def _level(self, at: int) -> int:
        """Return how coarse a slot is for an instant, by how far it is from the hand."""
        away = abs(at - self._hand).bit_length() - 1 - _FINEST
        return away // _STEP if away >= _STEP else 0

    def _slot(self, at: int, when: datetime, level: int, coarsest: int) -> _Slot[Key]:
        """Return the coarsest slot of these levels that covers an instant; where there is none, a new, finest one."""
        slots, made = self._slots, self._made
        for coarser in range(coarsest, level - 1, -1):
            if made[coarser]:
                shift = _SHIFTS[coarser]
                slot = slots.get(at >> shift << shift | _COARSEST - coarser)
                if slot is not None:
                    return slot
        shift = _SHIFTS[level]
        place = at >> shift << shift | _COARSEST - level
        slot = slots[place] = _Slot(place, level, when)
        made[level] += 1
        heappush(self._places, place)
        return slot

    def _relieve(self, slot: _Slot[Key]) -> None:
        """Move the oldest chunk on where a slot has become crowded."""
        slot.shed()
        is_sorted = not slot.level or bool(slot.ripe)
        if len(slot.chunks) >= (1 if is_sorted else _CROWD):
            self._move(slot, is_sorted)

    def _turn(self, head: _Slot[Key]) -> int:
        """Bring the first deadline nearer to being known, by one chunk; return how many timers that moved."""
        is_narrow = head.level < _SORTED_LEVELS
        return self._move(head, bool(head.ripe) or (is_narrow and not self._is_divided(head)))

    def _move(self, slot: _Slot[Key], is_sorted: bool) -> int:
        chunk = slot.chunks.pop(0)
        if is_sorted:
            slot.ripen(chunk, next(self._numbers))
        else:
            self._deal(chunk, slot.level)
        return len(chunk)

    def _deal(self, chunk: Chunk[Key], level: int) -> None:
        """Deal a chunk of a slot out to finer ones."""
        for key, when in chunk.items():
            at = _microseconds(when)
            finer = self._slot(at, when, min(self._level(at), level - 1), level - 1)
            self._shards[hash(key) % _SHARDS][key] = found = finer.put(key, when)
            if len(found) >= PIECE:
                self._filled.append(finer)

    def _pick(self, slot: _Slot[Key]) -> Due[Key]:
        """Take the first timer out of a sorted slot."""
        key, when = slot.pick()
        shard = self._shards[hash(key) % _SHARDS]
        del shard[key]
        self._count_off(shard)
        return key, when
