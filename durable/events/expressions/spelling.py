"""Spell an expression with values in place of its paths, and take its conditions apart.

Separate because only people read this, who ask why a filter says no.
Leaves to `expression` the evaluation of each part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.nodes import Logic, free_names
from durable.events.expressions.parser import parsed
from durable.events.expressions.tokens import Token, tokens
from durable.timers import in_seconds

_MOST = 80  # characters of a value; a longer one stays a path
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def conditions(source: str) -> list[str]:
    """Return the texts of the conditions that the outermost `&&` joins, or the whole text alone."""
    tree = parsed(source)
    if not isinstance(tree, Logic) or tree.operator != "&&":
        return [source]
    cuts, depth = [0], 0
    for word in tokens(source):
        if word.kind == "symbol":
            depth += (word.text in _OPENING) - (word.text in _CLOSING)
            if word.text == "&&" and not depth:
                cuts += [word.position, word.position + 2]
    cuts.append(len(source))
    parts = [source[begin:end].strip() for begin, end in zip(cuts[::2], cuts[1::2], strict=True)]
    return parts if len(parts) == len(tree.operands) else [source]


def paths(source: str, root: str) -> list[tuple[int, int]]:
    """Return where the paths below a variable stand in an expression, each as its begin and end."""
    free = {name.position for name in free_names(parsed(source)) if name.name == root}
    words = list(tokens(source))
    return [(words[at].position, _end(words, at)) for at in _begins(words, free)]


def _begins(words: list[Token], free: set[int]) -> Iterator[int]:
    for at, word in enumerate(words):
        is_asked = at > 1 and words[at - 1].text == "(" and words[at - 2].text == "has"  # has() takes no value
        if word.kind == "name" and word.position in free and not is_asked:
            yield at


def _end(words: list[Token], at: int) -> int:
    """Return the end of the path that begins with a word: it stops before a method and a computed index."""
    while True:
        first, second, third = (words[min(at + ahead, len(words) - 1)] for ahead in (1, 2, 3))
        if first.text == "." and second.kind in ("name", "quoted") and third.text != "(":
            at += 2
        elif first.text == "[" and second.kind in ("text", "number") and third.text == "]":
            at += 3
        else:
            return words[at].position + len(words[at].text)


def bound(source: str, root: str, value: object) -> str:
    """Return an expression with the values of a variable in place of the paths below it.

    A path stays where its value is long, or cannot be written as an expression.
    """
    text, done = "", 0
    for begin, end in paths(source, root):
        spelled = value_at(source[begin:end], root, value)
        text += source[done:begin] + (source[begin:end] if spelled is None else spelled)
        done = end
    return text + source[done:]


def value_at(path: str, root: str, value: object) -> str | None:
    """Return how an expression writes what is at a path; None: that is long, or has no literal."""
    try:
        text = literal(parse(path).evaluate({root: value}))
    except EvaluationError:
        return None
    return text if text is not None and len(text) <= _MOST else None


def literal(value: Any) -> str | None:
    """Return a value as an expression writes it, or None if it has no literal."""
    match value:
        case datetime():
            return f'timestamp("{value.isoformat()}")'
        case timedelta():
            return f'duration("{in_seconds(value)}")'
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return None
