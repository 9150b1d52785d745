"""Measure what the ticks of a cron trigger cost, from the timer to the end of the run.

Separate because it is about a year, not about a second: time is virtual, and only the processor's counts.
Leaves to `tests/rules/test_ticks.py` which ticks open runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

import durable
from durable import Context, Engine, TriggerCron
from durable.engine.opened import inside
from durable.testing import VirtualClock
from tests.bench.figures import Figure, Goal, Size

_SECONDS = 10.0  # of the processor, for a year


@durable.function(TriggerCron("*/5 * * * *"))
async def often(ctx: Context) -> None:
    """Do nothing."""


async def ticks(size: Size) -> list[Figure]:
    """Let a year of `*/5 * * * *` pass, whose runs have no steps."""
    return [await _year(size)]


async def _year(size: Size) -> Figure:
    days, logger = size.of(365), logging.getLogger("durable.bench")
    logger.setLevel(logging.ERROR)
    clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
    async with Engine([often], clock=clock, logger=logger) as engine:
        began, state = time.process_time(), inside(engine, "bench").state
        for _ in range(days * 4):
            clock.advance("6h")  # 72 ticks: of more than 200 at once some would be late
            while state.count:
                await asyncio.sleep(0)
        taken = (time.process_time() - began) * 365 / days
    return Figure(
        "a year of */5 * * * *, 105,120 runs, CPU",
        f"{taken:.1f} s, {taken / 105_120 * 1e6:.0f} us a tick",
        f"{_SECONDS:g} s",
        taken / _SECONDS,
        Goal("under", 1.0),
    )
