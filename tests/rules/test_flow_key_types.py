"""A key that has another JSON type after a restart is another key: what waits under the old one keeps its own place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Batch, Concurrency, Context, Debounce, DictStore, FileStore, RateLimit, Singleton, Throttle
from durable.testing import Lab

NUMBER, TEXT = "event.data.k", "string(event.data.k)"


def _function(how: str, key: str) -> durable.Function[Any]:
    options: dict[str, Any] = {
        "debounce": {"debounce": Debounce("10s", key=key)},
        "batch": {"batch_events": Batch(3, "10s", key=key)},
        "rate limit": {"rate_limit": RateLimit(1, "10s", key)},
        "throttle": {"throttle": Throttle(1, "10s", key=key)},
        "runs": {"concurrency": Concurrency(1, key, counts="runs")},
        "engine": {"concurrency": Concurrency(1, key, "engine", counts="runs")},
        "skip": {"singleton": Singleton("skip", key)},
        "cancel": {"singleton": Singleton("cancel", key)},
        "idempotency": {"idempotency": key},
    }

    @durable.function("go", id="keyed", **options[how])
    async def keyed(ctx: Context) -> Any:
        begun = await ctx.step.run("begin", _itself, [event.data["n"] for event in ctx.events])
        await ctx.step.sleep("work", "10s")
        return begun

    return keyed


def _itself(value: Any) -> Any:
    return value


# Who has opened by then, and who has begun, a second after these: 0 and 1 of the key 1, a restart, 2 of the key "1",
# 3 of the key 1 again. The expression that gives the key is the same, or text since the restart.
SAME: dict[str, tuple[list[Any], list[Any]]] = {
    # After another 10 s, of each key, the last; a batch is of events of one key.
    "debounce": ([], [[2], [3]]),
    "batch": ([[0, 1, 3]], [[2]]),
    # Of each key the first alone, in the first 10 s.
    "rate limit": ([[0], [2]], []),
    "throttle": ([[0], [2]], [[1]]),
    "runs": ([[0], [2]], [[1]]),
    "engine": ([[0], [2]], [[1]]),
    "skip": ([[0], [2]], []),
    "cancel": ([[2], [3]], []),
    "idempotency": ([[0], [2]], []),
}


async def _numbers(lab: Lab) -> list[Any]:
    """Return the numbers of the runs that have begun and were not cancelled."""
    infos = [info for info in await lab.engine.runs() if info.status in ("waiting", "completed")]
    return sorted([event.data["n"] for event in info.events] for info in infos)


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("how", SAME)
def test_a_number_and_its_text_are_two_keys_also_across_a_restart(tmp_path: Path, kind: str, how: str) -> None:
    async def story() -> None:
        store = DictStore() if kind == "dict" else FileStore(tmp_path / "s.db", durability="none")
        async with Lab([_function(how, NUMBER)], store=store) as lab:
            for n, k in enumerate([1, 1.0]):
                await lab.send("go", {"n": n, "k": k})
            await lab.crash()
            for n, k in enumerate(["1", 1], 2):
                await lab.send("go", {"n": n, "k": k})
                await lab.crash()
            first, more = SAME[how]
            assert await _numbers(lab) == first
            await lab.advance("10s")
            assert await _numbers(lab) == sorted([*first, *more])

    asyncio.run(story())


# What is recorded under a key stays under it: what is held, a start or an opening of a period, a singleton's key. Who
# waits or holds a slot goes by the new expression: so run 1 begins at once under the throttle, and waits for 0 else.
CHANGED: dict[str, tuple[list[Any], list[Any]]] = {
    "debounce": ([], [[1], [3]]),
    "batch": ([], [[0, 1], [2, 3]]),
    "rate limit": ([[0], [2]], []),
    "throttle": ([[0], [1]], [[2]]),
    "runs": ([[0]], [[1]]),
    "engine": ([[0]], [[1]]),
    "skip": ([[0], [2]], []),
    "cancel": ([[1], [3]], []),
    "idempotency": ([[0], [2]], []),
}


@pytest.mark.parametrize("how", CHANGED)
def test_an_expression_that_gives_another_type_after_a_restart_begins_new_keys(how: str) -> None:
    async def story() -> None:
        async with Lab([_function(how, NUMBER)]) as lab:
            for n, k in enumerate([1, 1.0]):
                await lab.send("go", {"n": n, "k": k})
            lab._functions = [_function(how, TEXT)]
            await lab.crash()
            for n, k in enumerate(["1", 1], 2):
                await lab.send("go", {"n": n, "k": k})
            first, more = CHANGED[how]
            assert await _numbers(lab) == first
            await lab.advance("10s")
            assert await _numbers(lab) == sorted([*first, *more])

    asyncio.run(story())
