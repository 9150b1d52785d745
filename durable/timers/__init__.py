"""Time: durations as people write them, the clock, and the timer wheel that holds every deadline.

Separate because everything above speaks in instants and spans, and nothing else may wait for one.
Leaves to the rooms above what follows when a deadline has come.
"""

from durable.timers.clock import Clock, Handle, SystemClock, exact
from durable.timers.durations import Duration, after, aware, duration
from durable.timers.retry_after import retry_after_of
from durable.timers.spelling import keepable, on_a_line, shown
from durable.timers.wheel import TimerWheel

__all__ = [
    "Clock",
    "Duration",
    "Handle",
    "SystemClock",
    "TimerWheel",
    "after",
    "aware",
    "duration",
    "exact",
    "keepable",
    "on_a_line",
    "retry_after_of",
    "shown",
]
