"""Define the macros, which evaluate an expression for each element.

They are exists, all, exists_one, filter and map.

Separate because only macros repeat, so only they cost fuel by the element.
Leaves to `compiler` the compiling of their bodies.

An element that fails does not decide `exists` or `all` as long as another element does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Scope
from durable.events.expressions.values import plain, truthy, type_name

Closure = Callable[[Scope], Any]
FAILED = 20  # the cost of an error that is ignored, in fuel


class Loop:
    """A loop holds a macro's parts.

    `of` gives the elements, `slot` is the place of its variable, `cost` the fuel for each element.
    """

    __slots__ = ("body", "condition", "cost", "of", "slot")

    def __init__(self, of: Closure, slot: int, cost: int, body: Closure, condition: Closure | None = None) -> None:
        self.of, self.slot, self.cost, self.body, self.condition = of, slot, cost, body, condition


def _elements(value: Any) -> Iterable[Any]:
    """Return a list's elements, a map's keys, or nothing for null."""
    if isinstance(value, list | Mapping):
        return value
    value = plain(value)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise EvaluationError(f"a {type_name(value)} has no elements to go through")
    return value


def _decided(loop: Loop, *, wanted: bool) -> Closure:
    """Return a closure that returns `wanted` as soon as one element does.

    If no element does, it returns the opposite.
    """
    of, slot, cost, body = loop.of, loop.slot, loop.cost, loop.body

    def decide(scope: Scope) -> bool:
        failure = None
        for element in _elements(of(scope)):
            scope.spend(cost)
            scope.local[slot] = element
            try:
                if truthy(body(scope)) is wanted:
                    return wanted
            except EvaluationError as error:
                failure = error
                scope.spend(FAILED)
        if failure is not None:
            raise failure
        return not wanted

    return decide


def _exists(loop: Loop) -> Closure:
    return _decided(loop, wanted=True)


def _all(loop: Loop) -> Closure:
    return _decided(loop, wanted=False)


def _filter(loop: Loop) -> Closure:
    of, slot, cost, body = loop.of, loop.slot, loop.cost, loop.body

    def chosen(scope: Scope) -> list[Any]:
        found = []
        for element in _elements(of(scope)):
            scope.spend(cost)
            scope.local[slot] = element
            if truthy(body(scope)):
                found.append(element)
        return found

    return chosen


def _exists_one(loop: Loop) -> Closure:
    chosen = _filter(loop)
    return lambda scope: len(chosen(scope)) == 1


def _map(loop: Loop) -> Closure:
    of, slot, cost, body, condition = loop.of, loop.slot, loop.cost, loop.body, loop.condition

    def mapped(scope: Scope) -> list[Any]:
        found = []
        for element in _elements(of(scope)):
            scope.spend(cost)
            scope.local[slot] = element
            if condition is None or truthy(condition(scope)):
                found.append(body(scope))
        return found

    return mapped


MACROS: dict[str, Callable[[Loop], Closure]] = {
    "exists": _exists,
    "all": _all,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
