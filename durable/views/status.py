"""Tell the status of a run from what is recorded of it.

Separate because another process than the engine's has nothing else to tell it from.
Leaves to `scheduler` the status of a run whose execution is in memory.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from durable.journal import Ledger, RunStatus


def recorded_status(ledger: Ledger, now: datetime, running: Collection[str] = ()) -> RunStatus:
    """Return the status of a run at `now`, as far as its record tells it.

    `running` are the keys of the steps whose handlers are known to run. Without them a first try cannot be told from
    none, for nothing is recorded of it before it ends: a run that waits for nothing then counts as running once
    anything is recorded of it beside its opening.
    """
    if ledger.status is not None:
        return ledger.status
    if running:
        return "running"
    if any(facts.outcome is None and (facts.is_waiting or facts.due) for facts in ledger.steps.values()):
        return "waiting"
    if ledger.due is not None and ledger.due > now:  # it is to be called again after an error
        return "waiting"
    return "running" if ledger.count > 1 else "queued"
