"""Steer an open engine: cancel runs, open them again, forget them, take events back, wait until all is still.

Separate because these methods act on what exists. `Engine` lists them as its own.
Leaves to `decisions` and `reopening` what follows from each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from durable.engine.arguments import check_reopened, checked_event_id, checked_reason, looked_up
from durable.engine.family import family
from durable.engine.opened import Opened, asked, found, inside
from durable.engine.run import Run
from durable.functions import check_outside
from durable.journal import reopen
from durable.timers import Duration, earlier, span_or_instant


async def cancel(engine: Opened, run_id: str, reason: str | None = None) -> bool:
    """Cancel a run; return False if the run had ended already.

    On return the cancelling is durable, and the run's code does not run again (R27). `reason`, at most 16 KiB, is
    recorded and shown.

    Raises:
        TypeError, ValueError, LimitError: an invalid reason.
        KeyError: there is no such run.
    """
    runtime, run_id = asked(engine, "cancel", "a step whose handler calls it"), looked_up(run_id)
    reason = checked_reason(reason)
    if not runtime.state.is_unfinished(run_id):
        await found(engine, run_id)
    now = runtime.clock.now()
    records = runtime.journal.post_all(runtime.decisions.run_ended(run_id, "cancelled", now, reason=reason))
    await runtime.journal.synced()
    return bool(records)


async def retry(engine: Opened, run_id: str) -> Run[Any]:
    """Open a failed or cancelled run again; finished steps are kept (R32).

    Other steps open again, and deadlines count anew. The same write opens the failed and cancelled runs that it
    invoked and waited for, and so on down; one that has completed meanwhile answers. On return it is durable.

    Raises:
        KeyError: there is no such run.
        ValueError: the run has completed, or has not ended, or another run holds its singleton key.
    """
    runtime, run_id = asked(engine, "retry", "a step whose handler calls it"), looked_up(run_id)
    await runtime.journal.synced()  # R31: what it is now may not be recorded yet
    locks, load = runtime.starting, runtime.history.ledger
    async with runtime.pruning.still(), family(run_id, runtime.state, load, locks) as ended:
        check_reopened(run_id, ended.get(run_id), is_unfinished=runtime.state.is_unfinished(run_id))
        with runtime.state.reopening(ended.values()):
            runtime.journal.post_all(reopen(runtime.decisions, run_id, ended, runtime.clock.now()))
    await runtime.journal.synced()
    return Run(engine, run_id)


async def unsend(engine: Opened, event_id: str) -> bool:
    """Take back an event that is still to come, or held; return False if there is none.

    `event_id` is what `send` returned for an event with a `ts` in the future, or for one that a function's debounce or
    batch holds. On return it is durable that no run opens for it. What it has already led to stays. An id that its
    sender gave it may be sent again at once (R21). False: the event was delivered or taken back already, or there was
    none.

    Raises:
        TypeError: not a text.
    """
    runtime, event_id = asked(engine, "unsend", "a step whose handler calls it"), checked_event_id(event_id)
    records = runtime.journal.post_all(runtime.decisions.event_withdrawn(event_id, runtime.clock.now()))
    await runtime.journal.synced()
    return bool(records)


async def prune(engine: Opened, ended_before: Duration | datetime) -> int:
    """Forget the runs that ended before an instant, with all their records; return how many.

    `ended_before` is an aware datetime, or a duration before now. The engine goes on meanwhile, and the file gives
    their space back. An id that is forgotten is free again. No run that has not ended is touched, and no key or event's
    id that is still in force. If the process dies half way, or the call is cancelled, the next prune goes on.

    Raises:
        TypeError, ValueError: neither a duration nor an aware datetime.
        StoreError: the store has failed.
    """
    runtime = asked(engine, "prune", "a step whose handler calls it")
    before = span_or_instant(ended_before, what="ended_before")
    await runtime.journal.synced()
    return await runtime.pruning.prune(before if isinstance(before, datetime) else earlier(runtime.clock.now(), before))


async def settled(engine: Opened) -> None:
    """Wait until no handler runs and nothing moves without time or input.

    Raises:
        RuntimeError: awaited inside a handler of this engine, which would wait for itself.
        StoreError: the store has failed.
    """
    check_outside(engine, "settled")
    await inside(engine, "settled").settled()
