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
from durable.journal.rules.flow.keys import key_of
from durable.journal.rules.flow.options import Counts, Flow, Window
from durable.journal.rules.flow.queue import Room
from durable.journal.rules.flow.rates import Windows
from durable.timers import after

_COUNTED: dict[Counts, CountedAs] = {"runs": "start", "steps": "try"}


@attrs.frozen
class SlotsOf:
    """Slots are shared by all that have this in common; `function` is "" for those of the whole engine."""

    function: str
    counts: Counts
    source: str
    key: Json


Inside = dict[SlotsOf, dict[Hashable, None]]
"""Who holds which slots, in the order of entering."""


@attrs.frozen(repr=False)
class SlotRoom:
    """A slot room has room for so many at a time."""

    of: SlotsOf
    limit: int
    _inside: Inside = attrs.field(eq=False)

    def free_at(self, now: datetime) -> datetime | None:
        """Return `now` if a slot is free, else None."""
        return now if len(self._inside.get(self.of, ())) < self.limit else None

    def enter(self, who: Hashable) -> None:
        """Take a slot; beyond the limit, too."""
        self._inside.setdefault(self.of, {})[who] = None


@attrs.frozen(repr=False)
class PeriodRoom:
    """A period room has room for so many in any period; who has entered is counted by a record."""

    function: str
    counted_as: CountedAs
    key: Json
    limit: int
    _window: Window = attrs.field(eq=False)
    _windows: Windows = attrs.field(eq=False)

    def free_at(self, now: datetime) -> datetime:
        """Return the first instant at which one more may come."""
        return self._windows.has_room_at((self.function, self.counted_as, self.key), self._window, now)

    def enter(self, who: Hashable) -> None:
        """Do nothing: see `counted`."""

    def counted(self, now: datetime) -> Counted:
        """Return the record of one more that has come."""
        return Counted(self.function, self.counted_as, self.key, now, after(now, self._window.period))


@attrs.frozen(repr=False)
class PauseRoom:
    """A pause room has room for all while its function is not paused, and for nobody while it is."""

    function: str
    _paused: Container[str] = attrs.field(eq=False)

    def free_at(self, now: datetime) -> datetime | None:
        """Return `now` if the function is not paused, else None."""
        return None if self.function in self._paused else now

    def enter(self, who: Hashable) -> None:
        """Do nothing: whoever may enter may all enter."""


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
            rooms.append(PeriodRoom(function, _COUNTED[counts], key, throttle.limit, throttle, self._windows))
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
        of = room.of
        inside = self._inside.get(of, {})
        inside.pop(who, None)
        if not inside:
            self._inside.pop(of, None)
        return [SlotRoom(of, limit, self._inside) for limit in self._limits[of.function, of.counts, of.source]]
