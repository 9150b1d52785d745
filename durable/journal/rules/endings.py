"""Tell what the end of a run means to others: to the step that invoked it, and to who listens for it.

Separate because it only reads the ledger of a run that has just ended.
Leaves to `decisions` who is told.
"""

from __future__ import annotations

from typing import Any

import attrs

from durable.errors import RecordedError, RunCancelled
from durable.events import CANCELLED, FAILED, FINISHED, seen_by_filters
from durable.journal.codec.values import outline
from durable.journal.records import Ending, Err, Ok, Outcome
from durable.journal.rules.ledger import Ledger

TOLD: dict[Ending, tuple[str, ...]] = {
    "completed": (FINISHED,),
    "failed": (FINISHED, FAILED),
    "cancelled": (FINISHED, CANCELLED),
}
"""The lifecycle events of each way to end (R16)."""


def child_outcome(child: Ledger, key: str) -> Outcome:
    """Return the outcome of the step that has invoked a run, which has just ended."""
    if child.status == "completed":
        return Ok(child.output or "null", deep=True)  # this release has written it
    if child.status == "failed" and child.error is not None:
        return Err(attrs.evolve(child.error, step_id=key))
    message = f"run {child.run!r} was cancelled: {child.reason or 'no reason given'}"
    return Err(RecordedError(RunCancelled.__name__, message, step_id=key))


def _plain(error: RecordedError) -> dict[str, str]:
    return {"name": error.name, "message": error.message, "stack": error.stack}


def ending_data(ledger: Ledger) -> dict[str, Any]:
    """Return the data of the lifecycle events that tell of a run's end."""
    data: dict[str, Any] = {
        "function_id": ledger.function,
        "run_id": ledger.run,
        "event": seen_by_filters(ledger.event),
    }
    if ledger.other_ids:
        data["other_event_ids"] = list(ledger.other_ids)
    if ledger.error is not None and ledger.status == "failed":
        data["error"] = {**_plain(ledger.error), "causes": [_plain(cause) for cause in ledger.error.causes]}
    elif ledger.status == "completed":
        data["result"] = outline(ledger.output or "null")
    if ledger.status == "cancelled":
        data["reason"] = ledger.reason
    return data
