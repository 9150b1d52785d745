"""Show a schedule: what runs, by which expression, and when next.

Separate because an open engine, a reader in another process and the command line show a schedule alike.
Leaves to `journal` what is recorded of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from durable.journal import Record, ScheduleMade, TicksPassed, cron_function, decode
from durable.timers import EveryTicks, Ticks, cron_ticks, duration
from durable.views.plain import plainly

EVERY = "every "


@attrs.frozen
class Schedule:
    """A schedule opens runs of a function at the ticks of a cron expression.

    Attributes:
        id: as given to `engine.schedule`; None for a trigger that the function itself declares.
        function_id: the function.
        cron: the expression, or "every 90m".
        tz: the name of its time zone.
        data: what the runs' events have beside the tick.
        next_at: the next tick, without jitter, in UTC; None if there is none.
    """

    id: str | None
    function_id: str
    cron: str
    tz: str
    data: Mapping[str, Any]
    next_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain values that JSON can hold, as `RunInfo.to_dict` does."""
        found: dict[str, Any] = plainly(self)
        return found


def schedules_in(records: Iterable[Record], now: datetime) -> list[Schedule]:
    """Return the schedules of records that stand: first the triggers that engines have seen, then those with an id."""
    triggers, made = list[Schedule](), dict[str, Schedule]()
    for record in records:
        if isinstance(record, TicksPassed) and (function := cron_function(record.of)) is not None:
            for cron, tz, _ in record.marks:
                triggers.append(Schedule(None, function, cron, tz, {}, _next(cron, tz, now)))
        elif isinstance(record, ScheduleMade):
            next_at = _next(record.cron, record.tz, now)
            made[record.id] = Schedule(record.id, record.function, record.cron, record.tz, decode(record.data), next_at)
    return [*sorted(triggers, key=lambda one: one.function_id), *made.values()]


def _next(cron: str, tz: str, now: datetime) -> datetime | None:
    try:
        ticks: Ticks = EveryTicks(duration(cron[len(EVERY) :])) if cron.startswith(EVERY) else cron_ticks(cron, tz)
    except (ImportError, ValueError):  # no cronsim here, or no such zone: the rest can be shown all the same
        return None
    return ticks.after(now)
