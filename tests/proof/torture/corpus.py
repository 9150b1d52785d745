"""List small workflows, written by hand.

They have each kind of step, the combinations that matter, and the bugs of other libraries.

Separate because a generator finds unexpected cases, while a list keeps the known ones.
Leaves to `simulated` the deaths of the process at every append.

`case(...)` adds one: its first function is started as run "r"; `want` is what that run returns, or (status, name of the
error). Handlers that must not run twice in one life are counted by `Watch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

from durable import (
    Backoff,
    Cancel,
    Context,
    Event,
    Function,
    NonRetriableError,
    RetryAfterError,
    StepError,
    StepOptions,
    current_step,
    function,
)
from tests.proof.torture.cases import Case, Move

CORPUS: dict[str, Entry] = {}
QUICK = Backoff(first="10s", jitter=0)
Code = Callable[[Context], Any]


@attrs.frozen
class Entry:
    """A case and what its run "r" must come to."""

    case: Case
    want: Any


def case(want: Any, *moves: Move, others: tuple[Function[Any], ...] = (), **options: Any) -> Callable[[Code], Code]:
    """Add a case whose first function is what is decorated."""

    def add(code: Code) -> Code:
        name = code.__name__
        assert name not in CORPUS, name
        first = function(id=name, **{"retries": 1, "backoff": QUICK, **options})(code)
        start = () if any(move.kind == "start" for move in moves) else (Move(0, "start", name, {"k": 1}, "r"),)
        CORPUS[name] = Entry(Case(name, [first, *others], (*start, *moves), 1e6), want)
        return code

    return add


def send(at: float, name: str, id: str, delay: float | None = None, **data: Any) -> Move:
    return Move(at, "send", name, data, id, delay)


def signal(at: float, name: str, **data: Any) -> Move:
    return Move(at, "signal", name, data)


def cancel(at: float) -> Move:
    return Move(at, "cancel", "r")


# Handlers.


async def one(value: Any = 1) -> Any:
    return value


def blocking(value: Any = 1) -> Any:
    return value


async def slow(value: Any = 1) -> Any:
    for _ in range(25):
        await asyncio.sleep(0)
    return value


async def flaky(failures: int = 1) -> int:
    attempt = current_step().attempt
    if attempt < failures:
        raise OSError(f"try {attempt}")
    return attempt


async def broken() -> None:
    raise ValueError("broken")


async def final() -> None:
    raise NonRetriableError("final")


async def later() -> str:
    if current_step().attempt == 0:
        raise RetryAfterError("later", "1h")
    return "now"


async def first_of(*steps: Any) -> Any:
    """Return the number and the value of the first step to end; cancel the others."""
    tasks = [asyncio.ensure_future(one) for one in steps]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return [[number, task.result()] for number, task in enumerate(tasks) if task in done]


# Functions that others need.


@function(retries=0)
async def child(ctx: Context) -> Any:
    await ctx.step.run("c1", one)
    await ctx.step.sleep("c2", 50)
    return ["child", ctx.event.data.get("k")]


@function(retries=0)
async def failing_child(ctx: Context) -> Any:
    await ctx.step.sleep("c", 50)
    raise NonRetriableError("child is broken")


@function(cancel=[Cancel("stop")])
async def cancelled_child(ctx: Context) -> str:
    await ctx.step.sleep("c", 500)
    return "looks successful"


@function("asked")
async def answers(ctx: Context) -> Any:
    await ctx.step.run("think", slow, 3)
    await ctx.step.send_event("answer", Event("answered", {"k": ctx.event.data["k"], "n": 7}))
    return ctx.event.data


@function("asked")
async def also_hears(ctx: Context) -> Any:
    return await ctx.step.run("hear", one, ctx.event.data["k"])


@function("go")
async def sends_signal(ctx: Context) -> bool:
    return bool(await ctx.step.send_signal("s", "door", {"from": "another"}))


# Each kind of step.


@case(1)
async def one_step(ctx: Context) -> Any:
    return await ctx.step.run("a", one)


@case(1)
async def one_blocking_step(ctx: Context) -> Any:
    return await ctx.step.run("a", blocking)


@case(None)
async def no_step(ctx: Context) -> None:
    return None


@case([1, 2, 3])
async def three_steps(ctx: Context) -> Any:
    return [await ctx.step.run("a", one, number) for number in (1, 2, 3)]


@case(1)
async def a_step_that_is_retried(ctx: Context) -> Any:
    return await ctx.step.run("a", flaky)


@case(4)
async def a_step_that_is_retried_four_times(ctx: Context) -> Any:
    return await ctx.step.run(StepOptions("a", retries=4), flaky, 4)


@case(("failed", "ValueError"))
async def a_step_that_fails(ctx: Context) -> Any:
    return await ctx.step.run("a", broken)


@case(("failed", "NonRetriableError"))
async def a_step_that_fails_at_once(ctx: Context) -> Any:
    return await ctx.step.run("a", final)


@case("now")
async def a_step_that_says_when(ctx: Context) -> Any:
    return await ctx.step.run("a", later)


@case(["ValueError", 2])
async def a_step_whose_error_is_caught(ctx: Context) -> Any:
    try:
        await ctx.step.run("a", broken)
    except StepError as error:
        return [error.name, await ctx.step.run("b", one, 2)]


@case(None)
async def a_sleep(ctx: Context) -> None:
    await ctx.step.sleep("a", "3h")


@case(None)
async def a_sleep_of_no_time(ctx: Context) -> None:
    await ctx.step.sleep("a", 0)


@case(None)
async def a_sleep_until(ctx: Context) -> None:
    await ctx.step.sleep_until("a", ctx.now().replace(hour=12))


@case([1, 2])
async def a_sleep_between_steps(ctx: Context) -> Any:
    first = await ctx.step.run("a", one)
    await ctx.step.sleep("b", 60)
    return [first, await ctx.step.run("c", one, 2)]


@case(5, send(10, "e", "1", n=5))
async def a_wait_that_is_answered(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event("a", event="e", timeout="1h")
    return event.data["n"]


@case(None)
async def a_wait_that_times_out(ctx: Context) -> Any:
    return await ctx.step.wait_for_event("a", event="e", timeout="1h")


@case(6, send(10, "e", "1", k=2, n=5), send(20, "e", "2", k=1, n=6))
async def a_wait_with_match(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event("a", event="e", timeout="1h", match="data.k")
    return event.data["n"]


@case(6, send(10, "e", "1", n=5), send(20, "e", "2", n=6))
async def a_wait_with_an_expression(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event("a", event="e", timeout="1h", if_exp="async.data.n > 5")
    return event.data["n"]


@case({"n": 1}, signal(10, "door", n=1))
async def a_signal_that_comes(ctx: Context) -> Any:
    return (await ctx.step.wait_for_signal("a", signal="door", timeout="1h")).data


@case(None, signal(0, "door", n=1))
async def a_signal_that_is_too_early(ctx: Context) -> Any:
    await ctx.step.sleep("a", 5)
    return await ctx.step.wait_for_signal("b", signal="door", timeout="1h")


@case(("failed", "SignalConflictError"))
async def a_signal_that_is_waited_for_twice(ctx: Context) -> Any:
    return await asyncio.gather(*[ctx.step.wait_for_signal("a", signal="door", timeout=5) for _ in range(2)])


@case([None, {"n": 1}], signal(10, "door", n=1))
async def a_signal_that_is_taken_over(ctx: Context) -> Any:
    waits = [ctx.step.wait_for_signal("a", signal="door", timeout="1h", on_conflict="replace") for _ in range(2)]
    return [signal and signal.data for signal in await asyncio.gather(*waits)]


@case({"from": "another"}, send(10, "go", "1"), others=(sends_signal,))
async def a_signal_from_another_run(ctx: Context) -> Any:
    return (await ctx.step.wait_for_signal("a", signal="door", timeout="1h")).data


@case([1, 1], others=(answers, also_hears))
async def an_event_that_opens_two_runs(ctx: Context) -> Any:
    return [len(await ctx.step.send_event("a", Event("asked", {"k": number}))) for number in range(2)]


@case(None)
async def a_signal_to_nobody(ctx: Context) -> Any:
    return await ctx.step.send_signal("a", "nobody", 1)


@case(["child", 9], others=(child,))
async def an_invoke(ctx: Context) -> Any:
    return await ctx.step.invoke("a", function=child, data={"k": 9})


@case(("failed", "NonRetriableError"), others=(failing_child,))
async def an_invoke_of_a_function_that_fails(ctx: Context) -> Any:
    return await ctx.step.invoke("a", function="failing_child")


@case("LookupError")
async def an_invoke_of_nothing(ctx: Context) -> Any:
    try:
        return await ctx.step.invoke("a", function="nothing")
    except StepError as error:
        return error.name


@case(["InvokeTimeoutError", 1], others=(child,))
async def an_invoke_that_times_out(ctx: Context) -> Any:
    try:
        return await ctx.step.invoke("a", function="child", timeout=20)
    except StepError as error:
        return [error.name, await ctx.step.run("b", one)]
