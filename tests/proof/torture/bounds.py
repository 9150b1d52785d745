"""Draw the flow control of generated functions, and the moves that meet it: crowds, pauses, flushes.

Separate because `workflows` is to be read on a few pages, and draws from a random of its own.
Leaves to `doors` and `waiting` what the options mean on the model.

Half of the cases bound nothing. Only `data.k` is a key, and a period is even, so that half of one is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from durable import Batch, Concurrency, Debounce, Priority, RateLimit, Singleton, Throttle
from tests.proof.torture.cases import Move
from tests.proof.torture.waiting import PRIORITY

KEY = "event.data.k"
EVENTS = 3


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


def crowds(random: Random, seconds: int) -> list[Move]:
    """A few events that come one soon after the other, so that some wait, and those behind may go before them."""
    at, name = random.randrange(seconds), f"e/{random.randrange(EVENTS)}"
    return [
        Move(at + random.randrange(600), "send", name, {"n": 100 + number, "k": random.randrange(2)}, f"c{number}")
        for number in range(random.choice((0, 3, 4)))
    ]


def steering(random: Random, seconds: int, sent: Sequence[Move], count: int) -> list[Move]:
    """Pauses and their ends, flushes, and events that are taken back, soon after something was sent."""
    made = []
    for one in random.sample(sent, min(len(sent), random.choice((0, 2, 4)))):
        at, name = one.at + random.randrange(1, seconds // 3), f"f{random.randrange(count)}"
        match random.choice(("pause", "flush", "flush", "unsend", "unsend")):
            case "pause":
                made += [Move(at, "pause", name), Move(at + random.randrange(1, 2 * seconds), "resume", name)]
            case "flush":
                made.append(Move(at, "flush", name))
            case "unsend":
                made.append(Move(at, "unsend", str(one.id)))
    return made


def _key(random: Random) -> str | None:
    return random.choice((None, KEY))


def _slots(random: Random) -> Concurrency:
    key, counts = _key(random), random.choice(("runs", "runs", "steps"))
    scope = random.choice(("function", "engine")) if key else "function"
    return Concurrency(random.choice((1, 1, 2)), key, scope, counts)  # type: ignore[arg-type]
