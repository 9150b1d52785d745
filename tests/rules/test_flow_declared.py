"""Flow control is checked where it is declared: limits, periods, keys, and which options exclude each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import durable
from durable import Batch, Concurrency, Debounce, Priority, RateLimit, Singleton, Throttle

BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Concurrency(0), ValueError, "the limit of a Concurrency must be an int of at least 1"),
    (lambda: Concurrency(True), TypeError, "the limit of a Concurrency must be an int, not True"),
    (lambda: Concurrency(2.0), TypeError, "the limit of a Concurrency must be an int"),  # type: ignore[arg-type]
    (lambda: Concurrency(1, scope="engine"), ValueError, "needs a key"),
    (lambda: Concurrency(1, scope="all"), ValueError, '"function" or "engine"'),  # type: ignore[arg-type]
    (lambda: Concurrency(1, counts="tries"), ValueError, '"steps" or "runs"'),  # type: ignore[arg-type]
    (lambda: Concurrency(1, "event.data."), durable.ExpressionError, "the key of a Concurrency"),
    (lambda: Concurrency(1, "async.data.id"), durable.ExpressionError, "the key of a Concurrency"),
    (lambda: Throttle(1, "1x"), ValueError, "the period of a Throttle"),
    (lambda: Throttle(1, 0), ValueError, "the period of a Throttle must be more than zero"),
    (lambda: Throttle(0, "1m"), ValueError, "the limit of a Throttle"),
    (lambda: Throttle(1, "1m", burst=0), ValueError, "the burst of a Throttle"),
    (lambda: Throttle(1, "1m", counts="all"), ValueError, "counts of a Throttle"),  # type: ignore[arg-type]
    (lambda: RateLimit(1, -1), ValueError, "the period of a RateLimit cannot be negative"),
    (lambda: RateLimit(True, "1h"), TypeError, "the limit of a RateLimit"),
    (lambda: Debounce(True), TypeError, "the period of a Debounce"),
    (lambda: Debounce("1s", timeout=0), ValueError, "the timeout of a Debounce must be more than zero"),
    (lambda: Batch(0, "1s"), ValueError, "max_size of a Batch"),
    (lambda: Batch(2, "0s"), ValueError, "the timeout of a Batch"),
    (lambda: Batch(2, "1s", if_exp="event."), durable.ExpressionError, "if_exp of a Batch"),
    (lambda: Priority("1 +"), durable.ExpressionError, "run of a Priority"),
    (lambda: Priority(None), TypeError, "run of a Priority"),  # type: ignore[arg-type]
    (lambda: Singleton("stop"), ValueError, '"skip" or "cancel"'),  # type: ignore[arg-type]
    (lambda: Singleton(key="1 +"), durable.ExpressionError, "the key of a Singleton"),
]


@pytest.mark.parametrize(("make", "kind", "said"), BAD, ids=[said for _, _, said in BAD])
def test_an_option_that_cannot_be_is_refused_where_it_is_made(
    make: Callable[[], object], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert said in str(caught.value)


def test_options_hold_plain_values() -> None:
    throttle = Throttle(5, "1m", "event.data.user", burst=2)
    assert throttle.period == timedelta(minutes=1) and throttle.key == "event.data.user"
    assert Throttle(5, 60, "event.data.user", 2) == throttle
    assert Debounce("1s").timeout is None and Batch(10, "5s").timeout == timedelta(seconds=5)
    assert Concurrency(2).scope == "function" and Concurrency(2).counts == "steps" and Singleton().mode == "skip"


APART: list[tuple[dict[str, Any], str]] = [
    ({"debounce": Debounce("1s"), "batch_events": Batch(2, "1s")}, "debounce and batch_events"),
    ({"debounce": Debounce("1s"), "singleton": Singleton()}, "debounce and singleton"),
    ({"batch_events": Batch(2, "1s"), "singleton": Singleton()}, "batch_events and singleton"),
    ({"batch_events": Batch(2, "1s"), "cancel": [durable.Cancel("stop")]}, "batch_events and cancel"),
    ({"throttle": RateLimit(1, "1m")}, "throttle of function 'f' must be a Throttle"),
    ({"priority": "event.data.n"}, "priority of function 'f' must be a Priority"),
    ({"concurrency": "3"}, "concurrency of function 'f' must be an int, a Concurrency or two of them"),
    ({"concurrency": True}, "concurrency of function 'f' must be an int"),
    ({"concurrency": [1, None]}, "concurrency of function 'f' must be"),
]


@pytest.mark.parametrize(("options", "said"), APART, ids=[said for _, said in APART])
def test_options_that_exclude_each_other_are_a_type_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:

        @durable.function(**options)
        async def f(ctx: durable.Context) -> None: ...

    assert said in str(caught.value)


@pytest.mark.parametrize("limits", [0, [], [1, 2, 3]])
def test_concurrency_takes_one_limit_or_two(limits: Any) -> None:
    with pytest.raises(ValueError, match="concurrency of function 'f'"):

        @durable.function(concurrency=limits)
        async def f(ctx: durable.Context) -> None: ...
