"""Let Python look for garbage less often while a store is opened.

Separate because the collector is the whole process's: it must be as before in the end, whatever happens meanwhile.
Leaves to `owner` when that is.

What an opening reads stays in memory. Python looks through all objects of the process whenever a quarter more of them
have become old, and so ten times and more while a hundred thousand runs are read: a sixth of the opening's time, for
nothing. Only these looks are put off. Young garbage, also an opening's own, is collected as ever.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 1_000_000  # looks at middle-aged objects before the next one at all

_turn = threading.Lock()
_inside = 0
_usual = _ours = gc.get_threshold()


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Put off the collection of old objects until everybody who has entered has left.

    A threshold that is set by somebody else meanwhile stays.
    """
    global _inside, _usual, _ours
    with _turn:
        if not _inside:
            _usual = gc.get_threshold()
            _ours = (*_usual[:2], _SELDOM)
            gc.set_threshold(*_ours)
        _inside += 1
    try:
        yield
    finally:
        with _turn:
            _inside = max(_inside - 1, 0)  # in a forked child it was 0 already
            if not _inside:
                _restore()


def _restore() -> None:
    if gc.get_threshold() == _ours:
        gc.set_threshold(*_usual)


def _leave_in_child() -> None:
    global _turn, _inside
    _turn = threading.Lock()  # a new lock: another thread of the parent may have held the old one at the fork
    if _inside:  # nobody opens anything here
        _inside = 0
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)
