"""The default form of `python -m tests.proof.torture`: the corpus, generated workflows, and what must hold of all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import attrs
import pytest

import tests.proof.torture.corpus_bugs  # noqa: F401
from durable import Cancel, Context, DictStore, Engine, Event, NonRetriableError, StepError, function
from durable.engine.opened import inside
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from durable.timers.clock import Handle
from tests.proof.torture.cases import Case, Move, Seen, in_lab, in_model
from tests.proof.torture.corpus import CORPUS
from tests.proof.torture.invariants import sizes
from tests.proof.torture.ordeals import agrees_with_the_model, survives_every_death
from tests.proof.torture.simulated import difference

GENERATED = 40


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Functions fail by the hundred here, as they should."""
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("name", CORPUS)
def test_a_workflow_comes_to_the_same_wherever_its_process_dies(name: str) -> None:
    """R1, R2, R9, R19, R30, R31: a death or a failure at every append, of the seven fates one drawn for each."""
    tally = asyncio.run(survives_every_death(CORPUS[name], fates=1))
    assert tally["cases"] == 2 + tally["appends"] and tally["deaths"] >= tally["appends"]


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
    assert total["deaths"] > 3 and total["ambiguous"] < 0.1 * total["cases"]


def test_a_generated_workflow_comes_to_the_same_where_processes_come_again_to_runs_that_rest() -> None:
    """R25: some of these have nothing behind the record that they rest when their process dies."""
    assert asyncio.run(agrees_with_the_model("ci/18"))["rested"] > 3


def _opened_again() -> Case:
    calls: list[int] = []

    def fails_once() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise NonRetriableError("once")
        return 7

    @function(id="f", retries=0)
    async def f(ctx: Context) -> Any:
        try:
            value = await ctx.step.run("mended", fails_once)
        except StepError:
            value = 0
        side = asyncio.create_task(ctx.step.sleep("side", 20))
        await ctx.step.sleep("main", 10)
        side.cancel()
        await asyncio.wait([side])
        await ctx.step.sleep("rest", 30)
        if not value:
            raise RuntimeError("not yet")
        return [value, side.cancelled(), ctx.now().minute]

    moves = (Move(0, "start", "f", {}, "r"), Move(300, "retry", "r"))
    return Case("opened again", [f], moves, 1_000)


def test_the_model_gives_late_what_is_asked_for_late_as_the_engine_does() -> None:
    """Section 5, 3: not at the call, but when all is quiet: a task that is cancelled then has begun."""

    async def story() -> None:
        case = _opened_again()
        async with Lab(case.functions) as lab:
            seen = await in_lab(case, lab)
        assert "side sleep cancelled None None 300" in seen.runs[0] and "completed [7, True, 5]" in seen.runs[0]
        for number in range(8):
            assert (await in_model(_opened_again(), Random(number))).runs == seen.runs

    asyncio.run(story())


def test_a_run_that_is_there_twice_is_a_difference() -> None:
    once, twice = Seen(("f",), Counter()), Seen(("f", "f"), Counter(a=1))
    assert difference(once, twice) == "+ f" and difference(twice, once) == "- f"


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
            runtime = inside(engine, "sizes")
            baseline = sizes(runtime)
            for batch in range(25):
                for number in range(300):
                    id = None if number % 10 else f"{batch} {number}"
                    await engine.send(Event("e/x", {"n": batch * 300 + number}, id=id))
                await engine.settled()
                for number in range(0, 300, 5):
                    await engine.send_signal(f"s{batch * 300 + number}", number)
                for number in range(1, 300, 10):
                    await engine.send("stop", {"n": batch * 300 + number})
                for _ in range(4):
                    clock.advance(timedelta(seconds=2))
                    await engine.settled()
            assert sizes(runtime) == {**baseline, "seen": 750}
            clock.advance(timedelta(hours=24))  # an id is known for so long (R21)
            for number in range(375):
                await engine.send(Event("heard by nobody", id=str(number)))
            assert sizes(runtime) == {**baseline, "seen": 375}
            statuses = Counter(info.status for info in await engine.runs(limit=20_000))
            assert statuses.total() >= 9_000 and set(statuses) == {"completed", "failed", "cancelled"}

    asyncio.run(story())


def test_a_recovered_engine_keeps_nothing_of_runs_that_have_ended() -> None:
    """Neither of those that only slept, nor of those that were cancelled, nor of those whose function is missing."""

    @function
    async def sleeper(ctx: Context) -> None:
        await ctx.step.sleep("s", 60)

    @function
    async def missing(ctx: Context) -> None:
        await ctx.step.sleep("s", 60)

    async def story() -> None:
        store = DictStore()
        async with Engine([sleeper, missing], store=store, clock=VirtualClock(START)) as engine:
            baseline = sizes(inside(engine, "sizes"))
            for number in range(30):
                await engine.start(missing if number % 3 == 0 else sleeper, id=f"r{number}")
            await engine.settled()
        clock = VirtualClock(START)
        async with Engine([sleeper], store=DictStore(store.mapping), clock=clock) as engine:
            await engine.settled()
            for number in range(20):
                await engine.cancel(f"r{number}")
            clock.advance(timedelta(hours=1))
            await engine.settled()
            for number in range(20, 30):
                await engine.cancel(f"r{number}")
            assert sizes(inside(engine, "sizes")) == baseline

    asyncio.run(story())


class LeapingClock:
    """A wall clock that is set anew: what has been passed over rings late, and all of it at the new time."""

    def __init__(self) -> None:
        self._now = START
        self._alarms: list[_Alarm] = []

    def now(self) -> datetime:
        return self._now

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        alarm = _Alarm(when, callback, self._alarms)
        self._alarms.append(alarm)
        return alarm

    def leap(self, days: int) -> None:
        self._now += timedelta(days=days)
        while due := [alarm for alarm in self._alarms if alarm.when <= self._now]:
            first = min(due, key=lambda alarm: alarm.when)
            first.cancel()
            first.callback()


@attrs.frozen(eq=False)
class _Alarm:
    when: datetime
    callback: Callable[[], object]
    alarms: list[_Alarm]

    def cancel(self) -> None:
        if self in self.alarms:
            self.alarms.remove(self)


@function(retries=0)
async def sleeps_thrice(ctx: Context) -> Any:
    times = []
    for days in (1, 30, 100):
        await ctx.step.sleep("s", f"{days}d")
        times.append((ctx.now() - START).days)
    return times


def test_a_clock_that_leaps_a_year_and_back_ends_no_sleep_early_and_none_never() -> None:
    """R17: deadlines are instants. What the leap passed over ends at once, at its deadline; what lies ahead waits until
    it has come."""

    @function(retries=0)
    async def beside(ctx: Context) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step.sleep(f"{days}", f"{days}d")) for days in (1, 366)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await ctx.step.run("ended", lambda: [task.done() for task in tasks])

    async def story() -> None:
        clock = LeapingClock()
        async with Engine([sleeps_thrice, beside], clock=clock) as engine:
            run, other = await engine.start(sleeps_thrice), await engine.start(beside)
            for days, ended in ((365, 1), (-400, 1), (429, 1), (1, 2), (99, 2), (1, 3)):
                await engine.settled()
                clock.leap(days)
                await engine.settled()
                steps = (await run.info()).steps.values()
                assert sum(step.status == "completed" for step in steps) == ended, (days, steps)
            assert await run.result() == [1, 365 + 30, 365 + 30 + 100]
            assert (await other.info()).steps["ended"].output == [True, False]

    asyncio.run(story())


def test_a_clock_that_jumps_a_year_fires_each_deadline_once_in_order() -> None:
    """R17"""

    async def story() -> None:
        async with Lab([sleeps_thrice]) as lab:
            run = await lab.start(sleeps_thrice)
            lab.clock.advance("365d")
            await lab.settle()
            lab.clock.advance("365d")
            await lab.settle()
            await lab.advance("365d")
            times = await run.result()
            assert times == sorted(times) and times[0] >= 1 and times[1] >= 31 and times[2] >= 131

    asyncio.run(story())
