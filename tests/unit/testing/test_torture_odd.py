"""Torture takes legal input of every odd kind: it is deterministic, and what is not is still told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import tests.proof.torture.corpus_odd
from durable import Context, Run, StepError, StepOptions, function
from durable.testing import Lab, torture
from tests.proof.torture.corpus import CORPUS, Entry
from tests.proof.torture.oddities import MISUSES, RAISED, odd_data, odd_id
from tests.support.lives import note
from tests.support.shapes import SHAPES
from tests.unit.testing.test_torture import report_of, slow, story_of

ODD = [
    one for one in CORPUS.values() if one.case.functions[0].code.__module__ == tests.proof.torture.corpus_odd.__name__
]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Functions fail by the hundred here, as they should."""
    caplog.set_level(logging.CRITICAL)


def test_the_odd_half_of_the_corpus_is_there() -> None:
    assert len(ODD) >= 20


CHANGING = "handlers_that_change_what_they_are_given"


@pytest.mark.parametrize("entry", ODD, ids=lambda entry: entry.case.name)
def test_what_is_odd_is_deterministic_all_the_same(entry: Entry) -> None:
    """R3, R5: texts, data, errors, filters, wrong use; what happens to one handler's arguments is told."""
    case = entry.case
    moves = [move for move in case.moves if move.kind != "start"]

    async def drive(lab: Lab, run: Run[Any]) -> None:
        for move in moves:
            if move.kind == "signal":
                await lab.signal(move.name, move.data)
            else:
                await lab.send(case.event(move))

    started = torture(case.functions[0], {"k": 1}, functions=case.functions[1:], drive=drive if moves else None)
    if case.name == CHANGING:
        with pytest.raises(AssertionError, match="step 'a' changes its arguments"):
            asyncio.run(started)
        return
    report = asyncio.run(started)
    assert report.endings == 1 and report.crashes > 1
    assert report.ending == (entry.want[0] if isinstance(entry.want, tuple) else "completed")


@pytest.mark.parametrize("name", RAISED)
def test_an_error_of_any_shape_comes_again_in_every_life(name: str) -> None:
    """R11, R13: raised by a coroutine and by a blocking handler, again and again from what is remembered of it."""

    async def raises() -> None:
        await asyncio.sleep(0)
        raise SHAPES[name]()

    def blocking() -> None:
        raise SHAPES[name]()

    @function(retries=0)
    async def failing(ctx: Context) -> list[str]:
        names = []
        for id, handler in (("a", raises), ("b", blocking)):
            try:
                await ctx.step.run(StepOptions(id, retries=1), handler)
            except StepError as error:
                names.append(error.name)
        return [*names, await ctx.step.run("c", note, "after")]

    report = report_of(failing)
    assert report.ending == "completed" and report.endings == 1 and report.steps == 3


@pytest.mark.parametrize("number", range(12))
def test_odd_data_go_through_every_life(number: int) -> None:
    """R10: as data, arguments, values, and what the function returns."""

    @function(retries=0)
    async def passing(ctx: Context) -> Any:
        id = odd_id("a", number + 6)
        values = [await ctx.step.run(id, note, ctx.event.data["odd"]) for _ in range(2)]
        return [await ctx.step.run("b", slow, values), values]

    assert report_of(passing, {"odd": odd_data(number)}).ending == "completed"


def test_chance_is_found_also_where_ids_and_arguments_are_odd() -> None:
    """The story shows them, and can be printed anywhere."""
    numbers = iter(range(10**6))

    @function
    async def chancy(ctx: Context) -> Any:
        await ctx.step.run(f"a\n\x1b[31m {next(numbers)}", note, "\ud83d")
        return await ctx.step.run("b", note, "\ud83d\ude00")

    story = story_of(chancy)
    assert "is not deterministic" in story and "\x1b" not in story and story.encode("utf-8", "backslashreplace")


def test_a_value_that_cannot_be_kept_ends_every_life_the_same() -> None:
    @function
    async def keeping(ctx: Context) -> Any:
        try:
            await ctx.step.run("a", lambda: {"x": [object()]})
        except StepError as error:
            return [error.name, error.message[:7]]

    assert report_of(keeping).ending == "completed"


def test_every_misuse_is_the_same_in_every_life() -> None:
    @function
    async def misusing(ctx: Context) -> Any:
        told = []
        for wrong, _ in MISUSES:
            try:
                wrong(ctx.step, "a")
            except Exception as error:
                told.append(type(error).__name__)
        await ctx.step.run("a", note)
        await ctx.step.sleep("a", 5)
        return told

    report = report_of(misusing)
    assert report.steps == 2 and report.endings == 1
