"""Keep the few facts of a parked run that must stay in memory.

A parked run has no coroutine, and waits in one step.

Separate because a hundred thousand of these must be small; the rest of their ledgers is in the store alone.
Leaves to `parking` the choice of runs, and the reading of the rest.
"""

from __future__ import annotations

import sys
from datetime import datetime

from durable.events import Event
from durable.journal.records import StepKind, Wait, without_ask
from durable.journal.rules.ledger import Ledger, StepFacts


class ParkedRun:
    """A parked run holds the facts that the rules need while it waits.

    They find it by these, and end the step in which it waits.
    """

    __slots__ = (
        "_count",
        "_kind",
        "_open_turn",
        "_reopenings",
        "_size",
        "event",
        "function",
        "key",
        "opened_at",
        "run",
        "since",
        "started_at",
        "wait",
    )

    event: Event
    opened_at: datetime
    since: datetime
    started_at: datetime | None
    wait: Wait | None
    _kind: StepKind

    def __init__(self, ledger: Ledger, key: str) -> None:
        ledger.close_turns()
        facts = ledger.steps[key]
        self.run = ledger.run
        self.function = sys.intern(ledger.function)
        self.event = ledger.event
        self.opened_at, self.since = ledger.opened_at, ledger.since
        self.started_at = ledger.started_at
        self.key = sys.intern(key)
        self.wait = without_ask(facts.wait)
        self._kind = facts.kind
        self._open_turn = ledger.open_turn
        self._size = ledger.size
        self._reopenings = ledger.reopenings
        self._count = ledger.count

    def ledger(self) -> Ledger:
        """Return a ledger that can fold further records, and knows only the open step."""
        return Ledger(
            self.run,
            self.function,
            self.event,
            self.opened_at,
            steps={self.key: StepFacts(self._kind, self.opened_at, self.wait, is_waiting=True)},
            open_turn=self._open_turn,
            size=self._size,
            started_at=self.started_at,
            reopenings=self._reopenings,
            reopened_at=self.since,
            count=self._count,
            is_whole=False,
        )
