"""Show a schedule: what runs, by which expression, and when next.

Separate because a schedule is shown alike by an open engine and by the command line.
Leaves to `journal` what is recorded of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs


@attrs.frozen
class Schedule:
    """A schedule opens runs of a function at the ticks of a cron expression.

    Attributes:
        id: as given to `engine.schedule`; None for a trigger that the function itself declares.
        function_id: the function.
        cron: the expression, or "every 90m".
        tz: the name of its time zone.
        data: what the runs' events have beside the tick.
        next_at: the next tick, without jitter, in UTC; None if there is none.
    """

    id: str | None
    function_id: str
    cron: str
    tz: str
    data: Mapping[str, Any]
    next_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON if the data are; an instant is ISO text."""
        return {**attrs.asdict(self, recurse=False), "next_at": self.next_at and self.next_at.isoformat()}
