"""Hostile expressions and hostile values end soon, in an error or in the right answer."""

from __future__ import annotations

import gc
import sys
import threading
import time
from decimal import Decimal
from typing import Any

import pytest

from durable.errors import ExpressionError
from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError

READING, ASKING = 1.0, 0.25  # seconds of this thread's time
NUMBERS = list(range(1000))
LONG = "x" * 500_000


def outcome(source: str, **bindings: Any) -> object:
    """Return the value, or the class of the error, and fail if it took too long."""
    gc.disable()  # of everything that the tests before have left
    started = read = time.thread_time()
    try:
        expression = parse(source)
        read = time.thread_time()
        result = expression.evaluate(bindings)
    except (ExpressionError, EvaluationError) as error:
        assert len(str(error)) < 1000
        result = type(error)
    finally:
        gc.enable()
    assert read - started < READING
    assert time.thread_time() - read < (ASKING if read > started else READING)
    return result


@pytest.mark.parametrize(
    "source",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        "{1:" * 5_000 + "1" + "}" * 5_000,
        "a ? " * 5_000,
        "a" + "[0]" * 10_000,
        "a" + ".b" * 10_000,
        "a" + ".size()" * 4_000,
        "a.map(x, " * 1_000,
        "'" + "x" * 1_000_000 + "'",
        "1" * 30_000,
        '"""' * 10_000,
        "'\\" * 10_000,
        "!-" * 10_000,
        "''x" * 10_000,
        "a.matches('" + "(" * 4_000 + "')",
        "a.matches('((((a{1000}){1000}){1000}){1000})')",
    ],
)
def test_a_hostile_text_is_refused(source: str) -> None:
    assert outcome(source) is ExpressionError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("+".join(["1"] * 16_000), 16_000),
        (" || ".join(["false"] * 3_000), False),
        ("!" * 30_000 + "true", True),
        ("-" * 30_001 + "1", -1),
        ("'a' in [" + ",".join(f"'{n}'" for n in range(3_000)) + "]", False),
        ("\n" * 30_000 + "1", 1),
    ],
)
def test_a_long_but_flat_text_is_evaluated(source: str, expected: object) -> None:
    assert outcome(source) == expected


@pytest.mark.parametrize("body", ["[f, f]", "f > 'a'", "string(f) + 'a'"])
@pytest.mark.parametrize("macro", ["map", "all", "exists"])
def test_nested_macros_run_out_of_fuel(macro: str, body: str) -> None:
    source = "".join(f"l.{macro}({name}, " for name in "abcdef") + body + ")" * 6
    assert outcome(source, l=NUMBERS) in (EvaluationError, True, False)
    if macro == "map":
        assert outcome(source, l=NUMBERS) is EvaluationError


@pytest.mark.parametrize(
    "source",
    [
        "+".join(["t"] * 16_000),
        "l.map(x, t + t)",
        "l.map(x, l.map(y, s + s))",
        "l.map(x, l + l + l)",
        "||".join(["s+s+s=='q'"] * 2_700),
        "||".join(["t == u + 'y'"] * 2_300),
        "||".join(["l == [1] + l"] * 2_300),
        "||".join(["5000 in l"] * 2_900),
        "||".join(["t.contains('y')"] * 1_900),
        "l.map(x, lowercase(t))",
        "l.map(x, json_parse(j))",
        "l.all(x, l.all(y, !s.matches('a*b')))",
        "*".join(["big"] * 6_000),
        "big * big",
        "big + 1",
        "big + ''",
        "string(big)",
        "big / 2",
        "big * 1.5",
        "int(s)",
        "json_parse('[' + t)",
        "json_parse(deep)",
        "duration('9999999999999999999999999w')",
    ],
)
def test_what_grows_or_repeats_is_stopped(source: str) -> None:
    bindings = {"t": LONG, "u": LONG[1:], "s": "a" * 10_000, "l": NUMBERS, "j": "[" + "1," * 100_000 + "1]"}
    assert outcome(source, **bindings, big=10**30_000, deep="[" * 100_000) is EvaluationError


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("(a+)+$", "a" * 10_000, True),
        ("(a+)+$", "a" * 10_000 + "b", False),
        ("(x+x+)+y", "x" * 10_000, False),
        ("(a|a)*b", "a" * 10_000, False),
        ("(.*)(.*)(.*)(.*)[^a]$", "a" * 10_000, False),
        ("(.*)*b", "".join(map(chr, range(200, 8_000))), False),
        ("a?" * 1000 + "a" * 1000, "a" * 10_000, EvaluationError),
        ("[ab]*a[ab]{900}c", "ab" * 5_000 + "b" * 5_000 + "ab" * 700 + "aab" * 500, EvaluationError),
    ],
)
def test_no_pattern_takes_exponential_time(pattern: str, text: str, expected: object) -> None:
    assert outcome("text.matches(pattern)", text=text, pattern=pattern) == expected


@pytest.mark.parametrize(
    "patterns",
    [
        [f"(((a{n}){{10}}){{10}}){{30}}" for n in range(5_000)],
        [f"((((a{n}{{1000}}){{1000}}){{1000}}){{1000}})" for n in range(5_000)],
    ],
)
def test_many_patterns_made_while_evaluating_are_paid_for(patterns: list[str]) -> None:
    assert outcome("patterns.exists(p, 'b'.matches(p))", patterns=patterns) is EvaluationError


def test_many_time_zones_are_paid_for() -> None:
    zones = [f"Zone{n}" for n in range(20_000)]
    assert outcome("zones.exists(z, timestamp(0).getHours(z) == 1)", zones=zones) is EvaluationError


def deep(levels: int, wrap: Any) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}, lambda value: (value,)])
def test_deep_values_are_compared(wrap: Any) -> None:
    one, other = deep(20_000, wrap), deep(20_000, wrap)
    assert outcome("x == y", x=one, y=other) is True
    assert outcome("x == y", x=one, y=wrap(other)) is False
    assert outcome("x == 'a' || x[0] == 1", x=one) in (False, EvaluationError)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1e999999999"), False),
        (Decimal("1e-999999999"), False),
        (Decimal("sNaN"), False),
        (Decimal("1.00"), True),
    ],
)
def test_decimals_of_any_exponent_are_numbers(value: Decimal, expected: bool) -> None:
    assert outcome("x == 1", x=value) is expected


def test_an_evaluation_deep_in_the_stack_is_an_error_and_not_a_crash() -> None:
    """The caller's own recursion may have used up the stack: then there is no match, and it is said why."""
    expression = parse("(" * 60 + "1" + ")" * 60 + "".join(f" + [{n}].map(x, x)[0]" for n in range(20)))
    tree = parse("-(" * 60 + "1" + ")" * 60)
    errors: list[str] = []

    def descend(levels: int) -> None:
        try:
            assert tree.evaluate({}) == 1
            assert expression.evaluate({}) == 191
        except EvaluationError as error:
            errors.append(str(error))
            return
        if levels:
            descend(levels - 1)

    thread = threading.Thread(target=descend, args=(sys.getrecursionlimit(),))
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "nested too deep" in errors[0]
