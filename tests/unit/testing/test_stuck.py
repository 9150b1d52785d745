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


# Stubs.


@durable.function("shop/order.placed")
async def fulfil(ctx: Context) -> str:
    charge = await ctx.step.run("charge", _charges)
    await ctx.step.sleep("cooling off", "24h")
    try:
        await ctx.step.run("ship", _charges)
    except durable.StepError:
        return "not shipped"
    return str(charge)


async def _charges() -> str:
    raise ConnectionError("no network in a test")


def lab_failure(body: Callable[[Lab], Awaitable[object]], functions: Any = (fulfil,), **options: Any) -> BaseException:
    """Return the error with which a test's Lab ends."""

    async def story() -> None:
        async with Lab(functions, **options) as lab:
            await body(lab)

    with pytest.raises(BaseException) as failure:
        asyncio.run(story())
    return failure.value


async def shipping(lab: Lab) -> None:
    assert await lab.result(await lab.start(fulfil)) == "ch_1"


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def test_a_mistyped_stub_names_the_step_that_was_meant_although_the_test_failed_first() -> None:
    error = lab_failure(shipping, stubs={"chrage": "ch_1", "ship": None})
    assert isinstance(error, durable.RunFailed) and error.error.name == "ConnectionError"
    [note] = [note for note in notes(error) if "stub" in note]
    assert "stubs that no step used: chrage (step 'charge' was called without a stub: is that one meant?)" in note
    assert "ship" in note


def test_a_mistyped_stub_of_a_wait_names_it_too() -> None:
    async def body(lab: Lab) -> None:
        await lab.start(sleeping)

    error = lab_failure(body, [sleeping], stubs={"nigth": None})
    assert isinstance(error, AssertionError)
    assert "nigth (step 'night' was called without a stub: is that one meant?)" in str(error)


def test_the_note_is_left_out_where_all_is_well_or_allowed() -> None:
    for options in ({"stubs": {"charge": "ch_1", "ship": None}}, {"stubs": {"chrage": 1}, "unused": "allow"}):

        async def body(lab: Lab) -> None:
            if "charge" in lab._stubs._stubs:
                await shipping(lab)
            raise ZeroDivisionError

        assert notes(lab_failure(body, **options)) == []


def test_stubs_may_be_left_unused_where_that_is_allowed() -> None:
    async def story() -> None:
        async with Lab([sleeping], stubs={"other": 1}, unused="allow") as lab:
            assert await lab.result(await lab.start(sleeping)) == "awake"

    asyncio.run(story())


@pytest.mark.parametrize("unused", ["error", "allow"])
def test_a_step_without_a_stub_fails_the_test_where_all_must_have_one(unused: str) -> None:
    """Its handler is not called, no try is spent, and a function that catches the error hides nothing."""

    async def body(lab: Lab) -> None:
        run = await lab.start(fulfil)
        assert await lab.result(run) == "not shipped"
        assert (await run.info()).steps["ship"].attempts == 0

    error = lab_failure(body, stubs={"charge": "ch_1"}, unstubbed="error", unused=unused)
    assert isinstance(error, AssertionError)
    assert str(error).startswith("step 'ship' has no stub, and unstubbed='error' keeps its handler from being called")
    mistyped = lab_failure(shipping, stubs={"chrage": "ch_1"}, unstubbed="error")
    assert "step 'charge' has no stub" in str(mistyped) and "is it meant by stub 'chrage'?" in str(mistyped)


def test_waits_need_no_stub_where_all_handlers_must_have_one() -> None:
    async def story() -> None:
        async with Lab(FUNCTIONS, unstubbed="error") as lab:
            assert await lab.result(await lab.start(parent)) == "awake"

    asyncio.run(story())


@pytest.mark.parametrize("option", ["unused", "unstubbed"])
def test_another_word_for_them_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f'{option} must be "(error|call)" or "(allow|error)", not \'raise\''):
        Lab([], **{option: "raise"})  # type: ignore[arg-type]


# Events that nobody hears.


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("shop/order.place", "was heard by nobody: function 'fulfil' listens to 'shop/order.placed'"),
        ("aproved", "was heard by nobody: step 'approval' of run 'a' listens to 'approved'"),
        ("invoice", "was heard by nobody: what is listened to here is 'shop/order.placed', 'approved'"),
    ],
)
def test_a_test_that_fails_is_told_of_the_event_that_nobody_heard(sent: str, said: str) -> None:
    """Such as by `[run] = await lab.send(...)`: not enough values to unpack."""

    async def body(lab: Lab) -> None:
        await lab.start(approving, {"id": 1}, id="a")
        [_run] = await lab.send(sent)

    error = lab_failure(body, [fulfil, approving])
    assert isinstance(error, ValueError) and "not enough values to unpack" in str(error)
    assert notes(error) == [f"event {sent!r} {said}"]


def test_an_event_that_is_yet_to_come_is_told_as_that() -> None:
    async def body(lab: Lab) -> None:
        [_run] = await lab.send("shop/order.placed", ts=START + timedelta(days=1))

    [note] = notes(lab_failure(body))
    assert note == "event 'shop/order.placed' comes at 2030-01-02 00:00:00+00:00: move the clock with lab.advance"


def test_an_event_that_was_heard_is_not_told_of() -> None:
    async def body(lab: Lab) -> None:
        await lab.send("shop/order.place")
        await lab.send("shop/order.placed")
        raise ZeroDivisionError

    assert notes(lab_failure(body, stubs={"charge": "ch_1"})) == []


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
