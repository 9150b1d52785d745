"""Shift every wall clock that a function can read to a later time.

Separate because `datetime.now` cannot be set from outside: a class that replaces `datetime` is put into the places
where the function finds its clocks.
Leaves to `outside` the modules that read a clock, to `torture` the length of the shift.

The replacement makes real datetimes, and counts them as its own instances. `date.today` reads `time.time`.
`time.monotonic` and `time.perf_counter` are not shifted, since the event loop relies on them.
"""

from __future__ import annotations

import datetime as dates
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CellType
from typing import Any

from durable.testing.torture.set_order import kept

REAL_TIME, REAL_TIME_NS, REAL_DATETIME = time.time, time.time_ns, dates.datetime


class _AsReal(type):
    """A metaclass that counts instances of the real class as its own."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls.__mro__[1])


def _later(seconds: float) -> dict[int, Any]:
    """Return the replacement for each clock, by the clock's `id()`."""
    by = dates.timedelta(seconds=seconds)

    class Datetime(dates.datetime, metaclass=_AsReal):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return REAL_DATETIME(*args, **kwargs)

        @classmethod
        def now(cls, tz: dates.tzinfo | None = None) -> Any:
            return REAL_DATETIME.now(tz) + by

        @classmethod
        def utcnow(cls) -> Any:
            return REAL_DATETIME.now(dates.UTC).replace(tzinfo=None) + by

        @classmethod
        def today(cls) -> Any:
            return REAL_DATETIME.now() + by

    return {id(REAL_DATETIME): Datetime, **_later_times(seconds)}


def _later_times(seconds: float) -> dict[int, Callable[..., Any]]:
    def stamp(given: float | None) -> float:
        return REAL_TIME() + seconds if given is None else given

    local, universal, said, text, form = time.localtime, time.gmtime, time.ctime, time.asctime, time.strftime
    return {
        id(REAL_TIME): lambda: REAL_TIME() + seconds,
        id(REAL_TIME_NS): lambda: REAL_TIME_NS() + int(seconds * 10**9),
        id(local): lambda given=None: local(stamp(given)),
        id(universal): lambda given=None: universal(stamp(given)),
        id(said): lambda given=None: said(stamp(given)),
        id(text): lambda *given: text(*(given or (local(stamp(None)),))),
        id(form): lambda shape, *given: form(shape, *(given or (local(stamp(None)),))),
    }


@contextmanager
def shifted(seconds: float, namespaces: Iterable[dict[str, Any]], cells: Iterable[CellType]) -> Iterator[None]:
    """Shift the clocks of the modules `time` and `datetime`, while in the context.

    They are shifted in those modules, and wherever the given namespaces and cells hold them.
    """
    later = _later(seconds)
    spaces = [vars(time), vars(dates), *namespaces]
    named = [(space, name, value) for space in spaces for name, value in list(space.items()) if id(value) in later]
    held = [(cell, value) for cell in cells for value in kept(cell) if id(value) in later]
    for space, name, value in named:
        space[name] = later[id(value)]
    for cell, value in held:
        cell.cell_contents = later[id(value)]
    try:
        yield
    finally:
        for space, name, value in named:
            space[name] = value
        for cell, value in held:
            cell.cell_contents = value
