"""Measure what the library costs, and print it as one table, or put it into the README.

    python -m tests.bench --peers --write

Separate because the rows only measure.
Leaves to the reader the judging: the command never fails.

With `--more` it runs the rows beside the table, each beside its limit and its goal: stops, timers, queues, memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench import peers, processes, queued, steps, stops, table, ticks, timers
from tests.bench.figures import Figure, Size
from tests.proof.crashes import ROOT

ROWS: dict[str, Callable[[Size], Awaitable[list[Figure]]]] = {
    "sequential": steps.sequential,
    "concurrent": steps.concurrent,
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
    "ticks": ticks.ticks,
    "queue": queued.queued,
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


def _more(names: list[str], size: Size) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    for name in names or ROWS:
        for figure in _figures(name, size):
            print(_line(figure), flush=True)
        gc.collect()


def _tabled(given: argparse.Namespace) -> None:
    found = {peer: peers.make(peer, given.environments) for peer in peers.PEERS} if given.peers else {}
    rows = {name: row for name, row in table.ROWS.items() if name in (given.rows or table.ROWS)}
    report = table.measured(rows, given.rounds, given.against, found)
    text = table.table(report)
    print(text)
    given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.write:
        table.put_into(ROOT / "README.md", text)


def main() -> None:
    """Measure the rows that are asked for, and print each as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what durable costs.")
    parser.add_argument("--rows", nargs="+", choices=table.ROWS, metavar="NAME", help=", ".join(table.ROWS))
    parser.add_argument("--rounds", type=int, default=3, help="of each row, in alternation with the other tree")
    parser.add_argument("--against", type=Path, metavar="TREE", help="another tree of the library, measured in turns")
    parser.add_argument("--peers", action="store_true", help=f"beside {', '.join(peers.PEERS)}, from the package index")
    kept = Path.home() / ".cache" / "durable-bench"
    parser.add_argument("--environments", type=Path, default=kept, help="a folder for the environments of the peers")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where all figures are written")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    parser.add_argument("--more", nargs="*", choices=ROWS, metavar="NAME", help=f"instead: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes of --more, to look at")
    given = parser.parse_args()
    if given.more is None:
        _tabled(given)
    else:
        _more(given.more, Size(rounds=3, scale=0.1) if given.quick else Size())


if __name__ == "__main__":
    main()
