"""Check that the stack has room for what must not end half way.

Separate because Python does not tell how full its stack is: one can only go deeper, and see.
Leaves to `slots` and the journal the time of the check.
"""

from __future__ import annotations

import sys
from typing import Any

CALLS = 10  # to fold and keep a step's end takes half, and so does dealing timers out


def _called(left: int = CALLS) -> None:
    if left:
        _called(left - 1)


def _nested() -> tuple[Any, ...]:
    pile: tuple[Any, ...] = ()
    for _ in range(CALLS):
        pile = (pile,)
    return pile


_PILE, _SAME = _nested(), _nested()


def _compared() -> None:
    _PILE == _SAME  # noqa: B015


# Before Python 3.12 C code counts as calls do. To compare tuples goes as deep as to call, in a third of the time.
check_room = _called if sys.version_info >= (3, 12) else _compared
"""Raise a RecursionError unless ten more calls fit on the stack."""
