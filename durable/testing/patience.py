"""Wait in real time without blaming code for a busy machine.

Separate because what is fair to a process that gets no time is no concern of those who wait.
Leaves to `lab` what it means if nothing has ended.

A process with a hundredth of a processor does in 5 s what takes 50 ms elsewhere. So each part of a time counts only
together with a number of turns of the event loop, or with as much time of the processor, which is used up by those who
are busy without end: what needs nothing but turns has them before the time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from time import process_time
from typing import Any

PART_SECONDS = 0.25
TURNS = 250


def parts(seconds: float) -> Iterator[float]:
    """Divide a time into parts of 0.25 s; one in which the process was busy for longer counts for that."""
    while seconds > 0:
        busy_from = process_time()
        yield min(PART_SECONDS, seconds)
        seconds -= max(PART_SECONDS, process_time() - busy_from)


async def ended(tasks: Sequence[asyncio.Future[Any]], part: float) -> bool:
    """Wait for the first of some tasks, for a part of a time; return whether one has ended."""
    busy_from = process_time()
    await asyncio.wait(tasks, timeout=part, return_when=asyncio.FIRST_COMPLETED)
    async for _ in _turns(busy_from + part):
        if any(task.done() for task in tasks):
            return True
    return False


@asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[None]:
    """Let a block take some seconds, or without limit for None.

    Raises:
        TimeoutError: the block has not ended in time, and is cancelled.
    """
    async with asyncio.timeout(None) as limit:
        if seconds is None:
            yield
            return
        passing = asyncio.Task(_pass(limit, seconds), loop=asyncio.get_running_loop())
        try:
            yield
        finally:
            passing.cancel()


async def _pass(limit: asyncio.Timeout, seconds: float) -> None:
    for part in parts(seconds):
        busy_from = process_time()
        await asyncio.sleep(part)
        async for _ in _turns(busy_from + part):
            pass
    limit.reschedule(0)


async def _turns(busy_until: float) -> AsyncIterator[None]:
    """Let the loop make its turns, until the process has been busy for long enough."""
    for _ in range(TURNS):
        yield
        if process_time() >= busy_until:
            break
        await asyncio.sleep(0)
