"""Measure steps and runs per second, against bare commits or bare JSON.

Separate because all these rows run in this process, on one loop.
Leaves to `processes` the rows that need a process of their own.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import durable
from tests.bench.figures import Figure, Goal, Lap, Race, Size, cpu_rate, lap, race, wall_rate
from tests.bench.limits import Commits, one, plain

_COMMITS = 300
_PLAIN = 4_000
RUNS, STEPS = 200, 20


@durable.function
async def chain(ctx: durable.Context) -> int:
    """So many steps, one after the other."""
    total = 0
    for number in range(ctx.event.data["steps"]):
        total += await ctx.step.run("one", one, number)
    return total


async def _single(ctx: durable.Context) -> int:
    return await ctx.step.run("one", one, 1)


@durable.function("bench/began")
async def waiter(ctx: durable.Context) -> bool:
    """Wait for the event that names the same number."""
    answer = await ctx.step.wait_for_event("answer", event="bench/answer", timeout="1h", match="data.number")
    return answer is not None


def _single_step_functions(count: int) -> list[durable.Function[int]]:
    return [durable.function("bench/fan", id=f"single-{number}")(_single) for number in range(count)]


@asynccontextmanager
async def _beside_commits(functions: list[durable.Function[Any]]) -> AsyncIterator[tuple[durable.Engine, Commits]]:
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        commits = Commits(Path(folder))
        await commits.write(4 * _COMMITS)  # a WAL that is overwritten is faster than one that grows
        try:
            async with durable.Engine(functions, store=Path(folder) / "bench.db") as engine:
                yield engine, commits
        finally:
            commits.close()


async def _against_commits(commits: Commits, count: int, work: Callable[[], Awaitable[object]], rounds: int) -> Race:
    return await race(
        lambda: lap(_COMMITS, lambda: commits.write(_COMMITS)),
        lambda: lap(count, work),
        rounds,
    )


def _figure(what: str, unit: str, ran: Race, goal: float) -> Figure:
    measured = f"{ran.subject(wall_rate):,.0f} {unit}/s, {1e6 / ran.subject(cpu_rate):,.0f} µs of CPU each"
    limit = f"{ran.limit(wall_rate):,.0f} bare commits/s"
    return Figure(what, measured, limit, ran.ratio(wall_rate), Goal("at least", goal))


async def sequential(size: Size) -> list[Figure]:
    """One run of 1,000 steps on a file store."""
    count = size.of(1_000)
    async with _beside_commits([chain]) as (engine, commits):
        ran = await _against_commits(commits, count, lambda: engine.invoke(chain, {"steps": count}), size.rounds)
    return [_figure(f"one run, {count:,} sequential steps, file store", "steps", ran, 0.7)]


async def _side_by_side(engine: durable.Engine, runs: int) -> None:
    await asyncio.gather(*(engine.invoke(chain, {"steps": STEPS}) for _ in range(runs)))


async def concurrent(size: Size) -> list[Figure]:
    """200 runs of 20 steps at once on a file store."""
    runs = size.of(RUNS)
    async with _beside_commits([chain]) as (engine, commits):
        ran = await _against_commits(commits, runs * STEPS, lambda: _side_by_side(engine, runs), size.rounds)
    return [_figure(f"{runs:,} runs × {STEPS} steps at once, file store", "steps", ran, 10)]


async def in_memory(size: Size) -> list[Figure]:
    """200 runs of 20 steps at once on a dict store."""
    runs = size.of(RUNS)

    async def subject() -> Lap:
        async with durable.Engine([chain]) as engine:  # a new one each time: its dict keeps every run that ended
            return await lap(runs * STEPS, lambda: _side_by_side(engine, runs))

    ran = await race(lambda: lap(_PLAIN, lambda: plain(_PLAIN)), subject, 2 * size.rounds)
    each = [1e6 / rate for rate in (ran.subject(cpu_rate), ran.limit(cpu_rate))]
    what = f"{runs:,} runs × {STEPS} steps at once, dict store"
    limit = f"{each[1]:.2f} µs of CPU: await, json.dumps, json.loads"
    return [Figure(what, f"{each[0]:.1f} µs of CPU a step", limit, ran.ratio(cpu_rate), Goal("at least", 0.25))]


async def fan_out(size: Size) -> list[Figure]:
    """One event that opens 1,000 runs of one step."""
    count = size.of(1_000)
    functions = _single_step_functions(count)
    async with _beside_commits(list(functions)) as (engine, commits):

        async def work() -> None:
            await engine.send("bench/fan")
            await engine.settled()

        ran = await _against_commits(commits, count, work, size.rounds)
    return [_figure(f"one event opening {count:,} one-step runs, file store", "runs", ran, 4)]


async def answers(size: Size) -> list[Figure]:
    """1,000 waits and the 1,000 events that they wait for."""
    count = size.of(1_000)
    async with _beside_commits([waiter]) as (engine, commits):

        async def subject() -> Lap:
            ids = await engine.send([durable.Event("bench/began", {"number": number}) for number in range(count)])
            runs = [await engine.run(f"{id}/waiter") for id in ids]
            await engine.settled()

            async def work() -> None:
                sends = (engine.send("bench/answer", {"number": number}) for number in range(count))
                await asyncio.gather(*sends, *(run.result() for run in runs))

            return await lap(count, work)

        ran = await race(lambda: lap(_COMMITS, lambda: commits.write(_COMMITS)), subject, size.rounds)
    return [_figure(f"{count:,} waits, {count:,} matching events, file store", "answers", ran, 6)]
