"""List workflows with odd but legal texts, data, errors, filters and calls.

Separate because these cases are about the values that are sent and raised, the others about the order of things.
Leaves to `corpus` the making of a case, to `oddities` the odd values for the generator.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import attrs

from durable import (
    Cancel,
    Context,
    NestedStepError,
    RetryAfterError,
    StepError,
    StepOptions,
    TriggerEvent,
    function,
)
from tests.proof.torture.corpus import case, one, send, signal, slow
from tests.proof.torture.oddities import MISUSES, RAISED, TEXTS, check_data, failing_filter, misused, odd_data, told_of
from tests.support.shapes import SHAPES

DEEP = 199  # and the mapping around it: as deep as a user's data may be


def nested(levels: int, value: Any = 1) -> Any:
    """Return a value that so many lists are around."""
    for _ in range(levels):
        value = [value]
    return value


def levels_of(value: Any) -> int:
    """Return how many lists are around a value."""
    count = 0
    while isinstance(value, list):
        value, count = value[0], count + 1
    return count


# Texts.


@function(id="child\u00e9", retries=0)
async def child_of_another_script(ctx: Context) -> Any:
    return await ctx.step.run("\x1b]0;title\x07", one, "child")


@case([*range(len(TEXTS)), "child"], others=(child_of_another_script,))
async def ids_of_any_text(ctx: Context) -> Any:
    """Control characters, other scripts, a format's and a markup's signs: in the keys of steps, and of children."""
    values = [await ctx.step.run(f"s{number}{text}", one, number) for number, text in enumerate(TEXTS)]
    return [*values, await ctx.step.invoke("i\0\n%s[b]", function="child\u00e9", data={})]


@case(["ValueError", "no such item"])
async def an_error_whose_text_no_file_holds(ctx: Context) -> Any:
    """What a file name or half of a character leaves in a message stands in the store's columns."""

    def raises() -> None:
        raise SHAPES["text that no encoding holds"]()

    try:
        await ctx.step.run(StepOptions("a", retries=1), raises)
    except StepError as error:
        return [error.name, error.message[:12]]


@case(("failed", "ValueError"))
async def a_function_whose_error_no_file_holds(ctx: Context) -> Any:
    name = os.fsdecode(b"\xff.csv")
    await ctx.step.sleep("a", 5)
    raise ValueError(f"cannot parse {name} {chr(0xD83D)}")


@case("x\ud83d\ude00", signal(20, "go", text="x\ud83d\ude00"))
async def data_that_no_file_holds(ctx: Context) -> Any:
    got = await ctx.step.wait_for_signal("a", signal="go", timeout=60)
    return await ctx.step.run("b", slow, got.data["text"])


# Deep and odd data.


@function("deep", id="told_of_depth", retries=0)
async def told_of_depth(ctx: Context) -> int:
    return levels_of(ctx.event.data["v"])


async def sees_depth(ctx: Context) -> Any:
    return levels_of(ctx.event.data["event"]["data"]["v"])


@case(("failed", "RuntimeError"), send(20, "deep", "1", v=nested(DEEP)), others=(told_of_depth,), on_failure=sees_depth)
async def a_failure_over_deep_data(ctx: Context) -> Any:
    """What the runtime wraps around a user's data stands in no user's way."""
    event = await ctx.step.wait_for_event("a", event="deep", timeout=60)
    raise RuntimeError(levels_of(event.data["v"]))


@case([f"as sent {number}" for number in range(12)])
async def data_of_every_odd_kind(ctx: Context) -> Any:
    told = []
    for number in range(12):
        value = await ctx.step.run("a", slow, odd_data(number))
        check_data(number, value)
        await ctx.step.sleep("b", 1)
        told.append(f"as sent {number}")
    return told


@attrs.frozen
class Line:
    price: int
    tags: list[str] = attrs.field(factory=list)


@case("Line(price='free', tags=[1])")
async def a_value_that_is_not_what_its_annotation_says(ctx: Context) -> Any:
    """It comes back as it was, live as after a crash, and is no drift."""

    def priced() -> Line:
        return Line("free", [1])  # type: ignore[arg-type, list-item]

    line = await ctx.step.run("a", priced)
    await ctx.step.sleep("b", 5)
    return repr(line)


# Errors.


@case(len(RAISED))
async def errors_of_every_shape(ctx: Context) -> Any:
    """Each fails its step, and no other."""

    def raises(number: int) -> None:
        raise SHAPES[RAISED[number]]()

    failed = 0
    for number in range(len(RAISED)):
        try:
            await ctx.step.run(StepOptions("a", retries=0), raises, number)
        except StepError:
            failed += 1
    return failed


@case(("failed", "Declined"), retries=1)
async def a_function_that_a_frozen_dataclass_leaves(ctx: Context) -> Any:
    await ctx.step.run("a", one)
    raise SHAPES["a frozen dataclass"]()


@case(("failed", "Ours"), retries=1)
async def a_function_that_a_step_error_of_the_users_own_leaves(ctx: Context) -> Any:
    await ctx.step.sleep("a", 5)
    raise SHAPES["a step error without its constructor"]()


@function(id="caused", retries=0)
async def caused(ctx: Context) -> Any:
    def raises() -> None:
        raise ValueError("boom") from KeyError("cause")

    await ctx.step.run(StepOptions("a", retries=0), raises)


@case([["ValueError", "boom"], "KeyError"], others=(caused,))
async def causes_reach_who_invoked(ctx: Context) -> Any:
    try:
        await ctx.step.invoke("a", function="caused", data={})
    except StepError as error:
        assert error.causes
        return [[error.name, error.message], error.causes[0].name]


# Filters of guests.


@case([None, "n"], send(10, "e", "1", k=1, n="n"), cancel=[Cancel("e", if_exp=failing_filter(0))])
async def filters_that_fail_beside_one_that_holds(ctx: Context) -> Any:
    """Each concerns its own wait alone."""
    waits = [
        ctx.step.wait_for_event(f"fails {number}", event="e", timeout=60, if_exp=failing_filter(number))
        for number in range(6)
    ]
    holds = ctx.step.wait_for_event("holds", event="e", timeout=60, if_exp="async.data.k == 1")
    event, *others = await asyncio.gather(holds, *waits)
    return [others[0] if not any(others) else "answered", event.data["n"]]


@function([TriggerEvent("e", if_exp=failing_filter(1, name="event")), "f"], id="hard_to_open", retries=0)
async def hard_to_open(ctx: Context) -> str:
    return ctx.event.name


@function("e", id="kept_by_no_key", idempotency="type(event.data.k)", retries=0)
async def kept_by_no_key(ctx: Context) -> str:
    return ctx.event.name


@case(
    ["e", "f"],
    send(10, "e", "1", k=1),
    send(20, "e", "1", k=1),
    send(30, "f", "2", k=1),
    others=(hard_to_open, kept_by_no_key),
)
async def expressions_that_come_to_nothing(ctx: Context) -> Any:
    """A trigger that cannot be asked opens no run; a key that cannot be kept keeps none away; no event is lost."""
    seen = [await ctx.step.wait_for_event(name, event=name, timeout=60) for name in "ef"]
    return [event.name for event in seen if event]


# Wrong use.


@case([told_of(number) for number in range(len(MISUSES))])
async def everything_that_is_wrong_at_a_call(ctx: Context) -> Any:
    """A function that catches the error goes on; nothing is recorded, and no key is counted."""
    told = [misused(ctx.step, "a", number) for number in range(len(MISUSES))]
    await ctx.step.sleep("a", 5)
    return told


@case(("failed", "ValueError"), retries=3)
async def wrong_use_that_leaves_the_function(ctx: Context) -> Any:
    """R13a: it cannot get better by trying again."""
    await ctx.step.run("a", one)
    await ctx.step.sleep("b", "5 minutes")


@case(("failed", "NestedStepError"), retries=3)
async def a_nested_step_that_its_handler_swallows(ctx: Context) -> Any:
    async def outer() -> str:
        try:
            return await ctx.step.run("inner", one)
        except Exception:
            return "as if nothing had been"

    return await ctx.step.run("outer", outer)


@case(["NestedStepError", 1])
async def a_nested_step_that_the_function_catches(ctx: Context) -> Any:
    def outer() -> None:
        ctx.step.sleep("inner", 1)

    try:
        await ctx.step.run("outer", outer)
    except StepError as error:
        assert error.name == NestedStepError.__name__
        return [error.name, await ctx.step.run("after", one)]


@case(("failed", "CodecError"), retries=3)
async def a_step_that_is_returned(ctx: Context) -> Any:
    step = ctx.step.sleep("a", 5)
    await step
    return {"it": step}


@case([[0], [0, 1], [0, 1, 2], []])
async def handlers_that_change_what_they_are_given(ctx: Context) -> Any:
    """What they return counts, and what they did to a copy does not."""

    def adds(items: list[int]) -> list[int]:
        items.append(len(items))
        return items

    items: list[int] = []
    grown = []
    for _ in range(3):
        grown.append(await ctx.step.run("a", adds, [*(grown[-1] if grown else [])]))
    await ctx.step.sleep("b", 5)
    return [*grown, items]


@case(("failed", "RetryAfterError"), retries=1)
async def a_retry_after_from_a_header(ctx: Context) -> Any:
    """R12: the text of a header, whatever it holds, hides no error."""
    raise RetryAfterError("429", ("7", "soon")[min(ctx.attempt, 1)])
