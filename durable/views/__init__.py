"""Show runs: as values, as a list, as a timeline in text, and why they wait.

Separate because showing a run reads its ledger and changes nothing.
Leaves to `engine` the choice of runs, and the output.
"""

from durable.views.health import Health
from durable.views.held import Held, held_of
from durable.views.in_line import ITSELF, InLine, waiter
from durable.views.info import RunInfo, StepInfo, readable, run_info
from durable.views.listing import listed
from durable.views.live import Live, LiveStep, live_of, live_text
from durable.views.schedule import Schedule, schedules_in
from durable.views.table import table_of
from durable.views.timeline import span
from durable.views.why import Wait, Why, near_misses, why_of, with_lines

__all__ = [
    "ITSELF",
    "Health",
    "Held",
    "InLine",
    "Live",
    "LiveStep",
    "RunInfo",
    "Schedule",
    "StepInfo",
    "Wait",
    "Why",
    "held_of",
    "listed",
    "live_of",
    "live_text",
    "near_misses",
    "readable",
    "run_info",
    "schedules_in",
    "span",
    "table_of",
    "waiter",
    "why_of",
    "with_lines",
]
