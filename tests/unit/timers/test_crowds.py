"""The wheel where many are due, where they are far, and where the clock is set: in order, in pieces, never early."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.testing.clock import VirtualClock
from durable.timers.clock import SystemClock
from durable.timers.slots import PIECE, Slots, _Slot
from durable.timers.wheel import AT_ONCE, MOVES, TimerWheel
from tests.unit.timers.test_wheel import LAST, MICROSECOND, SECOND, START, Leaping, Told

MILLISECOND = timedelta(milliseconds=1)
DAY = timedelta(days=1)


class Ringing(VirtualClock):
    """A virtual clock that counts how often it stops to call back."""

    rung = 0

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Any:
        def ring() -> None:
            self.rung += 1
            callback()

        return super().call_at(when, ring)


class Moves:
    """How many timers were put into a slot or sorted, and how many told, since it was last asked."""

    def __init__(self) -> None:
        self.count = 0

    def taken(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Moves:
    moves, chunk_for, ripen = Moves(), _Slot.chunk_for, _Slot.ripen

    def counted_put(slot: _Slot[Any], when: datetime) -> Any:
        moves.count += 1
        return chunk_for(slot, when)

    def counted_ripen(slot: _Slot[Any], chunk: dict[Any, datetime], number: int) -> None:
        moves.count += len(chunk)
        ripen(slot, chunk, number)

    monkeypatch.setattr(_Slot, "chunk_for", counted_put)
    monkeypatch.setattr(_Slot, "ripen", counted_ripen)
    return moves


def rest_in_pieces(told: Told, moves: Moves) -> None:
    """Let the loop go round until it has nothing to do; in no turn is much moved or told."""
    while told.turns:
        before = len(told.order)
        told.turn()
        assert moves.taken() <= MOVES and len(told.order) - before <= AT_ONCE


# The simplest model: a sorted list, of which any first part may be told once it is due.


class Checked(Told):
    """Timers of which every telling is compared with a sorted list."""

    def __init__(self) -> None:
        super().__init__(Leaping())
        self.waiting: dict[int, tuple[datetime, int]] = {}
        self.numbers = count()
        self.timers.on_due = self.told

    def told(self, due: list[tuple[int, datetime]]) -> None:
        first = sorted((*place, key) for key, place in self.waiting.items())[: len(due)]
        assert [(key, when) for when, _, key in first] == due and 0 < len(due) <= AT_ONCE
        for key, when in due:
            assert when <= self.clock.now(), "early"
            del self.waiting[key]

    def set(self, key: int, when: datetime) -> None:
        self.timers.set(key, when)
        self.waiting[key] = (when, next(self.numbers))

    def drop(self, key: int) -> None:
        self.timers.drop(key)
        self.waiting.pop(key, None)

    def ring(self) -> None:
        """The clock calls back whoever it should have by now."""
        while self.clock.armed and min(self.clock.armed) <= self.clock.now():
            self.clock.ring()

    def check(self) -> None:
        assert len(self.timers) == len(self.waiting) and all(key in self.timers for key in self.waiting)
        earliest = min((when for when, _ in self.waiting.values()), default=None)
        assert len(self.clock.armed) <= 1
        if earliest is None:
            assert not self.clock.armed
        elif not self.turns:
            assert min(self.clock.armed) <= earliest and earliest > self.clock.now()


instants = st.one_of(
    st.sampled_from([0 * SECOND, MICROSECOND, MILLISECOND, SECOND, 2 * SECOND, 300 * SECOND, DAY, 400 * DAY, -SECOND]),
    st.integers(-(10**14), 10**14).map(lambda n: n * MICROSECOND),
    st.integers(-(10**6), 10**7).map(lambda n: n * MICROSECOND),
)
steps = st.sampled_from(
    [0 * SECOND, MICROSECOND, MILLISECOND, 17 * MILLISECOND, SECOND, 3_000 * SECOND, -7 * MILLISECOND]
)
deeds = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 99), instants),
        st.tuples(st.just("crowd"), st.integers(0, 3_000), st.integers(1, 1_500), instants, steps),
        st.tuples(st.just("expected crowd"), st.integers(0, 3_000), st.integers(1, 1_500), instants, steps),
        st.tuples(st.just("drop"), st.integers(0, 4_500), st.integers(1, 700)),
        st.tuples(st.just("clock"), instants),
        st.tuples(st.just("turn"), st.integers(1, 4)),
        st.tuples(st.just("rest")),
        st.tuples(st.just("ask")),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(deeds)
def test_the_wheel_is_a_sorted_list_whatever_becomes_of_the_clock(script: list[Any]) -> None:
    """R17: in order of deadline, then of being set; never early; late only while the loop goes round."""
    checked = Checked()
    for deed in [*script, ("rest",), ("end",), ("rest",)]:
        now = checked.clock.now()
        match deed:
            case ("set", key, offset):
                checked.set(key, now + offset)
            case ("crowd", first, size, offset, step):
                for number in range(size):
                    checked.set(first + number, now + offset + number * step)
            case ("expected crowd", first, size, offset, step):
                with checked.timers.expecting(size, [now + offset, now + offset + size * step]):
                    for number in range(size):
                        checked.set(first + number, now + offset + number * step)
            case ("drop", first, size):
                for key in range(first, first + size):
                    checked.drop(key)
            case ("clock", offset):
                checked.clock.time = now + offset
                checked.ring()
            case ("end",):
                checked.clock.time = LAST
            case ("turn", times):
                for _ in range(times):
                    checked.turn()
            case ("ask",):
                assert checked.timers.next_due() == min((when for when, _ in checked.waiting.values()), default=None)
            case ("rest",):
                checked.ring()
                while checked.turns:
                    checked.turn()
                    checked.ring()
                checked.check()
    assert checked.waiting == {}


# Order.


def test_of_equal_deadlines_the_one_set_first_is_told_first_from_however_far_each_was_set() -> None:
    """R17: those set a year, a day, an hour and a second ahead were in slots of other widths."""
    told = Told()
    when, aheads = START + 400 * DAY, (400 * DAY, 30 * DAY, DAY, timedelta(hours=1), 90 * SECOND, SECOND, MILLISECOND)
    for ahead in aheads:
        told.clock.advance_to(when - ahead)
        for number in range(3):
            told.timers.set((ahead, number), when)
        told.timers.set((ahead, "before"), when - MICROSECOND)
    told.clock.advance_to(when)
    expected = [(ahead, "before") for ahead in aheads] + [(ahead, number) for ahead in aheads for number in range(3)]
    assert [key for key, _ in told.order] == expected


def test_of_equal_deadlines_set_after_the_clock_was_set_back_the_earlier_one_is_told_first() -> None:
    told = Told(Leaping())
    when = START + 5 * SECOND
    told.timers.set("near", when)
    told.clock.leap_to(when - 2 * SECOND)
    told.timers.set("nearer", when)
    told.clock.time = START - 300 * DAY
    told.timers.set("far", when)
    told.timers.set("far, and a little later", when + 3 * SECOND)
    told.clock.leap_to(when)
    told.rest()
    assert told.order == [("near", when), ("nearer", when), ("far", when)]
    assert list(told.clock.armed) == [when + 3 * SECOND]


def test_the_last_instant_there_is_stands_beside_the_next_millisecond() -> None:
    """R17: and the first one there is, long past. The clock stops once for each."""
    told = Told(Ringing(START))
    told.timers.set("last", LAST)
    told.timers.set("next", START + MILLISECOND)
    told.timers.set("first", datetime.min.replace(tzinfo=START.tzinfo))
    assert told.timers.next_due() == datetime.min.replace(tzinfo=START.tzinfo)
    told.clock.advance_to(LAST)
    assert [(at, due[0][0]) for at, due in told.calls] == [
        (START, "first"),
        (START + MILLISECOND, "next"),
        (LAST, "last"),
    ]
    assert told.clock.rung == 3


def test_the_clock_stops_at_each_deadline_and_nowhere_else() -> None:
    """A clock that is moved over centuries walks over no empty slot."""
    told, random = Told(Ringing(START)), Random(1)
    deadlines = sorted({START + random.randrange(10 ** random.randrange(4, 18)) * MICROSECOND for _ in range(150)})
    for when in deadlines:
        told.timers.set(when, when)
    told.clock.advance_to(LAST)
    assert [at for at, _ in told.calls] == deadlines and told.clock.rung == len(deadlines)


# Crowds.


def test_of_any_number_at_one_instant_two_hundred_are_told_in_a_turn_in_order(moves: Moves) -> None:
    """R17: and a set moves at most one piece, whichever it is."""
    told, size = Told(Leaping()), 200_000
    most = 0
    for key in range(size):
        told.timers.set(key, START + 3_600 * SECOND)
        most = max(most, moves.taken())
    assert most <= PIECE + 1
    told.clock.leap_to(START + 3_600 * SECOND)
    assert moves.taken() <= MOVES
    turns = 0
    while not told.order:
        told.turn()
        assert moves.taken() <= MOVES
        turns += 1
    assert turns <= 40  # a few chunks of each width had yet to be moved
    rest_in_pieces(told, moves)
    assert [key for key, _ in told.order] == list(range(size))


@pytest.mark.parametrize("span", [SECOND, 200 * SECOND, DAY, 400 * DAY], ids=str)
def test_a_machine_that_was_suspended_finds_all_that_is_due_in_pieces(moves: Moves, span: timedelta) -> None:
    """R17: twenty thousand deadlines have passed when the clock calls back."""
    told, random = Told(Leaping()), Random(2)
    deadlines = [START + random.random() * span for _ in range(20_000)]
    for key, when in enumerate(deadlines):
        told.timers.set(key, when)
    told.timers.set("later", START + span + DAY)
    moves.taken()
    told.clock.leap_to(START + span)
    assert moves.taken() <= MOVES
    rest_in_pieces(told, moves)
    assert [key for key, _ in told.order] == sorted(range(20_000), key=deadlines.__getitem__)
    assert list(told.clock.armed) == [START + span + DAY]


def test_deadlines_long_past_are_told_in_order_in_pieces(moves: Moves) -> None:
    """R17: a store that is opened after a year."""
    told, random = Told(Leaping()), Random(3)
    deadlines = [START - random.random() * 365 * DAY for _ in range(5_000)]
    for key, when in enumerate(deadlines):
        told.timers.set(key, when)
    moves.taken()
    assert told.calls == []
    told.clock.ring()
    assert moves.taken() <= MOVES
    rest_in_pieces(told, moves)
    assert [key for key, _ in told.order] == sorted(range(5_000), key=deadlines.__getitem__)
    assert not told.clock.armed


def test_a_crowd_is_divided_long_before_it_is_due(moves: Moves) -> None:
    """R17: what is first of forty thousand in one hour of tomorrow is told after a few turns."""
    told, random = Told(Leaping()), Random(4)
    for key in range(40_000):
        told.timers.set(key, START + DAY + random.random() * 3_600 * SECOND)
    first = told.clock.armed.copy().popitem()[0]
    moves.taken()
    told.clock.leap_to(first)
    turns = 0
    while not told.order:
        told.turn()
        turns += 1
    assert turns <= 20 and told.order[0][1] == first


def test_spans_are_brought_forward_in_pieces(moves: Moves) -> None:
    """R17: telling of a clock that was set back stops nobody; a second time is not lost."""
    clock = Set()
    told = Told(clock)
    for key in range(3_000):
        told.timers.set_span(key, START + timedelta(hours=9) + key * MICROSECOND)
    told.timers.set("deadline", START + timedelta(hours=9))
    moves.taken()
    clock.wall = timedelta(hours=-1)
    clock.look()
    assert moves.taken() <= 3 * MOVES  # each may bring some of a crowded slot with it
    told.timers.drop(2_000)
    told.timers.set(2_001, START + timedelta(hours=9))
    told.timers.set_span(2_002, START + timedelta(hours=9))
    told.turn()
    clock.wall = timedelta(hours=-3)
    clock.look()
    while told.turns:
        told.turn()
        assert moves.taken() <= 3 * MOVES
    clock.wall = timedelta(hours=5) - SECOND
    clock.ring()
    told.rest()
    assert told.calls == []
    clock.wall = timedelta(hours=6, seconds=1)
    clock.ring()
    told.rest()
    assert [key for key, _ in told.order] == [key for key in range(3_000) if key not in (2_000, 2_001, 2_002)]
    assert told.order[-1][1] == START + timedelta(hours=6, microseconds=2_999)
    clock.wall = timedelta(hours=7, seconds=1)
    clock.ring()
    told.rest()
    assert told.order[-1] == (2_002, START + timedelta(hours=7))
    assert len(told.timers) == 2


class Set(SystemClock):
    """A system clock whose wall clock is set by a test, and rings when the test says; its steady one stands still."""

    def __init__(self) -> None:
        self.wall = timedelta(0)
        self.armed: dict[datetime, Any] = {}

    def now(self) -> datetime:
        return START + self.wall

    def steady(self) -> float:
        return 0.0

    call_at = Leaping.call_at  # type: ignore[assignment]
    ring = Leaping.ring


# What the one who is told does.


def test_what_is_set_inside_a_telling_is_told_in_its_turn() -> None:
    """R17: at the same instant, after those that were set before it; a past one before them."""
    told = Told(Leaping())
    for key in range(AT_ONCE + 2):
        told.timers.set(key, START + SECOND)

    def on_due(due: list[tuple[Any, datetime]]) -> None:
        told.calls.append((told.clock.now(), due))
        if len(told.calls) == 1:
            told.timers.set("again", START + SECOND)
            told.timers.set("past", START)
            told.timers.set("later", START + 2 * SECOND)
            told.timers.drop(AT_ONCE)

    told.timers.on_due = on_due
    told.clock.leap_to(START + SECOND)
    told.rest()
    assert [key for key, _ in told.order] == [*range(AT_ONCE), "past", AT_ONCE + 1, "again"]
    assert list(told.clock.armed) == [START + 2 * SECOND]


def test_a_wheel_that_is_closed_inside_a_telling_tells_nothing_more() -> None:
    told = Told(Leaping())
    for key in range(3 * AT_ONCE):
        told.timers.set(key, START + SECOND)
    told.timers.set("later", START + DAY)

    def on_due(due: list[tuple[Any, datetime]]) -> None:
        told.calls.append((told.clock.now(), due))
        told.timers.close()
        told.timers.set("after", START)

    told.timers.on_due = on_due
    told.clock.leap_to(START + SECOND)
    told.rest()
    told.timers.fire()
    assert len(told.order) == AT_ONCE and not told.clock.armed and len(told.timers) == 0


def test_a_wheel_whose_last_timer_is_dropped_inside_a_telling_arms_nothing() -> None:
    told = Told(Leaping())
    told.timers.set("a", START + SECOND)
    told.timers.set("b", START + DAY)
    told.timers.on_due = lambda due: told.timers.drop("b")
    told.clock.leap_to(START + SECOND)
    told.rest()
    assert not told.clock.armed and told.timers.next_due() is None


def test_firing_tells_what_is_due_before_the_clock_does() -> None:
    """Also what is in a finer slot than one that begins before it."""
    told = Told(Leaping())
    told.timers.set("near", START + 700 * MILLISECOND)
    told.timers.set("far", START + 1_500 * MILLISECOND)
    told.clock.time = START + 650 * MILLISECOND
    told.timers.fire()
    assert told.calls == [] and list(told.clock.armed) == [START + 700 * MILLISECOND]
    told.clock.time = START + 700 * MILLISECOND
    told.timers.fire()
    assert [key for key, _ in told.order] == ["near"] and list(told.clock.armed) == [START + 1_500 * MILLISECOND]


def test_what_is_set_and_dropped_in_one_turn_leaves_nothing_armed() -> None:
    told = Told(Leaping())
    for key in range(2_000):
        told.timers.set(key, START + key * SECOND)
        told.timers.drop(key)
        assert not told.clock.armed
    assert (told.calls, told.turns, len(told.timers)) == ([], [], 0)


# What is left behind.


@contextmanager
def growing_at_most(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown <= size, f"{grown:,} bytes"


@pytest.mark.parametrize("is_asked", [False, True], ids=["unsorted", "sorted"])
@pytest.mark.parametrize("step", [0 * SECOND, MILLISECOND, 60 * SECOND], ids=str)
def test_what_is_dropped_leaves_nothing_behind(step: timedelta, is_asked: bool) -> None:
    """Of fifty thousand two hundred are left: a wheel that keeps what was dropped would be a leak in a daemon."""
    slots: Slots[Any] = Slots(START)
    with growing_at_most(400_000):  # fifty thousand take 4,000,000
        for key in range(50_000):
            slots.set(key, START + timedelta(days=30) + key * step)
        if is_asked:
            slots.exactly(START)
        for key in range(50_000):
            if key % 250:
                slots.drop(key)
        slots.take(START, 0, MOVES)
    for key in range(0, 50_000, 250):
        slots.drop(key)
    while slots.take(START, 0, MOVES)[2]:
        pass
    assert slots.is_bare and not any(slots._levels) and not any(slots._chunks.parts) and not slots._filled


def test_what_ran_empty_is_thrown_away_in_pieces() -> None:
    """Dropping the last of many timers stops nobody, and neither do the turns that follow."""
    told, random = Told(Leaping()), Random(5)
    slots = told.timers._slots
    for key in range(60_000):
        told.timers.set(key, START + random.random() * 3_600 * SECOND)
    assert len(slots._places) > 2_000
    for key in range(60_000):
        before = len(slots._places)
        told.timers.drop(key)
        assert len(slots._places) >= before - AT_ONCE
    assert not told.clock.armed and told.turns
    while told.turns:
        before = len(slots._places)
        told.turn()
        assert len(slots._places) >= before - AT_ONCE
    assert slots.is_bare and not any(slots._levels) and not told.clock.armed and told.calls == []


def test_a_timer_that_is_moved_again_and_again_takes_no_more_room() -> None:
    slots: Slots[int] = Slots(START)
    with growing_at_most(100 * 400 + 40_000):
        for number in range(60_000):
            slots.set(number % 100, START + timedelta(days=2) + number * MICROSECOND)
    slots = Slots(START)
    slots.set(-1, START + timedelta(days=2, seconds=2))
    with growing_at_most(40_000):  # also where each time it is sorted behind one that stays
        for number in range(5_000):
            slots.set(0, START + timedelta(days=2, seconds=3) + number * MICROSECOND)
            slots.exactly(START)


def test_keys_that_hash_alike_are_kept_apart() -> None:
    told = Told()
    keys = [Alike(number) for number in range(300)]
    for key in keys:
        told.timers.set(key, START + key.number % 7 * SECOND)
    for key in keys[::3]:
        told.timers.drop(key)
    told.clock.advance(10)
    told.rest()
    left = [key for key in keys if key.number % 3]
    assert [key for key, _ in told.order] == sorted(left, key=lambda key: key.number % 7)


class Alike:
    """Keys of one hash; no two are equal."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return -2


def test_a_deadline_that_is_none_is_refused_and_the_former_one_stays() -> None:
    told = Told()
    told.timers.set("a", START + SECOND)
    with pytest.raises(TypeError):
        told.timers.set("a", datetime(2030, 1, 1))
    told.timers.drop("a")
    assert told.timers.next_due() is None


def test_one_wheel_knows_nothing_of_another() -> None:
    """Slots without a sorted chunk share an empty list of them: nothing may ever stand in it."""
    one: TimerWheel[str] = TimerWheel(VirtualClock(START), None, lambda callback: None)
    other: TimerWheel[str] = TimerWheel(VirtualClock(START), None, lambda callback: None)
    one.set("a", START + SECOND)
    other.set("b", START + 2 * SECOND)
    assert (one.next_due(), other.next_due()) == (START + SECOND, START + 2 * SECOND)
    assert "b" not in one and "a" not in other


@pytest.mark.parametrize("span", [SECOND, 60 * SECOND, DAY, 30 * DAY])
def test_a_crowd_that_is_expected_is_dealt_out_to_no_finer_slots_while_it_is_set(moves: Moves, span: timedelta) -> None:
    told, crowd = Told(), [START + 30 * DAY + number * span / 50_000 for number in range(50_000)]
    with told.timers.expecting(len(crowd), crowd[::100]):
        for key, when in enumerate(crowd):
            told.timers.set(key, when)
    assert moves.taken() <= 1.2 * len(crowd)
