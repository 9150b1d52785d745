"""Measure memory, opening, recovery, matching, importing and idling in processes of their own.

The matching is among 100,000 waits.

Separate because these rows need new processes, which this module starts.
Leaves to `child` the work of these processes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import durable
from tests.bench.child import listener, sleeper
from tests.bench.figures import Figure, Goal, Size
from tests.bench.idle import CountingLoop
from tests.proof.crashes import ENVIRONMENT, ROOT

_MANY = 100_000
_OPENING_SECONDS = 5.0
_RECOVERING_SECONDS = 0.5
_SEND_MICROSECONDS = 50.0
_LIVE_BYTES, _PARKED_BYTES = 4 * 1024, 1024
_IDLE_SECONDS = 30.0
_BESIDE = "import asyncio, sqlite3, json, attrs, cattrs, anyio"
_CACHE = tempfile.TemporaryDirectory(prefix="durable-bench-")
# As an installed package has it: compiled once, whatever this process was told about writing bytecode.
_ENVIRONMENT = {**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _CACHE.name}
_TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


async def child(what: str, store: str | Path, count: int) -> dict[str, float]:
    """Return what a child process tells of one thing that it measures, and how long it `took` to tell."""
    command = [sys.executable, str(Path(__file__).with_name("child.py")), what, str(store), str(count)]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=_ENVIRONMENT, cwd=ROOT)
    assert process.stdout is not None
    line = await process.stdout.readline()
    took = time.perf_counter() - began
    await process.wait()
    figures: dict[str, float] = json.loads(line)
    return {**figures, "took": took}


async def sleeping(size: Size) -> list[Figure]:
    """100,000 sleeping runs: their memory, and opening a store that holds them."""
    count = size.of(_MANY)
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        store = Path(folder) / "sleeping.db"
        made = await child("prepare sleeping", store, count)
        opened = [await child("open sleeping", store, count) for _ in range(min(size.rounds, 3))]
        parked = await child("weigh parked", "", count)
        again = await child("open parked", store, count)
    live = max(made["bytes"], median(one["bytes"] for one in opened))
    seconds, settled = (median(one[name] for one in opened) for name in ("opened", "settled"))
    return [
        _absolute(f"{count:,} sleeping runs, coroutines live", live, _LIVE_BYTES, "bytes each"),
        _absolute(f"{count:,} sleeping runs, parked", parked["bytes"], _PARKED_BYTES, "bytes each"),
        Figure(f"{count:,} sleeping runs, parked as they are recovered", f"{again['bytes']:,.0f} bytes each", "", None),
        _absolute(
            f"opening a store of {count:,} sleeping runs",
            seconds,
            _OPENING_SECONDS * count / _MANY,
            "s",
            f"; {settled:.2f} s until all have come to their sleep",
        ),
    ]


async def recovering(size: Size) -> list[Figure]:
    """1,000 unfinished runs of 10 steps, from the start of a process until all are parked."""
    count = size.of(1_000)
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        store = Path(folder) / "ten.db"
        await child("prepare ten", store, count)
        lives = [await child("open ten", store, count) for _ in range(size.rounds)]
    took, cpu = (median(life[name] for life in lives) for name in ("took", "cpu"))
    what = f"recovering {count:,} unfinished runs of 10 steps"
    return [_absolute(what, took, _RECOVERING_SECONDS, "s", f"; {cpu:.2f} s of CPU")]


async def matching(size: Size) -> list[Figure]:
    """One event against 100,000 waits on the dict store."""
    count = size.of(_MANY)
    figures = []
    for what, by in (("answer match", "match"), ("answer conjunct", "an expression with an equality")):
        found = await child(what, "", count)
        for name, says in (("hit", "one answers"), ("missed", "none answers")):
            text = f"one event, {count:,} waits by {by}, {says}"
            figures.append(_absolute(text, 1e6 * found[name], _SEND_MICROSECONDS, "µs"))
    found = await child("answer scanned", "", count)
    each = f"{1e9 * found['missed'] / count:,.0f} ns a wait"
    what = f"one event, {count:,} waits by an expression without one"
    return [*figures, Figure(what, f"{1e3 * found['missed']:,.0f} ms", each)]


async def waits(size: Size) -> list[Figure]:
    """The memory that a wait takes, beyond that of a run that sleeps."""
    count = size.of(_MANY)
    names = ("listening", "matching", "conjunct")
    sleeping = (await child("weigh sleeping", "", count))["bytes"]
    found = {name: (await child(f"weigh {name}", "", count))["bytes"] for name in names}
    return [
        Figure(
            f"memory of a {name} wait, {count:,} of them",
            f"{found[name] - sleeping:,.0f} bytes",
            f"beyond {sleeping:,.0f} of a run that sleeps",
        )
        for name in names
    ]


async def importing(size: Size) -> list[Figure]:
    """`import durable` against what it is made of."""
    return await asyncio.to_thread(_import, 2 * size.rounds + 1)


def _import(rounds: int) -> list[Figure]:
    found: dict[str, list[float]] = {_BESIDE: [], "import durable": []}
    for _ in range(rounds):
        for statement, times in found.items():
            command = [sys.executable, "-c", _TIMED.format(statement)]
            ended = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT, cwd=ROOT)
            times.append(float(ended.stdout))
    pairs = list(zip(found["import durable"], found[_BESIDE], strict=True))[1:]  # the first may compile
    ours, theirs = (1e3 * median(one) for one in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    return [Figure("import durable", f"{ours:.0f} ms of CPU", f"{theirs:.0f} ms: {_BESIDE}", ratio, Goal("under", 1.3))]


async def idling(size: Size) -> list[Figure]:
    """An engine with 10,000 waiting runs on a file store, left alone for 30 s."""
    seconds = max(1.0, _IDLE_SECONDS * min(1.0, size.scale))
    return await asyncio.to_thread(_idle, size.of(10_000), seconds)


def _idle(count: int, seconds: float) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        loop = CountingLoop()
        try:
            wake_ups, cpu = loop.run_until_complete(_left_alone(loop, Path(folder) / "idle.db", count, seconds))
        finally:
            loop.close()
    measured = f"{wake_ups} wake-ups, {100 * cpu / seconds:.2f} % CPU"
    limit = f"{seconds:g} s of sleep"
    return [Figure(f"an idle engine with {count:,} waiting runs", measured, limit, wake_ups, Goal("at most", 1))]


async def _left_alone(loop: CountingLoop, store: Path, count: int, seconds: float) -> tuple[int, float]:
    async with durable.Engine([sleeper, listener], store=durable.FileStore(store, durability="none")) as engine:
        await engine.send([durable.Event("bench/began", {"number": number}) for number in range(count // 2)])
        await engine.settled()
        before = time.process_time()
        wake_ups = await loop.wake_ups_in(seconds, skipping=False)
        return wake_ups, time.process_time() - before


def _absolute(what: str, measured: float, bound: float, unit: str, more: str = "") -> Figure:
    shown = f"{measured:,.0f}" if measured >= 100 else f"{measured:.2f}"
    return Figure(what, f"{shown} {unit}{more}", f"{bound:g} {unit}", measured / bound, Goal("under", 1))
