"""Rule R28: how large a run, a step and an event may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import durable
from durable import Context, Engine, Event, LimitError, Limits, RunFailed, StepError
from durable.testing import VirtualClock
from durable.testing.lab import START
from tests.support.lives import note


async def limited(limits: Limits, code: Any, data: dict[str, Any] | None = None) -> Any:
    """Run `code` under limits; return what it returned, or the error that it failed with."""
    function = durable.function(id="limited")(code)
    async with Engine([function], limits=limits, clock=VirtualClock(START)) as engine:
        try:
            return await engine.invoke(function, data, id="r")
        except RunFailed as failure:
            return failure.error


def test_a_run_may_call_so_many_steps_and_no_more() -> None:
    """R28: the limit itself is allowed; one more names the run, the limit and the remedy."""

    async def counting(ctx: Context) -> str:
        for number in range(ctx.event.data["steps"]):
            await ctx.step.run(f"step {number}", note)
        return "done"

    assert asyncio.run(limited(Limits(steps=5), counting, {"steps": 5})) == "done"
    error = asyncio.run(limited(Limits(steps=5), counting, {"steps": 6}))
    assert error.name == "LimitError"
    for part in ("'r'", "5", "'step 5'", "Limits(steps=...)"):
        assert part in error.message, error.message


def test_a_steps_output_may_be_so_large_and_no_larger() -> None:
    """R28: in bytes of JSON; the message names the step, the size, the limit and the remedy; it is not retried."""

    async def returning(ctx: Context) -> int:
        return len(await ctx.step.run("big", lambda: "x" * ctx.event.data["size"]))

    assert asyncio.run(limited(Limits(step_bytes=1_002), returning, {"size": 1_000})) == 1_000
    error = asyncio.run(limited(Limits(step_bytes=1_002), returning, {"size": 1_001}))
    assert error.name == "LimitError" and error.step_id == "big"
    for part in ("'r'", "'big'", "1,003", "1,002", "Limits(step_bytes=...)"):
        assert part in error.message, error.message


def test_a_runs_state_may_be_so_large_and_no_larger() -> None:
    """R28: all outputs together; a step that outgrows it fails, and can be caught."""

    async def growing(ctx: Context) -> Any:
        for number in range(2):
            await ctx.step.run(f"part {number}", lambda: "x" * 98)
        try:
            await ctx.step.run("last", lambda: "x" * ctx.event.data["last"])
        except StepError as error:
            return error.name, error.message
        return "done"

    # two parts of 100 bytes, the last one of 52
    assert asyncio.run(limited(Limits(run_bytes=252), growing, {"last": 50})) == "done"
    name, message = asyncio.run(limited(Limits(run_bytes=252), growing, {"last": 51}))
    assert name == "LimitError"
    for part in ("'r'", "'last'", "253", "252", "Limits(run_bytes=...)"):
        assert part in message, message


def test_an_events_data_may_be_so_large_and_no_larger() -> None:
    """R28: refused at the call, by send, start, send_event and invoke alike."""
    big = {"x": "y" * 100}

    async def sending(ctx: Context) -> list[str]:
        texts = []
        for call in (
            lambda: ctx.step.send_event("send", Event("big", big)),
            lambda: ctx.step.invoke("invoke", function="limited", data=big),
        ):
            with pytest.raises(LimitError) as caught:
                call()
            texts.append(str(caught.value))
        return texts

    async def story() -> None:
        function = durable.function(id="limited")(sending)
        async with Engine([function], limits=Limits(event_bytes=100)) as engine:
            texts = await engine.invoke(function)
            for call in (engine.send("big", big), engine.start(function, big), engine.send_signal("big", big)):
                with pytest.raises(LimitError) as caught:
                    await call
                texts.append(str(caught.value))
            assert len(await engine.runs()) == 1
        for text in texts:
            assert "108 bytes" in text and "limit is 100" in text and "Limits(event_bytes=...)" in text, text

    asyncio.run(story())


def test_the_limits_are_those_of_the_design() -> None:
    """R28."""
    assert Limits() == Limits(1_000, 4 * 2**20, 32 * 2**20, 512 * 2**10)
