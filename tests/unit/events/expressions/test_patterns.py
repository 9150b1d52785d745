"""`matches` takes RE2's syntax and answers as Python's `re` does where the two agree."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError

MATCHES = parse("text.matches(pattern)")


def matches(pattern: str, text: str) -> bool:
    return MATCHES.evaluate({"text": text, "pattern": pattern}) is True


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        ("^abc$", "abc", True),
        ("^abc$", "abc\n", False),
        ("(?m)^b$", "a\nb\nc", True),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
        ("(?i)ÀbC", "àBc", True),
        ("(?i)[a-c]+$", "ABC", True),
        ("(?i)[^a]", "A", False),
        ("(?i:a)b", "Ab", True),
        ("(?i:a)b", "AB", False),
        ("a(?i)b", "aB", True),
        ("(?i)a(?-i)b", "AB", False),
        (r"\bcat\b", "a cat.", True),
        (r"\bcat\b", "concat", False),
        (r"\Bcat", "concat", True),
        (r"\Aab\z", "ab", True),
        (r"\d{3}-\d{4}", "555-1234", True),
        (r"^\w+@\w+\.\w{2,3}$", "ada@example.org", True),
        (r"^\S+\s\D+$", "a b", True),
        (r"\w", "é", False),
        (r"^\pL+$", "Ünïcödé", True),
        (r"^\p{Lu}\P{Lu}+$", "Été", True),
        (r"^\p{^Lu}+$", "É", False),
        (r"^[\p{Nd}\-a-c]+$", "٣-b", True),
        (r"^[[:alpha:]]+[^[:digit:]]$", "ab-", True),
        (r"^[^\d\s]+$", "a b", False),
        (r"^[]a]+$", "]a", True),
        (r"^[a-]+$", "a-", True),
        (r"^a{2}$", "aaa", False),
        (r"^a{2,}$", "aaa", True),
        (r"^a{0}$", "", True),
        (r"^a{,2}$", "a{,2}", True),
        (r"^(?:ab|c)*?$", "abcab", True),
        (r"^(?P<first>a)(?<second>b)$", "ab", True),
        (r"^\Qa.b*\E+$", "a.b**", True),
        (r"^\x41\x{42}\103\t\.$", "ABC\t.", True),
        (r"(|a)+$", "b", True),
        (r"(a*)*b", "aab", True),
        ("^(😀|é){2}$", "😀é", True),
        ("^.$", "😀", True),
    ],
)
def test_the_syntax_people_use(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_a_pattern_made_while_evaluating_is_refused_there() -> None:
    with pytest.raises(EvaluationError, match="back-reference"):
        matches(r"(a)\1", "aa")


def test_only_strings_are_matched() -> None:
    with pytest.raises(EvaluationError, match="matches"):
        parse("matches(x, 'a')").evaluate({"x": 1})
    assert parse("matches(x, 'a')").evaluate({"x": "a"}) is True


ATOMS = st.sampled_from(
    ["a", "b", "1", " ", "_", r"\w", r"\W", r"\d", r"\s", ".", "[a-b]", "[^a]", r"[\d_]", "^", r"\b", ""]
)


def _larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "{1,}?"])
    return st.one_of(
        st.builds("{}{}".format, smaller, smaller),
        st.builds("({}|{})".format, smaller, smaller),
        st.builds("(?:{}){}".format, smaller, repeats),
        st.builds("(?{}:{})".format, st.sampled_from(["i", "s", "m", "ms"]), smaller),
    )


@settings(max_examples=200, deadline=None)
@given(st.recursive(ATOMS, _larger, max_leaves=8), st.lists(st.text("abA1 \n-_", min_size=1, max_size=8), max_size=4))
def test_an_automaton_answers_as_a_backtracking_engine(pattern: str, texts: list[str]) -> None:
    expected = re.compile(pattern, re.ASCII)
    for text in texts:
        assert matches(pattern, text) is (expected.search(text) is not None), text
