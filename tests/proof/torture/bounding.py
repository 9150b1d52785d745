"""Draw what the functions of random stories bound, and declare such functions.

Separate because `limits` is to be read on a few pages.
Leaves to `limits` what happens to them, and what their handlers do.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from random import Random
from typing import Any

import durable
from durable import Concurrency, Context, Function, Priority, RateLimit, Throttle
from tests.proof.torture.counting import Limits, Most, Slots

MINUTE = timedelta(minutes=1)
KEY = "event.data.k"


def shaped(random: Random) -> Limits:
    """Choose what a function bounds, and by which keys and periods; how many is up to each life."""
    chance, either = random.random, lambda: random.random() < 0.5
    period = MINUTE * random.choice((10, 60, 90))
    slots = [_slots(random) for _ in range(random.choice((0, 1, 1, 2)))]
    throttle = None
    if not slots or either():
        counts = "steps" if chance() < 0.3 else "runs"
        throttle = Most(1, period, either(), random.choice((None, 1, 2, 3)), counts)
    return Limits(
        rate=Most(1, period * 2, either()) if chance() < 0.3 else None,
        throttle=throttle,
        slots=tuple(slots),
        has_priority=either(),
    )


def _slots(random: Random) -> Slots:
    shared = random.random() < 0.5
    return Slots(1, shared, shared or random.random() < 0.5, random.choice(("runs", "runs", "steps")))


def options_of(limits: Limits) -> dict[str, Any]:
    """Return the options of a function that bounds so much."""
    rate, throttle = limits.rate, limits.throttle
    return {
        "rate_limit": rate and RateLimit(rate.limit, rate.period, key=_key(rate.keyed)),
        "throttle": throttle
        and Throttle(throttle.limit, throttle.period, _key(throttle.keyed), throttle.burst, throttle.counts),  # type: ignore[arg-type]
        "concurrency": [
            Concurrency(one.limit, _key(one.keyed), "engine" if one.shared else "function", one.counts)  # type: ignore[arg-type]
            for one in limits.slots
        ]
        or None,
        "priority": Priority("event.data.p") if limits.has_priority else None,
    }


def _key(is_keyed: bool) -> str | None:
    return KEY if is_keyed else None


def bounded(name: str, limits: Limits, body: Callable[[Context], Coroutine[Any, Any, None]]) -> Function[Any]:
    """Return the function as a life declares it."""

    @durable.function(f"go/{name}", id=name, retries=0, **options_of(limits))
    async def function(ctx: Context) -> None:
        await body(ctx)

    return function
