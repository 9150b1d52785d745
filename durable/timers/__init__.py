"""Measure time: read durations, tell the time, and keep every deadline in a timer wheel.

Separate because all waiting for a time happens here, so that a test can put another clock in place.
Leaves to `scheduler` the consequences of a deadline that is due.
"""

from durable.timers.clock import Clock, Handle, SystemClock, exact
from durable.timers.cron import EveryTicks, Ticks, cron_ticks, is_tick, last_tick
from durable.timers.durations import Duration, after, aware, duration, earlier, in_seconds, span_or_instant, written
from durable.timers.loop import asyncio_loop
from durable.timers.names import answering, explained, lack_of
from durable.timers.retry_after import retry_after_of
from durable.timers.room import check_room
from durable.timers.spelling import few, keepable, on_a_line, shown
from durable.timers.wheel import TimerWheel

__all__ = [
    "Clock",
    "Duration",
    "EveryTicks",
    "Handle",
    "SystemClock",
    "Ticks",
    "TimerWheel",
    "after",
    "answering",
    "asyncio_loop",
    "aware",
    "check_room",
    "cron_ticks",
    "duration",
    "earlier",
    "exact",
    "explained",
    "few",
    "in_seconds",
    "is_tick",
    "keepable",
    "lack_of",
    "last_tick",
    "on_a_line",
    "retry_after_of",
    "shown",
    "span_or_instant",
    "written",
]
