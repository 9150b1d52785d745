"""Show where a run, or a try of one of its steps, stands in line before a limit.

Separate because a picture of a run, a why and an error that says what is waited for all show it.
Leaves to `scheduler` who stands where.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

ITSELF = ""
"""The key under which a run itself waits: for its start."""


@attrs.frozen
class InLine:
    """A place in line before a limit: `position` is counted from 1, `until` is when there is room at the earliest."""

    queue: str
    position: int
    until: datetime | None = None

    def __str__(self) -> str:
        """Return the place in words."""
        earliest = "" if self.until is None else f", at {self.until} at the earliest"
        return f"its turn before {self.queue}, as number {self.position:,} in line{earliest}"


Lines = Mapping[str, InLine]
"""By the key of the step, or `ITSELF`."""


def waiter(key: str) -> str:
    """Return who waits under a key of `RunInfo.waiting_for`."""
    return f"step {key!r}" if key != ITSELF else "its start"
