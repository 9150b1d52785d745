"""Define the records of ticks, of schedules made while running, and of pauses.

Separate because they belong to no run: each is a fact that holds until another replaces it.
Leaves to `records` the life of a run, to `rules.schedules` what holds.

Such a fact is kept as a run of its own, which ends in the write of what replaces it. So `prune` leaves what holds, and
takes what was replaced.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

import attrs

from durable.events import Json

Missed = Literal["last", "skip", "all"]
"""What happens to ticks that came while nothing ran: the last one runs, none, or each."""

MISSED: Final[tuple[Missed, ...]] = get_args(Missed)


Mark = tuple[str, str, datetime]
"""A cron expression, its time zone, and the instant up to which its ticks are done with."""


Span = tuple[datetime, datetime]


@attrs.frozen
class TicksPassed:
    """The ticks of a timetable are done with, up to an instant for each of its expressions.

    Attributes:
        of: how the ids of the timetable's runs begin: see `ids`.
        number: counts these records of one timetable.
        marks: for each expression, in the order of declaration. One that stands here for the first time, or again
            after it was gone, was first seen at that instant.
        latest: the last tick of which a run was opened, or None. Any later tick has no run yet.
    """

    of: str
    number: int
    marks: tuple[Mark, ...]
    latest: datetime | None
    at: datetime


@attrs.frozen
class TicksReplaced:
    """A `TicksPassed` of this number is replaced by the next one."""

    of: str
    number: int
    at: datetime


@attrs.frozen
class ScheduleMade:
    """A schedule was made while the engine ran; it replaces an earlier one of the same id."""

    id: str
    function: str
    cron: str
    tz: str
    missed: Missed
    data: Json
    at: datetime
    jitter: float | None = None


@attrs.frozen
class ScheduleEnded:
    """A schedule was taken back."""

    id: str
    at: datetime


@attrs.frozen
class FunctionPaused:
    """From now on no run of the function begins, and its ticks count as missed.

    `spans` are the earlier pauses that runs which are still queued have lived through.
    """

    function: str
    at: datetime
    spans: tuple[Span, ...] = ()


@attrs.frozen
class FunctionResumed:
    """Runs of the function begin again; `spans` are as in `FunctionPaused`, the pause that ends included."""

    function: str
    at: datetime
    spans: tuple[Span, ...] = ()


ScheduleRecord = TicksPassed | TicksReplaced | ScheduleMade | ScheduleEnded | FunctionPaused | FunctionResumed
