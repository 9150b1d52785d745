"""An expression that can be asked: parsed, checked and compiled once per text.

Separate because this is all that the rest of the library sees of the language.
Leaves to `compiler` how it is evaluated, to `bus` what is asked of which event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from durable.errors import ExpressionError
from durable.expressions.compiler import Program, compiled
from durable.expressions.faults import EvaluationError
from durable.expressions.functions import CLOCK_FUNCTIONS, misuse
from durable.expressions.nodes import Call, Chain, Field, Index, Literal, Logic, Name, Node, below, free_names
from durable.expressions.parser import parsed
from durable.expressions.scope import FUEL, Budget, Scope
from durable.expressions.tokens import fault
from durable.expressions.values import TYPES, plain

_ARRIVING = "async"


@attrs.frozen(eq=False, repr=False)
class Equality:
    """A condition `async.<path> == value` without which the expression cannot hold.

    `path` is below `async`, as ("data", "userId"). `value(bindings)` needs no `async`; it raises `EvaluationError` like
    the expression itself. `literal` says that it needs no bindings at all.
    """

    path: tuple[str, ...]
    literal: bool
    value: Callable[[Mapping[str, Any]], Any]


@attrs.frozen
class Expression:
    """A parsed expression; get one from `parse`.

    `source` is its text, `names` the variables it takes from its bindings.
    """

    source: str
    names: frozenset[str]
    _program: Program = attrs.field(eq=False, repr=False)
    _equalities: tuple[Equality, ...] = attrs.field(eq=False, repr=False)

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """Return the expression's value for these variables, such as `{"event": ..., "async": ...}`.

        Bindings are JSON's values, and datetimes (timestamps), timedeltas (durations), bytes, or what `values.plain`
        turns into one of those. `bindings["now"]`, an aware datetime, is the time that `now()` gives; without it the
        clock is read. The bindings are never changed; the result may be a part of them. `budget` is shared by all that
        is asked about one event.

        Raises:
            EvaluationError: a variable without a value, an operation that the values do not have, too much work.
                Nothing else, whatever the bindings are.
        """
        return _value(self._program, bindings, budget)

    def equalities(self) -> tuple[Equality, ...]:
        """Return what can be looked up in an index: the conjuncts of the expression that are such, in source order.

        A conjunct is one of the operands of the outermost `&&`. Comparisons with a literal null are none, for a missing
        field is null too, and neither are those with the time.
        """
        return self._equalities


def parse(source: str, names: Collection[str] | None = None) -> Expression:
    """Return the expression that `source` spells; the same text gives the same object as long as it is remembered.

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
    return Expression(source, used, compiled(source, tree), tuple(_equalities(source, tree)))


def _check(source: str, tree: Node, variables: tuple[Name, ...], names: frozenset[str]) -> None:
    """Refuse the first variable or function, in the order of the text, that does not exist."""
    known = ", ".join(sorted(names)) or "none"
    wrong = [
        (name.position, f"unknown variable {name.name!r}: there is {known}")
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
    except Exception as error:  # a value of a class of the user's may raise anything, wherever it is touched
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
    """Return the path below `async` that the node spells, or ()."""
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
    """Say whether the node's value is the same for whatever event arrives and whenever it is asked."""
    if isinstance(node, Literal) and node.value is None:
        return False
    if any(name.name == _ARRIVING for name in free_names(node)):
        return False
    return not any(isinstance(part, Call) and part.name in CLOCK_FUNCTIONS for part in below(node))
