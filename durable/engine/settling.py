"""Settling: waiting until nothing of an engine can move without time or input from outside.

Separate because tests ask for it, and nothing of a run depends on it.
Leaves to `scheduler` whether a run can move.
"""

from __future__ import annotations

from durable.scheduler import QUIET, Parts, Scheduler


async def settled(parts: Parts, scheduler: Scheduler) -> None:
    """Wait until no handler runs and nothing can move without time or input from outside.

    Raises:
        StoreError: the store failed.
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
        # Where rounds alone will bring it on, there is no handler, timer or foreign await to wait for.
        if not any(not session.delivery.is_idle for session in scheduler.unsettled()):
            await parts.changes.event.wait()


def _is_settled(parts: Parts, scheduler: Scheduler) -> bool:
    due = parts.timers.next_due()
    is_overdue = due is not None and due <= parts.clock.now()
    return not is_overdue and parts.journal.durable == parts.journal.posted and scheduler.is_settled()
