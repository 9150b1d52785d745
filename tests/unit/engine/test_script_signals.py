"""Scripts in processes of their own: signals, exits, functions that do not end, streams that take nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

import pytest

from tests.proof.crashes import ENVIRONMENT, end, hear, run, start
from tests.support.at_once import AtOnce

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# One run: a finished step, then a step, or the function itself, that does what it is told.
_SCRIPT = """
import asyncio, contextlib, os, signal, sys, threading, time, durable

store, how, loop, crashes = sys.argv[1], *sys.argv[2].split("/"), int(sys.argv[3])
if loop == "uvloop":
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

def tell(text):
    os.write(1, text.encode() + b"\\n")

async def act():
    tell("acts")
    if how == "hangs":
        try:
            await asyncio.sleep(3600)
        finally:
            tell("cleans")
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            tell("cleaned")
    if how == "exits":
        sys.exit(7)
    if how.startswith("heeds nothing"):
        loop_is_blocked = how == "heeds nothing"
        while True:
            try:
                sys.stdin.readline()
                tell("has read")
            except BaseException:
                tell("swallows")
                if not loop_is_blocked:
                    await swallow_sleep()
    return "acted"

def block():
    tell("blocks")
    if how == "blocks":
        threading.Event().wait(3600)
    if how == "exits in a thread":
        sys.exit(7)
    return "blocked"

async def swallow_sleep():
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass

async def swallow_step(ctx):
    while True:
        try:
            return await ctx.step.sleep("never", "1h")
        except BaseException:
            pass

async def suppress():
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.Event().wait()

async def gather():
    while True:
        await asyncio.gather(asyncio.sleep(3600), return_exceptions=True)

@durable.function
async def etl(ctx):
    await ctx.step.run("extract", tell, "extracts")
    await ctx.step.run("act", act)
    await ctx.step.run("block", block)
    if how.startswith("swallows"):
        tell("swallows")
        if how == "swallows in a task":
            task = asyncio.create_task(swallow_sleep())
        await {"sleep": swallow_sleep, "step": lambda: swallow_step(ctx), "with": suppress, "gather": gather,
               "in a task": lambda: asyncio.sleep(3600)}[how.removeprefix("swallows ")]()
    if how == "exits in the function":
        sys.exit(7)
    nap = ctx.step.sleep("rest", "1h" if how in ("sleeps", "times out") else 0)
    tell("rests")
    await nap
    return "done"

before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
try:
    print(durable.run(etl, store=store, id="etl", max_crashes=crashes, timeout="1ms" if how == "times out" else None))
finally:
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
"""

LOOPS = ["asyncio", "uvloop"]
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def _ended(path: Path, how: str, after: str | None, *numbers: int, loop: str = "asyncio") -> tuple[int, str, float]:
    """Run the script, send it signals once it has said a line; return its status, what it said, and how long it took
    to end."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    child = start(_SCRIPT, path, f"{how}/{loop}", 1)  # R26: one unclean death, and the run fails
    try:
        if after is not None:
            hear(child, after)
        began = perf_counter()
        for number in numbers:
            child.send_signal(number)
        said, _ = child.communicate(timeout=60)
    finally:
        end(child)
    return child.returncode, said, perf_counter() - began


def _goes_on(path: Path, loop: str = "asyncio", *, finished: int | None = 1) -> None:
    """Run the script again: the run goes on, which it would not after an unclean death."""
    code, said = run(_SCRIPT, path, f"goes/{loop}", 1)
    assert (code, said.splitlines()[-1]) == (0, "done"), said
    assert said.startswith("durable: run 'etl' goes on: "), said
    assert "extracts" not in said
    if finished is not None:
        assert f"{finished} finished step" in said


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("number", "status"), [(TERM, 143), (HUP, 129), (INT, 130)])
@pytest.mark.parametrize(("how", "after"), [("hangs", "acts"), ("sleeps", "rests")])
def test_a_signal_parks_the_run_in_one_line_and_is_no_crash(
    how: str, after: str, number: int, status: int, loop: str, tmp_path: Path
) -> None:
    """R14, R25, R26"""
    path = tmp_path / "x.db"
    code, said, seconds = _ended(path, how, after, number, loop=loop)
    assert (code, seconds < 30) == (status, True), said
    why = "interrupted" if number == INT else f"ended by {signal.Signals(number).name}"
    lines = [line for line in said.splitlines() if line.startswith("durable: ")]
    assert lines == [f"durable: {why}; run 'etl' is parked in {path}: run the same again to go on"]
    assert "Traceback" not in said
    if how == "hangs":
        _goes_on(path, loop)
    else:  # until the instant that was recorded
        code, said = run(_SCRIPT, path, f"times out/{loop}", 1)
        assert "durable: run 'etl' goes on: 3 finished steps answer from" in said and "TimeoutError" in said


@pytest.mark.parametrize("numbers", [(HUP, HUP), (HUP, TERM), (TERM, HUP), (TERM, TERM), (INT, TERM)])
def test_what_supervisors_and_shells_say_twice_is_taken_once(numbers: tuple[int, int], tmp_path: Path) -> None:
    """R26: a terminal that is closed sends SIGHUP, its shell another; systemd sends SIGTERM and SIGHUP."""
    path = tmp_path / "x.db"
    child = start(_SCRIPT, path, "hangs/asyncio", 1)
    try:
        hear(child, "acts")
        child.send_signal(numbers[0])
        hear(child, "cleans")
        child.send_signal(numbers[1])
        said, _ = child.communicate("\n", timeout=60)
    finally:
        end(child)
    assert child.returncode == {INT: 130, TERM: 143, HUP: 129}[numbers[0]]
    assert said.startswith("cleaned\n"), said
    assert said.count("is parked in") == 1
    _goes_on(path)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", ["exits", "exits in a thread", "exits in the function", "times out"])
def test_an_exit_ends_the_script_with_its_status_and_is_no_crash(how: str, loop: str, tmp_path: Path) -> None:
    """R14, R26: the engine closes in order, whoever exits."""
    path = tmp_path / "x.db"
    code, said, seconds = _ended(path, how, None, loop=loop)
    assert code == (1 if how == "times out" else 7), said
    assert f"; run 'etl' is parked in {path}: run the same again to go on" in said
    assert seconds < 30
    if how != "times out":
        assert "durable: ended by sys.exit(7); " in said and "Traceback" not in said
        _goes_on(path, loop, finished=None)


def test_a_kill_is_an_unclean_death(tmp_path: Path) -> None:
    """R26: what the tests above would see of one."""
    path = tmp_path / "x.db"
    _ended(path, "hangs", "acts", signal.SIGKILL)
    code, said = run(_SCRIPT, path, "goes/asyncio", 1)
    assert code == 1
    assert "at 1 unclean deaths" in said


SWALLOWS = [*((how, "asyncio") for how in ("sleep", "step", "with", "gather", "in a task")), ("sleep", "uvloop")]


def _interrupted_and_goes_on(case: tuple[str, str], folder: Path) -> None:
    how, loop = case
    path = folder / "x.db"
    code, said, seconds = _ended(path, f"swallows {how}", "swallows", INT, loop=loop)
    assert code == 130, said
    assert seconds < 30
    assert f"durable: interrupted; run 'etl' is parked in {path}" in said
    assert "was destroyed" not in said and "GeneratorExit" not in said
    _goes_on(path, loop, finished=3)


_swallows = AtOnce(_interrupted_and_goes_on, SWALLOWS)  # each is given 2.5 s to end


@pytest.mark.parametrize("case", SWALLOWS, ids=" on ".join)
def test_a_function_that_swallows_cancelling_does_not_keep_ctrl_c_from_ending_the_script(case: tuple[str, str]) -> None:
    """R8: not when its tasks are cancelled, and not when Python takes them down."""
    _swallows(case)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_ctrl_c_ends_at_once_and_is_no_crash(loop: str, tmp_path: Path) -> None:
    """R11a, R26"""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    path = tmp_path / "x.db"
    child = start(_SCRIPT, path, f"blocks/{loop}", 1)
    try:
        hear(child, "blocks")
        child.send_signal(INT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        began = perf_counter()
        child.send_signal(INT)
        said, _ = child.communicate(timeout=60)
    finally:
        end(child)
    assert child.returncode == 130
    assert perf_counter() - began < 3
    assert said.count("is parked in") == 1
    _goes_on(path, loop, finished=2)


@pytest.mark.parametrize(("how", "needed"), [("heeds nothing", 3), ("heeds nothing but yields", 2)])
def test_a_handler_that_swallows_every_ctrl_c_is_ended_by_another(how: str, needed: int, tmp_path: Path) -> None:
    """By the second, as soon as it lets the loop go on; else by the third, which is the system's."""
    child = start(_SCRIPT, tmp_path / "x.db", f"{how}/asyncio", 1)
    assert child.stdin is not None
    try:
        hear(child, "acts")
        child.send_signal(INT)
        child.stdin.write("\n")
        child.stdin.flush()
        hear(child, "has read")
        child.send_signal(INT)
        hear(child, "swallows")
        if needed == 3:
            child.stdin.write("\n")
            child.stdin.flush()
            hear(child, "has read")
            child.send_signal(INT)
        assert child.wait(30) == (-INT if needed == 3 else 130)
    finally:
        end(child)


# A user's own handlers, other threads.

_OWN = """
import os, signal, sys, threading, durable

def own(number, frame):
    os.write(1, b"own\\n")

def look():
    if how == "own":
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
    return [signal.getsignal(number) in (own, signal.SIG_IGN) for number in numbers]

@durable.function
async def etl(ctx):
    return await ctx.step.run("look", look)

numbers, how = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), sys.argv[1]
for number in numbers:
    if how in ("own", "ignored"):
        signal.signal(number, own if how == "own" else signal.SIG_IGN)
before = [signal.getsignal(number) for number in numbers]
if how == "thread":
    told = []
    thread = threading.Thread(target=lambda: told.append(durable.run(etl)))
    thread.start()
    thread.join()
    print(*told)
else:
    print(durable.run(etl))
assert before == [signal.getsignal(number) for number in numbers]
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("own", "own\nown\n[True, True, True]\n"),
        ("ignored", "[True, True, True]\n"),
        ("usual", "[False, False, False]\n"),
        ("thread", "[False, False, False]\n"),
    ],
)
def test_a_users_own_handlers_stand_and_all_are_as_before_afterwards(how: str, said: str) -> None:
    assert run(_OWN, how) == (0, said)


# Streams.


def _nowhere() -> int:
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def _full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@cache
def _parked() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        _ended(path, "hangs", "acts", INT)
        return path.read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize("stream", [_nowhere, _full, None], ids=["a broken pipe", "a full disk", "none"])
@pytest.mark.parametrize("how", ["goes", "interrupted"])
def test_a_stderr_that_takes_nothing_changes_nothing(
    how: str, stream: Callable[[], int] | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(_parked())  # so that there is something to be said at the start
    descriptor = subprocess.DEVNULL if stream is None else stream()

    child = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(path), "goes/asyncio" if how == "goes" else "hangs/asyncio", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=descriptor,
        text=True,
        env={name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"},
        preexec_fn=(lambda: os.close(2)) if stream is None else None,
    )
    try:
        if how == "interrupted":
            hear(child, "acts")
            child.send_signal(TERM)
        said, _ = child.communicate(timeout=60)
    finally:
        end(child)
        if stream is not None:
            os.close(descriptor)
    assert (child.returncode, said) == (
        (0, "acts\nblocks\nrests\ndone\n") if how == "goes" else (143, "cleans\ncleaned\n")
    )
