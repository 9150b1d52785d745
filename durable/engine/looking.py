"""Look at runs through an open engine: handles, pictures, lists, reasons and results.

Separate because these methods change nothing. `Engine` lists them as its own.
Leaves to `views` the pictures, to `answers` the words for a run that is not there or late.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

import attrs

from durable.engine.answers import late, no_such_run, without_step
from durable.engine.arguments import checked_query, looked_up
from durable.engine.opened import Opened, found, inside
from durable.engine.passed_over import passed_over
from durable.engine.run import OF_A_RUN, Run, outcome
from durable.engine.runtime import Runtime
from durable.events import checked_text
from durable.functions import Function, check_outside
from durable.journal import Err, Ledger, Ok, RunClosed, RunStatus, raised
from durable.scheduler import lines_of
from durable.timers import Duration, duration
from durable.views import RunInfo, Why, listed, near_misses, readable, why_of, with_lines


async def run(engine: Opened, run_id: str) -> Run[Any]:
    """Return the handle of a run, ended or not.

    Raises:
        KeyError: there is no such run.
    """
    runtime, run_id = inside(engine, "run"), looked_up(run_id)
    await found(engine, run_id)
    await runtime.journal.synced()
    return Run(engine, run_id)


async def runs(
    engine: Opened,
    *,
    status: RunStatus | None = None,
    function: Function[Any] | str | None = None,
    event: str | None = None,
    event_id: str | None = None,
    parent: str | None = None,
    opened_after: datetime | None = None,
    opened_before: datetime | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[RunInfo]:
    """Return the runs that fit every given condition, newest first, at most `limit`.

    Args:
        status: "queued", "running", "waiting", "completed", "failed" or "cancelled".
        function, event: a function or its id, and the name of the event that opened the run.
        event_id: the id of that event: what `send` returned, or the id that the sender gave it. Runs that an earlier
            release has opened are found by what `send` returned.
        parent: the id of the run that invoked it.
        opened_after, opened_before: aware datetimes; it was opened at the first or later, and before the second.
        before: a run's id: the list goes on behind that run, as the next page.

    Raises:
        TypeError, ValueError: an unknown status, a negative limit, a name or id that is not a string, an instant that
            is no aware datetime.
        KeyError: `before` is the id of no run.
    """
    runtime = inside(engine, "runs")
    query = checked_query(
        status=status,
        function=function,
        event=event,
        event_id=event_id,
        parent=parent,
        opened_after=opened_after,
        opened_before=opened_before,
        before=before,
        limit=limit,
    )
    await runtime.journal.synced()
    return await listed(runtime.store, query, runtime.scheduler.status_of, engine.info)


async def info(engine: Opened, run_id: str) -> RunInfo:
    """Return a picture of a run: see `Run.info`."""
    runtime, run_id = inside(engine, "info"), looked_up(run_id)
    ledger = await found(engine, run_id)
    info = runtime.pictured(ledger)
    count = ledger.count  # R31: what is folded from here on may not be durable when this is answered
    return attrs.evolve(info, record=(await runtime.history.entries(run_id))[:count])


async def why(engine: Opened, run_id: str) -> Why:
    """Return why a run does not move: what each open step waits for, or how the run has ended.

    The text also tells of the last ten events of each name that is waited for, as far as this engine has seen them
    since the first wait for the name: when one came, and which part of the filter said no, to which values. Below it
    tells of events that opened no run because of this one: those that a debounce replaced or a singleton skipped.

    Raises:
        KeyError: there is no such run.
        StoreError: the store has failed.
    """
    runtime, run_id = inside(engine, "why"), looked_up(run_id)
    ledger = await found(engine, run_id)
    info, now = runtime.pictured(ledger), runtime.clock.now()
    in_line = lines_of(runtime.scheduler, ledger, now)
    told = why_of(ledger, info, now, partial(_near, runtime, run_id), _notes(engine, ledger), in_line)
    await runtime.journal.synced()  # R31
    return with_lines(told, await passed_over(runtime.history.entries, ledger))


def _near(runtime: Runtime, run_id: str, key: str) -> list[str]:
    bus = runtime.state.bus
    placed = bus.at((run_id, key))
    return [] if placed is None else near_misses(placed[0], bus.last_of(placed[0].event))


def _notes(engine: Opened, ledger: Ledger) -> list[str]:
    if ledger.function in engine._registry.functions:
        return []
    return ["it stays parked: its function is not registered in this engine; pass it in Engine(functions=[...])"]


async def result(engine: Opened, run_id: str, timeout: Duration | None = None) -> Any:
    """Wait for the end of a run: see `Run.result`."""
    runtime, run_id = inside(engine, "result"), looked_up(run_id)
    check_outside(engine, "result")
    with OF_A_RUN:
        return await value(engine, runtime, run_id, timeout)


async def value(engine: Opened, runtime: Runtime, run_id: str, timeout: Duration | None) -> Any:
    """Do what `result` does, for a caller that has checked where it is and of which run it asks."""
    if timeout is None:
        name, ended = await _ended(engine, runtime, run_id, None)
    else:
        seconds = duration(timeout, what="the timeout of a result").total_seconds()
        name, ended = await _ended_within(engine, runtime, run_id, seconds)
    return outcome(ended, engine._registry.output_type(name))


async def _ended_within(engine: Opened, runtime: Runtime, run_id: str, seconds: float) -> tuple[str, RunClosed]:
    try:
        async with asyncio.timeout(seconds):
            return await _ended(engine, runtime, run_id, seconds)
    except TimeoutError:  # it may have ended all the same: no time is too short to say so
        opened, closed = await runtime.history.ends(run_id)
        if opened is None or closed is None:
            raise late(await engine.info(run_id), seconds) from None
        return opened.function, closed


async def _ended(engine: Opened, runtime: Runtime, run_id: str, seconds: float | None) -> tuple[str, RunClosed]:
    while True:
        known = runtime.state.known(run_id)
        if known is not None:
            return known.function, await runtime.ending(run_id, seconds)
        opened, closed = await runtime.history.ends(run_id)
        if opened is None:
            raise no_such_run(run_id, engine._registry.functions)
        if closed is not None:
            return opened.function, closed


async def step(engine: Opened, run_id: str, key: str, timeout: Duration | None = None) -> Any:
    """Wait for the end of a run's step: see `Run.step`."""
    runtime, run_id = inside(engine, "step"), looked_up(run_id)
    check_outside(engine, "step")
    key = checked_text(key, "the key of a step")
    seconds = None if timeout is None else duration(timeout, what="the timeout of a step").total_seconds()
    try:
        async with asyncio.timeout(seconds):
            outcome = await _finished(engine, runtime, run_id, key, seconds)
    except TimeoutError:
        if (over := await _over(engine, runtime, run_id, key)) is None:
            raise late(await engine.info(run_id), seconds, key) from None
        outcome = over
    if isinstance(outcome, Ok):
        return readable(outcome.value, object)
    with OF_A_RUN:
        raise raised(outcome.error, key)


async def _finished(engine: Opened, runtime: Runtime, run_id: str, key: str, seconds: float | None) -> Ok | Err:
    with runtime.ends.of(run_id) as moved:  # from before the first look, so that no end is missed
        while True:
            moved.clear()
            if (over := await _over(engine, runtime, run_id, key)) is not None:
                return over
            await _next(runtime, run_id, moved, seconds)


async def _over(engine: Opened, runtime: Runtime, run_id: str, key: str) -> Ok | Err | None:
    """Return how a step has ended, or None if it may yet end.

    Raises:
        LookupError: the run has ended without it, or there is none.
    """
    ledger = await found(engine, run_id)
    facts = ledger.steps.get(key)
    if facts is not None and isinstance(facts.outcome, Ok | Err):
        await runtime.journal.synced()  # R2
        return facts.outcome
    if ledger.status is not None:
        await runtime.journal.synced()
        raise without_step(ledger, key)
    return None


async def _next(runtime: Runtime, run_id: str, moved: asyncio.Event, seconds: float | None) -> None:
    """Wait until a step of a run has ended, or the run.

    Raises:
        RuntimeError, StoreError: as for the result of the run.
    """
    # Not create_task: a task factory may take these for tasks of a function.
    waiting = [asyncio.Task(one, loop=runtime.loop) for one in (moved.wait(), runtime.ending(run_id, seconds))]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not moved.is_set():
            waiting[1].result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
