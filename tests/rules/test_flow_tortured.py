"""Each option of flow control, and each pair that may be combined: live, after a crash at every write, rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, Priority, RateLimit, Throttle
from durable.testing import torture

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
