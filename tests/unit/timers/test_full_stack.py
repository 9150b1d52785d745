"""A stack that is full in the middle of setting or dropping a timer changes nothing, or all of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from durable.timers.slots import PIECE, Slots
from durable.timers.table import FULL

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 1_000_000


def with_room_for(calls: int, do: Callable[[], object]) -> bool | None:
    """Do something on a stack that has room for some calls; return whether that was enough, None if it has no room."""
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + calls)
    except RecursionError:
        return None
    try:
        do()
    except RecursionError:
        return False
    finally:
        sys.setrecursionlimit(limit)
    return True


@pytest.mark.parametrize("asked", ["set", "set anew", "drop", "drop the last"])
@pytest.mark.parametrize("apart", [timedelta(days=37), timedelta(microseconds=1)])
@pytest.mark.parametrize("others", [0, 1, PIECE, FULL + 1, 12 * PIECE])
def test_a_timer_is_set_or_dropped_whole_however_full_the_stack_is(asked: str, others: int, apart: timedelta) -> None:
    ends: set[bool] = set()
    for calls in range(20, 0, -1):
        slots: Slots[int] = Slots(START)
        wanted = {-1: START + timedelta(minutes=3)}
        wanted |= {key: START + key * apart % timedelta(days=90) for key in range(others)}
        for key, when in wanted.items():
            slots.set(key, when)
        if asked == "drop the last":
            for key in range(others):
                slots.drop(key)
            wanted = {-1: wanted[-1]}
        key, later = (-2 if asked == "set" else -1), START + timedelta(days=40)

        def ask(slots: Slots[int] = slots, key: int = key, later: datetime = later) -> None:
            slots.set(key, later) if "set" in asked else slots.drop(key)

        was_done = with_room_for(calls, ask)
        if was_done is None:
            break
        ends.add(was_done)
        if not was_done:
            ask()
        if "set" in asked:
            wanted.pop(key, None)
            wanted[key] = later
        else:
            del wanted[key]
        assert len(slots) == len(wanted)
        taken: list[tuple[int, datetime]] = []
        more = True
        while more:
            due, _, more = slots.take(START + timedelta(days=365), MOST, MOST)
            taken += due
        assert taken == sorted(wanted.items(), key=lambda one: one[1])
        assert not len(slots)
    assert ends == {True, False}
