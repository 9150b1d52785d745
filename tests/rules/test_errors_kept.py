"""Rules R12, R13, R14, R16: what is kept of an error, who reads it, and what survives a copy of it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Context,
    DurableError,
    ExpressionError,
    InvokeTimeoutError,
    RecordedError,
    RetryAfterError,
    RunCancelled,
    RunFailed,
    SignalConflictError,
    StepError,
    StepOptions,
)
from durable.journal.codec.failures import recorded
from durable.testing import Lab
from durable.testing.lab import START

ALONE = StepOptions("s", retries=0)
CAUSE = RecordedError("KeyError", "'k'", "the stack", None, ())

# Pickle and copy.


class Ours(durable.NonRetriableError):
    """A user's own, whose constructor takes what it likes."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Bare(StepError):
    def __init__(self, code: int) -> None:
        self.code = code


def noted(error: BaseException) -> BaseException:
    error.add_note("a note")
    return error


MADE: list[BaseException] = [
    *(
        cls("why")
        for name in durable.__all__
        if inspect.isclass(cls := getattr(durable, name))
        and issubclass(cls, DurableError)
        and cls not in (RetryAfterError, RunFailed, RunCancelled)
        and not issubclass(cls, StepError)
    ),
    *(cls("ValueError", "why", "stack", "key") for cls in (StepError, InvokeTimeoutError, SignalConflictError)),
    StepError("ValueError", "why", "stack", "key", [CAUSE, CAUSE]),
    RetryAfterError("busy", "5s"),
    RetryAfterError("busy", datetime(2030, 1, 1, tzinfo=UTC)),
    RetryAfterError("busy", "soon"),
    ExpressionError("why", 7),
    RunFailed("r", CAUSE),
    RunCancelled("r", "by hand"),
    Ours(7, reason="no money"),
    Bare(7),
    noted(StepError("ValueError", "why")),
]  # fmt: skip
WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {n}": (lambda error, n=n: pickle.loads(pickle.dumps(error, n))) for n in range(6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}  # fmt: skip


def raised(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", MADE, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_every_error_of_durable_survives_being_copied(error: BaseException, way: str) -> None:
    """With all its attributes; without its constructor being called again."""
    again = WAYS[way](error)
    assert type(again) is type(error) and again is not error
    assert (again.args, str(again), vars(again)) == (error.args, str(error), vars(error))
    assert str(again.__cause__) == str(error.__cause__)


def test_an_error_that_is_raised_in_a_process_of_its_own_comes_back() -> None:
    """What cannot be pickled breaks the pool, and hides the error."""
    with ProcessPoolExecutor(1) as pool:
        for error in (RetryAfterError("busy", 7), StepError("n", "m", causes=[CAUSE]), Ours(7, reason="no")):
            with pytest.raises(type(error)) as caught:
                pool.submit(raised, error).result(60)
            assert str(caught.value) == str(error)


# A Retry-After header.

HEADERS = {
    "7": timedelta(seconds=7),
    " 7 ": timedelta(seconds=7),
    "0": timedelta(0),
    "0.5": timedelta(seconds=0.5),
    "120": timedelta(minutes=2),
    "1h30m": timedelta(minutes=90),
    "Wed, 21 Oct 2015 07:28:00 GMT": datetime(2015, 10, 21, 7, 28, tzinfo=UTC),
    "wed, 21 oct 2015 07:28:00 gmt": None,
    "Sunday, 06-Nov-94 08:49:37 GMT": datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC),
    "Sun Nov  6 08:49:37 1994": datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC),
    "Sat, 31 Dec 2016 23:59:60 GMT": datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
    **dict.fromkeys(
        ("", " ", "soon", "-1", "5 minutes", "1e9", "nan", "inf", "\u0667", "9" * 30, "9" * 5_000, "x" * 1_000_000,
         "\ud800", "7\0", "Wed, 32 Oct 2015 07:28:00 GMT", "Wed, 21 Foo 2015 07:28:00 GMT",
         "Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 21 Oct 2015 25:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 CET")
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", HEADERS, ids=lambda text: repr(text[:40]))
def test_the_text_of_a_header_is_read_and_never_refused(text: str) -> None:
    """R12: a bad one must not take the place of the error that it came with."""
    error = RetryAfterError("429", text)
    assert str(error) == "429"
    assert error.retry_after == HEADERS[text] and type(error.retry_after) is type(HEADERS[text])
    assert hasattr(error, "__notes__") == (HEADERS[text] is None)
    assert recorded(error).message == "429"


@pytest.mark.parametrize(
    ("header", "tries"), [("7", [0, 7]), ("0.5", [0, 0.5]), (None, [0, 20]), ("soon", [0, 20]),
                          ("Tue, 01 Jan 2030 00:01:30 GMT", [0, 90]), ("Mon, 31 Dec 2029 00:00:00 GMT", [0, 0])],
)  # fmt: skip
@pytest.mark.parametrize("crashing", [False, True])
def test_a_header_says_when_the_next_try_is(header: str | None, tries: list[float], crashing: bool) -> None:
    """R12: of a step and of a function, live and after a crash."""
    at: list[float] = []

    def busy() -> None:
        at.append((labs[-1].clock.now() - START).total_seconds())
        if len(at) % 2:
            raise RetryAfterError("429", header)

    @durable.function(retries=1, backoff=Backoff("20s", jitter=0))
    async def calling(ctx: Context) -> None:
        if ctx.event.data["where"] == "step":
            await ctx.step.run("s", busy)
        else:
            busy()

    labs: list[Lab] = []

    async def story(where: str) -> None:
        at.clear()
        async with Lab([calling]) as lab:
            labs.append(lab)
            run = await lab.start(calling, {"where": where})
            if crashing:
                await lab.crash()
            await lab.result(run)
            assert at == tries

    for where in ("step", "function"):
        asyncio.run(story(where))


# Causes.


def broken() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        raise ValueError("broken") from error


@pytest.mark.parametrize("crashing", [False, True])
def test_the_causes_of_a_step_error_reach_whoever_reads_the_failed_run(crashing: bool) -> None:
    """R14, R16: from the record through the exception to the record, through an invoke, and in the events."""
    heard: list[Any] = []

    async def on_failure(ctx: Context) -> None:
        heard.append(ctx.event.data["error"])

    @durable.function(on_failure=on_failure)
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("a while", 1)
        await ctx.step.run(ALONE, broken)

    @durable.function(on_failure=on_failure)
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("child", function=child)

    async def story() -> None:
        async with Lab([parent, child]) as lab:
            run = await lab.start(parent, id="r")
            if crashing:
                await lab.crash()
            with pytest.raises(RunFailed) as caught:
                await lab.result(run)
            if crashing:
                await lab.crash()
            infos = [await lab.engine.info(run_id) for run_id in ("r", "r/child")]
            errors = [caught.value.error, *[info.error for info in infos]]
            errors += [infos[0].steps["child"].error, infos[1].steps["s"].error]
            for error in errors:
                assert error is not None and error.message == "broken"
                [cause] = error.causes
                assert (cause.name, cause.message) == ("KeyError", "'k'") and "in broken" in cause.stack
            assert [error["causes"][0]["name"] for error in heard] == ["KeyError", "KeyError"]
            assert heard[0]["causes"][0].keys() == {"name", "message", "stack"}

    asyncio.run(story())


@pytest.mark.parametrize("crashing", [False, True])
def test_the_function_sees_the_causes_as_a_chain(crashing: bool) -> None:
    """R13: `causes` as recorded, `__cause__` the first of them, and so on; five deep."""

    def deep() -> None:
        error: Exception = ValueError("0")
        for number in range(1, 9):
            cause, error = error, ValueError(str(number))
            error.__cause__ = cause
        raise error

    @durable.function
    async def catching(ctx: Context) -> Any:
        try:
            await ctx.step.run(ALONE, deep)
        except StepError as error:
            chain, one = [], error.__cause__
            while one is not None:
                assert isinstance(one, StepError)
                chain.append((one.name, one.message, str(one)))
                one = one.__cause__
            await ctx.step.sleep("a while", 1)
            return [cause.message for cause in error.causes], chain

    async def story() -> None:
        async with Lab([catching]) as lab:
            run = await lab.start(catching)
            if crashing:
                await lab.crash()
            told, chain = await lab.result(run)
            assert told == [message for _, message, _ in chain] == ["7", "6", "5", "4", "3"]
            assert chain[0] == ("ValueError", "7", "ValueError: 7")

    asyncio.run(story())


def test_an_error_raised_from_a_step_error_has_it_and_its_causes_for_causes() -> None:
    """R14."""

    @durable.function(retries=0)
    async def wrapping(ctx: Context) -> None:
        try:
            await ctx.step.run(ALONE, broken)
        except StepError as error:
            raise RuntimeError("the order") from error

    async def story() -> None:
        async with Lab([wrapping]) as lab:
            with pytest.raises(RunFailed) as caught:
                await lab.result(await lab.start(wrapping))
            causes = caught.value.error.causes
            assert [(cause.name, cause.step_id) for cause in causes] == [("ValueError", "s"), ("KeyError", None)]

    asyncio.run(story())


def test_a_failed_run_says_the_class_and_the_whole_message() -> None:
    """R14: in `str`, for a message of many lines too."""
    text = "line one\n" + "x" * 10_000 + "\nthe end"

    @durable.function(retries=0)
    async def failing(ctx: Context) -> None:
        raise OSError(text)

    async def story() -> None:
        async with Lab([failing]) as lab:
            with pytest.raises(RunFailed) as caught:
                await lab.result(await lab.start(failing))
            assert f"OSError: {text}" in str(caught.value)

    asyncio.run(story())


# Groups and notes.


def test_the_stack_of_a_group_has_the_lines_notes_and_causes_of_its_members() -> None:
    """What failed in a TaskGroup can be found."""

    async def first() -> None:
        broken()

    async def second() -> None:
        error = OSError("disk")
        error.add_note("look at /var")
        raise error

    @durable.function(retries=0)
    async def grouping(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())
            group.create_task(_stepping(ctx))

    async def _stepping(ctx: Context) -> None:
        await ctx.step.run(ALONE, broken)

    async def story() -> None:
        async with Lab([grouping]) as lab:
            with pytest.raises(RunFailed) as caught:
                await lab.result(await lab.start(grouping))
            stack = caught.value.error.stack
            for part in (
                "in first",
                "in broken",
                "in second",
                "ValueError: broken",
                "OSError: disk",
                "look at /var",
                "caused by KeyError: 'k'",
            ):
                assert part in stack, stack  # fmt: skip

    asyncio.run(story())


def test_notes_follow_the_message_in_the_stack() -> None:
    error = ValueError("boom")
    error.add_note("the first")
    error.add_note("the second")
    assert recorded(error, notes=["and ours"]).stack == "ValueError: boom\nthe first\nthe second\nand ours\n"
    of_step = StepError("ValueError", "boom", "the stack\n", "s")
    of_step.add_note("a note")
    assert recorded(of_step).stack == "the stack\na note\n"


def test_what_no_encoding_holds_is_spelled() -> None:
    """R31: half of a surrogate pair, also two halves side by side; everything else is kept as it is."""
    error = ValueError("a \ud83d b \ud83d\ude00 c \0 d é 😀")
    error.add_note("\udc80")
    kept = recorded(error)
    assert kept.message == "a \\ud83d b \\ud83d\\ude00 c \0 d é 😀"
    assert kept.stack.endswith("\\udc80\n")
    again = recorded(StepError("\ud800", "\ud800", "\ud800", "\ud800"))
    assert {again.name, again.message, again.step_id, again.stack.strip()} == {"\\ud800"}
