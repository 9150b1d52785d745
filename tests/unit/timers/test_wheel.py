"""Timers against the simplest model there is, a sorted list, and what the model does not show."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.testing.clock import VirtualClock
from durable.timers.clock import Clock
from durable.timers.wheel import AT_ONCE, TimerWheel

START = datetime(2030, 1, 1, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
name: ContextVar[str] = ContextVar("name", default="nobody")


class Told:
    """Timers on a clock, and each call of `on_due` with the instant at which it came."""

    def __init__(self, clock: Any = None) -> None:
        self.clock = clock or VirtualClock(START)
        self.calls: list[tuple[datetime, list[tuple[Any, datetime]]]] = []
        self.turns: list[Any] = []
        self.timers: TimerWheel[Any] = TimerWheel(
            self.clock, lambda due: self.calls.append((self.clock.now(), due)), self.turns.append
        )

    def turn(self) -> None:
        """The loop goes round once."""
        turns, self.turns[:] = list(self.turns), []
        for callback in turns:
            callback()

    def rest(self) -> None:
        """The loop goes round until it has nothing to do."""
        while self.turns:
            self.turn()

    @property
    def order(self) -> list[tuple[Any, datetime]]:
        """What was told, whenever."""
        return [one for _, due in self.calls for one in due]


class Model:
    """A list of (when, number, key), sorted when asked."""

    def __init__(self) -> None:
        self.now = START
        self.waiting: list[tuple[datetime, int, int]] = []
        self.number = 0
        self.calls: list[tuple[datetime, list[tuple[int, datetime]]]] = []

    def set(self, key: int, when: datetime) -> None:
        self.drop(key)
        self.number += 1
        self.waiting.append((when, self.number, key))

    def drop(self, key: int) -> None:
        self.waiting = [entry for entry in self.waiting if entry[2] != key]

    def advance_to(self, end: datetime) -> None:
        for when, number, key in sorted(self.waiting):
            if when <= end:
                at = max(when, self.now)
                if not self.calls or self.calls[-1][0] != at or self.fresh:
                    self.calls.append((at, []))
                self.fresh = False
                self.calls[-1][1].append((key, when))
                self.waiting.remove((when, number, key))
        self.now, self.fresh = end, True

    fresh = True


offsets = st.one_of(
    st.sampled_from([timedelta(0), MICROSECOND, SECOND, timedelta(days=30), timedelta(days=400_000), -SECOND]),
    st.integers(-5, 5).map(lambda n: n * MICROSECOND),
    st.integers(0, 10**13).map(lambda n: n * MICROSECOND),
)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9), offsets),
        st.tuples(st.just("set"), st.integers(10, 500), offsets),
        st.tuples(st.just("drop"), st.integers(0, 9)),
        st.tuples(st.just("expect"), st.integers(0, 10**6), st.lists(offsets, max_size=3)),
        st.tuples(st.just("advance"), offsets.filter(lambda offset: timedelta(0) <= offset < timedelta(days=200_000))),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(moves, st.lists(st.integers(0, 200), max_size=400))
def test_timers_behave_as_a_sorted_list(script: list[Any], churned: list[int]) -> None:
    """R17: each fires at exactly its deadline, in order of deadline, then of being set; together if due together."""
    told, model = Told(), Model()
    for key in churned:  # the same keys again and again
        for each in (told.timers, model):
            each.set(key, START + (key * 7919 % 1000) * SECOND)
    for move in [*script, ("advance", timedelta(days=1))]:
        match move:
            case ("set", key, offset):
                when = min(told.clock.now(), LAST - timedelta(days=500_000)) + offset
                told.timers.set(key, when)
                model.set(key, when)
            case ("drop", key):
                told.timers.drop(key)
                model.drop(key)
            case ("expect", count, some):
                told.timers._slots.expect(count, [START + timedelta(days=900_000) + offset for offset in some])
            case ("advance", offset):
                end = min(told.clock.now(), LAST - timedelta(days=500_000)) + offset
                end = max(end, told.clock.now())
                told.clock.advance_to(end)
                model.advance_to(end)
                told.rest()
        assert told.order == [one for _, due in model.calls for one in due]
        if len(told.order) <= AT_ONCE:
            assert told.calls == model.calls
        assert told.timers.next_due() == min((entry[0] for entry in model.waiting), default=None)
        assert len(told.timers) == len(model.waiting)
        assert all(entry[2] in told.timers for entry in model.waiting)


def test_timers_keep_their_order_while_most_are_dropped() -> None:
    """R17: of those that were sorted, the first ones too."""
    told, model, random = Told(), Model(), Random(17)
    for key in range(600):
        when = START + random.randrange(1000) * SECOND
        told.timers.set(key, when)
        model.set(key, when)
    for key in range(400):
        for each in (told.timers, model):
            each.drop(key)
        if key % 5 == 0:
            told.clock.advance(1)
            told.rest()
            model.advance_to(told.clock.now())
            when = told.clock.now() + random.randrange(1000) * SECOND
            told.timers.set(key, when)
            model.set(key, when)
        assert told.timers.next_due() == min(entry[0] for entry in model.waiting)
    told.clock.advance(2000)
    told.rest()
    model.advance_to(told.clock.now())
    assert told.order == [one for _, due in model.calls for one in due] and len(told.timers) == 0


def test_of_fifty_thousand_that_are_due_at_once_200_are_told_in_a_turn() -> None:
    """R17: whatever the clock does, in order of deadline, then of being set; meanwhile nothing is armed."""
    told = Told()
    for key in range(50_000):
        told.timers.set(key, START + (1 + key % 2) * SECOND)
    told.clock.advance(3)
    assert (len(told.order), told.clock.next_due(), told.timers.next_due()) == (AT_ONCE, None, START + SECOND)
    told.timers.set("past", START)  # due before all that is left
    told.timers.set("next", START + 9 * SECOND)
    told.turn()
    assert len(told.order) == 2 * AT_ONCE and told.order[AT_ONCE] == ("past", START)
    while told.turns:
        before = len(told.order)
        told.turn()
        assert len(told.order) <= before + AT_ONCE
    ordered = [(key, START + (1 + key % 2) * SECOND) for odd in (0, 1) for key in range(odd, 50_000, 2)]
    assert [one for one in told.order if one[0] != "past"] == ordered
    assert told.clock.next_due() == START + 9 * SECOND and told.turns == []


def test_a_clock_that_stops_at_each_deadline_has_the_room_of_one_turn() -> None:
    """R17: five hundred deadlines of one move of the clock, each at another instant, are told in three turns."""
    told = Told()
    for key in range(500):
        told.timers.set(key, START + key * SECOND)
    told.clock.advance(1_000)
    assert [at for at, _ in told.calls] == [START + n * SECOND for n in range(AT_ONCE)]
    told.rest()
    assert told.order == [(key, START + key * SECOND) for key in range(500)]


def test_timers_that_follow_one_another_alone_have_the_room_of_one_turn() -> None:
    """R17: each is set when the one before it is told, so there is never more than one."""
    told = Told()
    order: list[int] = []

    def go_on(due: list[tuple[int, datetime]]) -> None:
        for key, when in due:
            order.append(key)
            told.timers.set(key + 1, when + SECOND)

    told.timers.on_due = go_on
    told.timers.set(0, START)
    told.clock.advance(1_000)
    assert order == [*range(AT_ONCE)]
    told.turn()
    told.clock.advance(0)
    assert order == [*range(2 * AT_ONCE)]


def test_what_is_dropped_before_its_turn_is_not_told() -> None:
    told = Told()
    for key in range(AT_ONCE + 2):
        told.timers.set(key, START)
    told.clock.advance(0)
    told.timers.drop(AT_ONCE)
    told.timers.fire()  # the next turns go on by themselves
    told.rest()
    assert [key for key, _ in told.order] == [*range(AT_ONCE), AT_ONCE + 1]
    for key in range(AT_ONCE + 2):
        told.timers.set(key, START)
    told.clock.advance(0)
    told.timers.close()
    told.rest()
    assert len(told.order) == 2 * AT_ONCE + 1


def test_deadlines_a_microsecond_apart_fire_apart() -> None:
    """R17: not rounded to a tick, neither early nor late."""
    told = Told()
    told.timers.set("b", START + SECOND + MICROSECOND)
    told.timers.set("a", START + SECOND)
    told.clock.advance(2)
    assert [(at, due[0][0]) for at, due in told.calls] == [
        (START + SECOND, "a"),
        (START + SECOND + MICROSECOND, "b"),
    ]


def test_a_deadline_in_the_past_is_told_by_the_clock_and_not_from_within_set() -> None:
    told = Told()
    told.timers.set("a", START - SECOND)
    assert told.calls == []
    told.clock.advance(0)
    assert told.calls == [(START, [("a", START - SECOND)])]


def test_a_clock_that_leaps_forward_fires_all_that_is_due_in_order() -> None:
    """R17: after a suspended machine wakes the first callback finds everything that became due."""
    told = Told(Leaping())
    for key, seconds in (("c", 3), ("a", 1), ("b", 1), ("later", 100)):
        told.timers.set(key, START + seconds * SECOND)
    told.clock.leap_to(START + 50 * SECOND)
    assert [key for _, due in told.calls for key, _ in due] == ["a", "b", "c"]
    assert len(told.calls) == 1 and list(told.clock.armed) == [START + 100 * SECOND]


def test_a_clock_that_is_early_or_set_back_fires_nothing_early() -> None:
    """R17: a callback that comes too soon arms the clock anew."""
    told = Told(Leaping())
    told.timers.set("a", START + SECOND)
    told.clock.time = START - timedelta(days=1)
    told.clock.ring()
    assert told.calls == [] and list(told.clock.armed) == [START + SECOND]


class Leaping:
    """A clock whose armed callbacks ring when the test says, not when they are due."""

    def __init__(self) -> None:
        self.time = START
        self.armed: dict[datetime, Any] = {}

    def now(self) -> datetime:
        return self.time

    def call_at(self, when: datetime, callback: Any) -> Any:
        self.armed[when] = callback
        return Cancelling(self.armed, when)

    def leap_to(self, when: datetime) -> None:
        self.time = when
        self.ring()

    def ring(self) -> None:
        self.armed.pop(min(self.armed))()


class Cancelling:
    def __init__(self, armed: dict[datetime, Any], when: datetime) -> None:
        self.armed, self.when = armed, when

    def cancel(self) -> None:
        self.armed.pop(self.when, None)


def test_one_callback_is_armed_however_many_timers_there_are() -> None:
    told = Told(Leaping())
    for n in range(1000):
        told.timers.set(n, START + (1000 - n) * SECOND)
    assert list(told.clock.armed) == [START + SECOND]


def test_nothing_is_armed_once_the_last_timer_is_dropped() -> None:
    told = Told()
    told.timers.set("a", START + SECOND)
    told.timers.drop("a")
    told.timers.drop("a")
    assert (told.clock.next_due(), told.timers.next_due(), len(told.timers)) == (None, None, 0)


def test_an_exception_of_on_due_loses_no_other_timer() -> None:
    """R17: whoever is told may fail; what is not due yet stays armed."""
    clock = VirtualClock(START)
    told: list[str] = []

    def on_due(due: list[tuple[str, datetime]]) -> None:
        told.extend(key for key, _ in due)
        if told == ["a"]:
            raise LookupError("on purpose")

    timers = TimerWheel(clock, on_due, lambda callback: None)
    timers.set("a", START + SECOND)
    timers.set("b", START + 2 * SECOND)
    with pytest.raises(LookupError):
        clock.advance(1)
    clock.advance(1)
    assert told == ["a", "b"]


def test_on_due_may_set_and_drop() -> None:
    clock = VirtualClock(START)
    told: list[tuple[str, datetime]] = []

    def on_due(due: list[tuple[str, datetime]]) -> None:
        told.extend((key, clock.now()) for key, _ in due)
        timers.drop("never")
        if len(told) < 3:
            timers.set("again", clock.now() + SECOND)

    timers = TimerWheel(clock, on_due, lambda callback: None)
    timers.set("again", START + SECOND)
    timers.set("never", START + 2 * SECOND)
    clock.advance(10)
    assert told == [("again", START + n * SECOND) for n in (1, 2, 3)]
    assert clock.next_due() is None


def test_closed_timers_neither_fire_nor_take_new_ones() -> None:
    told = Told()
    told.timers.set("a", START + SECOND)
    told.timers.close()
    told.timers.close()
    told.timers.set("b", START + SECOND)
    told.clock.advance(10)
    assert (told.calls, len(told.timers), told.timers.next_due()) == ([], 0, None)


def test_on_due_does_not_see_the_context_of_whoever_set_the_timer() -> None:
    """R10a: a run's variables stay in the run, though it was one of its steps that armed the clock."""
    clock: Clock = VirtualClock(START)
    seen: list[str] = []
    timers: TimerWheel[str] = TimerWheel(clock, lambda _: seen.append(name.get()), lambda callback: None)
    token = name.set("a run")
    timers.set("a", START)
    name.reset(token)
    clock.advance(0)
    assert seen == ["nobody"]
