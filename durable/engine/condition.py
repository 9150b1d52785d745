"""Ask an engine how it is.

Separate because it answers whatever the engine's state: a daemon asks above all when something is wrong.
Leaves to `views.health` the value, and the contract of its attributes.

What counts as wrong is what a person must do something about: the engine does not run, the store has failed or keeps
nothing, the disk is nearly full, messages cannot be taken, runs lack their function, deadlines are not met, old runs
cannot be forgotten. Failed runs do not: they are the functions' own matter, and are counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from durable.engine.opened import Opened
from durable.engine.runtime import Runtime
from durable.errors import StoreError
from durable.journal import STATUSES, RunStatus
from durable.stores import FileStore, Room
from durable.timers import on_a_line
from durable.views import Health

LATEST = timedelta(seconds=30)  # R17: a deadline may be as late as this if the machine was suspended
LEAST_FREE = 64 << 20  # bytes beside the store
PATIENCE = 1.0  # seconds for a commit that is under way
_AT_ONCE = 500  # runs, in one turn of the loop
_NAMED = 3


async def health(engine: Opened) -> Health:
    """Return how the engine is: what is wrong, how many runs there are, how late it is.

    It may be asked at any time, also before the engine is open, when its store has failed and after it has closed. It
    takes no longer than a commit that is under way, at most a second, and reads nothing from the store.

    Raises:
        RuntimeError: called from another loop or a forked child.
    """
    owner = engine._owner
    if owner is None or owner.has_ended:
        return Health("the engine is not open", None, 0, dict.fromkeys(STATUSES, 0), timedelta(), {}, None)
    owner.check_place("health")
    runtime = owner.runtime
    wrong = ["the engine closes"] if owner.is_closing else [] if owner.has_opened else ["the engine opens"]
    wrong += await _wrong_in_store(runtime)
    room = await _room(runtime)
    wrong += _wrong(runtime, room)
    counts, queued = await _counted(runtime)
    return Health(
        "; ".join(wrong) or "ok",
        runtime.opened_at,
        runtime.recovered,
        {status: counts[status] for status in STATUSES},
        _late_by(runtime),
        dict(queued),
        None if room is None else room.size,
    )


async def _wrong_in_store(runtime: Runtime) -> list[str]:
    try:
        async with asyncio.timeout(PATIENCE):
            await runtime.journal.synced()
    except StoreError as error:
        return [f"the store has failed: {error}"]
    except TimeoutError:
        return [f"the store has kept nothing for {PATIENCE:g} s: its disk is slow, or another program has it locked"]
    return []


async def _room(runtime: Runtime) -> Room | None:
    store = runtime.parts.settings.store
    if not isinstance(store, FileStore):
        return None
    try:
        return await store.room()
    except (OSError, StoreError):  # it is not open yet, or has been closed meanwhile
        return None


def _wrong(runtime: Runtime, room: Room | None) -> Iterator[str]:
    if room is not None and room.free < LEAST_FREE:
        yield f"the disk is nearly full: {room.free / (1 << 20):.0f} MiB are left beside the store"
    yield from runtime.receiver.troubles()
    if missing := runtime.scheduler.missing.functions(runtime.state.known):
        named = ", ".join(f"{on_a_line(name)!r}" for name in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        yield f"runs stay parked, their functions are not registered: {named}{more}"
    if (late := _late_by(runtime)) > LATEST:
        yield f"deadlines are met {late.total_seconds():.0f} s late: something blocks the event loop"
    if runtime.pruning.failure is not None:
        yield f"what has ended long ago is not forgotten: {runtime.pruning.failure}"


def _late_by(runtime: Runtime) -> timedelta:
    due = runtime.timers.next_due()
    return timedelta() if due is None else max(runtime.clock.now() - due, timedelta())


async def _counted(runtime: Runtime) -> tuple[Counter[RunStatus], Counter[str]]:
    """Count the runs by status, a few in each turn of the loop."""
    state, counts, queued = runtime.state, Counter[RunStatus](runtime.scheduler.ended), Counter[str]()
    for number, ledger in enumerate(list(state.ledgers.values())):
        status = runtime.scheduler.status(ledger)[0]
        if ledger.status is None:
            counts[status] += 1
            queued[ledger.function] += status == "queued"
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    counts["waiting"] += len(state.parked)
    return counts, +queued
