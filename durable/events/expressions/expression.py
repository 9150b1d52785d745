"""Parse, check and compile expressions, once per text.

Separate because the rest of the library sees only this part of the language.
Leaves to `compiler` the evaluation, to `bus` the choice of expressions for an event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from durable.errors import ExpressionError
from durable.events.expressions.compiler import Program, compiled
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.functions import CLOCK_FUNCTIONS, misuse
from durable.events.expressions.nodes import Call, Chain, Field, Index, Literal, Logic, Name, Node, below, free_names
from durable.events.expressions.parser import parsed
from durable.events.expressions.scope import FUEL, Budget, Scope
from durable.events.expressions.tokens import INSTEAD, fault
from durable.events.expressions.values import TYPES, plain

_ARRIVING = "async"
_FIELDS = frozenset({"data", "name", "id", "ts", "v"})  # of an event


@attrs.frozen(eq=False, repr=False)
class Equality:
    """An equality is a condition `async.<path> == value` that an expression requires.

    `path` is the path below `async`, such as ("data", "userId"). `value(bindings)` returns the value; it needs no
    `async`, and raises `EvaluationError` like the expression itself. `literal` says that it needs no bindings at all.
    """

    path: tuple[str, ...]
    literal: bool
    value: Callable[[Mapping[str, Any]], Any]


@attrs.frozen
class Expression:
    """An expression is a parsed filter; `parse` returns one.

    `source` is its text, `names` the variables that it reads from its bindings. `is_equality` says that it is one
    equality and nothing else: see `equalities`.
    """

    source: str
    names: frozenset[str]
    _program: Program = attrs.field(eq=False, repr=False)
    _equalities: tuple[Equality, ...] = attrs.field(eq=False, repr=False)
    is_equality: bool = attrs.field(eq=False, repr=False)

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """Return the expression's value for these bindings.

        `bindings` are its variables, such as `{"event": ..., "async": ...}`. Their values are JSON values, datetimes
        (timestamps), timedeltas (durations), bytes, or values that `values.plain` turns into one of those.
        `bindings["now"]`, an aware datetime, is the time that `now()` gives; without it the clock is read. The bindings
        are never changed; the result may be a part of them. `budget` is shared by all evaluations for one event.

        Raises:
            EvaluationError: a variable has no value, an operation does not fit its values, or the evaluation takes too
                much work. No other error is raised, for any bindings.
        """
        return _value(self._program, bindings, budget)

    def equalities(self) -> tuple[Equality, ...]:
        """Return the equalities among the expression's conjuncts, in source order.

        An index can look them up. A conjunct is one of the operands of the outermost `&&`. Comparisons with a literal
        null are left out, since a missing field is null, too. So are comparisons with the current time.
        """
        return self._equalities


def parse(source: str, names: Collection[str] | None = None) -> Expression:
    """Return the expression of a text.

    The same text gives the same object as long as it is in the cache.

    With `names` given, an expression that uses another variable, or a function that does not exist, is refused; without
    it they are errors only when evaluated, as CEL has it.

    Raises:
        ExpressionError: not an expression: line, column, the line and a caret, and `position`.
        TypeError: `source` is not a string.
    """
    if not isinstance(source, str):
        raise TypeError(f"an expression must be a string, not {source!r} ({type(source).__name__})")
    try:
        return _expression(source, None if names is None else frozenset(names))
    except RecursionError:
        raise ExpressionError("the expression is nested too deep for the stack that is left") from None


@lru_cache(maxsize=512)
def _expression(source: str, names: frozenset[str] | None) -> Expression:
    tree = parsed(source)
    variables = tuple(name for name in free_names(tree) if name.name not in TYPES)
    if names is not None:
        _check(source, tree, variables, names)
    used = frozenset(name.name for name in variables)
    equalities = tuple(_equalities(source, tree))
    return Expression(source, used, compiled(source, tree), equalities, bool(equalities) and isinstance(tree, Chain))


def _meant(name: str, names: frozenset[str]) -> str:
    if name in INSTEAD:
        return f"write {INSTEAD[name]}"
    if name in _FIELDS and names:
        return f"write {' or '.join(f'{one}.{name}' for one in sorted(names, reverse=True))}"
    return f"there is {', '.join(sorted(names)) or 'none'}"


def _check(source: str, tree: Node, variables: tuple[Name, ...], names: frozenset[str]) -> None:
    """Refuse a variable or function that does not exist, the first in the text."""
    wrong = [
        (name.position, f"unknown variable {name.name!r}: {_meant(name.name, names)}")
        for name in variables
        if name.name not in names
    ]
    for node in below(tree):
        if isinstance(node, Call) and (what := misuse(node.name, len(node.arguments), method=node.method)):
            wrong.append((node.position, what))
    if wrong:
        raise fault(source, *min(wrong))


def _value(program: Program, bindings: Mapping[str, Any], budget: Budget | None = None) -> Any:
    scope = Scope(bindings, program.slots, FUEL if budget is None else budget.share())
    try:
        scope.spend(program.cost)
        return plain(program.run(scope))
    except EvaluationError:
        raise
    except RecursionError:
        raise EvaluationError("the expression is nested too deep for the stack that is left") from None
    except Exception as error:  # a value of a user's class may raise anything in any operation
        raise EvaluationError(f"a value that the expression is asked about raised {type(error).__name__}") from error
    finally:
        if budget is not None:
            budget.take(scope.given - max(0, scope.fuel))


def _equalities(source: str, tree: Node) -> Iterator[Equality]:
    match tree:
        case Logic(operator="&&", operands=operands):
            for operand in operands:
                yield from _equalities(source, operand)
        case Chain(first=first, rest=(("==", other),)):
            for side, value in ((first, other), (other, first)):
                path = _path(side)
                if path and _is_fixed(value):
                    yield _equality(source, path, value)


def _equality(source: str, path: tuple[str, ...], value: Node) -> Equality:
    program = compiled(source, value)
    return Equality(path, not any(free_names(value)), lambda bindings: _value(program, bindings))


def _path(node: Node) -> tuple[str, ...]:
    """Return the path below `async` that a node stands for, or ()."""
    names: list[str] = []
    while True:
        match node:
            case Field(of=of, name=name) | Index(of=of, key=Literal(value=str(name))):
                names.append(name)
                node = of
            case Name(name=root) if root == _ARRIVING:
                return tuple(reversed(names))
            case _:
                return ()


def _is_fixed(node: Node) -> bool:
    """Return whether a node's value depends on neither the arriving event nor the time.

    A literal null is left out, too: see `Expression.equalities`.
    """
    if isinstance(node, Literal) and node.value is None:
        return False
    if any(name.name == _ARRIVING for name in free_names(node)):
        return False
    return not any(isinstance(part, Call) and part.name in CLOCK_FUNCTIONS for part in below(node))
