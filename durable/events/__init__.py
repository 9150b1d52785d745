"""Define events and signals, and find the triggers and waits that hear them.

The filters are expressions in CEL; the event bus is an index in memory.

Separate because the search is pure: it awaits nothing, and uses no clock, file or log.
Leaves to `journal` the consequences of an event, to `scheduler` the runs that it wakes.
"""

from durable.events import expressions
from durable.events.bus import EventBus
from durable.events.event import (
    CANCELLED,
    FAILED,
    FINISHED,
    INVOKED,
    LIFECYCLE,
    RESERVED,
    TIMER,
    Event,
    Json,
    Signal,
    checked_data,
    event_of,
)
from durable.events.examples import fitting
from durable.events.expressions.expression import Expression, parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.values import truthy
from durable.events.matching import (
    checked_expression,
    checked_path,
    checked_pattern,
    lacking,
    path_of,
    seen_by_filters,
)
from durable.events.misses import filter_of, missed
from durable.events.triggers import Complaint, Listener, Place, Trigger, is_one_equality
from durable.events.words import (
    NAME_BYTES,
    can_be_kept,
    checked_choice,
    checked_count,
    checked_name,
    checked_number,
    checked_text,
    is_str,
    plain,
)

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINISHED",
    "INVOKED",
    "LIFECYCLE",
    "NAME_BYTES",
    "RESERVED",
    "TIMER",
    "Complaint",
    "EvaluationError",
    "Event",
    "EventBus",
    "Expression",
    "Json",
    "Listener",
    "Place",
    "Signal",
    "Trigger",
    "can_be_kept",
    "checked_choice",
    "checked_count",
    "checked_data",
    "checked_expression",
    "checked_name",
    "checked_number",
    "checked_path",
    "checked_pattern",
    "checked_text",
    "event_of",
    "expressions",
    "filter_of",
    "fitting",
    "is_one_equality",
    "is_str",
    "lacking",
    "missed",
    "parse",
    "path_of",
    "plain",
    "seen_by_filters",
    "truthy",
]
