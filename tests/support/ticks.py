"""Give the tests of ticks a function with triggers, and the ids of its runs.

Separate because which runs there are is what each of these tests asks.
Leaves to the tests the triggers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import durable
from durable import Context, DictStore, Function
from durable.testing import Lab

START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def tick(hours: float, function: str = "job") -> str:
    return f"cron/{function}/{(START + hours * HOUR).replace(tzinfo=None).isoformat()}Z"


def job(*triggers: Any, id: str = "job", steps: Sequence[str] = ("work",), **options: Any) -> Function[Any]:
    @durable.function(list(triggers), id=id, **options)
    async def code(ctx: Context) -> dict[str, Any]:
        for step in steps:
            await ctx.step.run(step, lambda: None)
        return dict(ctx.event.data)

    return code


async def opened(lab: Lab) -> list[str]:
    """The runs there are, the oldest tick first."""
    return sorted(run.id for run in await lab.engine.runs(limit=10_000))


async def reopened(
    store: DictStore, functions: Sequence[Function[Any]], hours: float, advance: str = "0s"
) -> list[str]:
    async with Lab(functions, store=store, start=START + hours * HOUR) as lab:
        await lab.advance(advance)
        return await opened(lab)
