"""Wait until every run waits for time or for input from outside.

Separate because only tests need this, and no run depends on it.
Leaves to `scheduler` the question whether a run can move.
"""

from __future__ import annotations

from durable.scheduler import QUIET, Parts, Scheduler


async def settled(parts: Parts, scheduler: Scheduler) -> None:
    """Wait until no handler runs and every run waits for time or for input from outside.

    Raises:
        StoreError: the store has failed.
    """
    while True:
        parts.changes.event.clear()
        parts.timers.fire()
        if not scheduler.strays.is_idle:
            scheduler.strays.look()
        await parts.journal.synced()
        await parts.rounds.passed(QUIET + 2)
        if _is_settled(parts, scheduler):
            return
        # A delivery that is under way needs only more rounds of the loop, and a look for strays need not wait for its
        # time. All else ends with a change: wait for that.
        if scheduler.strays.is_idle and not any(not session.delivery.is_idle for session in scheduler.unsettled()):
            await parts.changes.event.wait()


def _is_settled(parts: Parts, scheduler: Scheduler) -> bool:
    due = parts.timers.next_due()
    is_overdue = due is not None and due <= parts.clock.now()
    return not is_overdue and parts.journal.durable == parts.journal.posted and scheduler.is_settled()
