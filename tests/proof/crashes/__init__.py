"""Kill real processes with `kill -9` at random instants, and restart them until their work is done.

    python -m tests.proof.crashes --rounds 200 --seed 1

Separate because the same rounds run short in `tests/proof/crashes/test_processes.py` and long by hand.
Leaves to `stories` the choice of rounds, to `hostile` the other things that happen to a store between them, to the
torture's simulated store the losses of power.

A child works on 20 runs at once: blocking and async steps, parallel steps, sleeps, retries, events that open runs and
answer waits. Handlers and functions write to one log, opened with O_APPEND, so that its lines are in their true order:
"does" when a handler is called, "has" when the function goes on after a step, which acknowledges it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs

import durable

RUNS = 20
ROOT = Path(durable.__file__).parent.parent
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
    if store is not None:
        print("begins")
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
    """Start a child; both its streams go into one pipe, in order."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=ENVIRONMENT,
    )


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
    """Kill a child."""
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
    command = [sys.executable, "-m", "tests.proof.crashes", "--child", str(folder / "x.db"), str(folder / "log")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT)


def life(folder: Path, after: float | None, *, since: Literal["begins", "open"] = "open") -> list[Any] | None:
    """Let a child live, and kill it so many seconds after it has begun to open its store, or opened it.

    Return what it printed if it ended by itself before.
    """
    with launch(folder) as process:
        assert process.stdout is not None
        for line in ("begins", "open") if since == "open" else ("begins",):
            said = process.stdout.readline()
            assert said == f"{line}\n", f"the child could not open its store: exit code {process.wait()}"
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
