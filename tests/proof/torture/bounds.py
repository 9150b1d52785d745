"""Draw the flow control of generated functions: what holds, skips, bounds and orders their runs.

Separate because `workflows` is to be read on a few pages, and draws from a random of its own.
Leaves to `doors` and `waiting` what the options mean on the model.

Half of the cases bound nothing. Only `data.k` is a key, and a period is even, so that half of one is exact.
"""

from __future__ import annotations

from random import Random
from typing import Any

from durable import Batch, Concurrency, Debounce, Priority, RateLimit, Singleton, Throttle
from tests.proof.torture.waiting import PRIORITY

KEY = "event.data.k"


def held(random: Random, *, seconds: int, has_cancel: bool) -> dict[str, Any]:
    """Options by which a function's events are held, skipped or replaced; most functions have none."""
    kind, key = random.choice(("", "", "", "debounce", "batch", "skip", "cancel")), random.choice((None, KEY))
    span, size = random.randrange(1, seconds), random.choice((1, 2, 3))
    match kind:
        case "debounce":
            return {"debounce": Debounce(span, random.choice((None, 2 * span)), key)}
        case "batch" if not has_cancel:
            return {"batch_events": Batch(size, span, key)}
        case "skip" | "cancel":
            return {"singleton": Singleton(kind, key)}  # type: ignore[arg-type]
        case _:
            return {}


def bounded(random: Random, *, seconds: int) -> dict[str, Any]:
    """Options that bound the openings, the starts and the runs of a function, and order who waits."""
    options: dict[str, Any] = {}
    if random.random() < 0.3:
        options["rate_limit"] = RateLimit(random.choice((1, 2, 3)), random.randrange(1, 4 * seconds), _key(random))
    if random.random() < 0.4:
        period, counts = 2 * random.randrange(1, seconds), random.choice(("runs", "runs", "runs", "steps"))
        limit, burst = random.choice((1, 2)), random.choice((None, 1))
        options["throttle"] = Throttle(limit, period, _key(random), burst, counts)
    if slots := [_slots(random) for _ in range(random.choice((0, 1, 1, 2)))]:
        options["concurrency"] = slots
    if slots or "throttle" in options:
        options["priority"] = random.choice((None, Priority(PRIORITY)))
    return options


def _key(random: Random) -> str | None:
    return random.choice((None, KEY))


def _slots(random: Random) -> Concurrency:
    key, counts = _key(random), random.choice(("runs", "runs", "steps"))
    scope = random.choice(("function", "engine")) if key else "function"
    return Concurrency(random.choice((1, 1, 2)), key, scope, counts)  # type: ignore[arg-type]
