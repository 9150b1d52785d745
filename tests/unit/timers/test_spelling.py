"""How what cannot stand everywhere is spelled: in columns, on a line, in an error's message."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from durable.timers.spelling import keepable, on_a_line, shown
from tests.support.wordings import SHAPES, Odd, Word


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_keepable_can_be_encoded_and_is_else_as_it_was(shape: str) -> None:
    text = SHAPES[shape].plain
    spelled = keepable(text)
    assert spelled.encode().decode("utf-8") == spelled
    assert spelled == text or "\\ud" in spelled
    assert keepable(spelled) == spelled


def test_halves_are_spelled_one_by_one() -> None:
    assert keepable("a\ud83d\ude00\n\\ž") == "a\\ud83d\\ude00\n\\ž"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_line_is_printable_and_else_as_it_was(shape: str) -> None:
    text = SHAPES[shape].plain
    line = on_a_line(text)
    assert line.isprintable() and on_a_line(line) == line
    assert line == text if text.isprintable() else "\\" in line


def test_what_is_not_printable_is_spelled_as_in_repr() -> None:
    assert on_a_line("a\nb\t\x1b[0m\u2028\ud800 ž😀\\n") == r"a\nb\t\x1b[0m\u2028\ud800 ž😀\n"


class Unshown:
    def __repr__(self) -> str:
        raise KeyError("no")


class Strange:
    def __repr__(self) -> str:
        return Odd("strange")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("it's", '"it\'s"'),
        ([1, "a"], "[1, 'a']"),
        (Word.ONE, "<Word.ONE: 'word7'>"),
        (Odd("odd"), "Odd"),
        ("\ud800\n", r"'\ud800\n'"),
        ("x" * 121, f"'{'x' * 80}'... (121 characters)"),
        (Odd("x" * 1_000_000), f"'{'x' * 80}'... (1,000,000 characters)"),
        (Unshown(), "<Unshown whose repr() raises KeyError>"),
        (10**5_000, "<int whose repr() raises ValueError>"),
        (Strange(), "strange"),
        (None, "None"),
    ],
    ids=range(11),
)
def test_a_value_is_shown_in_a_message(value: Any, expected: str) -> None:
    found = shown(value)
    assert found == expected and type(found) is str


def test_what_is_long_is_cut() -> None:
    class Long(enum.Enum):
        ONE = "x" * 10_000

    for value in (list(range(10_000)), b"x" * 10_000, Long.ONE, {"a": "b" * 10_000}):
        found = shown(value)
        assert len(found) < 160 and found.startswith(repr(value)[:80]) and found.endswith(repr(value)[-20:])
