"""The end of an execution: its tasks cancelled, its handlers ended, those that do not end named and left behind.

Separate because it takes time, and happens alike however an execution ends: by itself, cancelled, parked, closed (R8).
Leaves to `scheduler` what is recorded of the end, to `session` to refuse.
"""

from __future__ import annotations

import asyncio
from typing import Any

from durable.session import Session

GRACE = 5.0  # seconds


async def stop(session: Session, grace: float | None = None) -> None:
    """End a session whose function has not ended by itself; record nothing of it (R8)."""
    session.is_stopped = True
    session.stop()
    await has_left(session)
    await end(session, grace)


async def has_left(session: Session) -> None:
    """Wait until a function that was cancelled has ended."""
    await _wait_for(session, [session.main], GRACE)


async def end(session: Session, grace: float | None = None) -> None:
    """Cancel the tasks that called or awaited steps, and the running handlers; wait until they have ended.

    A task that swallows its cancelling is named in the log after 5 s and left behind; a handler is waited for, at the
    most `grace` seconds.
    """
    tasks = [task for task in session.branches if not task.done()]
    if tasks and not session.is_stopped:
        _tell_waiting(session, tasks)
    session.stop()
    for work in list(session.works):
        work.stop()
    await _wait_for(session, tasks, GRACE)
    endings = [session.machine.loop.create_task(work.ended()) for work in session.works]
    await _wait_for(session, endings, grace)
    for ending in endings:
        ending.cancel()


async def _wait_for(session: Session, tasks: list[asyncio.Task[Any]], grace: float | None) -> None:
    if not tasks:
        return
    _, pending = await asyncio.wait(tasks, timeout=grace)
    if pending:
        session.machine.logger.error(
            "run %r: %d of its tasks do not end although they were cancelled; they are left behind: %s",
            session.ledger.run,
            len(pending),
            ", ".join(sorted(task.get_name() for task in pending)),
        )


def _tell_waiting(session: Session, tasks: list[asyncio.Task[Any]]) -> None:
    waiting = [claim.key for claim in session.claims.values() if claim.awaited_by in tasks]
    if waiting:
        session.machine.logger.warning(
            "run %r: the function ended while tasks of its own still waited in steps: %s; they are cancelled",
            session.ledger.run,
            ", ".join(repr(key) for key in waiting),
        )
