"""Measure the rows of the one table that says what the library costs, and write it down.

Separate because a row of the table is measured on any tree, in rounds that alternate, and beside other libraries.
Leaves to `units` and `child` the work of the processes that are measured, to `peers` the other libraries.
"""

from __future__ import annotations

import datetime as dates
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import attrs

from tests.bench import peers
from tests.proof.crashes import ENVIRONMENT, ROOT

_HERE = Path(__file__).parent
_CACHE = tempfile.TemporaryDirectory(prefix="durable-bench-")
_BESIDE = "import asyncio, sqlite3, json, attrs, cattrs, anyio"
_TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
_FIRST_STEP = "import durable; durable.Engine; durable.function"
_BEGIN, _END = "<!-- the table of tests.bench -->\n", "<!-- its end -->\n"


@attrs.frozen
class Row:
    """A row says what is measured, in what, what it must reach, and how a tree of the library is measured.

    `beside` are the runs and steps by which other libraries are measured at the same work.
    """

    what: str
    unit: str
    goal: float | None
    measure: Callable[[Path], float]
    word: Literal["at most", "at least"] = "at most"
    beside: tuple[int, int] | None = None


def _environment(tree: Path) -> dict[str, str]:
    # As an installed package has it: compiled once, whatever this process was told about writing bytecode.
    cache = str(Path(_CACHE.name) / str(abs(hash(tree))))
    return {**ENVIRONMENT, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}


def _told(tree: Path, *command: object) -> str:
    asked = [sys.executable, *map(str, command)]
    ended = subprocess.run(asked, capture_output=True, text=True, env=_environment(tree), cwd=_CACHE.name)
    if ended.returncode:
        raise RuntimeError((ended.stderr.strip() or "it said nothing").splitlines()[-1])
    return ended.stdout.splitlines()[-1]


def _unit(row: str, figure: str = "units") -> Callable[[Path], float]:
    return lambda tree: float(json.loads(_told(tree, _HERE / "units.py", row))[figure])


def _bare_step(_tree: Path) -> float:
    return float(_told(ROOT, "-m", "tests.bench.bare"))


def _child(tree: Path, *command: object) -> dict[str, float]:
    figures: dict[str, float] = json.loads(_told(tree, _HERE / "child.py", *command))
    return figures


def _weight(what: str) -> Callable[[Path], float]:
    return lambda tree: _child(tree, what, "", 100_000)["bytes"]


def _opening(asked: tuple[str, str, str], count: int) -> Callable[[Path], float]:
    prepare, reopen, figure = asked

    def measure(tree: Path) -> float:
        with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
            store = Path(folder) / "bench.db"
            _child(tree, prepare, store, count)
            return _child(tree, reopen, store, count)[figure]

    return measure


def _importing(statement: str) -> Callable[[Path], float]:
    def measure(tree: Path) -> float:
        pairs = [[float(_told(tree, "-c", _TIMED.format(one))) for one in (statement, _BESIDE)] for _ in range(6)]
        return median(ours / beside for ours, beside in pairs[1:])  # the first may compile

    return measure


_ON_DISK = "file store, power"
_SLEEPING = ("prepare resting", "open", "settled")
_TEN = ("prepare ten", "open ten", "cpu")
ROWS = {
    "sequential": Row("dict store, 1,000 sequential steps", "units a step", 1.8, _unit("sequential")),
    "bare step": Row("a step without the library: what no step can do without", "units a step", None, _bare_step),
    "concurrent": Row("dict store, 200 runs × 20 steps", "units a step", 2.3, _unit("concurrent")),
    "concurrent on disk": Row(
        f"{_ON_DISK}, 200 runs × 20 steps", "units a step", 4.5, _unit("concurrent on disk"), beside=(200, 20)
    ),
    "sequential on disk": Row(
        f"{_ON_DISK}, 1,000 sequential steps", "units a step", None, _unit("sequential on disk"), beside=(1, 1_000)
    ),
    "cpu": Row(f"{_ON_DISK}, 1,000 sequential steps", "µs of CPU a step", 50, _unit("sequential on disk", "cpu_us")),
    "commits": Row(
        f"{_ON_DISK}, 1,000 sequential steps",
        "× bare commits",
        0.7,
        _unit("sequential on disk", "of_bare_commits"),
        "at least",
    ),
    "bare": Row("a bare commit of sqlite3", "µs", None, _unit("sequential on disk", "bare_commit_us")),
    "events": Row("1,000 events, each opening a one-step run, file", "units an event", 12, _unit("events")),
    "answers": Row("1,000 waits, 1,000 matching events, file", "units an event", 15, _unit("answers")),
    "matching": Row("one event against 100,000 waits, dict", "units an event", 18, _unit("matching")),
    "live": Row("a run that sleeps, its coroutine live", "bytes", 3_000, _weight("weigh sleeping")),
    "parked": Row("a run that sleeps, parked", "bytes", 700, _weight("weigh parked")),
    "opening": Row("opening a store of 100,000 sleeping runs, until all sleep", "s", 2, _opening(_SLEEPING, 100_000)),
    "recovering": Row("recovering 1,000 unfinished runs of 10 steps", "s of CPU", 0.3, _opening(_TEN, 1_000)),
    "import": Row("`import durable`", "× its packages", 1.6, _importing("import durable")),
    "first step": Row("`import durable`, and what a first step needs", "× its packages", None, _importing(_FIRST_STEP)),
}


def _line(told: str) -> None:
    print(told, file=sys.stderr, flush=True)


def _on(tree: Path, row: Row) -> float | None:
    return row.measure(tree)


def _beside(peer: str, python: Path, row: Row) -> float | None:
    return None if row.beside is None else peers.units(python, peer, *row.beside)


def _tried(side: str, measure: Callable[[Row], float | None], row: Row) -> list[float]:
    try:
        figure = measure(row)
    except Exception as error:  # a row that cannot be measured must not hide the others
        _line(f"{row.what}, {side}: not measured: {error}")
        return []
    return [] if figure is None else [figure]


def measured(
    rows: Mapping[str, Row], rounds: int, against: Path | None, interpreters: Mapping[str, Path]
) -> dict[str, Any]:
    """Measure rows, trees and peers in rounds that alternate; return all figures, as JSON holds them."""
    ours: dict[str, Callable[[Row], float | None]] = {"durable": partial(_on, ROOT)}
    if against is not None:
        ours[f"against {against.name}"] = partial(_on, against.resolve())
    sides = {**ours, **{peer: partial(_beside, peer, python) for peer, python in interpreters.items()}}
    found: dict[str, Any] = {}
    for name, row in rows.items():
        figures: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds):
            for side, measure in (ours if number else sides).items():  # a peer takes a minute: once will do
                figures[side] += _tried(side, measure, row)
        found[name] = {"what": row.what, "unit": row.unit, "goal": row.goal, "word": row.word, "figures": figures}
        _line(f"{row.what}: {', '.join(f'{side} {_spread(some)}' for side, some in figures.items())} {row.unit}")
    versions = {peer: peers.version(python, peer) for peer, python in interpreters.items()}
    return {"machine": _machine(), "rounds": rounds, "sides": list(sides), "peers": versions, "rows": found}


def _machine() -> str:
    now = dates.datetime.now(dates.UTC).date()
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {now}"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _spread(figures: list[float]) -> str:
    if not figures:
        return "-"
    if len(figures) == 1:
        return _shown(figures[0])
    return f"{_shown(median(figures))} ({_shown(min(figures))}-{_shown(max(figures))})"


def table(report: Mapping[str, Any]) -> str:
    """Return a report as a table in Markdown: medians, and the spread of the rounds in parentheses."""
    sides = report["sides"]
    heads = [f"{side} {report['peers'][side]}" if side in report["peers"] else side for side in sides]
    once = "; other libraries once" if report["peers"] else ""
    lines = [
        f"Measured on {report['machine']}; medians of {report['rounds']} rounds, their spread in parentheses{once}.",
        "",
        f"| work | in | must reach | {' | '.join(heads)} |",
        "| --- " * (3 + len(sides)) + "|",
    ]
    for row in report["rows"].values():
        goal = "-" if row["goal"] is None else f"{row['word']} {row['goal']:,}"
        cells = [_spread(row["figures"].get(side, [])) for side in sides]
        lines.append(f"| {row['what']} | {row['unit']} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def put_into(page: Path, text: str) -> None:
    """Put a table in place of the one that stands on a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{page} has no place for the table, between {_BEGIN.strip()} and {_END.strip()}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
