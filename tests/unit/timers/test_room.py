"""The check that the stack has room finds what calling as deep would find."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import pytest

from durable.timers import room


def least(check: Callable[[], None]) -> int:
    """Return how much room on the stack a check needs, in calls."""
    limit, depth = sys.getrecursionlimit(), len(inspect.stack(0))
    for left in range(90):
        try:
            sys.setrecursionlimit(depth + left)  # refused at once where C code that is under way counts, too
            check()
        except RecursionError:
            continue
        else:
            return left
        finally:
            sys.setrecursionlimit(limit)
    raise AssertionError


@pytest.mark.parametrize("check", [room.check_room, room._called])
def test_it_passes_where_ten_calls_fit(check: Callable[[], None]) -> None:
    """R31"""

    def called(left: int = room.CALLS) -> None:
        if left > 1:
            called(left - 1)

    assert least(called) <= least(check) <= least(called) + 3
