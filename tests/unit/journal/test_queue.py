"""The queue of those who wait for room lets in whom a plain search would, at every instant, and in constant time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from durable.journal.rules.flow.options import Flow, Slots, Window
from durable.journal.rules.flow.queue import Queue, Room
from durable.journal.rules.flow.rates import Windows
from durable.journal.rules.flow.rooms import PeriodRoom, Rooms, SlotRoom
from durable.testing.lab import START

WINDOWS = [Window(2, timedelta(seconds=10), None, burst) for burst in (None, 1)]


class Plain:
    """The same queue as a list that is searched from the front."""

    def __init__(self) -> None:
        self.waiting: list[tuple[tuple[float, float, int], int, tuple[Room, ...]]] = []

    def first(self, now: datetime) -> tuple[tuple[float, float, int], int, tuple[Room, ...]] | None:
        for place in sorted(self.waiting, key=lambda place: place[0]):
            if all((free := room.free_at(now)) is not None and free <= now for room in place[2]):
                return place
        return None

    def next(self, now: datetime) -> int | None:
        place = self.first(now)
        if place is not None:
            self.waiting.remove(place)
        return None if place is None else place[1]


def rooms_of(chance: random.Random, windows: Windows, tables: Rooms) -> tuple[Room, ...]:
    found: list[Room] = []
    key = str(chance.randint(0, 3))
    if chance.random() < 0.5:
        found.append(PeriodRoom("f", "start", key, chance.choice(WINDOWS), windows))
    for function, limit in (("f", 3), ("g", 1)):
        if chance.random() < 0.5 or not found:
            [room] = tables.of(function, Flow((Slots(limit, None, "runs"),)), None, "runs")  # type: ignore[arg-type]
            found.append(room)
    return tuple(found)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_of_those_who_find_all_their_rooms_free_is_let_in(seed: int) -> None:
    chance, now = random.Random(seed), START
    windows = Windows()
    tables = Rooms(windows, lambda about, text: None)
    queue, plain = Queue[int](), Plain()
    inside: dict[int, tuple[Room, ...]] = {}
    for number in range(300):
        what = chance.random()
        if what < 0.45:
            rooms, order = rooms_of(chance, windows, tables), (float(chance.randint(0, 5)), float(number))
            queue.join(number, order, rooms)
            plain.waiting.append(((*order, number), number, rooms))
        elif what < 0.75 and inside:
            gone = chance.choice(list(inside))
            for room in inside.pop(gone):
                if isinstance(room, SlotRoom):
                    for freed in tables.left(room, gone):
                        queue.freed(freed)
        elif what < 0.85 and plain.waiting:
            place = chance.choice(plain.waiting)
            plain.waiting.remove(place)
            queue.leave(place[1])
        else:
            due, now = queue.due(), now + timedelta(seconds=chance.randint(1, 4))
            if due is None or due > now:
                assert plain.first(now) is None, "it would sleep through a start"
        while True:
            rooms_by = {who: rooms for _, who, rooms in plain.waiting}
            expected = plain.next(now)
            assert queue.next(now) == expected, (seed, number)
            if expected is None:
                break
            inside[expected] = rooms_by[expected]
            for room in rooms_by[expected]:
                room.enter(expected)
                if isinstance(room, PeriodRoom):
                    windows.fold(room.counted(now))
        assert len(queue) == len(plain.waiting)


def test_the_place_of_who_waits_is_counted_from_1() -> None:
    tables = Rooms(Windows(), lambda about, text: None)
    [room] = tables.of("f", Flow((Slots(1, None, "runs"),)), None, "runs")  # type: ignore[arg-type]
    queue = Queue[str]()
    for number, who in enumerate("abc"):
        queue.join(who, (0.0, float(number)), (room,))
    assert queue.next(START) == "a" and queue.next(START) is None
    assert [queue.waits_for(who) for who in "abc"] == [None, (room, 1), (room, 2)]
    queue.leave("b")
    assert queue.waits_for("c") == (room, 1)


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    windows = Windows()
    tables = Rooms(windows, lambda about, text: None)
    queue = Queue[int]()
    for number in range(1_000):
        rooms: tuple[Room, ...] = (
            PeriodRoom("f", "start", str(number), WINDOWS[0], windows),
            *tables.of("f", Flow((Slots(1, None, "runs"),)), None, "runs"),  # type: ignore[arg-type]
        )
        queue.join(number, (0.0, float(number)), rooms)
        assert queue.next(START) == number
        for room in rooms:
            if isinstance(room, SlotRoom):
                for freed in tables.left(room, number):
                    queue.freed(freed)
    assert not queue._gates and not queue._lines and not queue._places and not tables._inside
