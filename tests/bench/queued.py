"""Measure runs that wait in a queue: what a start costs, what one weighs, and how long a key with one run waits.

Separate because time is virtual here: a throttle lets in a thousand runs a minute, and only CPU counts.
Leaves to `tests/rules` who may begin and when, to `units` a function without options.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import durable
from durable import Concurrency, Context, Engine, Throttle
from durable.engine.opened import inside
from durable.testing import VirtualClock
from tests.bench.child import Nowhere
from tests.bench.figures import Figure, Goal, Size

_KEYS, _QUEUED, _CROWD = 1_000, 100_000, 10_000
_START = datetime(2030, 1, 1, tzinfo=UTC)
_WORK = timedelta(minutes=1)
_RATIO, _BYTES = 1.3, 1_024


@durable.function("bench/throttled", throttle=Throttle(limit=1, period="1m", key="event.data.key"))
async def throttled(ctx: Context) -> None:
    """Do nothing, once a minute for each key."""


async def queued(size: Size) -> list[Figure]:
    """1,000 and 100,000 queued runs of 1,000 keys, and a key with one run beside a key with 10,000."""
    return [await _starts(size), await _weight(size), await _fairness(size)]


async def _send(engine: Engine, keys: int, count: int) -> None:
    for first in range(0, count, keys):
        numbers = range(min(keys, count - first))
        await asyncio.gather(*[engine.send("bench/throttled", {"key": number}) for number in numbers])


@asynccontextmanager
async def _full(clock: VirtualClock, keys: int, store: durable.Store | None = None) -> AsyncIterator[Engine]:
    """Give an engine in which every key has had its start of this minute."""
    engine = Engine([throttled], clock=clock, store=store)
    await engine.open()
    try:
        await _send(engine, keys, keys)
        await _left(engine, 0)
        yield engine
    finally:
        await engine.close()


async def _left(engine: Engine, count: int) -> None:
    state = inside(engine, "bench").state
    while state.count > count:
        await asyncio.sleep(0)


async def _start(keys: int, count: int) -> float:
    clock = VirtualClock(_START)
    async with _full(clock, keys) as engine:
        await _send(engine, keys, count)
        gc.collect()
        began = time.process_time()
        clock.advance("1m")
        await _left(engine, count - keys)
        return (time.process_time() - began) / keys


async def _starts(size: Size) -> Figure:
    keys, many = size.of(_KEYS), size.of(_QUEUED)
    few, crowd = 1.0, 1.0
    for _ in range(min(size.rounds, 3)):
        few, crowd = min(few, await _start(keys, keys)), min(crowd, await _start(keys, many))
    return Figure(
        f"a start among {many:,} queued runs of {keys:,} keys, with its run, CPU",
        f"{crowd * 1e6:.1f} µs",
        f"{few * 1e6:.1f} µs among {keys:,}",
        crowd / few,
        Goal("under", _RATIO),
    )


async def _weight(size: Size) -> Figure:
    keys, count = size.of(_KEYS), size.of(_QUEUED)
    async with _full(VirtualClock(_START), keys, Nowhere()) as engine:
        gc.collect()
        tracemalloc.start()
        try:
            await _send(engine, keys, count)
            gc.collect()
            weight = tracemalloc.get_traced_memory()[0] / count
        finally:
            tracemalloc.stop()
    what = f"{count:,} queued runs of {keys:,} keys, in the engine"
    return Figure(what, f"{weight:,.0f} bytes each", f"{_BYTES:,} bytes", weight / _BYTES, Goal("under", 1.0))


async def _fairness(size: Size) -> Figure:
    """Send single runs a second after both slots were taken: one by the crowd, one by another key."""
    clock, began = VirtualClock(_START), dict[str, datetime]()
    one = Concurrency(1, key="event.data.key", counts="runs")

    @durable.function("bench/bounded", concurrency=[Concurrency(2, counts="runs"), one])
    async def bounded(ctx: Context) -> None:
        began.setdefault(ctx.event.data["key"], clock.now())
        await ctx.step.sleep("work", _WORK)

    crowd, waits = size.of(_CROWD), list[timedelta]()
    async with Engine([bounded], clock=clock) as engine:
        await asyncio.gather(*[engine.send("bench/bounded", {"key": "crowd"}) for _ in range(crowd)])
        for number in range(5):
            for key, later in ((f"other {number}", 1), (f"single {number}", 119)):
                sent = clock.now()
                await engine.send("bench/bounded", {"key": key})
                await engine.settled()
                for _ in range(later):
                    clock.advance("1s")
                    await engine.settled()
                waits.append(began[key] - sent)
        assert inside(engine, "bench").state.count > crowd - 20, "the crowd has not waited"
    longest = max(waits)
    what = f"the longest wait of a key with one run, beside a key with {crowd:,}, two slots"
    slot = _WORK.total_seconds()
    seconds = longest.total_seconds()
    return Figure(what, f"{seconds:g} s", f"a slot's {slot:g} s", seconds / slot, Goal("at most", 1.0))
