"""Tell where a run and the tries of its steps stand in line.

Separate because it is asked only when somebody looks, and costs as much as there are who wait.
Leaves to `views` the words.
"""

from __future__ import annotations

from datetime import datetime

from durable.journal import Ledger, PeriodRoom, Room
from durable.scheduler.scheduler import Scheduler
from durable.views import ITSELF, InLine


def lines_of(scheduler: Scheduler, ledger: Ledger, now: datetime) -> dict[str, InLine]:
    """Return where a run that has not ended waits in line, by the keys of its steps, and `ITSELF`."""
    found: dict[str, InLine] = {}
    if ledger.status is not None:
        return found
    if scheduler.starts.holds_back(ledger.run):
        place = scheduler.starts.waits_for(ledger)
        if place is not None:
            found[ITSELF] = _in_line(*place, now)
    session = scheduler.sessions.get(ledger.run)
    if session is None or session.turns is None:
        return found
    for call in session.calls.values():
        turn = None if call is None or call.work is None else call.work.turn
        place = None if turn is None else session.turns.waits_for(turn)
        if call is not None and place is not None:
            found[call.key] = _in_line(*place, now)
    return found


def _in_line(room: Room, position: int, now: datetime) -> InLine:
    free = room.free_at(now) if isinstance(room, PeriodRoom) else None
    return InLine(str(room), position, free if free is not None and free > now else None)
