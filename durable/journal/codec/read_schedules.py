"""Make the records of ticks, schedules and pauses from the fields of their text.

Separate because few stores have them.
Leaves to `read` the records of runs, and what all kinds share.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import get_args

from durable.events import Json
from durable.journal.codec.read import (
    Head,
    following,
    instant,
    instant_or_none,
    listed,
    real,
    refuse_value,
    text,
    whole,
)
from durable.journal.schedule_records import (
    FunctionPaused,
    FunctionResumed,
    Missed,
    ScheduleEnded,
    ScheduleMade,
    ScheduleRecord,
    Span,
    TicksPassed,
    TicksReplaced,
)

_MISSED = {missed: missed for missed in get_args(Missed)}


def _ticks_passed(head: Head, value: Json | None) -> TicksPassed:
    refuse_value(value)
    marks = tuple([(intern(cron), intern(tz), instant(passed)) for cron, tz, passed in listed(head["marks"])])
    number, latest = whole(head["number"]), instant_or_none(head["latest"])
    return TicksPassed(text(head["of"]), number, marks, latest, instant(head["at"]))


def _ticks_replaced(head: Head, value: Json | None) -> TicksReplaced:
    refuse_value(value)
    return TicksReplaced(text(head["of"]), whole(head["number"]), instant(head["at"]))


def _schedule_made(head: Head, value: Json | None) -> ScheduleMade:
    return ScheduleMade(
        text(head["id"]),
        intern(head["function"]),
        intern(head["cron"]),
        intern(head["tz"]),
        _MISSED[head["missed"]],
        following(value),
        instant(head["at"]),
        real(head["jitter"]) if "jitter" in head else None,
    )


def _schedule_ended(head: Head, value: Json | None) -> ScheduleEnded:
    refuse_value(value)
    return ScheduleEnded(text(head["id"]), instant(head["at"]))


def _spans(head: Head) -> tuple[Span, ...]:
    return tuple([(instant(begin), instant(end)) for begin, end in listed(head.get("spans", []))])


def _function_paused(head: Head, value: Json | None) -> FunctionPaused:
    refuse_value(value)
    return FunctionPaused(intern(head["function"]), instant(head["at"]), _spans(head))


def _function_resumed(head: Head, value: Json | None) -> FunctionResumed:
    refuse_value(value)
    return FunctionResumed(intern(head["function"]), instant(head["at"]), _spans(head))


SCHEDULE_READERS: dict[str, Callable[[Head, Json | None], ScheduleRecord]] = {
    "TicksPassed": _ticks_passed,
    "TicksReplaced": _ticks_replaced,
    "ScheduleMade": _schedule_made,
    "ScheduleEnded": _schedule_ended,
    "FunctionPaused": _function_paused,
    "FunctionResumed": _function_resumed,
}
