"""Execute a run live, and again from its record or from a part of the record.

Separate because the tests of delivery and of cancelling tell the same kind of story.
Leaves to these tests the run itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from durable import DictStore, Function
from durable.engine.opened import inside
from durable.journal.codec.write import read
from durable.journal.records import RunClosed, StepClosed
from durable.stores.store import Entry
from durable.testing import Lab


async def value(result: Any = None, *, rounds: int = 0) -> Any:
    for _ in range(rounds):
        await asyncio.sleep(0)
    return result


async def record(lab: Lab, run: str = "r") -> list[Entry]:
    return [entry async for entry in inside(lab.engine, "record").store.history(run)]


async def store_of(entries: Sequence[Entry]) -> DictStore:
    store = DictStore()
    await store.open()
    await store.append(entries)
    return store


def records(entries: Sequence[Entry], kind: type) -> list[Any]:
    return [read(entry.kind, entry.body) for entry in entries if entry.kind == kind.__name__]


def outcomes(entries: Sequence[Entry]) -> dict[str, tuple[str, int | None]]:
    """Return how each step ended, and in which turn, by key."""
    closed = records(entries, StepClosed)
    return {one.key: (type(one.outcome).__name__, one.turn) for one in closed}


async def live(code: Function[Any], drive: Any = None) -> tuple[Any, list[Entry], Lab]:
    """Play a function to its end; return what it returned, the record, and the lab."""
    async with Lab([code]) as lab:
        run = await lab.start(code, id="r")
        if drive is not None:
            await drive(lab)
        return await lab.result(run), await record(lab), lab


async def again(code: Function[Any], entries: Sequence[Entry]) -> tuple[Any, list[Entry], Lab]:
    """Play a function from a record without its end."""
    left = [entry for entry in entries if entry.kind != RunClosed.__name__]
    async with Lab([code], store=await store_of(left)) as lab:
        return await lab.result(await lab.engine.run("r")), await record(lab), lab
