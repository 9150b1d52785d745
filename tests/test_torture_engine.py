"""The default form of `python -m tests.torture`: the corpus, generated workflows, and what must hold of them all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

import tests.torture.corpus_bugs  # noqa: F401
from durable import Cancel, Context, Engine, function
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from tests.torture.corpus import CORPUS
from tests.torture.invariants import sizes
from tests.torture.ordeals import agrees_with_the_model, survives_every_death

GENERATED = 40


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Functions fail by the hundred here, as they should."""
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("name", CORPUS)
def test_a_workflow_comes_to_the_same_wherever_its_process_dies(name: str) -> None:
    """R1, R2, R9, R19, R30, R31: a death or a failure at every append, one fate in four each time."""
    tally = asyncio.run(survives_every_death(CORPUS[name], share=0.15))
    assert tally["cases"] >= 1


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("part", range(4))
def test_generated_workflows_come_to_what_the_model_comes_to(part: int) -> None:
    """R1-R24 as the model has them, undisturbed and through deaths."""

    async def story() -> Counter[str]:
        total: Counter[str] = Counter()
        for number in range(part, GENERATED, 4):
            total += await agrees_with_the_model(f"ci/{number}")
        return total

    total = asyncio.run(story())
    assert total["deaths"] > 3 and total["ambiguous"] < total["cases"] / 4


# Memory.


@function(retries=0)
async def nap(ctx: Context) -> Any:
    await ctx.step.sleep("s", 1)
    return await ctx.step.run("a", lambda: None)


@function("e/*", cancel=[Cancel("stop", match="data.n")], retries=0)
async def busy(ctx: Context) -> Any:
    n = ctx.event.data["n"]
    task = asyncio.create_task(ctx.step.wait_for_event("w", event="never", timeout="1h", match="data.n"))
    signal = await ctx.step.wait_for_signal("s", signal=f"s{n}", timeout=5)
    task.cancel()
    if n % 3 == 0:
        await ctx.step.invoke("i", function="nap")
    if n % 7 == 0:
        raise ValueError(n)
    return signal and signal.data


def test_memory_is_back_to_its_baseline_after_ten_thousand_runs() -> None:
    async def story() -> None:
        clock = VirtualClock(START)
        async with Engine([nap, busy], clock=clock) as engine:
            runtime = engine.opened("sizes")
            baseline = sizes(runtime)
            for batch in range(25):
                for number in range(300):
                    await engine.send("e/x", {"n": batch * 300 + number})
                await engine.settled()
                for number in range(0, 300, 5):
                    await engine.send_signal(f"s{batch * 300 + number}", number)
                for number in range(1, 300, 10):
                    await engine.send("stop", {"n": batch * 300 + number})
                for _ in range(4):
                    clock.advance(timedelta(seconds=2))
                    await engine.settled()
            assert sizes(runtime) == baseline
            statuses = Counter(info.status for info in await engine.runs(limit=20_000))
            assert statuses.total() >= 9_000 and set(statuses) == {"completed", "failed", "cancelled"}

    asyncio.run(story())


def test_a_clock_that_jumps_a_year_fires_each_deadline_once_in_order() -> None:
    """R17"""

    @function(retries=0)
    async def sleeper(ctx: Context) -> Any:
        times = []
        for days in (1, 30, 100):
            await ctx.step.sleep("s", f"{days}d")
            times.append((ctx.now() - START).days)
        return times

    async def story() -> None:
        async with Lab([sleeper]) as lab:
            run = await lab.start(sleeper)
            lab.clock.advance("365d")
            await lab.settle()
            lab.clock.advance("365d")
            await lab.settle()
            await lab.advance("365d")
            times = await run.result()
            assert times == sorted(times) and times[0] >= 1 and times[1] >= 31 and times[2] >= 131

    asyncio.run(story())
