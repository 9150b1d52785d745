"""Do the work of a row of the table, in a process of its own, and print its figure as JSON.

    python units.py ROW

Separate because a row must be measured on any tree of the library: this file uses public names only.
Leaves to `table` the trees, the rounds and the goals.

A unit is the processor time of awaiting a trivial coroutine, and of `json.dumps` and `json.loads` of what it returns,
measured in the same process just before. The steps return the same.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import durable

_VALUE = {"i": 1, "ok": True, "name": "step", "value": 2}
_COMMITS = 1_000
_MANY = 100_000


async def trivial(number: int) -> dict[str, Any]:
    """Return what each step returns, whatever the number."""
    return _VALUE


async def unit(count: int = 20_000) -> float:
    """Return the seconds of a unit: the best of five."""
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for number in range(count):
            json.loads(json.dumps(await trivial(number)))
        best = min(best, (time.process_time() - began) / count)
    return best


@durable.function(retries=0)
async def chain(ctx: durable.Context) -> None:
    """So many steps, one after the other."""
    for number in range(ctx.event.data["steps"]):
        await ctx.step.run("one", trivial, number)


@durable.function("bench/began", retries=0)
async def single(ctx: durable.Context) -> Any:
    """One step."""
    return await ctx.step.run("one", trivial, 1)


@durable.function(retries=0)
async def waiter(ctx: durable.Context) -> Any:
    """Wait for the event that names the same number."""
    found = await ctx.step.wait_for_event(
        "answer", event="bench/answer", timeout="1d", if_exp="async.data.number == event.data.number"
    )
    return found is not None


@asynccontextmanager
async def _engine(*, on_disk: bool) -> AsyncIterator[durable.Engine]:
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        store = Path(folder) / "bench.db" if on_disk else None
        limits = durable.Limits(steps=2 * _MANY)
        async with durable.Engine([chain, single, waiter], store=store, limits=limits) as engine:
            yield engine


async def cpu_each(count: int, work: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds of processor time that one of so many took."""
    began = time.process_time()
    await work()
    return (time.process_time() - began) / count


async def _sequential(*, on_disk: bool) -> dict[str, float]:
    async with _engine(on_disk=on_disk) as engine:
        await engine.invoke(chain, {"steps": 100})
        one, commit = await unit(), _bare_commit() if on_disk else 0.0
        wall = time.perf_counter()
        each = await cpu_each(1_000, lambda: engine.invoke(chain, {"steps": 1_000}))
        wall = (time.perf_counter() - wall) / 1_000
    return {"units": each / one, "cpu_us": 1e6 * each, "of_bare_commits": commit / wall, "bare_commit_us": 1e6 * commit}


def _bare_commit() -> float:
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, body TEXT)")
        for count in (_COMMITS, _COMMITS):  # a WAL that is overwritten is faster than one that grows
            began = time.perf_counter()
            for _ in range(count):
                connection.execute("INSERT INTO journal (body) VALUES (?)", (json.dumps(_VALUE),))
        connection.close()
    return (time.perf_counter() - began) / _COMMITS


async def _concurrent(*, on_disk: bool) -> dict[str, float]:
    async with _engine(on_disk=on_disk) as engine:
        await engine.invoke(chain, {"steps": 100})
        one = await unit()
        runs = [engine.invoke(chain, {"steps": 20}) for _ in range(200)]
        return {"units": await cpu_each(4_000, lambda: asyncio.gather(*runs)) / one}


async def _events() -> dict[str, float]:
    async with _engine(on_disk=True) as engine:
        await engine.send("bench/began", {"number": 0})
        await engine.settled()
        one = await unit()

        async def work() -> None:
            await asyncio.gather(*[engine.send("bench/began", {"number": number}) for number in range(1_000)])
            await engine.settled()

        return {"units": await cpu_each(1_000, work) / one}


async def _answers() -> dict[str, float]:
    async with _engine(on_disk=True) as engine:
        await asyncio.gather(*[engine.start(waiter, {"number": number}) for number in range(1_000)])
        await engine.settled()
        one = await unit()

        async def work() -> None:
            await asyncio.gather(*[engine.send("bench/answer", {"number": number}) for number in range(1_000)])
            await engine.settled()

        return {"units": await cpu_each(1_000, work) / one}


async def _matching() -> dict[str, float]:
    async with _engine(on_disk=False) as engine:
        for first in range(0, _MANY, 10_000):
            await asyncio.gather(*[engine.start(waiter, {"number": first + number}) for number in range(10_000)])
            await engine.settled()
        one = await unit()

        async def work() -> None:
            for number in range(500):
                await engine.send("bench/answer", {"number": _MANY // 2 + number})
            await engine.settled()

        return {"units": await cpu_each(500, work) / one}


ROWS: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
    "sequential": lambda: _sequential(on_disk=False),
    "sequential on disk": lambda: _sequential(on_disk=True),
    "concurrent": lambda: _concurrent(on_disk=False),
    "concurrent on disk": lambda: _concurrent(on_disk=True),
    "events": _events,
    "answers": _answers,
    "matching": _matching,
}


async def _measured(row: str) -> dict[str, float]:
    return await ROWS[row]()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1]))))
