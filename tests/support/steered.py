"""Give the tests of steering from outside a function, and its runs in a store.

Separate because what has become of the runs is what each of these tests asks.
Leaves to the tests what is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import durable
from durable import Context, Engine
from tests.proof.crashes.senders import opened


@durable.function("job/asked", retries=0)
async def job(ctx: Context) -> Any:
    """Wait, fail or end, as the data say; a failed run that is opened again completes."""
    told = ctx.event.data
    if told.get("waits"):
        await ctx.step.sleep("s", "1d")
    if told.get("fails"):
        await ctx.step.run("fail", _fail, told["fails"])
    return told.get("n")


_failed: set[str] = set()


def _fail(name: str) -> None:
    if name not in _failed:
        _failed.add(name)
        raise durable.NonRetriableError("once")


def forget() -> None:
    """Begin a test: nothing has failed yet."""
    _failed.clear()


async def states(path: Path, *functions: durable.Function[Any]) -> dict[str, Any]:
    """Let an engine take what waits; return its runs, by id: output, reason or status."""
    async with opened(path, *(functions or (job,))) as engine:
        found = await engine.runs()
    return {one.id: one.output if one.status == "completed" else one.reason or one.status for one in found}


async def have(path: Path, **data: dict[str, Any]) -> None:
    """Put runs into the store, by id, and leave it shut."""
    async with Engine([job], store=path) as engine:
        for id, told in data.items():
            await engine.start(job, told, id=id)
        await engine.settled()
