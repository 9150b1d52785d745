"""Decide the records of a pause and of its end (F10).

Separate because a pause is about a function, not about a run: it holds back runs that nobody has opened yet.
Leaves to `rooms` that a run waits while its function is paused, to `ticking` the ticks that were missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from durable.journal.records import Record, RunAdmitted
from durable.journal.rules.state import State
from durable.journal.schedule_records import FunctionPaused, FunctionResumed, Span


def pauses(state: State, function: str, running: Iterable[str], now: datetime) -> Iterator[Record]:
    """Pause a function; those of its runs that are `running` have begun, and go on after a restart, too."""
    yield FunctionPaused(function, now, _spans(state, function))
    for run in running:
        ledger = state.ledgers[run]
        if not ledger.has_begun:  # its function has been told the time of the opening, and must be told that again
            yield RunAdmitted(run, ledger.opened_at)


def resumes(state: State, function: str, now: datetime) -> Iterator[Record]:
    """Resume a function that is paused."""
    yield FunctionResumed(function, now, _spans(state, function, now))


def _spans(state: State, function: str, until: datetime | None = None) -> tuple[Span, ...]:
    """Return the pauses that a run which has not started yet has lived through; `until` ends the last one."""
    known = state.standing.pauses.get(function)
    spans = () if known is None else known.spans
    if known is not None and until is not None:
        spans = (*spans, (known.at, until))
    since = [run.since for run in state.unfinished() if run.function == function and run.started_at is None]
    return tuple([span for span in spans if since and span[1] > min(since)])
