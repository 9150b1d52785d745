"""Rule R13b: of an error one sees the lines of one's own code, and none of durable's or asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import durable
from durable import Context, Engine, RunFailed, StepError, StepOptions
from durable.errors import HOME, whole_stack
from durable.journal.codec.failures import recorded
from durable.testing import Lab

ONCE = StepOptions("s", retries=0)
LOOP = str(Path(asyncio.__file__).parent)


def declined(card: str = "4711") -> None:
    raise ValueError(f"card {card} is declined")


async def declined_async() -> None:
    await asyncio.sleep(0)
    declined()


def broken() -> None:
    try:
        declined()
    except ValueError as error:
        failure = RuntimeError("the order is broken")
        failure.add_note("look at order 7")
        raise failure from error


async def soon(failing: Callable[[], None]) -> None:
    await asyncio.sleep(0)
    failing()


async def both() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(soon(declined))
        group.create_task(soon(broken))


async def late() -> None:
    await asyncio.wait_for(asyncio.Event().wait(), 0.001)  # it raises its TimeoutError from a CancelledError


async def of_a_group(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.step.run(ONCE, broken))
        group.create_task(asyncio.sleep(3600))


async def of_a_cause(ctx: Context) -> None:
    try:
        await ctx.step.run(ONCE, broken)
    except StepError as error:
        raise LookupError("no order") from error


async def of_a_child(ctx: Context) -> None:
    await ctx.step.invoke("child", function=child)


@durable.function(retries=0)
async def child(ctx: Context) -> None:
    await ctx.step.run(ONCE, broken)


def stepping(handler: Callable[[], Any]) -> Callable[[Context], Awaitable[None]]:
    async def body(ctx: Context) -> None:
        await ctx.step.run(ONCE, handler)

    return body


async def of_itself(ctx: Context) -> None:
    broken()


BROKEN = ["in declined", "card 4711 is declined", "in broken", "the order is broken", "look at order 7"]
FAILING: dict[str, tuple[Callable[[Context], Awaitable[None]], list[str]]] = {
    "a blocking step": (stepping(declined), ["in declined", 'raise ValueError(f"card {card} is declined")']),
    "a step": (stepping(declined_async), ["in declined_async", "in declined"]),
    "a step with a cause and a note": (stepping(broken), BROKEN),
    "a step with a group": (stepping(both), ["in both", "| ValueError: card", *BROKEN, "caused by ValueError: card"]),
    "a step that asyncio ends": (stepping(late), ["in late", "await asyncio.wait_for(", "TimeoutError"]),
    "a function": (of_itself, ["in of_itself", *BROKEN]),
    "a group of steps in a function": (of_a_group, ["in of_a_group", *BROKEN, "caused by ValueError: card"]),
    "an error raised from a step's": (of_a_cause, [*BROKEN, "in of_a_cause", "LookupError: no order"]),
    "a child": (of_a_child, BROKEN),
}


async def in_a_lab(function: durable.Function[Any]) -> None:
    async with Lab([function, child]) as lab:
        await lab.result(await lab.start(function))


async def after_a_crash(function: durable.Function[Any]) -> None:
    async with Lab([function, child]) as lab:
        run = await lab.start(function)
        await lab.crash()
        await run.result()


async def by_a_handle(function: durable.Function[Any]) -> None:
    async with Engine([function, child]) as engine:
        await (await engine.start(function)).result()


async def by_its_id(function: durable.Function[Any]) -> None:
    async with Engine([function, child]) as engine:
        await engine.result((await engine.start(function)).id)


async def by_an_invoke(function: durable.Function[Any]) -> None:
    async with Engine([function, child]) as engine:
        await engine.invoke(function)


def in_a_script(function: durable.Function[Any]) -> None:
    durable.run(function, functions=[child])


DOORS: list[Callable[[Any], Any]] = [in_a_lab, after_a_crash, by_a_handle, by_its_id, by_an_invoke, in_a_script]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("failing", FAILING)
def test_a_failed_run_shows_the_lines_of_its_error_and_no_others(failing: str, door: Callable[[Any], Any]) -> None:
    """R13b: in a note below the message, with causes, notes and members; in its traceback the caller's line is last."""
    body, parts = FAILING[failing]
    function = durable.function(id="failing", retries=0)(body)
    with pytest.raises(RunFailed) as caught:
        asyncio.run(door(function)) if inspect.iscoroutinefunction(door) else door(function)
    error = caught.value
    [note] = error.__notes__
    assert note == whole_stack(error.error) and note.endswith(error.error.stack.rstrip("\n"))
    for part in parts:
        assert part in note, note
    assert HOME not in note and LOOP not in note, note
    frames = traceback.extract_tb(error.__traceback__)
    assert not [frame for frame in frames if frame.filename.startswith(HOME)]
    assert frames[-1].name == door.__name__


def test_a_failed_run_keeps_its_note_when_it_is_copied() -> None:
    """R13b, R14: as often as one likes, and once."""
    function = durable.function(id="failing", retries=0)(FAILING["a child"][0])
    with pytest.raises(RunFailed) as caught:
        in_a_script(function)
    error: Any = caught.value
    for _ in range(3):
        again = copy.deepcopy(pickle.loads(pickle.dumps(copy.copy(error))))
        assert traceback.format_exception_only(again) == traceback.format_exception_only(error)
        error = again


@pytest.mark.parametrize("crashing", [False, True])
def test_a_step_error_that_a_function_logs_shows_them_too(crashing: bool) -> None:
    """R13b: its note, and its causes as Python shows causes; when it is raised on, it is recorded once."""
    seen: list[str] = []

    @durable.function(retries=0)
    async def catching(ctx: Context) -> None:
        try:
            await ctx.step.run(ONCE, broken)
        except StepError as error:
            seen.append("".join(traceback.format_exception(error)))
            error.add_note("of the function's own")
            await ctx.step.sleep("a while", 1)
            raise

    async def story() -> None:
        async with Lab([catching]) as lab:
            run = await lab.start(catching)
            if crashing:
                await lab.crash()
            with pytest.raises(RunFailed) as caught:
                await lab.result(run)
            for text in seen:
                assert all(part in text for part in BROKEN) and text.count("look at order 7") == 1, text
            stack = caught.value.error.stack
            assert stack.count("Traceback") == stack.count("in broken") == 1, stack
            assert stack.endswith("RuntimeError: the order is broken\nlook at order 7\nof the function's own\n")

    asyncio.run(story())
    assert len(seen) == 1 + crashing


def test_an_error_of_which_nothing_more_is_known_has_no_note() -> None:
    """Its message is not said twice."""
    for error in (RunFailed("r", durable.RecordedError("ValueError", "boom")), StepError("ValueError", "boom")):
        assert not hasattr(error, "__notes__")
    assert not hasattr(StepError("ValueError", "boom", "ValueError: boom\n", "s"), "__notes__")


def test_a_stack_that_is_all_asyncios_is_kept() -> None:
    """Better those lines than none."""
    waiting = asyncio.Queue[int](1)
    with pytest.raises(asyncio.QueueEmpty) as caught:
        waiting.get_nowait()
    error = caught.value
    assert error.__traceback__ is not None
    assert "in test_a_stack" in (stack := recorded(error).stack) and LOOP not in stack
    error.__traceback__ = error.__traceback__.tb_next
    assert LOOP in recorded(error).stack


# On the screen.

SCRIPT = dedent(
    """\
    import durable

    def declined():
        raise ValueError("declined")

    def charge(card):
        try:
            declined()
        except ValueError as error:
            raise RuntimeError("cannot be charged") from error

    @durable.function(retries=0)
    async def buy(ctx):
        await ctx.step.run("charge", charge, "4711")

    if __name__ == "__main__":
        durable.run(buy, store="buy.db", id="order-7")
    """
)
SHOWN = dedent(
    """\
    Traceback (most recent call last):
      File "{file}", line 8, in charge
        declined()
      File "{file}", line 4, in declined
        raise ValueError("declined")
    ValueError: declined

    This led to:

    Traceback (most recent call last):
      File "{file}", line 10, in charge
        raise RuntimeError("cannot be charged") from error
    RuntimeError: cannot be charged
    """
)
FAILED = "durable.errors.RunFailed: run 'order-7' failed: StepError: step 'charge': RuntimeError: cannot be charged\n"


def ran(*words: str, where: Path) -> subprocess.CompletedProcess[str]:
    home = str(Path(durable.__file__).parent.parent)
    environment = {"PYTHONPATH": home, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=where, env=environment, text=True, capture_output=True, timeout=60, check=False)


def test_the_last_lines_of_a_script_that_fails_are_its_own(tmp_path: Path) -> None:
    """R13b: the whole traceback, from the script's own call to its own line."""
    script = tmp_path / "buy.py"
    script.write_text(SCRIPT)
    done = ran(str(script), where=tmp_path)
    said = done.stderr[done.stderr.index(f'Traceback (most recent call last):\n  File "{script}", line 17') :]
    call, _, rest = said.partition(FAILED)
    assert (done.returncode, rest) == (1, SHOWN.format(file=script))
    own = [line for line in call.splitlines() if line.strip("~^ ")]
    assert own[1:] == [f'  File "{script}", line 17, in <module>', '    durable.run(buy, store="buy.db", id="order-7")']


def test_a_failed_test_of_a_user_shows_his_lines_alone(tmp_path: Path) -> None:
    """R13b: in a real pytest, for each way to the result."""
    (tmp_path / "buy.py").write_text(SCRIPT)
    (tmp_path / "test_buy.py").write_text(
        dedent(
            """\
            import pytest, durable
            from durable.testing import Lab
            from buy import buy

            pytestmark = pytest.mark.anyio

            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            async def test_result():
                async with Lab([buy]) as lab:
                    await lab.result(await lab.start(buy, id="order-7"))

            async def test_handle():
                async with Lab([buy]) as lab:
                    await (await lab.start(buy, id="order-7")).result()

            async def test_invoke():
                async with durable.Engine([buy]) as engine:
                    await engine.invoke(buy, id="order-7")

            def test_run():
                durable.run(buy, id="order-7")
            """
        )
    )
    done = ran("-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", "test_buy.py", where=tmp_path)
    assert "4 failed" in done.stdout, done.stdout + done.stderr
    assert HOME not in done.stdout and LOOP not in done.stdout and "durable/" not in done.stdout, done.stdout
    shown = [line.strip() for line in (FAILED + SHOWN).format(file=tmp_path / "buy.py").splitlines()]
    told = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E")]
    assert told == shown * 4, done.stdout


def test_a_run_that_is_shown_at_a_terminal_ends_with_the_lines_of_its_error(tmp_path: Path) -> None:
    """R13b"""
    (tmp_path / "buy.py").write_text(SCRIPT)
    ran("buy.py", where=tmp_path)
    shown = ran("-m", "durable", "show", "buy.db", "order-7", where=tmp_path).stdout
    _, _, stack = shown.partition("  StepError: step 'charge': RuntimeError: cannot be charged\n")
    assert stack.replace("\n  ", "\n") == "  " + SHOWN.format(file=tmp_path / "buy.py"), shown


def test_a_run_that_is_shown_has_the_lines_of_errors_that_its_function_has_caught() -> None:
    """R13b: and of tries that are still to be tried again; nothing in them is sent to a terminal as it is."""

    def hostile() -> None:
        raise ValueError("\x1b[31m red\nand more")

    @durable.function
    async def catching(ctx: Context) -> None:
        with contextlib.suppress(StepError):
            await ctx.step.run(ONCE, broken)
        await ctx.step.run(StepOptions("h", backoff=durable.Backoff("1h")), hostile)

    async def story() -> None:
        async with Lab([catching]) as lab:
            run = await lab.start(catching, id="r")
            shown = str(await run.info())
            assert "\x1b" not in shown and "\n  step 's': RuntimeError: the order is broken\n" in shown
            assert all(f"  {part}" in shown or f", {part}" in shown for part in ("in broken", "in hostile")), shown
            assert (
                "\n  step 'h': ValueError: \\x1b[31m red\n  and more\n  Traceback (most recent call last):\n" in shown
            )
            await run.cancel("enough")
            assert str(await run.info()).endswith("\n  enough")

    asyncio.run(story())
