"""Do the work of the benchmark's child processes.

    python child.py WHAT STORE COUNT

It prints one JSON line for each measurement.

Separate because memory, opening and recovery must be measured in a new process, which has no garbage of other rows.
Leaves to `processes` the starting of the children, and the judging of the figures.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import durable

_PAGE = os.sysconf("SC_PAGE_SIZE")
_AT_ONCE = 2_000


async def _one(number: int) -> int:
    return number


@durable.function("bench/began")
async def sleeper(ctx: durable.Context) -> None:
    """Sleep for a month."""
    await ctx.step.sleep("month", "30d")


@durable.function("bench/began")
async def ten(ctx: durable.Context) -> None:
    """Take ten steps, and sleep for a month."""
    for number in range(10):
        await ctx.step.run("one", _one, number)
    await ctx.step.sleep("month", "30d")


@durable.function("bench/began")
async def listener(ctx: durable.Context) -> None:
    """Wait a month for an event, whatever it holds."""
    await ctx.step.wait_for_event("answer", event="bench/answer", timeout="30d")


@durable.function("bench/began")
async def matcher(ctx: durable.Context) -> None:
    """Wait a month for the event that names the same number."""
    await ctx.step.wait_for_event("answer", event="bench/answer", timeout="30d", match="data.number")


@durable.function("bench/began")
async def conjunct(ctx: durable.Context) -> None:
    """Wait by an expression of which one part can be looked up."""
    asked = "event.data.number == async.data.number && async.data.plan == 'pro'"
    await ctx.step.wait_for_event("answer", event="bench/answer", timeout="30d", if_exp=asked)


@durable.function("bench/began")
async def scanned(ctx: durable.Context) -> None:
    """Wait by an expression that has to be evaluated for each wait."""
    asked = "event.data.number >= async.data.number && event.data.number <= async.data.number"
    await ctx.step.wait_for_event("answer", event="bench/answer", timeout="30d", if_exp=asked)


@durable.function("bench/ends")
async def ended(ctx: durable.Context) -> None:
    """End at once."""


class Nowhere:
    """A store that keeps nothing, so that what grows is the engine."""

    immediate = True

    async def open(self) -> None:
        """There is nothing to open."""

    async def append(self, entries: Sequence[durable.Entry]) -> None:
        """Forget the entries."""

    async def unfinished(self, now: datetime) -> AsyncIterator[durable.Entry]:
        """Yield nothing."""
        for entry in ():
            yield entry

    async def history(self, run: str) -> AsyncIterator[durable.Entry]:
        """Yield nothing."""
        for entry in ():
            yield entry

    async def find(self, query: durable.RunQuery) -> list[durable.RunRow]:
        """Find nothing."""
        return []

    async def prune(self, ended_before: datetime) -> int:
        """Forget nothing: there is nothing."""
        return 0

    async def close(self) -> None:
        """There is nothing to close."""


def _report(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE


async def _open_runs(engine: durable.Engine, count: int, at_once: int = _AT_ONCE) -> None:
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        await engine.send([durable.Event("bench/began", {"number": number}) for number in numbers])
        await engine.settled()


def _preparing(
    function: durable.Function[Any], resident: int | None = None
) -> Callable[[str, int], Coroutine[Any, Any, None]]:
    async def prepare(store: str, count: int) -> None:
        before = _resident()
        file = durable.FileStore(store, durability="none")
        async with durable.Engine([function], store=file, resident=resident or count) as engine:
            await _open_runs(engine, count)
            _report(bytes=(_resident() - before) / count)

    return prepare


def _opening(
    function: durable.Function[Any], resident: int = 10_000_000
) -> Callable[[str, int], Coroutine[Any, Any, None]]:
    async def reopen(store: str, count: int) -> None:
        before = _resident()
        began = time.perf_counter()
        engine = durable.Engine([function], store=store, resident=resident)
        await engine.open()
        opened = time.perf_counter() - began
        await engine.settled()
        settled = time.perf_counter() - began
        _report(opened=opened, settled=settled, cpu=time.process_time(), bytes=(_resident() - before) / count)
        os._exit(0)

    return reopen


def _weighing(
    function: durable.Function[Any], resident: int = 10_000_000
) -> Callable[[str, int], Coroutine[Any, Any, None]]:
    async def weigh(_store: str, count: int) -> None:
        before = _resident()
        engine = durable.Engine([function], store=Nowhere(), resident=resident)
        await engine.open()
        await _open_runs(engine, count, 200)  # so that few live before they are parked
        _report(bytes=(_resident() - before) / count)
        os._exit(0)

    return weigh


def _answering(function: durable.Function[Any], rounds: int) -> Callable[[str, int], Coroutine[Any, Any, None]]:
    async def answer(_store: str, count: int) -> None:
        engine = durable.Engine([function], resident=count)
        await engine.open()
        await _open_runs(engine, count)
        numbers = itertools.count(7)
        hit = [await _timed_send(engine, next(numbers)) for _ in range(rounds)]
        missed = [await _timed_send(engine, -next(numbers)) for _ in range(rounds)]
        _report(hit=median(hit), missed=median(missed))
        os._exit(0)

    return answer


async def _crowd(store: str, count: int) -> None:
    before = _resident()
    async with durable.Engine([ended], store=store or None) as engine:
        sends = [engine.send("bench/ends", {"number": number}) for number in range(count)]
        await asyncio.gather(*sends)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
        _report(bytes=(peak - before) / count)
        os._exit(0)


async def _timed_send(engine: durable.Engine, number: int) -> float:
    data = {"number": number, "plan": "pro"}
    began = time.perf_counter()
    await engine.send("bench/answer", data)
    took = time.perf_counter() - began
    for _ in range(40):  # rounds of the loop in which the run that was woken goes on, which is no part of the send
        await asyncio.sleep(0)
    return took


_WHATS = {
    "prepare sleeping": _preparing(sleeper),
    "prepare resting": _preparing(sleeper, 10_000),  # as with an engine that was told nothing else
    "prepare ten": _preparing(ten),
    "open sleeping": _opening(sleeper),
    "open parked": _opening(sleeper, 0),
    "open": _opening(sleeper, 10_000),  # likewise
    "open ten": _opening(ten),
    "weigh sleeping": _weighing(sleeper),
    "weigh parked": _weighing(sleeper, 0),
    "weigh listening": _weighing(listener),
    "weigh matching": _weighing(matcher),
    "weigh conjunct": _weighing(conjunct),
    "crowd": _crowd,
    "answer match": _answering(matcher, 500),
    "answer conjunct": _answering(conjunct, 500),
    "answer scanned": _answering(scanned, 3),
}

if __name__ == "__main__":
    asyncio.run(_WHATS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
