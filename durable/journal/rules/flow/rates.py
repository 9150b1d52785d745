"""Decide when a window of time has room: how many starts, tries or openings it may hold (F2, F3).

Separate because the same arithmetic bounds all three, and its instants must be known after a restart.
Leaves to `openings` the runs that do not open, to `queue` those that wait for room.

A window is half open: what came at an instant has left it exactly one period later. What is counted is folded from
`Counted` records, so a window is as exact after a restart as before. Instants that no window can hold any more are
forgotten, the oldest first, as others come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import islice

import attrs

from durable.events import Json
from durable.journal.records import Counted, CountedAs
from durable.journal.rules.flow.options import Window
from durable.timers import after

Place = tuple[str, CountedAs, Json]
"""What is counted together: of this function, in this way, with this key."""


@attrs.define(eq=False, repr=False)
class _Seen:
    """What was counted at one place, in order, and until when the last of it counts."""

    instants: deque[datetime]
    until: datetime


class Windows:
    """Windows hold the instants that still count."""

    def __init__(self) -> None:
        self._seen: dict[Place, _Seen] = {}

    def fold(self, record: Counted) -> None:
        """Take in one more instant."""
        place = (record.function, record.counted_as, record.key)
        for old, seen in list(islice(self._seen.items(), 2)):  # so the work and the memory are both bounded
            if seen.until <= record.at and old != place:
                del self._seen[old]
        seen = self._seen.pop(place, _Seen(deque(), record.until))
        while seen.instants and seen.instants[0] + (record.until - record.at) <= record.at:
            seen.instants.popleft()
        seen.instants.append(record.at)
        seen.until = max(seen.until, record.until)
        self._seen[place] = seen

    def retraction(self, record: Counted) -> Callable[[], None]:
        """Return a function that takes back what `fold` has done."""
        place = (record.function, record.counted_as, record.key)
        known = self._seen.get(place)
        until = None if known is None else known.until

        def put_back() -> None:
            seen = self._seen.get(place)
            if seen is not None and seen.instants[-1] is record.at:
                seen.instants.pop()
                seen.until = until or seen.until
                if not seen.instants:
                    del self._seen[place]

        return put_back

    def has_room_at(self, place: Place, window: Window, now: datetime) -> datetime:
        """Return the first instant from `now` on at which the window takes one more."""
        seen = self._seen.get(place)
        if seen is None:
            return now
        found, instants = now, seen.instants
        if len(instants) >= window.limit:
            found = max(found, after(instants[-window.limit], window.period))
        if window.burst is not None:  # one more for each step of time: since any instant at most so many, and the burst
            step = window.period / window.limit
            for number, instant in enumerate(islice(reversed(instants), window.burst - 1, None), 1):
                # Not beyond the period, as after a limit was lowered: a restart forgets what no longer counts.
                found = max(found, after(instant, min(step * number, window.period)))
        return found
