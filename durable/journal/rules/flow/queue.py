"""Order those who wait for room: runs for a start or a slot, tries for a slot (F1, F2, F6).

Separate because the order is a matter of arithmetic, and one queue of a hundred thousand must cost no more than of ten.
Leaves to `rates` the windows of time, to `scheduler` who waits for what, and what happens to who may go.

Who waits has an order and passes one or more *gates*, all of which must have room. Those with the same gates form a
*line*, of which only the first can be next. A line that finds a gate without room waits at that gate alone, so a full
gate never holds up who does not pass it. When a gate has room again, the lines that wait there are looked at one by
one, the first first, until it is full. So a start costs a few looks at heaps, however many wait.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from datetime import datetime
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Room(Protocol):
    """A room is what a gate leads to; equal rooms are one."""

    def free_at(self, now: datetime) -> datetime | None:
        """Return the first instant, from `now` on, at which one more may enter; None: when somebody has left."""

    def enter(self, who: Hashable) -> None:
        """Note that `who` has entered."""


class Gate(Generic[K]):
    """A gate keeps the lines that wait at it; those that have moved on meanwhile are skipped."""

    __slots__ = ("count", "firsts", "is_open", "room", "timed")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.firsts: list[Place[K]] = []  # of these lines
        self.count = 0  # of lines that pass it
        self.is_open = False  # it may have room, and its lines are still to be looked at
        self.timed: datetime | None = None  # when it has room again

    def first(self) -> Line[K] | None:
        """Return the first line that waits here, and take it away."""
        while self.firsts:
            place = heappop(self.firsts)
            line = place[5]
            if line.waits_at is self and line.waiting and line.waiting[0] is place:
                return line
        return None


class Line(Generic[K]):
    """A line is those who wait for the same gates, the first first."""

    __slots__ = ("gates", "rooms", "waiting", "waits_at")

    def __init__(self, gates: tuple[Gate[K], ...]) -> None:
        self.gates = gates
        self.rooms = tuple([gate.room for gate in gates])
        self.waiting: list[Place[K]] = []
        self.waits_at: Gate[K] | None = None  # None: it is to be looked at


Place = tuple[float, float, int, int, K, Line[K]]
"""Who waits where: the instant of opening less the priority, that of opening, in seconds, two numbers, who, their line.

So places are in the order of who is first. The first number is that of the coming, which stays when somebody has to
wait for other rooms; the second is that of the place, so no two are the same."""


class Queue(Generic[K]):
    """A queue holds all who wait for any gate."""

    def __init__(self) -> None:
        self._gates: dict[Room, Gate[K]] = {}
        self._lines: dict[tuple[Gate[K], ...], Line[K]] = {}
        self._places: dict[K, Place[K]] = {}
        self._ready: list[Place[K]] = []  # the firsts of lines that are to be looked at
        self._open: list[Gate[K]] = []
        self._timed: list[tuple[datetime, int, Gate[K]]] = []
        self._number = self._changes = 0
        self._ranked: tuple[int, Gate[K], list[Place[K]]] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, who: K) -> bool:
        return who in self._places

    def join(
        self, who: K, order: tuple[float, float], rooms: tuple[Room, ...], number: int | None = None
    ) -> tuple[Room, ...]:
        """Let somebody wait for rooms; those of equal order come in the order of joining.

        Who has left to wait for other rooms comes back with the `number` that they had. It returns these rooms as all
        who wait for them have them, so that none of many keeps rooms of its own.
        """
        gates = tuple([self._gates.get(room) or self._gates.setdefault(room, Gate(room)) for room in rooms])
        line = self._lines.get(gates) or self._lined(gates)
        self._number += 1
        self._changes += 1
        place = self._places[who] = *order, self._number if number is None else number, self._number, who, line
        heappush(line.waiting, place)
        if line.waiting[0] is place:
            self._expose(line)
        return line.rooms

    def leave(self, who: K) -> int | None:
        """Let somebody wait no more; return the number that they had, or None."""
        place = self._places.pop(who, None)
        if place is None:
            return None
        self._changes += 1
        line, was_first = place[5], place[5].waiting[0] is place
        self._drop_gone(line)
        if was_first and line.waiting:
            self._expose(line)
        return place[2]

    def freed(self, room: Room) -> None:
        """Note that somebody has left a room."""
        gate = self._gates.get(room)
        if gate is not None:
            self._reopen(gate)

    def next(self, now: datetime) -> K | None:
        """Return who may go now, and let them in; None if nobody may."""
        while self._timed and self._timed[0][0] <= now:
            gate = heappop(self._timed)[2]
            gate.timed = None
            self._reopen(gate)
        while (line := self._candidate(now)) is not None:
            full = self._full(line, now)
            if full is None:
                return self._served(line)
            line.waits_at = full
            heappush(full.firsts, line.waiting[0])
        return None

    def due(self) -> datetime | None:
        """Return the next instant at which a gate has room again for who waits, or None."""
        return self._timed[0][0] if self._timed else None

    def waits_for(self, who: K, room: Room | None = None) -> tuple[Room, int] | None:
        """Return the room that somebody waits for, that one if it is given, and their place there, from 1."""
        place = self._places.get(who)
        if place is None:
            return None
        line = place[5]
        gate = line.waits_at or line.gates[0] if room is None else self._gates[room]
        return gate.room, bisect_left(self._ranking(gate), place) + 1

    def _ranking(self, gate: Gate[K]) -> list[Place[K]]:
        """Return the places of all who wait for a gate, in order; one look serves many who ask one after the other."""
        if self._ranked is None or self._ranked[0] != self._changes or self._ranked[1] is not gate:
            places = sorted([place for place in self._places.values() if gate in place[5].gates])
            self._ranked = self._changes, gate, places
        return self._ranked[2]

    def _lined(self, gates: tuple[Gate[K], ...]) -> Line[K]:
        line = self._lines[gates] = Line(gates)
        for gate in gates:
            gate.count += 1
        return line

    def _expose(self, line: Line[K]) -> None:
        """Let a line be looked at whose first has changed."""
        line.waits_at = None
        heappush(self._ready, line.waiting[0])

    def _reopen(self, gate: Gate[K]) -> None:
        if not gate.is_open:
            gate.is_open = True
            self._open.append(gate)

    def _candidate(self, now: datetime) -> Line[K] | None:
        """Return the first of the lines that may have room."""
        for gate in list(self._open):
            free = gate.room.free_at(now)
            line = gate.first() if free is not None and free <= now else None
            if line is not None:
                self._expose(line)
            else:
                self._come_back(gate, free, now)
                gate.is_open = False
                self._open.remove(gate)
        while self._ready:
            place = heappop(self._ready)
            line = place[5]
            if line.waits_at is None and line.waiting and line.waiting[0] is place:
                return line
        return None

    def _full(self, line: Line[K], now: datetime) -> Gate[K] | None:
        for gate in line.gates:
            free = gate.room.free_at(now)
            if free is None or free > now:
                self._come_back(gate, free, now)
                return gate
        return None

    def _come_back(self, gate: Gate[K], free: datetime | None, now: datetime) -> None:
        """Look at a gate again when it has room, if that is a matter of time."""
        if free is not None and free > now and gate.timed is None:
            gate.timed = free
            self._number += 1
            heappush(self._timed, (free, self._number, gate))

    def _served(self, line: Line[K]) -> K:
        who = heappop(line.waiting)[4]
        del self._places[who]
        self._changes += 1
        for gate in line.gates:
            gate.room.enter(who)
        self._drop_gone(line)
        if line.waiting:
            self._expose(line)
        return who

    def _drop_gone(self, line: Line[K]) -> None:
        while line.waiting and self._places.get(line.waiting[0][4]) is not line.waiting[0]:
            heappop(line.waiting)
        if not line.waiting:
            del self._lines[line.gates]
            for gate in line.gates:
                gate.count -= 1
                if not gate.count:
                    del self._gates[gate.room]
