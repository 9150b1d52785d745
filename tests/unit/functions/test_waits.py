"""What a wait for an event asks for is checked once, and nobody can tell."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import ExpressionError
from durable.functions import waits
from durable.functions.waits import asked

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Name(str):
    """A text of a class of its own that spells something else than it says."""

    def __str__(self) -> str:
        return "other"


class Span(enum.StrEnum):
    DAY = "1d"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("paid", "1d"), ("paid", timedelta(days=1), None, None)),
        (("paid", "1d", "data.id"), ("paid", timedelta(days=1), "data.id", None)),
        (("paid", "90m", None, "async.data.id == 1"), ("paid", timedelta(minutes=90), None, "async.data.id == 1")),
        (("paid", 1), ("paid", timedelta(seconds=1), None, None)),
        (("paid", NOON), ("paid", NOON, None, None)),
        (("paid", timedelta(seconds=3)), ("paid", timedelta(seconds=3), None, None)),
        ((Name("paid"), "1d"), ("paid", timedelta(days=1), None, None)),
        (("paid", Span.DAY), ("paid", timedelta(days=1), None, None)),
    ],
)
def test_the_same_is_found_again(given: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    for step in ("one", "two"):
        again = asked(step, *given)
        assert again == found and [type(part) for part in again] == [type(part) for part in found]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("", "1d"), ValueError),
        (("shop/*", "1d"), ValueError),
        ((7, "1d"), TypeError),
        (("paid", "1 fortnight"), ValueError),
        (("paid", True), TypeError),
        (("paid", ["1d"]), TypeError),
        (("paid", "1d", "nowhere"), ValueError),
        (("paid", "1d", ["data.id"]), TypeError),
        (("paid", "1d", None, "async.data.id =="), ExpressionError),
        (("paid", "1d", None, "other.data.id == 1"), ExpressionError),
    ],
)
def test_what_is_refused_is_refused_again_by_the_name_of_its_own_step(
    given: tuple[Any, ...], error: type[Exception]
) -> None:
    for step in ("one", "two"):
        with pytest.raises(error, match=f"step '{step}'"):
            asked(step, *given)


def test_no_more_is_kept_than_code_is_likely_to_hold() -> None:
    for number in range(2 * waits._MOST + 1):
        assert asked("s", f"paid/{number}", "1d")[0] == f"paid/{number}"
        assert 0 < len(waits._checked) <= waits._MOST
