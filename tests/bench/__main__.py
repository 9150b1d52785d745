"""Run the rows of the benchmark, and print each beside its limit and its goal.

    python -m tests.bench

Separate because the rows only measure.
Leaves to the reader the judging: the command never fails, and only marks the rows that miss their goal.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
from collections.abc import Awaitable, Callable

from tests.bench import peers, processes, steps, stops, timers
from tests.bench.figures import Figure, Size

ROWS: dict[str, Callable[[Size], Awaitable[list[Figure]]]] = {
    "sequential": steps.sequential,
    "concurrent": steps.concurrent,
    "peer": peers.peer,
    "memory": steps.in_memory,
    "fan-out": steps.fan_out,
    "answers": steps.answers,
    "matching": processes.matching,
    "waits": processes.waits,
    "sleeping": processes.sleeping,
    "recovering": processes.recovering,
    "import": processes.importing,
    "idle": processes.idling,
    "stops": stops.stops,
    "crowds": stops.crowds,
    "timers": timers.timers,
}


def _line(figure: Figure) -> str:
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}"
    goal = "" if figure.goal is None else f"{figure.goal.word} {figure.goal.bound:g}"
    reached = ""
    if figure.goal is not None and figure.ratio is not None:
        reached = "reached" if figure.goal.is_reached(figure.ratio) else "MISSED"
    return f"{figure.what}\n    {figure.measured}  |  {figure.limit}\n    {ratio:>8}  {goal:<14} {reached}"


def _figures(name: str, size: Size) -> list[Figure]:
    try:
        return asyncio.run(ROWS[name](size))
    except Exception as error:  # one row that cannot be measured must not hide the others
        return [Figure(f"row {name!r}", "-", f"not measured: {error!r}")]


def main() -> None:
    """Measure the rows that are asked for, and print each as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure durable against its limits.")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes: figures to look at, not to keep")
    given = parser.parse_args()
    size = Size(rounds=3, scale=0.1) if given.quick else Size()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    for name in given.rows:
        for figure in _figures(name, size):
            print(_line(figure), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
