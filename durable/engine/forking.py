"""Begin a run with what another has finished, and perhaps with other outcomes.

Separate because it reads a whole run, of which most callers know only the id.
Leaves to `forks` the records of a fork, to `arguments` ids, to `steering` what acts on a run itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from durable.engine.answers import no_such_run
from durable.engine.arguments import check_same_fork, checked_run_id, looked_up
from durable.engine.forks import NO_STEPS, begun, checked_wanted, opening, past
from durable.engine.opened import Opened, asked, known
from durable.engine.run import Run
from durable.journal import RunOpened


async def fork(
    engine: Opened,
    run_id: str,
    *,
    before: str | None = None,
    data: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] = NO_STEPS,
    id: str | None = None,
) -> Run[Any]:
    """Begin a new run with what another run has finished; return its handle once it is durable.

    The new run takes over the ends of steps that are recorded before the first record of the step with the key
    `before`, in their order, and the steps that the code had cancelled by then. Without `before` it takes over all
    steps that have ended well. Everything else begins anew: that step and later ones, open waits, tries and invoked
    runs. The function, its event, `ctx.random` and, up to the first new outcome, `ctx.now()` are those of the other
    run. The id of the run, ids of invoked runs and idempotency keys are new. The other run, which may have ended or
    not, stays as it is. No idempotency key, rate limit, debounce or batch of the function is asked for.

    Args:
        data: the event's data in place of the recorded ones; None keeps them.
        steps: values by step key, in place of recorded outcomes, failures too. An instance is kept by its own class; a
            wait takes an Event, a Signal or None. Where a value or the data are given anew, the code may go another
            way: from there on, steps that it had cancelled begin anew.
        id: the id of the new run, by default a fresh one. The same id again returns the same run.

    Raises:
        KeyError: there is no such run, it has no record of the step `before`, or no outcome for a key of `steps`: the
            error lists the keys there are.
        LookupError: the engine does not have the run's function.
        TypeError, ValueError: an invalid argument, an id that belongs to another run, or a singleton key that another
            run holds.
        CodecError, LimitError: a value or the data cannot be kept, or are too large.
        StoreError: it is not known whether the new run is recorded.
    """
    runtime, run_id = asked(engine, "fork", "a step whose handler calls it"), looked_up(run_id)
    wanted, decisions = checked_wanted(before, data, steps), runtime.decisions
    id = None if id is None else checked_run_id(id)
    await runtime.admission.enter()
    records = past(await runtime.history.entries(run_id))
    if not records:
        raise no_such_run(run_id, runtime.parts.registry.functions)
    assert isinstance(records[0], RunOpened)
    runtime.parts.registry.found(records[0].function, "fork")
    run = id or runtime.ids.fresh(runtime.clock.now())
    async with runtime.starting.setdefault(run, asyncio.Lock()):  # as for `start`
        ledger = None if id is None else await known(engine, run)
        cause = begun(decisions.limits, wanted, records, run, runtime.clock.now(), decisions.openings.sole_key)
        if ledger is not None:
            check_same_fork(ledger, cause)
        else:
            runtime.parts.callers.begin(runtime.journal.post_all, opening(runtime.state, cause))
        await runtime.journal.synced()
    return Run(engine, run)
