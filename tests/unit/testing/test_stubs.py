"""A test that fails is told of what it left unused: stubs that no step used, and events that nobody heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

import durable
from durable import Context
from durable.testing import Lab
from durable.testing.lab import START
from tests.unit.testing.test_stuck import FUNCTIONS, approving, parent, sleeping


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
    [note] = [note for note in notes(error) if "that no step used" in note]
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
