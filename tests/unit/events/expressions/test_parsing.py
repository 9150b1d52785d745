"""What is refused when an expression is made, where the error points, and what an index can use."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from uuid import UUID

import pytest

from durable.errors import ExpressionError
from durable.events.expressions.expression import Expression, parse
from durable.events.expressions.faults import EvaluationError

NAMES = ("event", "async")


def fault(source: str, names: tuple[str, ...] | None = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(source, names=names)
    return caught.value


@pytest.mark.parametrize(
    ("source", "position", "what"),
    [
        ("", 0, "the expression ends"),
        ("event.data.a = 1", 13, "write =="),
        ("a & b", 2, "write &&"),
        ("a && ", 5, "the expression ends"),
        ("a b", 2, "unexpected 'b'"),
        ("(a", 2, "closing )"),
        ("[a", 2, "closing ]"),
        ("{'a' 1}", 5, "the :"),
        ("a ? b", 5, "the : of the choice"),
        ("a.1", 1, "unexpected '.1'"),
        ("a.", 2, "a field's name"),
        ("'abc", 0, "not closed"),
        ("'a\nb'", 0, "not closed"),
        (r"'a\q'", 2, r"unknown escape \q"),
        (r"'\uD800'", 1, "not a character"),
        (r"b'\u0041'", 2, "does not fit a byte"),
        ("1 + import", 4, "reserved"),
        ("has(a)", 0, "has() takes one field"),
        ("a.exists(x.y, true)", 11, "name of its variable"),
        ("a.exists(x)", 2, "takes 2 arguments, not 1"),
        ("1" * 5000, 0, "too many digits"),
        ("a.matches('(')", 10, "an unclosed ("),
        ("a.matches(1)", 10, "a pattern must be a string"),
        ("a == #", 5, "'#'"),
    ],
)
def test_what_does_not_parse_is_refused_at_its_position(source: str, position: int, what: str) -> None:
    error = fault(source)
    assert error.position == position
    assert what in str(error)


def test_an_error_shows_the_line_the_column_and_a_caret() -> None:
    assert str(fault("event.data.a == 1 &&\n  event.data.b = 2", NAMES)) == (
        "line 2, column 16: unexpected character '='; to compare, write ==\n    event.data.b = 2\n                 ^"
    )


def test_a_long_line_is_shown_around_the_caret_only() -> None:
    lines = str(fault("1 + " * 1000 + ")" + " + 1" * 1000)).splitlines()
    assert len(lines[1]) < 140
    assert lines[1][lines[2].index("^")] == ")"


@pytest.mark.parametrize(
    ("source", "position", "what"),
    [
        ("event.a == asnyc.b", 11, "unknown variable 'asnyc': there is async, event"),
        ("vars.a || other", 0, "'vars'"),
        ("[1].map(x, x) == x", 17, "'x'"),
        ("event.a == nope(1)", 11, "unknown function nope()"),
        ("event.a.nope()", 8, "unknown function nope()"),
        ("startsWith(event.a, 'b')", 0, "is written value.startsWith(...)"),
        ("event.a.startsWith()", 8, "takes 1 arguments, not 0"),
        ("now(1)", 0, "takes 0 arguments, not 1"),
        ("event.a.lowercase()", 8, "is written lowercase(...)"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_when_names_are_given(source: str, position: int, what: str) -> None:
    error = fault(source, NAMES)
    assert error.position == position
    assert what in str(error)


def test_without_names_a_missing_one_is_an_error_only_when_it_is_needed() -> None:
    with pytest.raises(EvaluationError, match="'x' has no value"):
        parse("x").evaluate({})
    with pytest.raises(EvaluationError, match="unknown function"):
        parse("nope(1)").evaluate({})


def test_names_are_the_free_variables() -> None:
    expression = parse("event.a == async.b && [1].exists(x, x == y) && int == int", names=["event", "async", "y"])
    assert expression.names == {"event", "async", "y"}
    assert expression.source.startswith("event.a")


def test_the_same_text_is_parsed_once() -> None:
    assert parse("event.a == 'once'", names=NAMES) is parse("event.a == 'once'", names=list(NAMES))


def test_only_text_is_an_expression() -> None:
    with pytest.raises(TypeError, match="must be a string"):
        parse(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)",
        "a++",
        "a**",
        "*a",
        "a)",
        "[b-a]",
        "[a",
        r"\pX",
        r"\p{Greek}",
        "a{1001}",
        "a{2,1}",
        "a{2}{3}",
        "(?P=n)",
        r"\q",
        "(?z)a",
        "[[:nope:]]",
        "\\\\",
        r"\x{110000}",
    ],
)
def test_a_pattern_beyond_re2_is_refused_when_the_expression_is_made(pattern: str) -> None:
    source = f"event.a.matches(r'{pattern}')"
    if pattern == "\\\\":
        source = r"event.a.matches('\\')"
    error = fault(source)
    assert error.position == 16
    assert "pattern" in str(error)


def equalities(expression: Expression, **bindings: object) -> list[tuple[tuple[str, ...], bool, object]]:
    found = expression.equalities()
    return [(equality.path, equality.literal, equality.value(bindings)) for equality in found]


def test_equalities_are_the_outer_conjuncts_that_compare_the_new_event_with_a_value() -> None:
    expression = parse(
        "async.data.a == event.data.x && ('pro' == async.data['plan'].tier && async.data.n == -1.5)"
        " && async.data.b == lowercase(event.data.x) + '!' && async.name == ('a' + 'b')"
    )
    assert equalities(expression, event={"data": {"x": "Q"}}) == [
        (("data", "a"), False, "Q"),
        (("data", "plan", "tier"), True, "pro"),
        (("data", "n"), True, -1.5),
        (("data", "b"), False, "q!"),
        (("name",), True, "ab"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "async.data.a == null",
        "async.data.a == async.data.b",
        "async.data.a == 1 || true",
        "async.data.a != 1",
        "!(async.data.a == 1)",
        "async.data.a == 1 == true",
        "async == event",
        "async.data[0] == 1",
        "async.data[event.key] == 1",
        "event.data.a == 1",
        "async.data.t == now()",
        "async.data.a == [1].map(x, async.b)[0]",
        "async.data.a",
        "[1].exists(x, async.data.a == x)",
        "size(async.data.a) == 1",
    ],
)
def test_what_an_index_cannot_use_is_no_equality(source: str) -> None:
    assert parse(source).equalities() == ()


def test_the_value_of_an_equality_is_one_of_cels_own_and_its_errors_are_evaluation_errors() -> None:
    class Color(Enum):
        RED = "red"

    (equality,) = parse("async.a == event.x").equalities()
    assert equality.value({"event": {"x": Color.RED}}) == "red"
    assert equality.value({"event": {"x": UUID(int=1)}}) == str(UUID(int=1))
    assert equality.value({"event": {}}) is None
    (failing,) = parse("async.a == 1 / event.x").equalities()
    with pytest.raises(EvaluationError):
        failing.value({"event": {"x": 0}})


def test_a_variable_named_async_inside_of_a_macro_is_not_the_new_event() -> None:
    (equality,) = parse("async.a == [1, 2].map(async, async)[0]").equalities()
    assert (equality.literal, equality.value({})) == (True, 1)


def test_an_equality_holds_whenever_the_expression_does() -> None:
    """Section 7: candidates are found by the equality first, so it must never lose one."""
    expression = parse("async.a == event.x && (async.b || true)")
    (equality,) = expression.equalities()
    for a in (1, 1.0, True, "1", None, datetime(2030, 1, 1, tzinfo=UTC)):
        for x in (1, 1.0, True, "1", None):
            holds = expression.evaluate({"event": {"x": x}, "async": {"a": a}})
            same = parse("a == x").evaluate({"a": a, "x": equality.value({"event": {"x": x}})})
            assert bool(holds) is same
