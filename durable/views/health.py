"""Show how an engine is, as one value.

Separate because a daemon's health is asked for by machines, every few seconds, and must be plain and cheap.
Leaves to `engine.condition` the asking of the engine's parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from durable.journal import RunStatus
from durable.views.plain import plainly


@attrs.frozen
class Health:
    """A health says how an engine is.

    Attributes:
        status: "ok", or what is wrong, in words; several things are joined by "; ".
        opened_at: when the engine was opened, an aware datetime in UTC; None while it is not open.
        recovered: how many unfinished runs it found at its opening.
        runs: how many runs there are, by status: of "queued", "running" and "waiting" those that have not ended now; of
            "completed", "failed" and "cancelled" those that have ended since the opening.
        late_by: how late the oldest deadline is that is still to be acted on; zero if none is late.
        queued: how many queued runs wait for a start, by function; functions without any are left out.
        store_bytes: what the store's file and its `-wal` take; None for a store that is no file.
    """

    status: str
    opened_at: datetime | None
    recovered: int
    runs: Mapping[RunStatus, int]
    late_by: timedelta
    queued: Mapping[str, int]
    store_bytes: int | None

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == "ok"

    def to_dict(self) -> dict[str, object]:
        """Return the attributes in a form that JSON can hold: instants in ISO 8601, `late_by` in seconds."""
        found: dict[str, object] = plainly(self)
        return found
