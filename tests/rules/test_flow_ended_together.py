"""F1, F2, R22: one event cancels runs that hold slots and runs that wait for these, in every way to live."""

from __future__ import annotations

from typing import Any

import pytest

import durable
from durable import Cancel, Concurrency, Context, Throttle
from tests.support.scenes import Moment, Told, same_scenes, sent

STOP = Cancel("stop", if_exp="async.data.least <= event.data.n")


def _working(**options: Any) -> durable.Function[Any]:
    @durable.function("go", id="working", retries=0, cancel=[STOP], **options)
    async def working(ctx: Context) -> Any:
        began = ctx.now().second
        await ctx.step.sleep("work", "4s")
        return began

    return working


def _brief(runs: list[Told]) -> list[Any]:
    return [output for _, _, _, _, output in runs]


def _go(*seconds: float) -> list[Moment]:
    return [sent(at, "go", n=n, k=n % 2) for n, at in enumerate(seconds)]


ONE = Concurrency(1, counts="runs")
TOGETHER: dict[str, tuple[Any, list[Moment], list[Any]]] = {
    "who works and all who wait": (ONE, [*_go(0, 1, 1), sent(2, "stop", least=0)], ["cancelled"] * 3),
    "who works and the next, but not the last": (
        ONE,
        [sent(0, "go", n=1), sent(1, "go", n=2), sent(1, "go", n=0), sent(2, "stop", least=1)],
        ["cancelled", 2, "cancelled"],
    ),
    "all, and the next comes at once": (
        ONE,
        [*_go(0, 1), sent(2, "stop", least=0), sent(2, "go", n=0)],
        [*["cancelled"] * 2, 2],
    ),
    "the holders of two keys, and one who waits for each": (
        Concurrency(1, "event.data.k", counts="runs"),
        [*_go(0, 0, 1, 1, 1, 1), sent(2, "stop", least=0)],
        ["cancelled"] * 6,
    ),
    "who works below two limits": (
        [ONE, Concurrency(2, "event.data.k", "engine", "runs")],
        [*_go(0, 1, 1, 1), sent(2, "stop", least=1), sent(3, "stop", least=0)],
        ["cancelled"] * 4,
    ),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_an_event_may_cancel_at_once(what: str) -> None:
    concurrency, moments, outputs = TOGETHER[what]
    assert _brief(same_scenes([_working(concurrency=concurrency)], moments, 30)) == outputs


def test_a_run_that_is_cancelled_with_who_is_before_it_counts_as_no_start() -> None:
    limits = {"concurrency": ONE, "throttle": Throttle(2, "20s")}
    moments = [*_go(0, 1, 1), sent(2, "stop", least=0), sent(3, "go", n=0), sent(3, "go", n=0)]
    assert _brief(same_scenes([_working(**limits)], moments, 60)) == [*["cancelled"] * 3, 3, 20]
