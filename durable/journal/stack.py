"""Ask whether the stack has room for what must not end half way.

Separate because to ask costs more than what is asked for, unless it is asked in few words.
Leaves to `writer` the choice of what must not end half way (R31).
"""

from __future__ import annotations

from collections.abc import Callable

_CALLS = 10  # to fold and keep a step's end takes half


def _one_deeper(call: Callable[[], None]) -> Callable[[], None]:
    return lambda: call()


def _room_for(calls: int) -> Callable[[], None]:
    return _one_deeper(_room_for(calls - 1)) if calls else lambda: None


check_room = _room_for(_CALLS)
"""Raise a RecursionError unless ten calls still fit on the stack."""
