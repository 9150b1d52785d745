"""Declare the ticks at which runs of a function open.

Separate because a tick is no event: nobody sends it, and nobody else hears it.
Leaves to `timers` the ticks of an expression, to `journal` which of them open a run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from durable.errors import checked_calls
from durable.events import checked_choice, checked_name
from durable.journal import MISSED, CronRule, Missed
from durable.timers import Duration, EveryTicks, cron_ticks, duration, in_seconds


@checked_calls
@attrs.frozen
class TriggerCron:
    """A cron trigger opens a run at each tick of a cron expression.

    `ctx.event` is "durable/scheduled.timer" with `{"cron", "tz", "scheduled_at", "fired_at"}`, aware datetimes in UTC.
    The run's id is "cron/<function>/2030-01-01T01:00:00Z", its tick in UTC: a tick opens one run, whatever crashes or
    clocks do, and however many triggers name it. The first engine that sees a trigger records that: no earlier tick is
    missed. It needs the extra `cron`: `pip install 'durable-steps[cron]'`.

    Attributes:
        cron: "minute hour day month weekday", six fields with the second first, or "@hourly" and its like. In a zone
            with summer time an expression whose minute and hour are no * runs once a day that it names: if its time is
            missing that day, when the clocks were set; any other follows the clock.
        tz: the name of a time zone, such as "Europe/Berlin".
        jitter: a duration by which the run opens later at the most; the delay derives from function and tick.
        missed: what happens to ticks that came while nothing ran, while the function was paused, or that are noticed
            more than a minute late: "last": the last of them runs; "skip": none; "all": each.

    Raises:
        TypeError, ValueError: at the call, for what is no cron expression or never comes, or no time zone.
        ImportError: at the call, without the extra.
    """

    cron: str
    tz: str = attrs.field(default="UTC", kw_only=True)
    jitter: Duration | None = attrs.field(default=None, kw_only=True)
    missed: Missed = attrs.field(default="last", kw_only=True)

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        rule = checked_rule(self.cron, self.tz, self.jitter, self.missed, what="a TriggerCron")
        put(self, "cron", rule.cron)
        put(self, "tz", rule.tz)
        put(self, "jitter", rule.jitter or None)
        put(self, "missed", rule.missed)


@checked_calls
@attrs.frozen
class TriggerEvery:
    """An every trigger opens a run at each multiple of a duration since 1970.

    It counts in UTC. All else is as for a `TriggerCron`; `cron` in the event's data reads "every 90m".

    Attributes:
        every: a duration, more than zero.
        jitter, missed: see `TriggerCron`.

    Raises:
        TypeError, ValueError: at the call.
    """

    every: Duration
    jitter: Duration | None = attrs.field(default=None, kw_only=True)
    missed: Missed = attrs.field(default="last", kw_only=True)

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        every = duration(self.every, what="every of a TriggerEvery")
        if not every:
            raise ValueError("every of a TriggerEvery must be more than zero")
        put(self, "every", str(self.every) if isinstance(self.every, str) else every)
        put(self, "jitter", _jitter(self.jitter, what="a TriggerEvery") or None)
        put(self, "missed", checked_choice(self.missed, MISSED, "missed of a TriggerEvery"))


def checked_rule(cron: object, tz: object, jitter: Any, missed: object, *, what: str) -> CronRule:
    """Return a checked cron rule; `what` names its owner in errors.

    Raises:
        TypeError, ValueError, ImportError: see `TriggerCron`.
    """
    expression = " ".join(checked_name(cron, f"the cron of {what}").split())
    zone = checked_name(tz, f"the tz of {what}")
    chosen: Any = checked_choice(missed, MISSED, f"missed of {what}")
    return CronRule(expression, zone, cron_ticks(expression, zone), _jitter(jitter, what=what), chosen)


def _jitter(jitter: Any, *, what: str) -> timedelta:
    return timedelta(0) if jitter is None else duration(jitter, what=f"the jitter of {what}")


def rule_of_ticks(trigger: TriggerCron | TriggerEvery) -> CronRule:
    """Return the cron rule of a trigger, as the engine's rules use it."""
    if isinstance(trigger, TriggerCron):
        return checked_rule(trigger.cron, trigger.tz, trigger.jitter, trigger.missed, what="a TriggerCron")
    every = duration(trigger.every)
    said = trigger.every if isinstance(trigger.every, str) else in_seconds(every)
    jitter = _jitter(trigger.jitter, what="a TriggerEvery")
    return CronRule(f"every {said}", "UTC", EveryTicks(every), jitter, trigger.missed)
