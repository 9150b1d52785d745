"""A Lab in which nothing can move says so at once: what is waited for, at which line, and what brings it on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Run
from durable.testing import Lab, StuckError
from durable.testing.lab import START

HERE = __file__


def line_of(code: Callable[..., Any], words: str) -> str:
    """Return the line of a function that has these words, as "file:line"."""
    lines = Path(HERE).read_text(encoding="utf-8").splitlines()
    first = code.__code__.co_firstlineno
    return f"{HERE}:{next(number for number, line in enumerate(lines[first:], first + 1) if words in line)}"


@durable.function
async def sleeping(ctx: Context) -> str:
    await ctx.step.sleep("night", "8h")
    return "awake"


@durable.function
async def approving(ctx: Context) -> Any:
    approval = await ctx.step.wait_for_event("approval", event="approved", timeout="7d", match="data.id")
    return approval and approval.data


async def deep(ctx: Context) -> Any:
    return await ctx.step.wait_for_signal("go", signal="go", timeout="1d", ask="Go on?")  # deep


@durable.function
async def signalled(ctx: Context) -> Any:
    return await deep(ctx)


@durable.function
async def gathering(ctx: Context) -> list[Any]:
    return await asyncio.gather(  # gather
        ctx.step.sleep("night", "8h"), ctx.step.wait_for_event("e", event="e", timeout="1h"), deep(ctx)
    )


@durable.function
async def parent(ctx: Context) -> Any:
    return await ctx.step.invoke("child", function=sleeping)


@durable.function(retries=1, backoff=durable.Backoff("1m", jitter=0))
async def again(ctx: Context) -> None:
    if ctx.attempt == 0:
        raise ValueError
    await ctx.step.sleep("s", 1)


@durable.function
async def flaky(ctx: Context) -> None:
    await ctx.step.run("charge", int, "no number")


FUNCTIONS = [sleeping, approving, signalled, gathering, parent, again, flaky]
# What waits, and what is said of it.
STUCK: dict[str, tuple[durable.Function[Any], list[str]]] = {
    "a sleep": (
        sleeping,
        [
            "run 'r' of function 'sleeping' waits: step 'night' for 2030-01-01 08:00:00+00:00; the next deadline is at",
            f"step 'night' is awaited at {line_of(sleeping.code, 'sleep(')}",
        ],
    ),
    "an event": (
        approving,
        ["step 'approval' for event 'approved', match 'data.id'", line_of(approving.code, "wait_for_event(")],
    ),
    "a signal, deep inside": (
        signalled,
        ["step 'go' for signal 'go', until", "asks 'Go on?'", f"step 'go' is awaited at {line_of(deep, '# deep')}"],
    ),
    "several": (
        gathering,
        [
            f"step 'night' is awaited at {line_of(gathering.code, '# gather')}",
            f"step 'e' is awaited at {line_of(gathering.code, '# gather')}",
            f"go' is awaited at {line_of(deep, '# deep')}",
        ],
    ),
    "a child": (
        parent,
        [
            "run 'r' of function 'parent' waits: step 'child' for the end of run 'r/child'",
            "run 'r/child' of function 'sleeping' waits: step 'night'",
            f"step 'night' is awaited at {line_of(sleeping.code, 'sleep(')}",
        ],
    ),
    "a further attempt": (again, ["its next attempt, number 2, at 2030-01-01 00:01:00+00:00"]),
    "a further try": (flaky, ["step 'charge' for its next try, number 2, at 2030-01-01 00:00:0"]),
}
ASKING: dict[str, Callable[[Lab, Run[Any]], Awaitable[Any]]] = {
    "the handle": lambda lab, run: run.result(),
    "the handle, with a time": lambda lab, run: run.result(timeout="10m"),
    "a handle of the engine": lambda lab, run: lab.engine.result(run.id),
    "another handle": lambda lab, run: _of_another(lab, run),
}


async def _of_another(lab: Lab, run: Run[Any]) -> Any:
    return await (await lab.engine.run(run.id)).result()


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("name", STUCK)
def test_a_result_that_only_time_or_input_could_bring_is_a_stuck_error_at_once(name: str, asking: str) -> None:
    function, words = STUCK[name]

    async def story() -> str:
        async with Lab(FUNCTIONS) as lab:
            run = await lab.start(function, {"id": 1}, id="r")
            before = asyncio.get_running_loop().time()
            with pytest.raises(StuckError) as stuck:
                await ASKING[asking](lab, run)
            assert asyncio.get_running_loop().time() - before < 4.0  # its own time is a few milliseconds
            assert lab.clock.now() == START
            return str(stuck.value)

    said = asyncio.run(story())
    for part in ("lab.advance", "lab.result(run)", "lab.send", "lab.signal", *words):
        assert part in said, said


def test_a_run_that_was_started_by_the_engine_is_not_awaited_for_ever_either() -> None:
    """`engine.invoke` is how one starts a run and awaits it, outside of a Lab."""

    async def story() -> None:
        async with Lab(FUNCTIONS) as lab:
            with pytest.raises(StuckError, match=r"step 'night' is awaited at .*test_stuck.py:\d+"):
                await lab.engine.invoke(sleeping)

    asyncio.run(story())


def test_what_still_moves_is_awaited() -> None:
    """R10a: a handler in a thread needs real time; it is awaited as live, also one that a timeout bounds."""
    go_on = threading.Event()

    @durable.function
    async def working(ctx: Context) -> str:
        return await ctx.step.run(durable.StepOptions("work", timeout="1h"), _work)

    def _work() -> str:
        assert go_on.wait(20)
        return "worked"

    async def story() -> None:
        async with Lab([working], threads=True) as lab:
            run = await lab.start(working)  # returns, since a timeout can end the handler
            awaited = asyncio.ensure_future(run.result())
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not awaited.done()
            go_on.set()
            assert await awaited == "worked"

    asyncio.run(story())


def test_a_result_awaited_beside_the_test_is_there_when_the_test_has_brought_it_on() -> None:
    """As long as the test itself calls the Lab, and through a crash."""

    async def story() -> None:
        async with Lab(FUNCTIONS) as lab:
            run = await lab.start(approving, {"id": 1})
            other = await lab.start(sleeping)
            awaited = asyncio.gather(run.result(), other.result("1h"))
            await asyncio.sleep(0)
            await lab.advance("8h")
            await lab.crash()
            await lab.send("approved", {"id": 1})
            assert await awaited == [{"id": 1}, "awake"]

    asyncio.run(story())


def test_a_result_awaited_beside_a_test_that_stops_short_of_it_is_a_stuck_error() -> None:
    async def story() -> None:
        async with Lab(FUNCTIONS) as lab:
            run = await lab.start(sleeping)
            awaited = asyncio.ensure_future(run.result())
            await asyncio.sleep(0)
            await lab.advance("7h")
            with pytest.raises(StuckError, match="the next deadline is at 2030-01-01 08:00:00"):
                await awaited
            await lab.advance("1h")
            assert await run.result() == "awake"

    asyncio.run(story())


def test_a_result_of_what_awaits_something_else_is_a_stuck_error_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 5 s of real time, shortened here; who gives a time of their own waits for that."""
    monkeypatch.setattr("durable.testing.lab.STUCK_SECONDS", 0.05)

    @durable.function
    async def foreign(ctx: Context) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        async with Lab([foreign]) as lab:
            run = await lab.engine.start(foreign, id="r")
            with pytest.raises(StuckError, match=rf"run 'r' at {line_of(foreign.code, 'wait()')}"):
                await run.result()
            with pytest.raises(TimeoutError, match="run 'r' has not ended within"):
                await run.result(timeout="200ms")

    asyncio.run(story())


def test_a_function_that_waits_for_a_clock_of_its_own_beside_its_steps_is_given_a_moment() -> None:
    """R9: such a clock does not follow the virtual one; what it brings may come all the same."""

    @durable.function
    async def impatient(ctx: Context) -> str:
        night = asyncio.ensure_future(ctx.step.sleep("night", "8h"))
        await asyncio.wait([night], timeout=0.01)
        night.cancel()
        return "no time to sleep"

    async def story() -> None:
        async with Lab([impatient]) as lab:
            assert await (await lab.start(impatient)).result() == "no time to sleep"

    asyncio.run(story())


def test_who_is_cancelled_while_awaiting_a_result_is_cancelled() -> None:
    async def story() -> None:
        async with Lab(FUNCTIONS) as lab:
            run = await lab.start(sleeping)
            awaited = asyncio.ensure_future(run.result())
            await asyncio.sleep(0)
            awaited.cancel()
            with pytest.raises(asyncio.CancelledError):
                await awaited
            await lab.advance(timedelta(hours=8))
            assert await run.result() == "awake"

    asyncio.run(story())


# A Lab that is not open.


@pytest.mark.parametrize(
    "call",
    [
        lambda lab: lab.start(sleeping),
        lambda lab: lab.send("e"),
        lambda lab: lab.signal("s"),
        lambda lab: lab.result(Run(lab._door, "r")),
        lambda lab: lab.advance("1h"),
        lambda lab: lab.settle(),
        lambda lab: lab.crash(),
        lambda lab: Run(lab._door, "r").result(),
        lambda lab: Run(lab._door, "r").cancel(),
    ],
)
def test_a_lab_that_is_not_open_says_how_to_open_it(call: Callable[[Lab], Awaitable[Any]]) -> None:
    async def story() -> None:
        lab = Lab([sleeping])
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the Lab is not open: write `async with Lab"):
                await call(lab)
            async with lab:
                pass

    asyncio.run(story())


class BusyMachine(asyncio.SelectorEventLoop):
    """A loop of a process that is given a moment of time now and then: at each look at the clock it is later."""

    late = 0.0

    def time(self) -> float:
        self.late += 0.25
        return super().time() + self.late


@pytest.mark.parametrize("is_asked", [False, True])
def test_what_needs_only_turns_of_the_loop_is_not_stuck_on_a_busy_machine(is_asked: bool) -> None:
    """Far more than 5 s pass meanwhile, but none in which the process could do more; what is stuck is still found."""

    async def turns() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    @durable.function
    async def plays(ctx: Context) -> str:
        for _ in range(10):
            await ctx.step.run("turns", turns)
        return "played"

    @durable.function
    async def foreign(ctx: Context) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        async with Lab([plays, foreign]) as lab:
            start = lab.engine.start if is_asked else lab.start
            assert await (await start(plays)).result() == "played"
            with pytest.raises(StuckError, match=r"after 5 s of real time something still runs: run 'r' at"):
                await (await start(foreign, id="r")).result()

    with asyncio.Runner(loop_factory=BusyMachine) as runner:
        runner.run(story())
