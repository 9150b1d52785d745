"""Test that a span is spelled as people write it, and read back as it was."""

from datetime import timedelta

import pytest

from durable.timers import duration, written


@pytest.mark.parametrize(
    "text",
    [
        "1ms",
        "250ms",
        "1s",
        "1m",
        "90s",
        "1h30m",
        "24h",
        "7d",
        "2w",
        "1d1h1m1s1ms",
        "0.0001s",
        "1.234567s",
        "20d0.0001s",
    ],
)
def test_a_span_is_spelled_so_that_it_reads_back(text: str) -> None:
    span = duration(text)
    assert duration(written(span)) == span


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(minutes=1), "1m"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=14), "14d"),
        (timedelta(microseconds=1_500), "0.0015s"),
        (timedelta(days=20, microseconds=1), "1728000.000001s"),
        (timedelta(0), "0s"),
        (timedelta(seconds=-2), "-2s"),
    ],
)
def test_a_span_is_spelled_in_its_largest_units(span: timedelta, text: str) -> None:
    assert written(span) == text
