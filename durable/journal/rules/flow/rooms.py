"""Tell which rooms a run or a try must find free, by what its function declares.

Separate because runs and tries wait in the same way for the same two things: a slot, and a place in a period.
Leaves to `queue` the order of who waits, to `rates` the arithmetic of periods.
"""

from __future__ import annotations

from collections.abc import Container, Hashable
from datetime import datetime

import attrs

from durable.events import Complaint, Event, Json
from durable.journal.records import Counted, CountedAs
from durable.journal.rules.flow.keys import NO_KEY, key_of
from durable.journal.rules.flow.options import Counts, Flow, Window
from durable.journal.rules.flow.queue import Room
from durable.journal.rules.flow.rates import Windows
from durable.timers import after, written

_COUNTED: dict[Counts, CountedAs] = {"runs": "start", "steps": "try"}


@attrs.frozen
class SlotsOf:
    """Slots are shared by all that have this in common; `function` is "" for those of the whole engine."""

    function: str
    counts: Counts
    source: str
    key: Json


@attrs.define(eq=False, repr=False)
class Holders:
    """Slots are held by `whose`: each by somebody for themselves, or by the first of a family for all of it.

    `count` says of each that holds a slot how many share it. The slot is free when all of these have left.
    """

    whose: dict[Hashable, Hashable] = attrs.field(factory=dict)
    count: dict[Hashable, int] = attrs.field(factory=dict)


Inside = dict[SlotsOf, Holders]
"""Who holds which slots."""


@attrs.frozen(repr=False)
class SlotRoom:
    """A slot room has room for so many at a time."""

    of: SlotsOf
    limit: int
    _inside: Inside = attrs.field(eq=False)

    def free_at(self, now: datetime) -> datetime | None:
        """Return `now` if a slot is free, else None."""
        held = self._inside.get(self.of)
        return now if held is None or len(held.count) < self.limit else None

    def enter(self, who: Hashable, sharing: Hashable | None = None) -> None:
        """Take a slot, beyond the limit, too; or share that of somebody who is inside."""
        held = self._inside.setdefault(self.of, Holders())
        if who not in held.whose:
            holder = who if sharing is None else held.whose[sharing]
            held.whose[who] = holder
            held.count[holder] = held.count.get(holder, 0) + 1

    def __str__(self) -> str:
        """Return the limit in words."""
        where = f"function {self.of.function!r}" if self.of.function else "the engine"
        return f"concurrency {self.limit} of {where}, counted in {self.of.counts}{_of_key(self.of.key)}"

    def holds(self, who: Hashable) -> bool:
        """Return whether somebody is inside."""
        held = self._inside.get(self.of)
        return held is not None and who in held.whose

    def leave(self, who: Hashable) -> None:
        """Give up the slot, or one's share of it."""
        held = self._inside.get(self.of)
        if held is None or who not in held.whose:
            return
        holder = held.whose.pop(who)
        held.count[holder] -= 1
        if not held.count[holder]:
            del held.count[holder]
        if not held.count:
            del self._inside[self.of]


@attrs.frozen(repr=False)
class PeriodRoom:
    """A period room has room for so many in any period; who has entered is counted by a record."""

    function: str
    counted_as: CountedAs
    key: Json
    _window: Window
    _windows: Windows = attrs.field(eq=False)

    def free_at(self, now: datetime) -> datetime:
        """Return the first instant at which one more may come."""
        return self._windows.has_room_at((self.function, self.counted_as, self.key), self._window, now)

    def enter(self, who: Hashable) -> None:
        """Do nothing: see `counted`."""

    def __str__(self) -> str:
        """Return the limit in words."""
        limit, what = self._window, "starts" if self.counted_as == "start" else "tries"
        bound = f"throttle {limit.limit} {what} in {written(limit.period)}"
        return f"{bound} of function {self.function!r}{_of_key(self.key)}"

    def counted(self, now: datetime) -> Counted:
        """Return the record of one more that has come."""
        return Counted(self.function, self.counted_as, self.key, now, after(now, self._window.period))


@attrs.frozen(repr=False)
class PauseRoom:
    """A pause room has room for nobody while its function is paused."""

    function: str
    _paused: Container[str] = attrs.field(eq=False)

    def __str__(self) -> str:
        """Return the limit in words."""
        return f"the pause of function {self.function!r}"

    def free_at(self, now: datetime) -> datetime | None:
        """Return `now` if the function is not paused, else None."""
        return None if self.function in self._paused else now

    def enter(self, who: Hashable) -> None:
        """Do nothing: whoever may enter may all enter."""


def _of_key(key: Json) -> str:
    return "" if key == NO_KEY else f", key {key}"


class Rooms:
    """Rooms are found by what a function declares, and by the event of a run."""

    def __init__(self, windows: Windows, complain: Complaint) -> None:
        self._windows = windows
        self._complain = complain
        self._inside: Inside = {}
        self._limits: dict[tuple[str, Counts, str], set[int]] = {}

    def of(self, function: str, flow: Flow, event: Event, counts: Counts) -> tuple[Room, ...]:
        """Return the rooms for a run of a function, or for the tries of its handlers."""
        rooms: list[Room] = []
        throttle = flow.throttle
        if throttle is not None and throttle.counts == counts:
            key = key_of(throttle.key, event, self._complain, what=f"throttle of function {function!r}")
            rooms.append(PeriodRoom(function, _COUNTED[counts], key, throttle, self._windows))
        for slots in flow.concurrency:
            if slots.counts == counts:
                key = key_of(slots.key, event, self._complain, what=f"concurrency of function {function!r}")
                source = "" if slots.key is None else slots.key.source
                whose = "" if slots.is_shared else function
                rooms.append(self._slots(SlotsOf(whose, counts, source, key), slots.limit))
        return tuple(rooms)

    def _slots(self, of: SlotsOf, limit: int) -> SlotRoom:
        self._limits.setdefault((of.function, of.counts, of.source), set()).add(limit)
        return SlotRoom(of, limit, self._inside)

    def left(self, room: SlotRoom, who: Hashable) -> list[SlotRoom]:
        """Give a slot back; return the rooms that may be free now, one for each limit on these slots."""
        room.leave(who)
        of = room.of
        return [SlotRoom(of, limit, self._inside) for limit in self._limits[of.function, of.counts, of.source]]
