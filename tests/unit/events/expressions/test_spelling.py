"""A value that stands in an expression in place of its path is the same value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable.events.expressions.expression import parse
from durable.events.expressions.spelling import literal


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        'it\'s "7"\n',
        [1, "a", {"b": None}],
        datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC),
        timedelta(0),
        timedelta(seconds=-1.5),
        timedelta(days=20),
        timedelta(microseconds=1_234_567),
        timedelta(days=20, microseconds=1),
    ],
)
def test_a_literal_evaluates_to_its_value(value: Any) -> None:
    text = literal(value)
    assert text is not None and parse(text).evaluate({}) == value
