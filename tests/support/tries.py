"""Give the tests of bounded tries handlers that run until they are told to end.

Separate because who runs at a time is what each of these tests asks.
Leaves to the tests the limits.
"""

from __future__ import annotations

import asyncio
from typing import Any

import durable
from durable import Context
from durable.testing import Lab
from tests.support.lives import rounds


class Work:
    """Handlers that run until they are told to end; who runs, and the most at a time."""

    def __init__(self) -> None:
        self.running: dict[Any, asyncio.Future[Any]] = {}
        self.order: list[Any] = []
        self.most = 0

    async def __call__(self, name: Any) -> Any:
        future = self.running[name] = asyncio.get_running_loop().create_future()
        self.order.append(name)
        self.most = max(self.most, len(self.running))
        try:
            return await future
        finally:
            del self.running[name]

    async def end(self, *names: Any) -> None:
        for name in names:
            self.running[name].set_result(name)
        await rounds()


async def crashed(lab: Lab) -> None:
    """Crash while handlers run, which no crash of a lab waits for."""
    crash = asyncio.ensure_future(lab.crash())
    await rounds()
    crash.cancel()
    await asyncio.wait([crash])
    await rounds()


def worker(work: Work, **options: Any) -> durable.Function[Any]:
    @durable.function("work", id="worker", retries=0, **options)
    async def function(ctx: Context) -> Any:
        return await ctx.step.run("work", work, ctx.event.data["n"])

    return function
