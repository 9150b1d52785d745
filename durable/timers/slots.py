"""Keep deadlines in slots of time, and give them out in order.

Separate because this is arithmetic alone: it needs no clock, no loop and no callback.
Leaves to `wheel` the times at which it looks, and what follows.

The idea is the timing wheel of Varghese and Lauck (1987), made sparse. Time is cut into slots of six widths, from
4 ms to 143 years, each 256 times as wide as the one before. A timer goes into a slot that is as wide as it is far.
Slots are made when they are needed. They stand in a dict, and in a small heap of the instants at which they begin, so
empty time costs nothing. When a wide slot comes first, its timers are dealt out to finer ones. A slot of at most five
minutes is sorted instead.

No crowd may stop the loop. So a slot holds its timers in chunks, dicts of at most 340, and one chunk is dealt out or
sorted at a time. A slot that has twelve does not wait until it comes first: whenever its last chunk is full, the first
one is dealt out. So a million timers in one hour cost each set a little, and little is left to be done when they are
due. What finds a timer's chunk is a table of many dicts, for the same reason.

Invariants:
- `_chunks` maps each key to the chunk that holds it, and the chunk maps it to its deadline. So set and drop are O(1),
  and leave nothing behind but slots and chunks that are empty. These are thrown away as they are met, 200 at a time.
- A new timer goes into the coarsest slot there is that covers it, and those of a chunk into the coarsest below its own;
  chunks leave a slot in the order in which they came. So of two timers for one instant the one that was set first is
  always in the finer slot, or in the earlier chunk of the same. Timers leave in the order of deadline, then of being
  set.
- A slot begins no later than the finer ones within it, and comes before them. It is dealt out before any of them is.
- No slot begins within one that has sorted chunks: what is set there goes to that one, and is sorted, too.
- `_Slot.first` is not later than any deadline in the slot's unsorted chunks; earlier only if the first was dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from operator import itemgetter
from typing import Any, Generic, TypeVar

from durable.timers.room import check_room
from durable.timers.table import FULL, Table, shrink

Key = TypeVar("Key", bound=Hashable)

PIECE = 340  # timers that are moved at a time, and in a chunk: a third of a millisecond, and a dict without spare room

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FINEST = 12  # bits of microseconds: a finest slot is 4.096 ms wide
_STEP = 8  # bits: a slot of one level is as wide as 256 of the level below
_COARSEST = 5
_LEVELS = 7  # the bits of a place that tell its level
_SHIFTS = [_FINEST + _STEP * level for level in range(_COARSEST + 1)]
_SORTED_LEVELS = 3  # slots of these levels may be sorted as a whole: what is set within the next minutes goes there
_CROWD = 12  # chunks of a coarse slot: dealing out fewer would make more slots than it is worth
_LOOKS = 200  # at slots and chunks whose first timers were dropped, before all else is left to the next turn

# A slot's place is the microsecond at which it begins, and in that number's lowest bits, which are zero, how much finer
# it is than the coarsest. So places stand in the order of beginning; where two begin at once, the coarser comes first.

Chunk = dict[Key, datetime]
Due = tuple[Key, datetime]
_Level = tuple[int, int, dict[int, "_Slot[Key]"]]  # a level, its shift, and its slots
Ripe = tuple[datetime, int, Chunk[Key]]
"""A chunk that is sorted, its first timer last: that timer's deadline, the chunk's place among others, the chunk."""

_NOTHING_RIPE: list[Any] = []  # for all slots without a sorted chunk: nothing is ever put into it


def _microseconds(when: datetime) -> int:
    passed = when - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


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

    def chunk_for(self, when: datetime) -> Chunk[Key]:
        """Return the chunk into which a new timer goes."""
        chunks = self.chunks
        if not chunks or when < self.first:
            self.first = when
        if not chunks or len(chunks[-1]) >= PIECE:
            chunks[:] = [chunk for chunk in chunks if chunk]
            chunks.append({})
        return chunks[-1]

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

    def pick(self, now: datetime, most: int) -> list[Due[Key]]:
        """Take out those of the sorted timers that are due, as far as the order of the chunks is known."""
        picked: list[Due[Key]] = []
        ripe = self.ripe
        while ripe and len(picked) < most:
            when, number, chunk = ripe[0]
            if when > now or not chunk or chunk[next(reversed(chunk))] is not when:
                break
            picked.append(chunk.popitem())
            if chunk:
                heapreplace(ripe, (chunk[next(reversed(chunk))], number, chunk))
            else:
                heappop(ripe)
        return picked

    def shed(self, looks: int) -> int:
        """Drop empty chunks before the first timer; put sorted ones whose first was dropped where they belong.

        Return how many looks at such chunks are left; with none left, the first timer is not known yet.
        """
        chunks, ripe = self.chunks, self.ripe
        while chunks and not chunks[0]:
            del chunks[0]
        while ripe and looks:
            when, number, chunk = ripe[0]
            if not chunk:
                heappop(ripe)
            elif (first := chunk[next(reversed(chunk))]) is when:
                break
            else:
                heapreplace(ripe, (first, number, chunk))
            looks -= 1
        return looks


class Slots(Generic[Key]):
    """Slots keep deadlines by key, in the order of deadline, then of being set.

    `now` in a call says where the hand of the wheel stands; it may go back.
    """

    def __init__(self, now: datetime) -> None:
        self._hand = _microseconds(now)
        self._count = 0
        self._chunks: Table[Key, Chunk[Key]] = Table()
        self._levels: list[dict[int, _Slot[Key]]] = [{} for _ in _SHIFTS]  # slots by the number of their widths
        self._coarsest_first: list[_Level[Key]] = [*zip(range(len(_SHIFTS)), _SHIFTS, self._levels, strict=True)][::-1]
        self._places: list[int] = []  # of each slot: a heap
        self._filled: deque[_Slot[Key]] = deque()  # slots of which a chunk has become full
        self._numbers = count()
        self._widest = _COARSEST  # level of a new slot

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: Key) -> bool:
        return key in self._chunks

    @property
    def is_bare(self) -> bool:
        """Say whether there is nothing at all, not even what has run empty and `take` has yet to throw away."""
        return not self._places

    def expect(self, count: int, some: Sequence[datetime]) -> None:
        """Make new slots no wider than suits so many timers, of whose deadlines `some` are a fair share.

        If all of them were set first in a wide slot, they would be dealt out to finer slots one width after the other.
        """
        self._widest = _COARSEST
        if some:
            span = max(_microseconds(max(some)) - _microseconds(min(some)), 1)
            while self._widest and count << _SHIFTS[self._widest] > _CROWD * PIECE * span:
                self._widest -= 1

    def set(self, key: Key, when: datetime) -> None:
        """Keep a deadline, an aware datetime, in place of any earlier one of the same key.

        It moves at most 340 others, and on the average each is moved less than once for each width of slots.
        """
        if self._filled:
            check_room()
            self._relieve(self._filled.popleft())
        slot = self._slot(_microseconds(when), when, _COARSEST)
        chunk = slot.chunk_for(when)
        table = self._chunks
        if len(table.parts[hash(key) & table.mask]) > FULL:
            check_room()
            table.divide(key)
        part = table.parts[hash(key) & table.mask]
        former = part.get(key)  # from here on a full stack has room for all that is called
        if former is None:
            self._count += 1
        else:
            del former[key]
        chunk[key] = when
        part[key] = chunk
        if len(chunk) >= PIECE:
            self._filled.append(slot)
        if former is not None:
            shrink(former)

    def drop(self, key: Key) -> bool:
        """Forget the deadline of a key; return whether there was one."""
        part = self._chunks.parts[hash(key) & self._chunks.mask]
        chunk = part.pop(key, None)
        if chunk is None:
            return False
        del chunk[key]
        self._count -= 1
        shrink(chunk)
        shrink(part)
        self._clear_if_small()
        return True

    def clear(self) -> None:
        """Forget every deadline."""
        self._chunks.clear()  # first, since a full stack may have no room for a call
        self._count = 0
        for _, _, slots in self._coarsest_first:
            slots.clear()
        self._places.clear()
        self._filled.clear()

    def take(self, now: datetime, most: int, moves: int) -> tuple[list[Due[Key]], int, bool]:
        """Take out what is due by now, at most so many, and move at most so many timers for it.

        Return that, how many were moved, and whether more has to be looked at. If not, `earliest` is known.
        """
        self._hand = _microseconds(now)
        if self._count == 1 and most and (alone := self._alone(now)):
            return alone, 0, False
        due: list[Due[Key]] = []
        moved, looks = 0, _LOOKS
        while looks := self._shed(looks):
            slot = self._head()
            if slot is None:
                return due, moved, False
            if slot.chunks and (slot.first <= now or self._is_divided(slot)):
                if moved + len(slot.chunks[0]) > moves:
                    break
                moved += self._turn(slot)
            elif not slot.ripe or slot.sorted_first > now:
                return due, moved, False
            elif len(due) >= most:
                break
            else:
                due += self._picked(slot, now, most - len(due))
        return due, moved, True

    def _alone(self, now: datetime) -> list[Due[Key]]:
        """Take out the only timer if it is due and easily found: there is nothing to sort."""
        if len(self._places) > 1 or len(self._chunks.parts) > 1:
            return []
        ((key, chunk),) = self._chunks.parts[0].items()
        when = chunk[key]
        if when > now:
            return []
        self.clear()
        return [(key, when)]

    def is_due(self, now: datetime) -> bool:
        """Say whether `take` has anything to do."""
        if not self._shed(_LOOKS):
            return True
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
        while True:
            is_known = self._shed(_LOOKS)
            slot = self._head()
            if is_known and (slot is None or not slot.chunks):
                return None if slot is None else slot.sorted_first
            if is_known and slot is not None:
                self._turn(slot)

    def _head(self) -> _Slot[Key] | None:
        """Return the slot that comes first."""
        if not self._places:
            return None
        place = self._places[0]
        level = _COARSEST - (place & _LEVELS)
        return self._levels[level][place >> _SHIFTS[level]]

    def _shed(self, looks: int) -> int:
        """Throw away what has run empty before the first timer; return how many looks are left.

        With none left, the first timer is not known yet.
        """
        while looks and (slot := self._head()) is not None:
            looks = slot.shed(looks)
            if not looks or slot.chunks or slot.ripe:
                break
            heappop(self._places)
            del self._levels[slot.level][slot.place >> _SHIFTS[slot.level]]
            looks -= 1
        return looks

    def _is_divided(self, head: _Slot[Key]) -> bool:
        """Say whether a finer slot begins within the one that comes first."""
        return any(place < head.end for place in self._places[1:3])  # of a heap, one of these two is the second

    def _slot(self, at: int, when: datetime, coarsest: int) -> _Slot[Key]:
        """Return the coarsest slot that covers an instant; where there is none, a new one, as wide as that is far."""
        for level, shift, slots in self._coarsest_first:
            if slots and level <= coarsest:
                slot = slots.get(at >> shift)
                if slot is not None:
                    return slot
        away = abs(at - self._hand).bit_length() - 1 - _FINEST
        level = min(max(away, 0) // _STEP, coarsest, self._widest)
        shift = _SHIFTS[level]
        place = at >> shift << shift | _COARSEST - level
        slot = self._levels[level][at >> shift] = _Slot(place, level, when)
        heappush(self._places, place)
        return slot

    def _relieve(self, slot: _Slot[Key]) -> None:
        """Move the oldest chunk on where a slot has become crowded."""
        slot.shed(_LOOKS)
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
            self._deal(chunk, slot.level - 1)
        return len(chunk)

    def _deal(self, chunk: Chunk[Key], coarsest: int) -> None:
        """Deal a chunk of a slot out to finer ones."""
        parts, mask = self._chunks.parts, self._chunks.mask
        for key, when in chunk.items():
            slot = self._slot(_microseconds(when), when, coarsest)
            parts[hash(key) & mask][key] = finer = slot.chunk_for(when)
            finer[key] = when
            if len(finer) >= PIECE:
                self._filled.append(slot)

    def _picked(self, slot: _Slot[Key], now: datetime, most: int) -> list[Due[Key]]:
        """Take what is due out of a sorted slot."""
        picked = slot.pick(now, most)
        parts, mask = self._chunks.parts, self._chunks.mask
        for key, _ in picked:
            part = parts[hash(key) & mask]
            del part[key]
            shrink(part)
        self._count -= len(picked)
        self._clear_if_small()
        return picked

    def _clear_if_small(self) -> None:
        if not self._count and len(self._places) + len(self._chunks.parts) <= _LOOKS:
            self.clear()
