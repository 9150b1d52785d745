"""Say why an event did not answer a wait: which part of its filter said no, to which values.

Separate because only people ask for this, when what they wait for does not come.
Leaves to `bus` the last events of a name, to `views` the words around.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from durable.events.event import Event
from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.spelling import bound, conditions, literal, paths, value_at
from durable.events.expressions.values import truthy
from durable.events.matching import at_path, lacking, same_value, seen_by_filters
from durable.events.triggers import Listener

_MOST = 5  # values that are told of one condition


def filter_of(path: str | None, expression: str | None, own: Mapping[str, Any]) -> str | None:
    """Return the filter of a wait as one expression, with the values of the run's own event `own` bound.

    `path` is that of a `match`, `expression` an `if_exp`; None if there is neither.
    """
    parts = [] if path is None else [_matching(path, own)]
    if expression is not None:
        told = bound(expression, "event", own)
        parts.append(f"({told})" if parts and len(conditions(expression)) == 1 else told)
    return " && ".join(parts) or None


def _matching(path: str, own: Mapping[str, Any]) -> str:
    mine = literal(at_path(own, tuple(path.split("."))))
    return f"async.{path} == {f'event.{path}' if mine is None else mine}"


def missed(listener: Listener, event: Event, at: datetime) -> str:
    """Return why an event of a listener's name, which came at an instant, did not answer it."""
    try:
        return _missed(listener, event, at)
    except Exception:  # a value of a user's class may raise anything; also where the stack is nearly full
        return "its filter says no"


def _missed(listener: Listener, event: Event, at: datetime) -> str:
    if listener.until is not None and at >= listener.until:
        return "it came when the time for it was over"
    own, seen = listener.own or {}, seen_by_filters(event)
    if listener.path is not None:
        path = ".".join(listener.path)
        what = f"{_matching(path, own)} said no"
        if (lack := lacking(seen, listener.path)) is not None:
            return f"{what}: {lack}"
        if not same_value(at_path(own, listener.path), at_path(seen, listener.path)):
            return f"{what}{_values([f'async.{path}'], seen)}"
    for part in () if listener.expression is None else conditions(listener.expression.source):
        told = bound(part, "event", own)
        try:
            if truthy(parse(part).evaluate({"event": own, "async": seen})):
                continue
        except EvaluationError as error:
            return f"{told} cannot be evaluated: {error}"
        return f"{told} said no{_values([part[begin:end] for begin, end in paths(part, 'async')], seen)}"
    return "it came before the wait began"


def _values(asked: list[str], seen: Mapping[str, Any]) -> str:
    told = [f"{path} is {value_at(path, 'async', seen) or 'too long to be shown'}" for path in dict.fromkeys(asked)]
    return f": {', '.join(told[:_MOST])}" if told else ""
