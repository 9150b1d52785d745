"""Wait in real time without blaming code for a busy machine.

Separate because what is fair to a process that gets no time is no concern of those who wait.
Leaves to `lab` what it means if nothing has ended.

A process with a hundredth of a processor does in 5 s what takes 50 ms elsewhere. So each part of a time counts only
together with a number of turns of the event loop: what needs nothing but turns has them before the time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

PART_SECONDS = 0.25
TURNS = 250


def parts(seconds: float) -> Iterator[float]:
    """Divide a time into parts of 0.25 s."""
    while seconds > 0:
        yield min(PART_SECONDS, seconds)
        seconds -= PART_SECONDS


async def ended(tasks: Sequence[asyncio.Future[Any]], part: float) -> bool:
    """Wait for the first of some tasks, for a part of a time; return whether one has ended."""
    done, _ = await asyncio.wait(tasks, timeout=part, return_when=asyncio.FIRST_COMPLETED)
    turns = 0 if done else TURNS
    while turns and not any(task.done() for task in tasks):
        await asyncio.sleep(0)
        turns -= 1
    return any(task.done() for task in tasks)


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
        await asyncio.sleep(part)
        for _ in range(TURNS):
            await asyncio.sleep(0)
    limit.reschedule(0)
