"""Rule R33: nothing fails in silence. What the engine's own log says of runs, at which level, and when."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import durable
from durable import Backoff, Context, Engine, Event, NonRetriableError, StepOptions
from durable.testing import Lab

TWICE = StepOptions("pay", retries=1, backoff=Backoff("10s", jitter=0))


def declined() -> None:
    raise ValueError("card is declined\n\x1b[31mtwice")


HERE, LINE = __file__, declined.__code__.co_firstlineno + 1


def final() -> None:
    raise NonRetriableError("no such card")


def told(caplog: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == level]


def in_a_lab(story: Callable[[Lab], Awaitable[Any]], *functions: Any) -> None:
    async def main() -> None:
        async with Lab(functions) as lab:
            await story(lab)

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "durable")


# Failures.


def test_each_failed_try_of_a_step_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Run, step, try n of m, class and message on one line, the user's line, and when the next is."""

    @durable.function
    async def buys(ctx: Context) -> None:
        with contextlib.suppress(durable.StepError):
            await ctx.step.run(TWICE, declined)

    async def story(lab: Lab) -> None:
        await lab.result(await lab.start(buys, id="order-7"))

    in_a_lab(story, buys)
    about = "run 'order-7' of function 'buys': step 'pay' has failed in try"
    error = rf"ValueError: card is declined\n\x1b[31mtwice (at {HERE}:{LINE} in declined)"
    assert told(caplog, "WARNING") == [
        f"{about} 1 of 2: {error}; the next is at 2030-01-01 00:00:10 UTC, in 10 s",
        f"{about} 2 of 2: {error}; it is not tried again",
    ]
    assert told(caplog, "ERROR") == []
    own = [vars(record) for record in caplog.records if record.levelname == "WARNING"]
    assert [(one["run_id"], one["function_id"], one["step"], one["attempt"], one["error"]) for one in own] == [
        ("order-7", "buys", "pay", number, "ValueError") for number in (0, 1)
    ]


def test_a_step_that_gives_up_says_so_at_its_first_try(caplog: pytest.LogCaptureFixture) -> None:
    @durable.function
    async def buys(ctx: Context) -> None:
        await ctx.step.run(StepOptions("pay", retries=4), final)

    async def story(lab: Lab) -> None:
        await lab.start(buys, id="r")

    in_a_lab(story, buys)
    [warning] = told(caplog, "WARNING")
    assert "in try 1 of 5: NonRetriableError: no such card" in warning
    assert warning.endswith("; it is not tried again")


def test_what_fails_without_being_tried_is_a_warning_too(caplog: pytest.LogCaptureFixture) -> None:
    """An invoke of a run that failed, a conflict over a signal: the function may catch it."""

    @durable.function(retries=0)
    async def child(ctx: Context) -> None:
        declined()

    @durable.function
    async def parent(ctx: Context) -> None:
        with contextlib.suppress(durable.StepError):
            await ctx.step.invoke("child", function=child)

    async def story(lab: Lab) -> None:
        await lab.result(await lab.start(parent, id="p"))

    in_a_lab(story, parent, child)
    [warning] = told(caplog, "WARNING")
    assert warning.startswith("run 'p' of function 'parent': step 'child' has failed: ")
    assert "ValueError" in warning and "in declined" in warning


def test_each_failed_attempt_of_a_function_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    @durable.function(retries=1, backoff=Backoff("10s", jitter=0))
    async def fails(ctx: Context) -> None:
        declined()

    async def story(lab: Lab) -> None:
        with pytest.raises(durable.RunFailed):
            await lab.result(await lab.start(fails, id="r"))

    in_a_lab(story, fails)
    error = rf"ValueError: card is declined\n\x1b[31mtwice (at {HERE}:{LINE} in declined)"
    assert told(caplog, "WARNING") == [
        f"run 'r' of function 'fails' has failed in attempt 1 of 2: {error}; "
        "the next is at 2030-01-01 00:00:10 UTC, in 10 s"
    ]
    [failed] = told(caplog, "ERROR")
    assert failed.startswith(f"run 'r' of function 'fails' has failed, in attempt 2 of 2: {error}\nTraceback (most")


def test_each_failed_run_is_an_error_with_the_recorded_stack(caplog: pytest.LogCaptureFixture) -> None:
    """Its lines are the stack's, and no text of a user's makes one more, or moves a terminal's cursor."""

    @durable.function
    async def buys(ctx: Context) -> None:
        await ctx.step.run(StepOptions("pay", retries=0), declined)

    async def story(lab: Lab) -> None:
        run = await lab.start(buys, id="order\n7")
        await lab.crash()  # what was said before is not said again
        assert (await run.info()).status == "failed"

    in_a_lab(story, buys)
    [text] = told(caplog, "ERROR")
    first, *stack = text.split("\n")
    assert first == (
        r"run 'order\n7' of function 'buys' has failed, in attempt 1 of 5: StepError: step 'pay': "
        rf"ValueError: card is declined\n\x1b[31mtwice (at {HERE}:{LINE} in declined)"
    )
    assert stack[:2] == ["Traceback (most recent call last):", f'  File "{HERE}", line {LINE}, in declined']
    assert all(line.isprintable() for line in stack)


# Ends, openings, closings.


def test_what_goes_well_is_told_at_info(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Opening, recovering (runs, and steps that answer), completing, cancelling, parking on close."""

    @durable.function
    async def rests(ctx: Context) -> str:
        await ctx.step.run("a", str)
        await ctx.step.sleep("rest", ctx.event.data["for"])
        return await ctx.step.run("b", str)

    async def lives() -> None:
        async with Engine([rests], store=tmp_path / "x.db") as engine:
            await engine.invoke(rests, {"for": 0}, id="short")
            for number in range(5):
                await engine.start(rests, {"for": "9d"}, id=f"long-{number}")
            await (await engine.start(rests, {"for": "9d"}, id="sold")).cancel("sold\nout")
            await engine.settled()
        async with Engine([rests], store=tmp_path / "x.db"):
            pass

    asyncio.run(lives())
    assert [record.levelname for record in caplog.records if record.levelno >= logging.INFO] == ["INFO"] * 6
    parked = "5 runs are parked and go on when the store is opened next: long-0, long-1, long-2, and more"
    has_opened = f"the engine has opened {tmp_path / 'x.db'}:"
    assert told(caplog, "INFO") == [
        f"{has_opened} no unfinished run goes on, no finished step answers from the record; 1 function",
        "run 'short' of function 'rests' has completed",
        r"run 'sold' of function 'rests' was cancelled: sold\nout",
        f"the engine closes: {parked}",
        f"{has_opened} 5 unfinished runs go on, 5 finished steps answer from the record; 1 function",
        f"the engine closes: {parked}",
    ]


# What led to nothing.


def test_what_led_to_nothing_is_told_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """An event without a listener, near misses of a wait, a Cancel and a trigger, a signal without a waiter."""

    @durable.function(durable.TriggerEvent("go"), cancel=[durable.Cancel("stop", match="data.id")], retries=0)
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="paid", timeout="1d", match="data.id")

    @durable.function(durable.TriggerEvent("tick", if_exp="event.data.n > 3"))
    async def ticks(ctx: Context) -> None: ...

    @durable.function
    async def sends(ctx: Context) -> None:
        await ctx.step.send_event("s", Event("nowhere"))

    async def story(lab: Lab) -> None:
        [run] = await lab.send("go", {"id": 7})
        caplog.clear()
        await lab.send("unknown", id="e1")
        await lab.send("paid", {"id": 8})
        await lab.send("stop", {"id": 8})
        await lab.send("tick", {"n": 1})
        await lab.signal("ready")
        await lab.start(sends)
        debug[:] = [re.sub(r"the id '[0-9A-Z/s#]{26,}'", "its id", text) for text in told(caplog, "DEBUG")]
        runs.append(run.id)

    debug: list[str] = []
    runs: list[str] = []
    in_a_lab(story, waits, ticks, sends)
    [run], no = runs, "waits for this name, but async.data.id == 7 said no: async.data.id is 8"
    assert debug == [
        "event 'unknown' with the id 'e1' led to nothing: nothing listens to this name",
        f"event 'paid' with its id led to nothing: step 'w' of run {run!r} {no}",
        f"event 'stop' with its id led to nothing: a Cancel of run {run!r} {no}",
        "event 'tick' with its id led to nothing: function 'ticks' is triggered by this name, but its filter, or its "
        "idempotency, says no",
        "signal 'ready' led to nothing: no run waits for it",
        "event 'nowhere' with its id led to nothing: nothing listens to this name",
    ]


# Nothing unrecorded is shown.


class Refusing(durable.DictStore):
    """Fails at the append that records a failed try."""

    async def append(self, entries: Any) -> None:
        if any(entry.kind in ("StepRetried", "RunClosed") for entry in entries):
            raise OSError("the disk is full")
        await super().append(entries)


@pytest.mark.parametrize("retries", [0, 3])
def test_what_could_not_be_recorded_is_not_told(retries: int, caplog: pytest.LogCaptureFixture) -> None:
    """R31: after a restart it may be otherwise."""

    @durable.function
    async def buys(ctx: Context) -> None:
        await ctx.step.run(StepOptions("pay", retries=retries), declined)

    async def story() -> None:
        with contextlib.suppress(durable.StoreError):
            async with Engine([buys], store=Refusing()) as engine:
                with pytest.raises(durable.StoreError):
                    await engine.invoke(buys)

    asyncio.run(story())
    assert [text for text in told(caplog, "ERROR") if "disk is full" not in text] == []
    assert len(told(caplog, "WARNING")) == (retries == 0)  # there the step's own failure is recorded, not the run's


# In a script.

SCRIPT = dedent(
    """\
    import logging, sys, durable

    {setup}

    def declined():
        raise ValueError("declined")

    @durable.function
    async def child(ctx):
        await ctx.step.run(durable.StepOptions("pay", retries=1, backoff=durable.Backoff(0)), declined)

    @durable.function
    async def buy(ctx):
        {late}
        ctx.logger.info("not shown")
        ctx.logger.warning("look %s", "here\\nand there")
        ctx.logger.error("a user's own\\nis whole")
        await ctx.step.invoke("child", function=child)

    durable.run(buy, functions=[child], id="order-7")
    """
)


def said_by_a_script(setup: str, where: Path, late: str = "pass") -> list[str]:
    script = where / "buy.py"
    script.write_text(SCRIPT.format(setup=setup, late=late))
    home = str(Path(durable.__file__).parent.parent)
    environment = {"PYTHONPATH": home, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, script], cwd=where, env=environment, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1 and done.stderr.endswith("\nValueError: declined\n"), done.stderr
    return done.stderr.replace(str(script), "buy.py").splitlines()


def test_a_script_shows_warnings_and_errors_if_logging_is_not_set_up(tmp_path: Path) -> None:
    """The stack of its own run is told once, with the error that it ends with; another run's stands in the log."""
    said = said_by_a_script("", tmp_path)
    assert said[: said.index("Traceback (most recent call last):") + 5] == [
        "durable: WARNING: [order-7] look here",
        "and there",
        "durable: ERROR: [order-7] a user's own",
        "is whole",
        "durable: WARNING: run 'order-7/child' of function 'child': step 'pay' has failed in try 1 of 2: "
        f"ValueError: declined (at buy.py:6 in declined); {said[4].partition('; ')[2]}",
        "durable: WARNING: run 'order-7/child' of function 'child': step 'pay' has failed in try 2 of 2: "
        "ValueError: declined (at buy.py:6 in declined); it is not tried again",
        "durable: ERROR: run 'order-7/child' of function 'child' has failed, in attempt 1 of 5: StepError: step 'pay': "
        "ValueError: declined (at buy.py:6 in declined)",
        "Traceback (most recent call last):",
        '  File "buy.py", line 6, in declined',
        '    raise ValueError("declined")',
        "ValueError: declined",
        "durable: WARNING: run 'order-7' of function 'buy': step 'child' has failed: StepError: step 'child': "
        "ValueError: declined (at buy.py:6 in declined)",
    ]
    assert said[4].partition("; ")[2].startswith("the next is at 20")
    own = [number for number, line in enumerate(said) if line.startswith("durable: ERROR: run 'order-7' of")]
    assert len(own) == 1 and said[own[0] + 1 : own[0] + 3] == [
        "Traceback (most recent call last):", '  File "buy.py", line 20, in <module>',
    ]  # fmt: skip


@pytest.mark.parametrize(
    "setup",
    [
        "logging.basicConfig(stream=sys.stdout)",
        "logging.getLogger('durable').addHandler(logging.NullHandler())",
        "logging.getLogger('durable').setLevel(logging.CRITICAL)",
        "logging.disable(logging.CRITICAL)",
    ],
)
def test_a_script_whose_logging_is_set_up_shows_what_that_shows(setup: str, tmp_path: Path) -> None:
    """On stderr there is the error that the script ends with, alone."""
    assert said_by_a_script(setup, tmp_path)[0] == "Traceback (most recent call last):"


def test_a_script_that_sets_up_logging_meanwhile_is_shown_each_line_once(tmp_path: Path) -> None:
    said = said_by_a_script("", tmp_path, late="logging.basicConfig(format='mine: %(message)s')")
    assert sum("in try 1 of 2" in line for line in said) == 1
    assert said[0] == "mine: [order-7] look here"


def test_what_a_script_has_hung_into_logging_is_gone_afterwards() -> None:
    logger = logging.getLogger("durable")
    before = list(logger.handlers)

    @durable.function
    async def looks(ctx: Context) -> int:
        return len(logger.handlers) - len(before)

    assert durable.run(looks) == 1
    assert logger.handlers == before


def test_the_level_counts_that_the_log_has_when_a_line_is_due(caplog: pytest.LogCaptureFixture) -> None:
    """A daemon's log may be turned up and down while its engine is open."""

    @durable.function
    async def greets(ctx: Context) -> None: ...

    async def story(lab: Lab) -> None:
        for number, level in enumerate([logging.WARNING, logging.INFO, logging.ERROR]):
            caplog.set_level(level, "durable")
            await lab.start(greets, id=f"r{number}")

    in_a_lab(story, greets)
    assert [text for text in caplog.messages if "completed" in text] == ["run 'r1' of function 'greets' has completed"]
