"""Draw a timeline in plain text, one line for each thing that took time.

Separate because drawing knows nothing of runs.
Leaves to `info` the values that are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

WIDTH = 32
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))


@attrs.frozen(eq=False, repr=False)
class Line:
    """A line has a name, a beginning, an end and a note.

    `ended` is None for what still goes on.
    """

    name: str
    began: datetime
    ended: datetime | None
    note: str


def span(time: timedelta) -> str:
    """Return a duration as text in its largest unit.

    Such as "3 d", "1.5 h" or "12 ms"; "-2 h" if the clock was set back.
    """
    if time < timedelta(0):
        return f"-{span(-time)}"
    seconds = time.total_seconds()
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "0 s"


def timeline(lines: Sequence[Line], *, began: datetime, until: datetime) -> str:
    """Return the lines drawn to one scale, from `began` to `until`.

    They stand in the order given.
    """
    names = max((len(line.name) for line in lines), default=0)
    rows = [
        f"  {line.name:<{names}}  |{_bar(line, began, until)}|  {_after(line.began - began)}: {line.note}"
        for line in lines
    ]
    return "\n".join(rows)


def _after(time: timedelta) -> str:
    return span(time) if time < timedelta(0) else f"+{span(time)}"


def _column(when: datetime, began: datetime, whole: float) -> int:
    # A time can lie before the beginning, or after the end, if the clock was set back meanwhile; in a fork, too.
    return int(min(max((when - began).total_seconds() / whole, 0.0), 1.0) * WIDTH)


def _bar(line: Line, began: datetime, until: datetime) -> str:
    whole = max((until - began).total_seconds(), 1e-9)
    start = min(_column(line.began, began, whole), WIDTH - 1)
    end = WIDTH if line.ended is None else _column(line.ended, began, whole)
    length = max(end - start, 1)
    return (" " * start + ("=" if line.ended else "-") * length).ljust(WIDTH)
