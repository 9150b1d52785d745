"""What a script says of the handlers that it waits for before it ends, and that this can be cut short."""

from __future__ import annotations

import copy
import pickle
import signal
import sys
from pathlib import Path

import pytest

import durable
from tests.proof.crashes import end, hear, run, start

# The loop's time stands still until a handler has been called, else a slow machine would let a timeout pass before, and
# from when the script says that it waits: what ends it then was no passing of time.
_SCRIPT = """
import asyncio, sys, threading, time, durable

path, how, grace, timeout = sys.argv[1:]
still = [time.monotonic()]  # what the loop's clock shows while it stands still

class Loop(asyncio.SelectorEventLoop):
    def time(self):
        now = super().time()
        return still[0] if still and now < still[0] + 25 else now  # what clears up after a Ctrl-C may need time, too

class Told:
    def write(self, text):
        if "waits up to" in text:
            still.append(asyncio.get_running_loop().time())
        return sys.__stderr__.write(text)

    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)

asyncio.new_event_loop, sys.stderr = Loop, Told()

def block(text):
    still.clear()
    print(f"{text}\\n", end="", flush=True)  # in one piece: other threads print, too
    threading.Event().wait(3600)

async def hang():
    still.clear()
    print("hangs", flush=True)
    await asyncio.Event().wait()

@durable.function
async def etl(ctx):
    if how == "hangs":
        await ctx.step.run("hang", hang)
    if how in ("many", "loses"):
        steps = [ctx.step.run(f"block {n}", block, "blocks") for n in range(5 if how == "many" else 1)]
        racing = [asyncio.create_task(step) for step in steps]
        if how == "many":
            await asyncio.wait(racing)
        await ctx.step.sleep("nap", 0.2)
        racing[0].cancel()
    else:
        await ctx.step.run("block", block, "blocks")
    return "done"

print(durable.run(etl, store=path, id="etl", grace=grace, timeout=timeout or None))
"""
# A Ctrl-C in the midst of what ends a run: as soon as it waits for the run's function, once the script has said so.
_INTERRUPTED = """
import asyncio, os, signal

wait, left = asyncio.wait, [1]

async def wait_interrupted(*awaited, timeout=None, **options):
    if timeout == 5 and still and left:
        left.clear()
        os.kill(os.getpid(), signal.SIGINT)
    return await wait(*awaited, timeout=timeout, **options)

asyncio.wait = wait_interrupted
"""
PARKED = "run 'etl' is parked in {path}: run the same again to go on"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@POSIX
@pytest.mark.parametrize(
    ("how", "grace", "number", "told", "status"),
    [
        ("blocks", "0s", signal.SIGINT, "waits up to 5 s for step 'block' of run 'etl': a second Ctrl-C ends it", 130),
        ("blocks", "0s", signal.SIGTERM, "waits up to 5 s for step 'block' of run 'etl': Ctrl-C ends it", 143),
        ("blocks", "1s", signal.SIGINT, "waits up to 5 s for step 'block' of run 'etl': a second Ctrl-C ends it", 130),
        ("blocks", "20s", signal.SIGHUP, "waits up to 20 s for step 'block' of run 'etl': Ctrl-C ends it", 129),
        ("hangs", "20s", signal.SIGINT, "waits up to 20 s for step 'hang' of run 'etl': a second Ctrl-C ends it", 130),
        (
            "many",
            "0s",
            signal.SIGINT,
            "waits up to 5 s for step 'block 0' of run 'etl', step 'block 1' of run 'etl', step 'block 2' of run 'etl' "
            "and 2 more: a second Ctrl-C ends it",
            130,
        ),
    ],
)
def test_what_is_waited_for_is_said_at_once_and_ctrl_c_ends_it(
    how: str, grace: str, number: int, told: str, status: int, tmp_path: Path
) -> None:
    """S1, R11a"""
    path = tmp_path / "x.db"
    child = start(_SCRIPT, path, how, grace, "")
    try:
        for line in ["blocks"] * 5 if how == "many" else [how]:
            hear(child, line)
        child.send_signal(number)
        hear(child, f"durable: {told} at once")
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=60)
    finally:
        end(child)
    assert (child.returncode, said.count("Traceback")) == (status, 0), said
    assert said.endswith(f"{PARKED.format(path=path)}\n")


@POSIX
def test_a_script_that_closes_for_another_reason_says_so_and_is_ended_by_one_ctrl_c(tmp_path: Path) -> None:
    """S1: past its timeout, and when its run has ended while the loser of a race still blocks."""
    for how, timeout, left in (("blocks", "300ms", "is parked"), ("loses", "", "has ended, its result is")):
        path = tmp_path / f"{how}.db"
        child = start(_SCRIPT, path, how, "0s", timeout)
        step = "block 0" if how == "loses" else "block"
        try:
            hear(child, f"durable: waits up to 5 s for step '{step}' of run 'etl': Ctrl-C ends it at once")
            child.send_signal(signal.SIGINT)
            said, _ = child.communicate(timeout=60)
        finally:
            end(child)
        assert (child.returncode, said.count("Traceback")) == (130, 0), said
        assert said.startswith(f"durable: interrupted; run 'etl' {left} in {path}: run the same again"), said


@POSIX
def test_a_ctrl_c_in_the_midst_of_the_end_of_a_run_is_no_failure(tmp_path: Path) -> None:
    """R14: it may come wherever Python is."""
    path = tmp_path / "x.db"
    code, said = run(_INTERRUPTED + _SCRIPT, path, "blocks", "0s", "300ms")
    assert (code, said.count("Traceback"), said.count("ERROR")) == (130, 0, 0), said
    assert said.startswith("blocks\ndurable: waits up to 5 s for step 'block' of run 'etl': Ctrl-C ends it at once\n")
    assert said.endswith(f"durable: interrupted; {PARKED.format(path=path)}\n")


def test_where_no_handler_is_waited_for_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    @durable.function
    async def etl(ctx: durable.Context) -> None:
        await ctx.step.run("extract", print, "extracts")
        signal.raise_signal(signal.SIGINT)  # a timeout could pass while the handler runs
        await ctx.step.sleep("nap", "1h")

    for grace in (0, "20s"):
        with pytest.raises(durable.Interrupted):
            durable.run(etl, store=tmp_path / "x.db", id="etl", grace=grace)
    assert "waits up to" not in capfd.readouterr().err


# What comes out.


def test_an_interrupted_script_can_be_caught_in_either_way(tmp_path: Path) -> None:
    @durable.function
    async def etl(ctx: durable.Context) -> None:
        await ctx.step.sleep("nap", 0)
        signal.raise_signal(signal.SIGINT)
        await ctx.step.sleep("rest", "1h")

    path = tmp_path / "x.db"
    for expected in (KeyboardInterrupt, SystemExit, durable.Interrupted):
        with pytest.raises(expected) as caught:
            durable.run(etl, store=path, id="etl")
        assert type(caught.value) is durable.Interrupted
        assert str(caught.value) == f"interrupted; {PARKED.format(path=path)}"
        assert caught.value.code == 130


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_an_interruption_survives_pickle_and_copy(again: object) -> None:
    assert callable(again)
    for error in (durable.Interrupted(), durable.Interrupted("interrupted; nothing is kept")):
        found = again(error)
        assert (type(found), str(found), found.code) == (durable.Interrupted, str(error), 130)
