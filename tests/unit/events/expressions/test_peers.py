"""Where Google's evaluator has a value, ours has the same, in the common subset of the two.

Ours gives values where CEL has errors (null for a missing field, any value to `&&`), so its errors say nothing here.
"""

from __future__ import annotations

import math
from string import Formatter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError

cel = pytest.importorskip("cel_expr_python.cel")

EVENT = {
    "i": 3,
    "j": -7,
    "d": 2.5,
    "e": 3.0,
    "s": "abc",
    "t": "é b",
    "yes": True,
    "no": False,
    "l": [1, 2, 3],
    "m": {"a": 1, "b": 2},
    "texts": ["a", "b", ""],
}
GOOGLE = cel.NewEnv(variables={"event": cel.Type.DYN})

# Templates per type: `{n}` is to be filled with a number, `{s}` a text, `{b}` a truth, `{l}` a list, `{o}` an order.
LEAVES = {
    "n": ["event.i", "event.j", "event.d", "event.e", "0", "1", "-3", "2.5", "0.0", "4398046511105"],
    "s": ["event.s", "event['t']", "''", "'b'", r"'\n\x41'", "'z'"],
    "b": ["event.yes", "event.no", "true", "false", "has(event.i)", "has(event.z)", "1 / 0 == 1"],
    "l": ["event.l", "[]", "[1, 2.0]"],
    "o": ["==", "!=", "<", "<=", ">", ">="],
}
TEMPLATES = {
    "n": [
        *(f"({{n}} {sign} {{n}})" for sign in "+-*/%"),
        *("-({n})", "size({s})", "size({l})", "({b} ? {n} : {n})", "{l}[{n}]", "int({n})", "double({n})"),
    ],
    "s": ["({s} + {s})", "({b} ? {s} : {s})", "string(int({n}))"],
    "b": [
        *("({n} {o} {n})", "({s} {o} {s})", "({b} == {b})", "({l} == {l})", "({n} == {s})", "({b} != {n})"),
        *("({b} && {b})", "({b} || {b})", "!{b}", "({n} in {l})", "({s} in event.m)"),
        *("{s}.startsWith({s})", "{s}.endsWith({s})", "{s}.contains({s})"),
        *("{s}.matches('^a')", "{s}.matches('[a-c]{{2,}}')", r"{s}.matches('\\s')", "{s}.matches('(a|é) ?$')"),
        *(f"{{l}}.{macro}(x, x {{o}} {{n}})" for macro in ("exists", "all", "exists_one")),
        *(f"event.m.{macro}(k, k {{o}} {{s}})" for macro in ("exists", "all", "exists_one")),
    ],
    "l": ["[{n}, {n}]", "({l} + {l})", "{l}.map(x, x * {n})", "{l}.filter(y, y {o} {n})"],
    "o": [],
}


@st.composite
def sources(draw: st.DrawFn, kind: str, depth: int) -> str:
    """Draw the text of an expression of one type, with templates nested up to `depth`."""
    template = draw(st.sampled_from(TEMPLATES[kind] if depth and TEMPLATES[kind] else LEAVES[kind]))
    text = ""
    for literal, below, _, _ in Formatter().parse(template):
        text += literal
        if below is not None:
            text += draw(sources(below, draw(st.integers(0, depth - 1))))
    return text


def googles(source: str) -> Any:
    """Return Google's value; EvaluationError where it has none, or no value that crosses into Python."""
    result = GOOGLE.compile(source, disable_check=True).eval(data={"event": EVENT})
    if result.type() in (cel.Type.ERROR, cel.Type.NULL, cel.Type.UNKNOWN):
        return EvaluationError
    return result.plain_value()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


@settings(max_examples=300, deadline=None)
@given(st.sampled_from("nsbl").flatmap(lambda kind: sources(kind, 4)))
def test_a_value_of_googles_evaluator_is_ours(source: str) -> None:
    expected = googles(source)
    if expected is not EvaluationError:
        assert same(parse(source).evaluate({"event": EVENT}), expected), expected
