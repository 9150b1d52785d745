"""Pause and resume functions, make schedules, fill in ticks of the past.

Separate because these methods act on functions and ticks, not on runs. `Engine` lists them as its own.
Leaves to `calendar` what is asked of the store and posted, to `ticking` what a tick opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from durable.engine.arguments import checked_backfill, checked_schedule
from durable.engine.opened import Opened, asked, inside
from durable.engine.run import Run
from durable.events import checked_name
from durable.functions import Function
from durable.journal import Missed, decode
from durable.timers import Duration
from durable.views import Schedule

_INSTEAD = "a step whose handler calls it"


async def pause(engine: Opened, function: Function[Any] | str) -> bool:
    """Let no run of a function begin until `resume`; return False if it was paused already.

    It is recorded, so it survives a restart. Runs that events, `start` and `invoke` open stay queued, as do those that
    were queued before; `Timeouts(start=)` stands still for them. Runs that have begun go on. Ticks of the function
    count as missed.

    Raises:
        LookupError: the engine has no function with this id.
        TypeError, StoreError: as for `start`.
    """
    runtime = asked(engine, "pause", _INSTEAD)
    paused = runtime.calendar.pause(engine._registry.found(function, "pause"))
    await runtime.journal.synced()
    return paused


async def resume(engine: Opened, function: Function[Any] | str) -> bool:
    """Let runs of a paused function begin again; return False if it was not paused.

    The ticks that came meanwhile are decided in the same write, by `missed` of their trigger or schedule.

    Raises:
        LookupError: the engine has no function with this id.
        TypeError, StoreError: as for `start`.
    """
    runtime = asked(engine, "resume", _INSTEAD)
    resumed = await runtime.calendar.resume(engine._registry.found(function, "resume"))
    await runtime.journal.synced()
    return resumed


async def backfill(engine: Opened, function: Function[Any] | str, after: datetime, before: datetime) -> list[Run[Any]]:
    """Open a run for each tick of a function with `after <= tick < before`; return the runs of all those ticks.

    A tick has one run: those that had one before, ended or not, are not opened again, only returned. The ticks are
    those of the function's triggers as they are declared now, and of its schedules since each was made. The runs come
    in the order of their ticks. Hundreds of them take several writes. A run that `prune` has taken is opened anew.

    Args:
        after, before: aware datetimes.

    Raises:
        LookupError: the engine has no function with this id.
        TypeError, ValueError: not an aware datetime.
        StoreError: it is not known which runs were opened.
    """
    runtime = asked(engine, "backfill", _INSTEAD)
    name = engine._registry.found(function, "backfill")
    runs = await runtime.calendar.backfill(name, *checked_backfill(after, before))
    await runtime.journal.synced()
    return [Run(engine, run) for run in runs]


async def schedule(
    engine: Opened,
    function: Function[Any] | str,
    cron: str,
    *,
    id: str,
    data: Mapping[str, Any] | None = None,
    tz: str = "UTC",
    jitter: Duration | None = None,
    missed: Missed = "last",
) -> None:
    """Open runs of a function at the ticks of a cron expression, from now on until `unschedule`.

    It is recorded. The same `id` again replaces the schedule; if nothing has changed, it goes on as it is. The id of a
    run is "schedule/<id>/<tick>"; its event has the data beside "cron", "tz", "scheduled_at" and "fired_at". All else
    is as for a `TriggerCron`.

    Raises:
        LookupError: the engine has no function with this id.
        TypeError, ValueError: no expression, no time zone, an empty id, data that has one of the four keys.
        CodecError, LimitError: the data cannot be kept, or are too large.
        ImportError: without the extra `cron`.
        StoreError: as for `start`.
    """
    runtime = asked(engine, "schedule", _INSTEAD)
    name, limits = engine._registry.found(function, "schedule"), runtime.decisions.limits
    given = (cron, id, data, tz, jitter, missed)
    runtime.calendar.schedule(checked_schedule(name, *given, limits=limits, at=runtime.clock.now()))
    await runtime.journal.synced()


async def unschedule(engine: Opened, id: str) -> bool:
    """Take a schedule back; return False if there is none of this id. Its runs go on.

    Raises:
        TypeError, ValueError: not an id.
        StoreError: as for `start`.
    """
    runtime = asked(engine, "unschedule", _INSTEAD)
    was_there = runtime.calendar.unschedule(checked_name(id, "the id of a schedule"))
    await runtime.journal.synced()
    return was_there


async def schedules(engine: Opened) -> list[Schedule]:
    """Return the triggers of all functions, which have no id, then the schedules in the order of their making."""
    runtime = inside(engine, "schedules")
    await runtime.journal.synced()
    now, ticker, found = runtime.clock.now(), runtime.scheduler.ticker, list[Schedule]()
    for table in ticker.tables.values():
        if table.schedule is None:
            for rule in table.rules:
                found.append(Schedule(None, table.function, rule.cron, rule.tz, {}, rule.ticks.after(now)))
    for made in runtime.state.standing.made.values():
        next_at = ticker.next_tick(made.id, now)
        found.append(Schedule(made.id, made.function, made.cron, made.tz, decode(made.data), next_at))
    return found
