"""A job that survives `kill -9`: measure every source file of Python's own standard library, a chunk a step.

Kill it in the middle, or press Ctrl-C, and run it again: it goes on where it was. `etl_killed.py` does that for you.
"""

import asyncio
import hashlib
import sysconfig
from pathlib import Path
from typing import NamedTuple

import durable

LIBRARY = Path(sysconfig.get_path("stdlib"))
CHUNK = 50


class Measure(NamedTuple):
    lines: int
    words: int
    sha256: str


@durable.function
async def etl(ctx: durable.Context) -> dict[str, int | str]:
    files = await ctx.step.run("list", list_files)
    four = asyncio.Semaphore(4)  # plain asyncio replays exactly

    async def measured(start: int) -> dict[str, Measure]:
        async with four:
            return await ctx.step.run(f"files {start}", measure, start, files[start : start + CHUNK])

    async with asyncio.TaskGroup() as group:
        chunks = [group.create_task(measured(start)) for start in range(0, len(files), CHUNK)]
    return await ctx.step.run("add up", add_up, [chunk.result() for chunk in chunks])


def list_files() -> list[str]:
    return sorted(str(path) for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts)


def measure(start: int, files: list[str]) -> dict[str, Measure]:
    print(f"measure files {start} to {start + len(files) - 1}\n", end="", flush=True)  # one write: four threads print
    return {file: measure_file(file) for file in files}


def measure_file(file: str) -> Measure:
    text = Path(file).read_bytes()
    return Measure(text.count(b"\n"), len(text.split()), hashlib.sha256(text).hexdigest())


def add_up(chunks: list[dict[str, Measure]]) -> dict[str, int | str]:
    every = [one for chunk in chunks for one in chunk.values()]
    digest = hashlib.sha256("".join(one.sha256 for one in every).encode()).hexdigest()
    return {"lines": sum(one.lines for one in every), "words": sum(one.words for one in every), "sha256": digest}


if __name__ == "__main__":
    print(durable.run(etl, store="etl.db", id="etl"))
