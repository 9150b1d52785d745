"""F8: debounce, batch and singleton with the other options, each pair that may be combined, in every way to live."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Batch,
    Cancel,
    Concurrency,
    Context,
    Debounce,
    DictStore,
    FileStore,
    Priority,
    RateLimit,
    Singleton,
    StepError,
    Throttle,
    Timeouts,
)
from durable.engine import inside
from durable.testing import Lab, torture
from durable.testing.lab import START
from tests.proof.torture.invariants import sizes
from tests.support.scenes import Moment, Told, same_scenes, sent

BY_KEY = "event.data.k"


async def _numbers(numbers: list[int]) -> list[int]:
    return numbers


def _working(**options: Any) -> durable.Function[Any]:
    """A function that works for 4 s, in a sleep between two handlers."""

    @durable.function("go", id="working", **options)
    async def working(ctx: Context) -> Any:
        numbers = await ctx.step.run("begin", _numbers, [event.data["n"] for event in ctx.events])
        await ctx.step.sleep("work", "4s")
        return await ctx.step.run("end", _numbers, numbers)

    return working


def _moments(seconds: list[float], keys: str = "") -> list[Moment]:
    return [sent(at, "go", n=n, k=keys[n : n + 1]) for n, at in enumerate(seconds)]


def _brief(runs: list[Told]) -> list[tuple[float, Any]]:
    return [(at, output) for _, at, _, _, output in runs]


ALL: dict[str, tuple[dict[str, Any], list[Moment], list[tuple[float, Any]]]] = {
    # The window counts runs that open, not events: of those at 2, 7 and 11 s, two.
    "debounce, rate limit": (
        {"debounce": Debounce("2s"), "rate_limit": RateLimit(2, "10s")},
        _moments([0, 5, 9, 16]),
        [(2, [0]), (7, [1]), (18, [3])],
    ),
    "debounce, throttle": (
        {"debounce": Debounce("2s", key=BY_KEY), "throttle": Throttle(1, "10s")},
        _moments([0, 0, 1], "aba"),
        [(2, [1]), (3, [2])],
    ),
    "debounce, concurrency": (
        {"debounce": Debounce("2s", key=BY_KEY), "concurrency": Concurrency(1, counts="runs")},
        _moments([0, 0, 1], "aba"),
        [(2, [1]), (3, [2])],
    ),
    "debounce, cancel": (
        {"debounce": Debounce("2s"), "cancel": [Cancel("go", if_exp="async.data.n == 2")]},
        _moments([0, 1, 5]),
        [(3, "cancelled"), (7, [2])],
    ),
    "debounce, timeouts": (
        {"debounce": Debounce("9s"), "timeouts": Timeouts(start="1s", finish="3s")},
        _moments([0, 1]),
        [(10, "cancelled")],
    ),
    # A batch that the limit drops is dropped whole: it goes by the key of its first event.
    "batch, rate limit": (
        {"batch_events": Batch(2, "3s"), "rate_limit": RateLimit(1, "10s", BY_KEY)},
        _moments([0, 1, 2, 3, 4, 5, 12, 12], "abacbaaa"),
        [(1, [0, 1]), (5, [4, 5]), (12, [6, 7])],
    ),
    "batch, idempotency, rate limit": (
        {"batch_events": Batch(2, "3s"), "rate_limit": RateLimit(2, "10s"), "idempotency": BY_KEY},
        _moments([0, 1, 2, 3, 4, 5, 6, 7], "aaabbbcc"),
        [(1, [0, 1]), (5, [4, 5])],
    ),
    "batch, throttle": (
        {"batch_events": Batch(2, "3s"), "throttle": Throttle(1, "10s")},
        _moments([0, 1, 2, 3, 4]),
        [(1, [0, 1]), (3, [2, 3]), (7, [4])],
    ),
    "batch, concurrency": (
        {"batch_events": Batch(2, "3s"), "concurrency": [1, Concurrency(1, BY_KEY, counts="runs")]},
        _moments([0, 1, 2, 3, 4], "aabba"),
        [(1, [0, 1]), (3, [2, 3]), (7, [4])],
    ),
    # What is skipped counts for no window and claims no key.
    "singleton, rate limit": (
        {"singleton": Singleton(), "rate_limit": RateLimit(2, "10s")},
        _moments([0, 1, 2, 5, 10]),
        [(0, [0]), (5, [3]), (10, [4])],
    ),
    # A run that is queued holds its key, and is cancelled where it stands.
    "singleton skip, throttle": (
        {"singleton": Singleton(key=BY_KEY), "throttle": Throttle(1, "10s")},
        _moments([0, 1, 2, 15], "abbb"),
        [(0, [0]), (1, [1]), (15, [3])],
    ),
    "singleton cancel, throttle": (
        {"singleton": Singleton("cancel", BY_KEY), "throttle": Throttle(1, "10s")},
        _moments([0, 1, 2, 3], "abab"),
        [(0, "cancelled"), (1, "cancelled"), (2, [2]), (3, [3])],
    ),
    "singleton cancel, concurrency": (
        {"singleton": Singleton("cancel", BY_KEY), "concurrency": Concurrency(1, counts="runs")},
        _moments([0, 1, 2, 3], "abab"),
        [(0, "cancelled"), (1, "cancelled"), (2, [2]), (3, [3])],
    ),
    "singleton cancel, cancel": (
        {"singleton": Singleton("cancel"), "cancel": [Cancel("go", if_exp="async.data.n == 1")]},
        _moments([0, 1, 2]),
        [(0, "cancelled"), (1, "cancelled"), (2, [2])],
    ),
    "singleton, timeouts, idempotency": (
        {"singleton": Singleton(), "timeouts": Timeouts(finish="3s"), "idempotency": BY_KEY},
        _moments([0, 1, 3, 4, 4], "abacd"),
        [(0, "cancelled"), (4, "cancelled")],
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_options_together_are_asked_in_their_order(name: str) -> None:
    options, moments, expected = ALL[name]
    assert _brief(same_scenes([_working(**options)], moments, 90)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"debounce": Debounce("2s", key=BY_KEY)}, [([0], 2), ([2], 12), ([1], 22)]),
        ({"batch_events": Batch(1, "3s")}, [([0], 0), ([2], 10), ([1], 20)]),
        ({"singleton": Singleton(key=BY_KEY)}, [([0], 0), ([2], 10), ([1], 20)]),
    ],
    ids=["debounce", "batch", "singleton"],
)
def test_of_those_that_wait_for_a_start_the_one_of_higher_priority_goes_first(
    options: dict[str, Any], expected: Any
) -> None:
    @durable.function(
        "go", throttle=Throttle(1, "10s"), priority=Priority("event.data.n * 10"), concurrency=1, **options
    )
    async def waiting(ctx: Context) -> Any:
        numbers = await ctx.step.run("begin", _numbers, [event.data["n"] for event in ctx.events])
        return numbers, (ctx.now() - START).seconds

    runs = same_scenes([waiting], _moments([0, 1, 2], "abc"), 90)
    assert sorted([output for *_, output in runs], key=lambda one: one[1]) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"debounce": Debounce("5s")}, [2]),
        ({"batch_events": Batch(2, "5s")}, [0, 1]),
        ({"singleton": Singleton()}, [0]),
        ({"singleton": Singleton("cancel")}, [2]),
    ],
    ids=["debounce", "batch", "skip", "cancel"],
)
def test_it_is_the_same_after_a_crash_at_every_batch_and_rebuilt_after_every_delivery(
    options: dict[str, Any], expected: list[int]
) -> None:
    """A run sends the events that are held or skipped, and waits for what comes of them."""

    @durable.function(retries=0)
    async def sending(ctx: Context) -> Any:
        ended = asyncio.ensure_future(
            ctx.step.wait_for_event(
                "ended", event="durable/function.finished", if_exp="async.data.result != null", timeout="1h"
            )
        )
        for n in range(3):
            await ctx.step.send_event(f"row {n}", durable.Event("go", {"n": n}))
        first = await ended
        await ctx.step.sleep("till all have ended", "1h")
        assert first is not None and first.data["result"] == expected

    report = asyncio.run(torture(sending, functions=[_working(**options)]))
    assert (report.ending, report.endings) == ("completed", 1) and report.crashes > 5


def test_an_invoke_of_a_key_that_its_own_caller_holds_fails_in_every_life() -> None:
    @durable.function(id="again", singleton=Singleton(), retries=0)
    async def again(ctx: Context) -> None:
        with pytest.raises(StepError, match=f"a singleton, and run '{ctx.run_id}' holds the same key"):
            await ctx.step.invoke("self", function="again")

    assert asyncio.run(torture(again)).ending == "completed"


def test_a_thousand_keys_are_held_and_opened_each_at_its_time() -> None:
    @durable.function("go", debounce=Debounce("5s", key=BY_KEY))
    async def each(ctx: Context) -> Any:
        return ctx.event.data["n"]

    async def story() -> None:
        async with Lab([each]) as lab:
            for n in range(2):
                await lab.send([durable.Event("go", {"k": k, "n": n}) for k in range(1_000)])
            await lab.crash()
            assert len(await lab.engine.held()) == 1_000
            await lab.advance("5s")
            assert [info.output for info in await lab.engine.runs(limit=2_000)] == [1] * 1_000

    asyncio.run(story())


def test_what_was_held_and_who_stood_alone_leaves_nothing_in_memory() -> None:
    @durable.function("go", id="skips", singleton=Singleton(key=BY_KEY))
    async def skips(ctx: Context) -> None:
        await ctx.step.sleep("s", 1)

    functions = [_working(debounce=Debounce("2s", key=BY_KEY)), skips]
    functions.append(durable.function("go", id="bulk", batch_events=Batch(3, "2s", BY_KEY))(_nothing))

    async def story() -> None:
        async with Lab(functions) as lab:
            baseline = sizes(inside(lab.engine, "sizes"))
            for _ in range(3):
                await lab.send([durable.Event("go", {"n": n, "k": n % 50}) for n in range(200)])
                await lab.advance("1m")
            assert sizes(inside(lab.engine, "sizes")) == baseline

    asyncio.run(story())


async def _nothing(ctx: Context) -> None: ...


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_pruning_leaves_what_is_held_and_what_holds_a_key(tmp_path: Path, kind: str) -> None:
    @durable.function("job", singleton=Singleton())
    async def alone(ctx: Context) -> None:
        await ctx.step.sleep("s", "1d")

    async def story() -> None:
        store = DictStore() if kind == "dict" else FileStore(tmp_path / "s.db", durability="none")
        async with Lab([_working(debounce=Debounce("1h")), alone], store=store) as lab:
            await lab.send("job")
            for n in range(2):
                await lab.send("go", {"n": n})
                await lab.send("job")
            [run] = await lab.engine.flush("working")
            await lab.advance("10s")
            await lab.send("go", {"n": 2})
            await lab.advance("30m")
            assert await lab.engine.prune("1m") == 1
            await lab.crash()
            assert await lab.send("job") == [] and len(await lab.engine.held()) == 1
            assert run.id not in [info.id for info in await lab.engine.runs()]
            await lab.advance("1h")
            assert [info.output for info in await lab.engine.runs(function="working")] == [[2]]

    asyncio.run(story())
