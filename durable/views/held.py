"""Show what a function's debounce or batch holds back.

Separate because it is shown of events that have no run yet.
Leaves to `gather` what is held, to `engine` the asking.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from durable.events import Event
from durable.journal import Group, recorded_event
from durable.timers import answering, on_a_line
from durable.views.info import readable
from durable.views.plain import brief, plainly


@answering(function="function_id", function_name="function_id", event="events", until="due", at="due")
@attrs.frozen
class Held:
    """Held events wait until a run opens for them.

    Attributes:
        function_id: the id of the function.
        key: the value of the option's key, in plain values; None for events without one.
        events: the events of a batch in the order of sending; of a debounce the last one, which the run will have.
        due: an aware datetime in UTC: when the run opens.
    """

    function_id: str
    key: Any
    events: list[Event]
    due: datetime

    def __str__(self) -> str:
        """Return one line: the function, the key, how many events of which name, and when the run opens."""
        key = "" if self.key is None else f" with key {brief(self.key)}"
        names = ", ".join(dict.fromkeys(event.name for event in self.events))
        many = f"{len(self.events)} events" if len(self.events) > 1 else "1 event"
        return on_a_line(f"{self.function_id}{key}: {many} ({names}), opens at {self.due:%Y-%m-%d %H:%M:%S} UTC")

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain values that JSON can hold, as `RunInfo.to_dict` does."""
        found: dict[str, Any] = plainly(self)
        return found


def held_of(group: Group) -> Held:
    """Return what a group of held events shows."""
    events = [recorded_event(event).copy() for event in group.events.values()]
    return Held(group.function, readable(group.key, object), events, group.due)
