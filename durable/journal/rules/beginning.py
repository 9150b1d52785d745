"""Record that a run has begun whose steps do not tell it.

Separate because a run that was opened again and a fork both need it: the steps of the one are older than its opening
(R32), those of the other are another run's.
Leaves to `scheduler.starts` the runs whose functions bound them: of these it is recorded when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from durable.journal.records import Record, RunAdmitted
from durable.journal.rules.state import State


def begins(state: State, run: str, function: str, told: datetime) -> Iterator[Record]:
    """Record that a run begins, in the cause of its opening, if it need not wait for anything.

    `told` is the time that its function is told until the first outcome.
    """
    if function in state.functions and function not in state.flowing and function not in state.standing.paused:
        yield RunAdmitted(run, told)
