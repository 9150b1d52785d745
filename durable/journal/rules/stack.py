"""Make sure that the stack has room, before anything has happened.

Separate because a user's function may call steps at any depth, and what is recorded there must not end half way.
"""

from __future__ import annotations

_CALLS = 10  # folding a step's end and keeping it in a dict takes half of them


def check_room(calls: int = _CALLS) -> None:
    """Raise a RecursionError unless so many calls, each inside the last, still fit on the stack."""
    if calls:
        check_room(calls - 1)
