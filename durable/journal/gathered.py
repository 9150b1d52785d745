"""Define the records of events that open no run when they come, or none at all.

Separate because they belong to no run: an event is held before there is one, or skipped in favour of one.
Leaves to `rules.flow.gather` what is held and when it opens.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from durable.events import Event, Json

Mode = Literal["debounce", "batch"]
"""How a function gathers events before a run of it opens."""


@attrs.frozen
class EventHeld:
    """A debounce or batch holds an event back, in a group with others of its key.

    The event of a debounce takes the place of the one that its group held.

    Attributes:
        group: the id of the group: see `ids.held_group`.
        id: the runtime's own id of the event.
        due: when the group opens.
        since: when the group's first event came.
        replaces: the id of the event whose place it takes, as its sender knows it, or None.
    """

    group: str
    function: str
    mode: Mode
    key: Json
    id: str
    event: Event
    at: datetime
    due: datetime
    since: datetime
    replaces: str | None = None


@attrs.frozen
class EventUnheld:
    """A batch no longer holds one of its events, which its sender has taken back."""

    group: str
    id: str
    at: datetime


@attrs.frozen
class GroupClosed:
    """A group of held events was opened, or the last of its events was taken back.

    The openings of its runs, if any, follow in the same write.
    """

    group: str
    at: datetime


@attrs.frozen
class EventSkipped:
    """An event has opened no run of a function, because of something that came before it.

    `by` is the run that holds the function's singleton key, or the group whose held event has a later `ts`.
    """

    id: str
    name: str
    function: str
    by: str
    at: datetime


Gathered = EventHeld | EventUnheld | GroupClosed
