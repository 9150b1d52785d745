"""Scripts that are stopped by Ctrl-C or by a bug, in processes of their own, and run again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

import durable
from tests.proof.crashes import ENVIRONMENT, end, hear, run, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

_SCRIPT = """
import asyncio, os, sys, threading, durable

async def load():
    print("loads", flush=True)
    await asyncio.sleep(3600 if sys.argv[2] == "hangs" else 0)
    return "loaded"

def load_blocking():
    print("loads", flush=True)
    threading.Event().wait(3600 if sys.argv[2] == "blocks" else 0)
    return "loaded"

@durable.function
async def etl(ctx):
    await ctx.step.run("extract", print, "extracts", flush=True)
    first = await ctx.step.run("load", load)
    second = await ctx.step.run("load blocking", load_blocking)
    await ctx.step.sleep("rest", "1h" if sys.argv[2] == "sleeps" else 0)
    return first, second

print(durable.run(etl, store=sys.argv[1], id="etl"))
"""


def _interrupted(path: Path, how: str, after: list[str]) -> tuple[int, str, float]:
    child = start(_SCRIPT, path, how)
    try:
        for line in after:
            hear(child, line)
        began = perf_counter()
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate()
    finally:
        end(child)
    return child.returncode, said, perf_counter() - began


@pytest.mark.parametrize("how", ["hangs", "sleeps"])
def test_ctrl_c_parks_a_script_and_running_it_again_goes_on(how: str, tmp_path: Path) -> None:
    """R8, R14, R25"""
    path = tmp_path / "x.db"
    code, said, seconds = _interrupted(path, how, ["extracts", "loads"] if how == "hangs" else ["loads", "loads"])
    assert code == 130
    assert said.endswith(f"durable: interrupted; run 'etl' is parked in {path}: run the same again to go on\n")
    assert "Traceback" not in said
    assert "does not end" not in said and "do not end" not in said  # nobody was waited for until patience ran out
    assert seconds < 30
    if how == "sleeps":
        return
    code, said = run(_SCRIPT, path, "goes")
    assert (code, said.splitlines()) == (
        0,
        [
            f"durable: run 'etl' goes on: 1 finished step answers from {path}",
            "loads",
            "loads",
            "('loaded', 'loaded')",
        ],
    ), said


def test_a_blocking_handler_that_hangs_does_not_keep_the_script_from_ending(tmp_path: Path) -> None:
    """R11a"""
    path = tmp_path / "x.db"
    code, said, seconds = _interrupted(path, "blocks", ["extracts", "loads", "loads"])
    assert code == 130
    assert "step 'load blocking' of run 'etl' does not end" in said
    assert "durable: interrupted; run 'etl' is parked" in said
    assert seconds < 30
    code, said = run(_SCRIPT, path, "goes")
    assert (code, said.splitlines()[1:]) == (0, ["loads", "('loaded', 'loaded')"]), said


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    child = start(_SCRIPT, tmp_path / "x.db", "blocks")
    try:
        for line in ("loads", "loads"):
            hear(child, line)
        began = perf_counter()
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        child.send_signal(signal.SIGINT)
        child.communicate()
    finally:
        end(child)
    assert child.returncode == 130
    assert perf_counter() - began < 3


# Runs that end although their script was interrupted, or while it is.
_ENDS = """
import os, signal, sys, threading, durable

store, how, id = sys.argv[1], sys.argv[2], sys.argv[3] or None

def block():
    print("blocks", flush=True)
    threading.Event().wait(3600)

@durable.function(retries=0, timeouts=durable.Timeouts(finish="500ms" if how == "cancelled" else "1d"))
async def etl(ctx):
    if how == "cancelled":
        await ctx.step.run("block", block)
    os.kill(os.getpid(), signal.SIGINT)
    if how == "failed":
        raise ValueError("no such table")
    if how == "parked":
        await ctx.step.sleep("rest", "1h")
    return 1

durable.run(etl, store=store, id=id)
"""
_STATES = {
    "completed": "has ended, its result is in {store}: {again} to have it",
    "failed": "has failed (ValueError: no such table): {again} to try its failed steps again",
    "cancelled": "was cancelled ({reason}): {anew} to begin anew, or engine.retry opens it again",
    "parked": "is parked in {store}: {again} to go on",
}


@pytest.mark.parametrize("id", ["etl", ""])
@pytest.mark.parametrize("how", _STATES)
def test_an_interrupted_script_says_what_is_recorded_of_its_run(how: str, id: str, tmp_path: Path) -> None:
    """R31: live; the store, read afterwards, says the same."""
    path = tmp_path / "x.db"
    child = start(_ENDS, path, how, id)
    try:
        if how == "cancelled":
            hear(child, "blocks")
            child.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(1)  # meanwhile the run's time is over
            child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=60)
    finally:
        end(child)
    assert child.returncode == 130, said
    [info] = asyncio.run(_runs(path))
    assert info.status == {"parked": "waiting"}.get(how, how)
    by_name, anew = (
        ("run the same again", "give another id=") if id else (f"run it again with id={info.id!r}", "run it again")
    )
    again = "run the same again" if how == "parked" else by_name
    state = _STATES[how].format(store=path, again=again, anew=anew, reason=info.reason)
    assert f"durable: interrupted; run {info.id!r} {state}\n" in said


async def _runs(path: Path) -> list[durable.RunInfo]:
    async with durable.Engine(store=path) as engine:
        return await engine.runs()


_BROKEN = """
import durable

def extract():
    print("extracts")
    return [1, 2, 3]

def load(rows):
    return sum(rows) / WRONG

@durable.function(retries=0)
async def etl(ctx):
    rows = await ctx.step.run("extract", extract)
    return await ctx.step.run("load", load, rows)

print(durable.run(etl, store="etl.db", id="etl"))
"""
_ANSWERS = "1 finished step answers from etl.db"


def test_a_failing_script_mended_and_run_again_goes_on(tmp_path: Path) -> None:
    """R13b, R32"""
    script = tmp_path / "etl.py"
    error = "StepError: step 'load': NameError: name 'WRONG' is not defined"
    own = [
        f"durable.errors.RunFailed: run 'etl' failed: {error}",
        "Traceback (most recent call last):",
        f'  File "{script}", line 9, in load',
        "    return sum(rows) / WRONG",
        "NameError: name 'WRONG' is not defined",
    ]
    mended = _BROKEN.replace("WRONG", "3")
    for text, *expected in (
        (_BROKEN, 1, "extracts\n", own),
        (mended, 0, "2.0\n", [f"durable: run 'etl' had failed ({error}); it is opened again, {_ANSWERS}"]),
        (mended, 0, "2.0\n", ["durable: run 'etl' has ended already, its result is from etl.db"]),
    ):
        script.write_text(text)
        ended = subprocess.run([sys.executable, script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        last = ended.stderr.strip().splitlines()[-len(expected[2]) :]
        assert [ended.returncode, ended.stdout, last] == expected
