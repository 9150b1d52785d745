"""Real processes, killed with `kill -9` at random instants and started again, until their work is done.

    python -m tests.crashing --rounds 200 --seed 1

Separate because the same rounds run short in `tests/test_processes.py` and long by hand.
Leaves to the simulated store what a loss of power does.

A child works on 20 runs at once: blocking and async steps, parallel steps, sleeps, retries, events that open runs and
answer waits. Handlers and functions write to one log, opened with O_APPEND, so that its lines are in their true order:
"does" when a handler is called, "has" when the function goes on after a step, which acknowledges it. One round is one
kill; a story is a store from its beginning until a child of it ends by itself, and then its log is judged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs

import durable

RUNS = 20
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONUNBUFFERED": "1"}

# The child.

_log = -1


def tell(verb: str, run: str, key: str, attempt: int = 0) -> None:
    """Write one line to the log, in one write."""
    os.write(_log, f"{verb} {os.getpid()} {run} {key} {attempt}\n".encode())


def executed() -> durable.CurrentStep:
    """Tell that the handler of the current step is called."""
    step = durable.current_step()
    tell("does", step.run_id, step.key, step.attempt)
    return step


def blocking(number: int) -> str:
    step = executed()
    time.sleep(0.005)  # so that a kill finds handlers at work
    return f"{step.key} {number}"


async def prompt(number: int) -> str:
    return f"{executed().key} {number}"


async def slow(number: int) -> str:
    step = executed()
    await asyncio.sleep(0.02)
    return f"{step.key} {number}"


async def flaky(number: int) -> str:
    step = executed()
    if step.attempt < 2:
        raise ConnectionError(f"not yet, {step.attempt}")
    return f"{step.key} {number}"


@durable.function(retries=3, backoff=durable.Backoff(first="10ms", jitter=0))
async def work(ctx: durable.Context) -> list[Any]:
    """Do a bit of everything, three times; return what the steps returned."""
    number: int = ctx.event.data["number"]

    async def step(key: str, handler: Any) -> str:
        value: str = await ctx.step.run(key, handler, number)
        tell("has", ctx.run_id, value.split()[0])
        return value

    found: list[Any] = []
    for _ in range(3):
        found.append(await step("blocking", blocking))
        found.append(await asyncio.gather(*(step("side", handler) for handler in (blocking, slow, prompt))))
        answer = asyncio.create_task(
            ctx.step.wait_for_event("answer", event="work/answered", match="data.number", timeout="10m")
        )
        await ctx.step.send_event("ask", durable.Event("work/asked", {"number": number}))
        await ctx.step.sleep("nap", "10ms")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step("tried", flaky)), group.create_task(step("tried", slow))]
        found.append([task.result() for task in tasks])
        event = await answer
        found.append(event.data if event else "nobody answered")
    return found


@durable.function("work/asked", retries=3, backoff=durable.Backoff(first="10ms"))
async def reply(ctx: durable.Context) -> None:
    """Answer the run that asked."""
    value = await ctx.step.run("think", blocking, ctx.event.data["number"])
    tell("has", ctx.run_id, "think")
    await ctx.step.send_event("tell", durable.Event("work/answered", {**ctx.event.data, "value": value}))


async def worked(store: str | None, log: str | Path) -> list[Any]:
    """Work on the store until all runs have ended; return what they returned, and how many replies there were."""
    global _log
    _log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with durable.Engine([work, reply], store=store) as engine:
        if store is not None:
            print("open")
        runs = [await engine.start(work, {"number": number}, id=f"r{number}") for number in range(RUNS)]
        results = await asyncio.gather(*(run.result() for run in runs))
        await engine.settled()
        replies = await engine.runs(function=reply, status="completed", limit=1_000)
    os.close(_log)
    return [results, len(replies)]


# The parent, of this child and of others.


def start(program: str, *arguments: object, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    """Start a child; what it says on both streams comes through one pipe, in order. It heeds every signal."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Take back what whoever started us may have told us to ignore, as `nohup` and a shell's `&` do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run(program: str, *arguments: object) -> tuple[int, str]:
    """Run a child to its end; return its exit code and what it said."""
    child = start(program, *arguments)
    said, _ = child.communicate()
    return child.returncode, said


def hear(child: subprocess.Popen[str], line: str) -> None:
    """Read what a child says, up to a line."""
    assert child.stdout is not None
    said = []
    for text in child.stdout:
        said.append(text)
        if text.rstrip("\n") == line:
            return
    raise AssertionError(f"the child never said {line!r}, but: {''.join(said)}")


def end(child: subprocess.Popen[str]) -> None:
    """Kill a child, whatever it does."""
    child.kill()
    child.communicate()


@attrs.frozen
class Line:
    """One line of the log."""

    verb: str
    pid: str
    step: tuple[str, str]
    attempt: int


def lines(log: Path) -> Iterator[Line]:
    """Yield the lines of a log."""
    for text in log.read_text().splitlines():
        verb, pid, run, key, attempt = text.split(" ")
        yield Line(verb, pid, (run, key), int(attempt))


def judge(log: Path, kills: int) -> Counter[str]:
    """Check the log of a story: R1, R2, R11. Return how many executions there were, and how many of them again.

    Raises:
        AssertionError: a rule is broken.
    """
    acknowledged: set[tuple[str, str]] = set()
    furthest: dict[tuple[str, str], int] = {}
    done: Counter[tuple[tuple[str, str], int]] = Counter()
    in_process: set[tuple[str, tuple[str, str], int]] = set()
    for line in lines(log):
        if line.verb == "has":
            acknowledged.add(line.step)
            continue
        assert line.step not in acknowledged, f"R1: {line} runs, though it was acknowledged before"
        assert line.attempt >= furthest.get(line.step, 0), f"R11: {line} is an earlier try than one before"
        assert (line.pid, line.step, line.attempt) not in in_process, f"{line} runs twice in one process"
        furthest[line.step] = line.attempt
        in_process.add((line.pid, line.step, line.attempt))
        done[line.step, line.attempt] += 1
    worst = max(done.values())
    assert worst <= 1 + kills, f"a try ran {worst} times with {kills} crashes"
    assert {step for step, _ in done} == acknowledged, "a step was done, but its function never went on"
    return Counter(executions=done.total(), again=done.total() - len(done))


def launch(folder: Path) -> subprocess.Popen[str]:
    """Start a child on the store in the folder."""
    command = [sys.executable, "-m", "tests.crashing", "--child", str(folder / "x.db"), str(folder / "log")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT)


def life(folder: Path, after: float | None, *, from_opening: bool = True) -> list[Any] | None:
    """Let a child live, and kill it after so many seconds; return what it printed if it ended by itself before."""
    with launch(folder) as process:
        assert process.stdout is not None
        first = process.stdout.readline() if from_opening else "open\n"
        assert first == "open\n", f"the child could not open its store: exit code {process.wait()}"
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
        printed = process.stdout.read()
        code = process.wait()
    if code == -9:
        return None
    assert code == 0, f"the child ended with {code}"
    result: list[Any] = json.loads(printed.splitlines()[-1])
    return result


def story(folder: Path, chance: Random, expected: list[Any], most: int) -> tuple[int, Counter[str]]:
    """Kill children of one store until one ends by itself, at most so many; return the kills and what was executed.

    Raises:
        AssertionError: a rule is broken, or the results are others than without crashes.
    """
    kills = 0
    while kills < most:
        at_start = chance.random() < 0.1
        after = chance.uniform(0, chance.choice((0.02, 0.1, 0.4)) if not at_start else 0.5)
        result = life(folder, after, from_opening=not at_start)
        if result is not None:
            break
        kills += 1
    else:
        result = life(folder, None)
    assert result == expected, f"after {kills} crashes: {result}, without: {expected}"
    return kills, judge(folder / "log", kills)


def rounds(folder: Path, number: int, seed: int) -> Counter[str]:
    """Do so many rounds of `kill -9`; return the counts.

    Raises:
        AssertionError: the message begins with seed and story, and says where the store is.
    """
    expected = asyncio.run(worked(None, folder / "quiet"))
    assert not judge(folder / "quiet", 0)["again"]
    chance, total = Random(seed), Counter[str]()
    while total["kills"] < number:
        place = folder / str(total["stories"])
        place.mkdir()
        try:
            kills, executed = story(place, chance, expected, number - total["kills"])
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, story {total['stories']} in {place}: {error}") from error
        total += executed
        total.update(kills=kills, stories=1)
    return total


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashing", description="kill -9, again and again")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", nargs=2, metavar=("STORE", "LOG"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(asyncio.run(worked(*asked.child))))
        return
    folder = Path(tempfile.mkdtemp(prefix="crashing-"))  # stays, where a rule was broken
    total = rounds(folder, asked.rounds, asked.seed)
    shutil.rmtree(folder)
    print(f"seed {asked.seed}: {total['kills']} kills in {total['stories']} stories of {RUNS} runs")
    print(f"{total['executions']:,} calls of handlers, {total['again']} of them again after a crash")
    print("results as without crashes, no acknowledged step again")


if __name__ == "__main__":
    main()
