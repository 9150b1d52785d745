"""Ask an engine from outside to pause functions, to keep schedules, to fill in ticks of the past.

Separate because these are about functions and ticks, not about runs. `Sender` lists them as its own.
Leaves to `scheduling` what each of them does when the engine takes it.

Which functions an engine has cannot be known here. A pause or a schedule of one that it lacks is recorded, and counts
once the function is there; a backfill of one stays in the inbox until an engine that has it opens the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from durable.engine.arguments import checked_backfill, checked_function, checked_schedule
from durable.engine.foresight import Look, nothing, of_pause, of_unschedule
from durable.engine.messages import SentBackfill, SentPause, SentResume, SentSchedule, SentUnschedule, Steering
from durable.events import checked_name
from durable.functions import Function
from durable.journal import Limits, Missed, decode, pause_fact, schedule_fact
from durable.timers import Clock, Duration


class Asking(Protocol):
    """The part of a sender that its methods use."""

    @property
    def _limits(self) -> Limits: ...

    @property
    def _clock(self) -> Clock: ...

    async def _ask(self, what: str, run: str | None, look: Look, sent: Steering) -> bool: ...


async def pause(sender: Asking, function: Function[Any] | str) -> bool:
    """Let no run of a function begin, from when the engine takes this: see `Engine.pause`.

    Return False if the store shows that it is paused already.

    Raises:
        TypeError, ValueError, RuntimeError, StoreError: as for `send`.
    """
    name = checked_function(function, "pause")
    asked = SentPause(sender._clock.now(), name)
    return await sender._ask("pause", pause_fact(name), of_pause(name, resumes=False), asked)


async def resume(sender: Asking, function: Function[Any] | str) -> bool:
    """Let runs of a paused function begin again, from when the engine takes this: see `Engine.resume`.

    Return False if the store shows that it is not paused.

    Raises:
        TypeError, ValueError, RuntimeError, StoreError: as for `send`.
    """
    name = checked_function(function, "resume")
    asked = SentResume(sender._clock.now(), name)
    return await sender._ask("resume", pause_fact(name), of_pause(name, resumes=True), asked)


async def backfill(sender: Asking, function: Function[Any] | str, after: datetime, before: datetime) -> None:
    """Open a run for each tick of a function with `after <= tick < before`: see `Engine.backfill`.

    Raises:
        TypeError, ValueError: not an aware datetime.
        RuntimeError, StoreError: as for `send`.
    """
    name = checked_function(function, "backfill")
    asked = SentBackfill(sender._clock.now(), name, *checked_backfill(after, before))
    await sender._ask("backfill", None, nothing, asked)


async def schedule(
    sender: Asking,
    function: Function[Any] | str,
    cron: str,
    *,
    id: str,
    data: Mapping[str, Any] | None = None,
    tz: str = "UTC",
    jitter: Duration | None = None,
    missed: Missed = "last",
) -> None:
    """Make a schedule, or replace the one of this `id`, when the engine takes this: see `Engine.schedule`.

    Its ticks count from then.

    Raises:
        TypeError, ValueError, CodecError, LimitError, ImportError: as for `Engine.schedule`.
        RuntimeError, StoreError: as for `send`.
    """
    name, now = checked_function(function, "schedule"), sender._clock.now()
    made = checked_schedule(name, cron, id, data, tz, jitter, missed, limits=sender._limits, at=now)
    asked = SentSchedule(now, made.id, name, made.cron, made.tz, made.missed, decode(made.data), made.jitter)
    await sender._ask("schedule", None, nothing, asked)


async def unschedule(sender: Asking, id: str) -> bool:
    """Take a schedule back when the engine takes this; return False if the store shows none of this id.

    Raises:
        TypeError, ValueError, RuntimeError, StoreError: as for `send`.
    """
    name = checked_name(id, "the id of a schedule")
    asked = SentUnschedule(sender._clock.now(), name)
    return await sender._ask("unschedule", schedule_fact(name), of_unschedule(name), asked)
