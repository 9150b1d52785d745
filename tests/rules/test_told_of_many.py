"""Rule R33 where one mistake shows in a thousand places: it is said once for the function, shortly, with its remedy."""

from __future__ import annotations

import asyncio
import logging
import re
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import durable
from durable import Context, StepOptions
from durable.errors import HOME
from durable.stores import RationedLog
from durable.testing import Lab
from durable.timers import few
from tests.support.logged import unusual


async def handler() -> int:
    return 1


def in_a_lab(story: Callable[[Lab], Awaitable[Any]], *functions: Any) -> None:
    async def main() -> None:
        async with Lab(functions) as lab:
            await story(lab)

    asyncio.run(main())


# Steps that nobody awaits.


async def calls(ctx: Context) -> None:
    for number in range(300):
        ctx.step.run(f"n{number}", handler)


async def waits(ctx: Context) -> None:
    for number in range(300):
        ctx.step.sleep(f"n{number}", 1)


async def keeps(ctx: Context) -> None:
    steps = [ctx.step.run(f"n{number}", handler) for number in range(300)]
    await ctx.step.run("other", handler)
    del steps[:]


@pytest.mark.parametrize("body", [calls, waits, keeps], ids=lambda body: body.__name__)
def test_steps_that_are_not_awaited_are_one_warning_a_function(body: Any) -> None:
    functions = [durable.function(id=id)(body) for id in ("first", "second")]

    async def story(lab: Lab) -> None:
        for function in functions:
            for _ in range(3):
                await lab.result(await lab.start(function))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        in_a_lab(story, *functions)
    said = [str(one.message) for one in told]
    assert len(said) == 2, said
    for id, text in zip(("first", "second"), said, strict=True):
        assert re.fullmatch(
            rf"step 'n\d+' of run '\w+' was called, but never awaited: write `await`; this is said once for the "
            rf"function '{id}'",
            text,
        )


@pytest.mark.parametrize("many", ["gather", "tasks", "group", "parallel", "bare"])
def test_past_the_limit_of_steps_nothing_is_said_but_that(many: str, caplog: pytest.LogCaptureFixture) -> None:
    """R28: no line for each of the steps that were called before."""

    @durable.function
    async def crowds(ctx: Context) -> None:
        if many == "gather":
            await asyncio.gather(*[ctx.step.run(f"n{n}", handler) for n in range(1_200)])
        elif many == "tasks":
            await asyncio.gather(*[asyncio.create_task(ctx.step.run(f"n{n}", handler)) for n in range(1_200)])
        elif many == "group":
            async with asyncio.TaskGroup() as group:
                for n in range(1_200):
                    group.create_task(ctx.step.run(f"n{n}", handler))
        elif many == "parallel":
            await ctx.group.parallel([lambda: ctx.step.run("n", handler)] * 1_200)
        else:
            [ctx.step.run("n", handler) for _ in range(1_200)]

    async def story(lab: Lab) -> None:
        with pytest.raises(durable.RunFailed, match="more than 1,000 steps"):
            await lab.result(await lab.start(crowds))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        in_a_lab(story, crowds)
    assert [str(one.message) for one in told] == []
    assert len(caplog.records) <= 2 and all(len(text) < 400 for text in unusual(caplog.records))


# Lines about many keys, and about many runs.


async def leaves_tasks(ctx: Context) -> None:
    for number in range(200):
        asyncio.create_task(ctx.step.sleep(f"n{number}", "1h"))  # noqa: RUF006
    await ctx.step.run("last", handler)


async def calls_late(ctx: Context) -> None:
    async def side() -> None:
        try:
            await ctx.step.sleep("s", "1h")
        finally:
            await ctx.step.run("late", handler)

    side_by_side = asyncio.create_task(side())
    await ctx.step.run("last", handler)
    del side_by_side


MANY: dict[str, tuple[Any, str]] = {
    "tasks that still wait": (
        leaves_tasks,
        "run 'r0': the function ended while tasks of its own still waited in steps: 'n0', 'n1', 'n2', 'n3', 'n4' and "
        "195 more; they are cancelled: await them before the function returns, as an asyncio.TaskGroup does",
    ),
    "steps that are called late": (
        calls_late,
        "run 'r0': step 'late' is called after the function has ended, and does nothing: await what calls it, a "
        "generator too (contextlib.aclosing), before the function returns",
    ),
}


@pytest.mark.parametrize("case", MANY)
def test_what_each_run_of_a_function_does_wrong_is_said_once_with_a_count(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A line names five keys at the most, says how many more there are, and what to do."""
    body, text = MANY[case]
    function = durable.function(id="f")(body)

    async def story(lab: Lab) -> None:
        for number in range(4):
            await lab.result(await lab.start(function, id=f"r{number}"))

    in_a_lab(story, function)
    first, left = [line for line in unusual(caplog.records) if text[10:60] in line]
    assert first == text
    count = rf"3 more lines of this kind were left out in \d s; the last of them: {re.escape(text.replace('r0', 'r3'))}"
    assert re.fullmatch(count, left)


def test_a_record_whose_code_has_changed_is_said_once_for_all_runs_of_the_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R6: the keys that are no longer asked for are few in a line, too."""
    has = ["old"]

    @durable.function(id="f")
    async def renames(ctx: Context) -> None:
        for number in range(30):
            await ctx.step.run(f"{has[0]}{number}", handler)
        await ctx.step.sleep("long", "1h")

    async def story(lab: Lab) -> None:
        runs = [await lab.start(renames, id=f"r{number}") for number in range(4)]
        has[0] = "new"
        await lab.crash()
        for run in runs:
            await lab.result(run)

    caplog.set_level(logging.INFO, "durable")
    in_a_lab(story, renames)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert all(len(text) < 400 for text in unusual(caplog.records))
    assert len(warned) <= 2
    assert any("'old1', 'old2', 'old3'" in text and "more" in text for text in unusual(caplog.records))


def test_few_names_are_a_message_and_many_are_a_number() -> None:
    assert few(["a", "b\n"]) == r"'a', 'b\n'"
    assert few([str(number) for number in range(5)]) == "'0', '1', '2', '3', '4'"
    assert few([str(number) for number in range(2_006)]) == "'0', '1', '2', '3', '4' and 2,001 more"
    assert few([]) == ""


def test_a_mistake_is_told_again_after_a_minute_and_of_each_function(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        log = RationedLog(logging.getLogger("durable"), asyncio.get_running_loop())
        for function in ("f", "g", "f", "f"):
            log.warn_sparingly(function, "run %d", len(caplog.records))
        log.tell_left_out()
        log.warn_sparingly("f", "run %d", 7)

    asyncio.run(story())
    count = "2 more lines of this kind were left out in 0 s; the last of them: run 2"
    assert caplog.messages == ["run 0", "run 1", count, "run 7"]
    assert caplog.records[0].funcName == "story"


# What is told of a value that cannot be kept.


async def returns_a_step(ctx: Context) -> Any:
    return ctx.step.run("s", handler)


async def returns_steps(ctx: Context) -> Any:
    return {"a": [ctx.step.sleep("s", 1)]}


async def returns_a_gathering(ctx: Context) -> Any:
    return asyncio.gather(ctx.step.run("s", handler))


async def returns_a_task(ctx: Context) -> Any:
    return asyncio.ensure_future(ctx.step.run("s", handler))


async def returns_a_coroutine(ctx: Context) -> Any:
    return handler()


async def sends_a_step(ctx: Context) -> Any:
    await ctx.step.send_event("e", durable.Event("e", {"v": ctx.step.sleep("s", 1)}))


async def gives_a_step(ctx: Context) -> Any:
    await ctx.step.invoke("i", function="f", data={"v": ctx.step.sleep("s", 1)})


async def steps_return_a_coroutine(ctx: Context) -> Any:
    return await ctx.step.run(StepOptions("s"), lambda: [handler()])


UNAWAITED = [
    returns_a_step, returns_steps, returns_a_gathering, returns_a_task, returns_a_coroutine, sends_a_step, gives_a_step,
    steps_return_a_coroutine,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # that it was never awaited is said, too
@pytest.mark.parametrize("body", UNAWAITED, ids=lambda body: body.__name__)
def test_what_was_not_awaited_is_told_to_be_awaited(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At once, without a retry, without frames of durable, and not with the remedy for a class of one's own."""
    function = durable.function(id="f")(body)

    async def story(lab: Lab) -> None:
        run = await lab.start(function)
        with pytest.raises(
            durable.RunFailed, match="was not awaited, and so is no value: write `await` before it"
        ) as c:
            await run.result()
        assert "hooks" not in str(c.value) and HOME not in c.value.error.stack

    in_a_lab(story, function)
    assert not [text for text in caplog.messages if HOME in text or "the next is at" in text]
