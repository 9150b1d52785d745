"""Each option of flow control, and each pair that may be combined: live, after a crash at every write, rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest

import durable
from durable import (
    Batch,
    Cancel,
    Concurrency,
    Context,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)
from durable.testing import torture
from tests.support.scenes import same_scenes, sent

pytestmark = pytest.mark.anyio

OPTIONS: dict[str, dict[str, Any]] = {
    "slots for steps": {"concurrency": Concurrency(1, key="event.data.k")},
    "slots for runs": {"concurrency": Concurrency(1, counts="runs")},
    "both": {"concurrency": [Concurrency(2), Concurrency(1, key='"tree"', scope="engine", counts="runs")]},
    "a throttle of starts": {"throttle": Throttle(1, "1h", burst=1)},
    "a throttle of steps": {"throttle": Throttle(2, "1h", counts="steps")},
    "a rate limit": {"rate_limit": RateLimit(9, "1h", key="event.data.k")},
    "a priority": {"priority": Priority("event.data.k")},
}
PAIRS = [pair for pair in combinations(OPTIONS, 2) if OPTIONS[pair[0]].keys() != OPTIONS[pair[1]].keys()]


async def add(n: int) -> int:
    return n + 1


def bounded(options: Mapping[str, Any]) -> list[durable.Function[Any]]:
    @durable.function(id="child", **options)
    async def child(ctx: Context) -> Any:
        return await ctx.step.run("c", add, ctx.event.data["k"])

    @durable.function(id="parent", **options)
    async def parent(ctx: Context) -> Any:
        first = await ctx.step.run("a", add, ctx.event.data["k"])
        more = await asyncio.gather(
            ctx.step.run("b", add, 1), ctx.step.invoke("i", function=child, data={"k": 5}), ctx.step.sleep("s", "1m")
        )
        return [first, *more]

    return [parent, child]


@pytest.mark.parametrize("names", [*((name,) for name in OPTIONS), *PAIRS], ids=" and ".join)
async def test_a_bounded_run_comes_to_the_same_whatever_happens(names: tuple[str, ...]) -> None:
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    parent, child = bounded(options)
    report = await torture(parent, {"k": 1}, functions=[child])
    assert report.crashes >= 5 and report.endings == 1 and report.ending == "completed"


# What gathers or turns away, each with all of the above, and with what ends a run or opens none.
GATHERING: dict[str, dict[str, Any]] = {
    "debounce": {"debounce": Debounce("5s")},
    "batch": {"batch_events": Batch(2, "5s")},
    "skip": {"singleton": Singleton()},
    "cancel": {"singleton": Singleton("cancel")},
}
ENDING: dict[str, dict[str, Any]] = {
    "a key of idempotency": {"idempotency": "event.data.k"},
    "a cancel": {"cancel": [Cancel("go", if_exp="async.data.k == 9")]},
    "timeouts": {"timeouts": Timeouts(start="2h", finish="3h")},
}
FIRST = {"debounce": [3], "batch": [1, 2], "skip": [1], "cancel": [3]}
EVERY = {**OPTIONS, **GATHERING, **ENDING}
GATHERED = [
    (name, other) for name in GATHERING for other in {**OPTIONS, **ENDING} if (name, other) != ("batch", "a cancel")
]


def gathering(options: Mapping[str, Any]) -> durable.Function[Any]:
    @durable.function("go", id="gathering", **options)
    async def function(ctx: Context) -> Any:
        numbers = await asyncio.gather(
            *[ctx.step.run(f"add {n}", add, event.data["n"]) for n, event in enumerate(ctx.events)]
        )
        await ctx.step.sleep("work", "1m")
        return numbers

    return function


@pytest.mark.parametrize("names", GATHERED, ids=" and ".join)
async def test_events_of_one_function_come_to_the_same_whatever_happens(names: tuple[str, str]) -> None:
    """A run sends events that another function gathers or skips, and waits for what comes of them."""
    options = {**EVERY[names[0]], **EVERY[names[1]]}

    @durable.function(id="sending", retries=0)
    async def sending(ctx: Context) -> Any:
        ended = asyncio.ensure_future(
            ctx.step.wait_for_event(
                "ended", event="durable/function.finished", if_exp="async.data.result != null", timeout="1d"
            )
        )
        for n in range(3):
            await ctx.step.send_event(f"row {n}", durable.Event("go", {"n": n, "k": n}))
        first = await ended
        await ctx.step.sleep("till all have ended", "1d")
        assert first is not None and first.data["result"] == FIRST[names[0]]

    report = await torture(sending, functions=[gathering(options)])
    assert report.crashes > 5 and report.endings == 1 and report.ending == "completed"


@pytest.mark.parametrize("names", [*PAIRS, *GATHERED], ids=" and ".join)
def test_who_begins_and_when_is_the_same_in_every_way_to_live(names: tuple[str, str]) -> None:
    """As above, of events from outside: undisturbed, with crashes, cut off after each write, with all runs parked."""
    moments = [sent(at, "go", n=n, k=n % 3) for n, at in enumerate([0, 1, 2, 4, 61, 62, 200])]
    function, cuts = gathering({**EVERY[names[0]], **EVERY[names[1]]}), "a throttle of steps" not in names
    runs = same_scenes([function], moments, 36_000, cuts=cuts)
    assert "completed" in [status for *_, status, _ in runs]
    assert {status for *_, status, _ in runs} <= {"completed", "cancelled"}
