"""List odd texts, data, exceptions and filters, and wrong uses of a step, by number.

Separate because any of these may occur in any generated workflow, and `workflows` is to be read without them.
Leaves to `workflows` their places, to `model` the expected results.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from durable import CodecError, Event, ExpressionError, LimitError
from tests.support.shapes import SHAPES

# In ids, after the path that makes them differ: half of them have nothing odd.
TEXTS = (
    "",
    "",
    "",
    "",
    "",
    "",
    " \0",
    "\n  x",
    "\x1b[31m",
    " \u00e9\u2028\u202e",
    "\U0001f600",
    "~1",
    "%s%(x)d {}",
    "[b]'\"`$(x)",
)


class Ids(enum.StrEnum):
    """Ids as an enumeration has them: each is taken as the text that it spells."""

    ODD = "odd"


def odd_id(path: str, number: int) -> str:
    """Return a step's id: the path of its part, and what a text may hold."""
    return path + TEXTS[number % len(TEXTS)]


def odd_data(number: int) -> Any:
    """Return data of some kind that JSON does not have, or that is as deep as any may be."""
    deep: Any = number
    for level in range(196):
        deep = [deep] if level % 2 else {f"~{level % 3}": deep}
    kinds: tuple[Any, ...] = (
        None, number, "\ud83d", "\ud83d\ude00 \0 \u2028", {"~dict": 1, "": [()]}, deep, 7**5_000, float("inf"),
        {1: "int", (2, b"\xff"): {3}}, (datetime(2030, 1, 1, tzinfo=UTC), timedelta(-1, 7), Decimal("1.10")),
        [PurePosixPath("/a/\n"), frozenset({1}), -0.0], {"x" * 3_000: "y" * 3_000},
    )  # fmt: skip
    return kinds[number % len(kinds)]


def check_data(number: int, value: Any) -> None:
    """Check that data came as they were sent."""
    assert repr(value) == repr(odd_data(number)), f"sent as {odd_data(number)!r:.300}, it came as {value!r:.300}"


# Exceptions that a handler may raise; of what shape the others are is seen only where they are looked at closely.
RAISED = (
    "a frozen dataclass", "a frozen attrs class", "one with slots that takes no attribute", "__cause__ raises",
    "__traceback__ lies", "__notes__ raises", "__class__ lies", "__str__ raises", "__repr__ raises",
    "__hash__ raises", "text that is none", "text that no encoding holds", "a metaclass that lies", "a group of groups",
    "a group whose members lie", "a circle of causes", "a cause that lies", "notes that lie", "a final one that lies",
    "a step error of odd values", "an int too long to show", "a RecursionError", "a TimeoutError",
)  # fmt: skip


def odd_error(number: int) -> BaseException:
    """Return an exception that its class guards, or of which it says what is not so."""
    return SHAPES[RAISED[number % len(RAISED)]]()


# Filters that never hold, since evaluating them fails whatever is sent.
FAILING = (
    "1 / (async.data.k - async.data.k) == 1",
    "date(" + "9" * 400 + ") == date(async.data.k)",
    "async.name[async.data.k] == 'x'",
    "int(async.name) == 1",
    "[1, 2][7] == async.data.k",
    "matches(async.name, '(' + async.name)",
)


def failing_filter(number: int, *, name: str = "async") -> str:
    """Return an expression that fails: over the event that has come, which it knows as `name`."""
    return FAILING[number % len(FAILING)].replace("async", name)


# What is wrong at the call of a step, and what it is told with. Nothing of it is recorded, and no key is counted.
Misuse = tuple[Callable[[Any, str], Any], type[Exception]]
MISUSES: tuple[Misuse, ...] = (
    (lambda step, id: step.sleep(id, -1), ValueError),
    (lambda step, id: step.sleep(id, "5 minutes"), ValueError),
    (lambda step, id: step.sleep(id, True), TypeError),
    (lambda step, id: step.sleep_until(id, datetime(2030, 1, 1)), ValueError),
    (lambda step, id: step.sleep("", 1), ValueError),
    (lambda step, id: step.sleep(f"{id}\ud83d", 1), ValueError),
    (lambda step, id: step.sleep("x" * 2_000, 1), LimitError),
    (lambda step, id: step.run(id, 5), TypeError),
    (lambda step, id: step.run(7, len), TypeError),
    (lambda step, id: step.run(id, iterated), TypeError),
    (lambda step, id: step.wait_for_event(id, event="a/*", timeout=1), ValueError),
    (lambda step, id: step.wait_for_event(id, event="e/0", timeout=1, if_exp="1 +"), ExpressionError),
    (lambda step, id: step.wait_for_event(id, event="e/0"), TypeError),
    (lambda step, id: step.wait_for_signal(id, signal="s", timeout=1, on_conflict="maybe"), ValueError),
    (lambda step, id: step.send_event(id, "e/0"), TypeError),
    (lambda step, id: step.send_event(id, Event("e/0", {"x": object()})), CodecError),
    (lambda step, id: step.send_event(id, Event("e/0", {"x": "y" * 600_000})), LimitError),
    (lambda step, id: step.send_event(id, Event("e/\ud83d")), ValueError),
    (lambda step, id: step.send_signal(id, "s", {"x": object()}), CodecError),
    (lambda step, id: step.invoke(id, function=7), TypeError),
    (lambda step, id: step.invoke(id, function="f0", data=[1]), TypeError),
)


def iterated() -> Any:
    """A generator, which is no handler."""
    yield 1


def misused(step: Any, id: str, number: int) -> str:
    """Use a step wrongly, and return what is told."""
    wrong, told = MISUSES[number % len(MISUSES)]
    try:
        wrong(step, id)
    except told as error:
        return type(error).__name__
    raise AssertionError(f"misuse {number % len(MISUSES)} of step {id!r} was not told")


def told_of(number: int) -> str:
    """Return what is told of a misuse."""
    return MISUSES[number % len(MISUSES)][1].__name__
