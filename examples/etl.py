"""A real job that survives `kill -9`: measure every source file of Python's own standard library.

    python examples/etl.py

The job runs in a child process, is killed half way, and is started again. The second process goes on where the first
one died, waits for an approval between its two phases, and writes a report. At the end the report is compared with one
that plain Python computes, without the library.
"""

import asyncio
import hashlib
import json
import math
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import durable

LIBRARY = Path(sysconfig.get_path("stdlib"))
CHUNK = 50


class Measure(NamedTuple):
    lines: int
    words: int
    sha256: str


# The job. Nothing here knows of processes that die.


@durable.function
async def etl(ctx: durable.Context) -> dict[str, int]:
    """Measure all files, a chunk a step, four at a time; once approved, write the report."""
    files = await ctx.step.run("list", list_files)
    four = asyncio.Semaphore(4)  # plain asyncio replays exactly

    async def measured(number: int) -> dict[str, Measure]:
        async with four:
            chunk = files[number * CHUNK : (number + 1) * CHUNK]
            result = await ctx.step.run(f"chunk-{number}", measure, number, chunk)
            tell("have", f"chunk-{number}")
            return result

    async with asyncio.TaskGroup() as group:
        chunks = [group.create_task(measured(number)) for number in range(math.ceil(len(files) / CHUNK))]

    await ctx.step.wait_for_event("approval", event="etl/approved", timeout="7d")
    return await ctx.step.run("report", write_report, ctx.event.data["report"], [chunk.result() for chunk in chunks])


def list_files() -> list[str]:
    tell("does", "list")
    return sources()


def sources() -> list[str]:
    paths = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(path.as_posix() for path in paths if "site-packages" not in path.parts)


def measure(number: int, files: list[str]) -> dict[str, Measure]:
    tell("does", f"chunk-{number}")
    return {file: measure_file(LIBRARY / file) for file in files}


def measure_file(path: Path) -> Measure:
    content = path.read_bytes()
    return Measure(content.count(b"\n"), len(content.split()), hashlib.sha256(content).hexdigest())


def write_report(path: str, chunks: list[dict[str, Measure]]) -> dict[str, int]:
    tell("does", "report")
    Path(path).write_text(report(measures for chunk in chunks for measures in chunk.items()))
    every = [measure for chunk in chunks for measure in chunk.values()]
    return {"files": len(every), "lines": sum(one.lines for one in every), "words": sum(one.words for one in every)}


def report(measures: Iterable[tuple[str, Measure]]) -> str:
    return "\n".join(f"{file} {one.lines} {one.words} {one.sha256}" for file, one in measures)


# One process that works on it: `python examples/etl.py FOLDER`.


async def work(folder: Path) -> None:
    async with durable.Engine([etl], store=folder / "etl.db") as engine:
        run = await engine.start(etl, {"report": str(folder / "report.txt")}, id="etl")
        await engine.settled()  # it can do nothing more without the approval
        tell("waits", *(await run.info()).waiting_for)
        await engine.send("etl/approved")
        tell("returns", json.dumps(await run.result()))


def tell(*words: str) -> None:
    print(" ".join(words) + "\n", end="", flush=True)  # one write: steps tell from several threads


# The show.


def show(folder: Path) -> bool:
    files = sources()
    chunks = math.ceil(len(files) / CHUNK)
    half = chunks // 2
    print(f"The standard library of {LIBRARY.name}: {len(files):,} files, {chunks} chunks of {CHUNK}.")

    first = run_child(folder, kill_after=half)
    have = [name for verb, name in first if verb == "have"]
    print(f"The first process is killed (kill -9) when it has {len(have)} chunks.")

    second = run_child(folder, kill_after=None)
    did = [name for verb, name in second if verb == "does"]
    recalled = [name for verb, name in second if verb == "have" and name not in did]
    print(f"The second answers {len(recalled)} chunks from the store: {', '.join(recalled)}.")
    print(f"It does the rest, {len(did)} steps: {', '.join(did)}.")
    print(f"Result: {dict(second).get('returns')}")

    plain = report((file, measure_file(LIBRARY / file)) for file in files)
    written = folder / "report.txt"
    checks = {
        "the first process was killed half way": half <= len(have) < chunks and "returns" not in dict(first),
        "no step that the first had finished ran again": not {"list", *have} & set(did),
        "every chunk was there in the end": sum(verb == "have" for verb, _ in second) == chunks,
        "it waited for the approval between the phases": ("waits", "approval") in second,
        "the report equals the one of plain Python": written.exists() and written.read_text() == plain,
    }
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO '}  {what}")
    return all(checks.values())


def run_child(folder: Path, *, kill_after: int | None) -> list[tuple[str, str]]:
    """Start the job, and kill it when it has told of so many chunks; return what it told."""
    told: list[tuple[str, str]] = []
    with subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            verb, _, what = line.strip().partition(" ")
            told.append((verb, what))
            if sum(verb == "have" for verb, _ in told) == kill_after:
                child.kill()
    return told


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            sys.exit(0 if show(Path(temporary)) else 1)
