"""Put a constant load on a store's file for minutes, and prune it half way.

    python -m tests.bench.soak --minutes 10 --rate 20

Separate because it shows how long single steps wait, while the rows of the benchmark show how many steps there are.
Leaves to the reader the judging.

Runs of three steps begin at a constant rate, even if earlier ones are late; beside each, an event opens one that takes
a step, sleeps for two seconds, and takes another. Each minute one line says how long the steps took, how late a
callback of the loop was, and what may grow: memory, the file, its `-wal`. Half way all ended runs are pruned. The table
at the end shows the same figures before, during and after the prune; the last lines say of each whether it is flat.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from array import array
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import attrs

import durable

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_S = 0.01
_TEXT = "x" * 300
_SHORTEST = 8  # minutes: of the half after the prune the first two are compared with the last two
_MORE = 1.1  # how much more memory, and of the -wal, is flat still
_SLOWER = 1.5  # how much longer a step may take: the machine does other things, too


def _nothing() -> array[float]:
    return array("d")


@attrs.define(eq=False, repr=False)
class Span:
    """What was measured for a while: of each step how long it took, and how late the loop was at each look."""

    steps: array[float] = attrs.field(factory=_nothing)
    late: array[float] = attrs.field(factory=_nothing)

    def line(self) -> str:
        """Return both as text: p50, p99 and the most, in milliseconds."""
        return f"{len(self.steps):>7,}  {_spread(self.steps)}  {_spread(self.late)}"


@attrs.frozen
class Minute:
    """What stood at the end of a minute, in bytes, and the median step of it, in seconds."""

    memory: float
    wal: float
    step: float


def verdicts(minutes: list[Minute]) -> list[str]:
    """Say of memory, `-wal` and latency whether they are flat from the prune on, which takes room once."""
    if len(minutes) < _SHORTEST:
        return [f"too short to say whether anything grows: {_SHORTEST} minutes at least"]
    after, told = minutes[len(minutes) // 2 :], []
    for what, unit, scale, allowed in (
        ("memory", "MB", 1 << 20, _MORE),
        ("wal", "MB", 1 << 20, _MORE),
        ("step", "ms", 1e-3, _SLOWER),
    ):
        early, late = (max(getattr(one, what) for one in some) for some in (after[:2], after[-2:]))
        word = "flat" if late <= allowed * early else "GROWS"
        told.append(f"{what}: {word}, {early / scale:.1f} -> {late / scale:.1f} {unit}")
    return told


HEAD = f"{'steps':>7}  {'p50':>7} {'p99':>7} {'most':>7}  {'late p50':>7} {'p99':>6} {'most':>7}"


def _spread(values: array[float]) -> str:
    ordered = sorted(values)
    if not ordered:
        return f"{'-':>7} {'-':>7} {'-':>7}"
    return " ".join(f"{1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * p))]:7.1f}" for p in (0.5, 0.99, 1))


class Soak:
    """A load on the store at `path`, and what is measured of it."""

    def __init__(self, path: Path, rate: float) -> None:
        self._store = durable.FileStore(path)
        self._path = path
        self._rate = rate
        self._spans: list[Span] = []
        self._pending: set[asyncio.Task[object]] = set()
        self._over = asyncio.Event()
        self._minutes: list[Minute] = []

    def measure(self) -> Span:
        """Begin to measure into a new span, too."""
        span = Span()
        self._spans.append(span)
        return span

    def end(self, span: Span) -> None:
        """Measure into that span no more."""
        self._spans.remove(span)

    async def run(self, minutes: float) -> list[str]:
        """Do it all; return the lines of the table at the end, after printing one for each minute."""
        work, sleeper = self._functions()
        async with durable.Engine([work, sleeper], store=self._store) as engine:
            beside = [asyncio.create_task(one) for one in (self._load(engine, work), self._look(), self._say(minutes))]
            before, during, after, told = await self._halves(30 * minutes)
            self._over.set()
            await asyncio.gather(*beside)
            await asyncio.gather(*self._pending)
        rows = _rows(before=before, during=during, after=after)
        return [told, HEAD.rjust(12 + len(HEAD)), *rows, *verdicts(self._minutes)]

    def _functions(self) -> tuple[durable.Function[[], int], durable.Function[[], None]]:
        async def text(number: int) -> str:
            return f"{number} {_TEXT}"

        async def step(ctx: durable.Context, number: int) -> None:
            began = time.perf_counter()
            await ctx.step.run("text", text, number)
            for span in self._spans:
                span.steps.append(time.perf_counter() - began)

        @durable.function
        async def work(ctx: durable.Context) -> int:
            for number in range(3):
                await step(ctx, number)
            return 3

        @durable.function("soak/began")
        async def sleeper(ctx: durable.Context) -> None:
            await step(ctx, 0)
            await ctx.step.sleep("two seconds", "2s")
            await step(ctx, 1)

        return work, sleeper

    async def _halves(self, seconds: float) -> tuple[Span, Span, Span, str]:
        before = self.measure()
        await asyncio.sleep(seconds)
        self.end(before)
        during, began = self.measure(), time.perf_counter()
        size = self._path.stat().st_size
        count = await self._store.prune(datetime.now(UTC))
        took = time.perf_counter() - began
        self.end(during)
        after = self.measure()
        left = self._path.stat().st_size
        told = f"pruned {count:,} runs in {took:.1f} s, the file {_mib(size)} -> {_mib(left)}"
        await asyncio.sleep(max(0, seconds - took))
        self.end(after)
        return before, during, after, told

    async def _load(self, engine: durable.Engine, work: durable.Function[[], int]) -> None:
        begin = time.perf_counter()
        number = 0
        while not self._over.is_set():
            number += 1
            for doing in (engine.invoke(work), engine.send("soak/began", {"number": number})):
                task: asyncio.Task[object] = asyncio.create_task(doing)
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
            await asyncio.sleep(max(0, begin + number / self._rate - time.perf_counter()))

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._over.is_set():
            due = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            for span in self._spans:
                span.late.append(max(0.0, loop.time() - due))

    async def _say(self, minutes: float) -> None:
        print(f"{'minute':>8}    {HEAD}  pending   memory     file     -wal")
        minute = 0
        while minute < minutes:
            span = self.measure()
            await asyncio.sleep(60 * min(1, minutes - minute))
            self.end(span)
            minute += 1
            memory, wal = _resident(), self._wal()
            self._minutes.append(Minute(memory, wal, median(span.steps or [0.0])))
            sizes = _mib(memory), _mib(self._path.stat().st_size), _mib(wal)
            print(f"{minute:>8}    {span.line()}  {len(self._pending):>7} {' '.join(sizes)}", flush=True)

    def _wal(self) -> int:
        return Path(f"{self._path}-wal").stat().st_size


def _rows(**spans: Span) -> list[str]:
    return [f"{name:>8}    {span.line()}" for name, span in spans.items()]


def _mib(size: float) -> str:
    return f"{size / (1 << 20):5.1f} MB"


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE


def main() -> None:
    """Do what the command line asks for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="A load for minutes, and a prune.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20, help="runs begun a second of each kind")
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; times in ms\n")
    with tempfile.TemporaryDirectory(prefix="durable-soak-") as folder:
        soak = Soak(Path(folder) / "soak.db", asked.rate)
        print("\n".join(asyncio.run(soak.run(asked.minutes))))


if __name__ == "__main__":
    main()
