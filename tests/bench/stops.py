"""Measure the longest turn of the loop when much is due at once.

A further row measures the memory of many sends at once.

Separate because these rows measure the longest of many turns, not the work of a second.
Leaves to `processes` the process in which memory is measured.

A turn is measured in this thread's processor time, since other work of the machine stops every loop. A full collection
of the interpreter's garbage is left out, and shown separately: it grows with everything that lives in the process.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import durable
from durable import Cancel, Context, DictStore, Engine, Event, FileStore
from durable.testing import VirtualClock
from tests.bench.figures import Figure, Goal, Size
from tests.bench.processes import child

_STOP_SECONDS = 0.05
_RECORD_SECONDS = 20e-6
_SEND_BYTES = 3 * 1024
_TIMERS, _CANCELS, _SENDS = 50_000, 10_000, 100_000


class Turns:
    """The longest turn of a loop while this is entered, and the longest collection, in seconds."""

    def __init__(self) -> None:
        self.longest = self.collected = 0.0
        self._inside = 0.0
        self._began = 0.0

    def _collect(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            took = time.thread_time() - self._began
            self._inside += took
            self.collected = max(self.collected, took)

    async def _watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before - self._inside)
            before, self._inside = now, 0.0

    @asynccontextmanager
    async def measured(self) -> AsyncIterator[Turns]:
        """Measure every turn of the loop."""
        gc.callbacks.append(self._collect)
        watching = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            watching.cancel()
            gc.callbacks.remove(self._collect)


WOKEN = 0


@durable.function("go", cancel=[Cancel("stop")])
async def sleeper(ctx: Context) -> None:
    """Sleep, and say that it is over."""
    global WOKEN
    try:
        await ctx.step.sleep("nap", "1h")
    finally:
        WOKEN += 1


async def _woken(store: DictStore | FileStore, count: int, wake: Callable[[Engine, VirtualClock], object]) -> Turns:
    global WOKEN
    WOKEN = 0
    clock, turns = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC)), Turns()
    async with Engine([sleeper], store=store, clock=clock, resident=count) as engine:
        for _ in range(0, count, 200):
            await engine.send([Event("go") for _ in range(min(count, 200))])
        await engine.settled()
        async with turns.measured():
            waking = wake(engine, clock)
            while count > WOKEN:
                await asyncio.sleep(0)
            if isinstance(waking, asyncio.Future):
                await waking
            await engine.settled()
    return turns


def _figure(what: str, turns: Turns, allowed: float, limit: str) -> Figure:
    measured = f"longest turn {turns.longest * 1e3:.0f} ms, longest collection {turns.collected * 1e3:.0f} ms"
    return Figure(what, measured, limit, turns.longest / allowed, Goal("at most", 1.0))


async def stops(size: Size) -> list[Figure]:
    """50,000 sleeps that end at once, and one event that cancels 10,000 runs, on both stores."""
    timers, cancels, figures = size.of(_TIMERS), size.of(_CANCELS), []
    for name in ("dict", "file"):
        with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
            stores = [DictStore() if name == "dict" else FileStore(Path(folder) / f"{n}.db") for n in range(2)]
            turns = await _woken(stores[0], timers, lambda engine, clock: clock.advance("1h"))
            what = f"{timers:,} sleeps that end at once, {name}"
            figures.append(_figure(what, turns, _STOP_SECONDS, f"{_STOP_SECONDS * 1e3:g} ms"))
            turns = await _woken(stores[1], cancels, lambda engine, clock: asyncio.ensure_future(engine.send("stop")))
            allowed = _STOP_SECONDS + cancels * _RECORD_SECONDS
            what = f"one event that cancels {cancels:,} runs in one write, {name}"
            limit = f"{_RECORD_SECONDS * 1e6:g} µs a run, and {_STOP_SECONDS * 1e3:g} ms"
            figures.append(_figure(what, turns, allowed, limit))
    return figures


async def crowds(size: Size) -> list[Figure]:
    """100,000 sends in one gather, each of which opens a run: how far memory rises above what it was."""
    count, figures = size.of(_SENDS), []
    for name in ("dict", "file"):
        with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
            store = "" if name == "dict" else Path(folder) / "crowd.db"
            told = await child("crowd", store, count)
        figures.append(
            Figure(
                f"{count:,} gathered sends that each open a run, {name}",
                f"{told['bytes']:,.0f} bytes each at the most",
                f"{_SEND_BYTES:,} bytes",
                told["bytes"] / _SEND_BYTES,
                Goal("at most", 1.0),
            )
        )
    return figures
