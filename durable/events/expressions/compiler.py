"""Compile an expression's tree to closures.

Separate because the cost of an expression per event is decided here.
Leaves to `values`, `arithmetic` and `functions` the meaning of the operations.

Each node becomes a closure that calls the closures of the nodes below it. Chains and paths are loops, so only what was
nested in the text is nested at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from durable.events.expressions.arithmetic import OPERATIONS, Operation, negate
from durable.events.expressions.automaton import automaton
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.functions import FUNCTIONS, misuse
from durable.events.expressions.macros import FAILED, MACROS, Closure, Loop
from durable.events.expressions.nodes import (
    Call,
    Chain,
    Choice,
    Field,
    Has,
    Index,
    Listing,
    Literal,
    Logic,
    Macro,
    Name,
    Node,
    Table,
    Unary,
)
from durable.events.expressions.scope import Scope
from durable.events.expressions.tokens import fault
from durable.events.expressions.values import TYPES, at, compare, contains, equal, plain, select, shown, truthy

_CALL_WEIGHT = 8  # in fuel, in addition to the one unit of every node
_OPERATOR_WEIGHT = 3


class Program:
    """A program is a compiled expression.

    Call `run` with a scope that has `slots` places for the variables of macros. `cost` is the fuel that each evaluation
    costs because of the text's length.
    """

    __slots__ = ("cost", "run", "slots")

    def __init__(self, run: Closure, slots: int, cost: int) -> None:
        self.run, self.slots, self.cost = run, slots, cost


def compiled(source: str, tree: Node) -> Program:
    """Return the program of a tree.

    Raises:
        ExpressionError: the text holds an invalid pattern.
    """
    compiler = _Compiler(source)
    run = compiler.closure(tree)
    return Program(run, compiler.most, compiler.weight >> 3)


def _less(one: Any, other: Any, scope: Scope) -> bool:
    if type(one) is type(other) and type(one) in (int, float):
        return bool(one < other)
    return compare(one, other, scope) == -1


def _at_most(one: Any, other: Any, scope: Scope) -> bool:
    return compare(one, other, scope) in (-1, 0)


def _greater(one: Any, other: Any, scope: Scope) -> bool:
    return _less(other, one, scope)


def _at_least(one: Any, other: Any, scope: Scope) -> bool:
    return _at_most(other, one, scope)


def _different(one: Any, other: Any, scope: Scope) -> bool:
    return not equal(one, other, scope)


_OPERATIONS: dict[str, Operation] = OPERATIONS | {
    "==": equal,
    "!=": _different,
    "<": _less,
    "<=": _at_most,
    ">": _greater,
    ">=": _at_least,
    "in": contains,
}


class _Compiler:
    """A compiler compiles one tree.

    `bound` holds the variables of macros around the current node, `weight` the cost of the nodes so far.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.bound: dict[str, int] = {}
        self.depth = self.most = self.weight = 0

    def closure(self, node: Node) -> Closure:
        self.weight += 1
        match node:
            case Literal(value=value):
                return lambda scope: value
            case Name() | Field():
                return self._path(node)
            case Index(of=of, key=key):
                return _indexed(self.closure(of), self.closure(key))
            case Call():
                return self._call(node)
            case Has(of=of, name=name):
                return _has(self.closure(of), name)
            case Macro():
                return self._macro(node)
            case Unary(operator=operator, of=of):
                return _signed(operator, self.closure(of))
            case Chain():
                return self._chain(node)
            case Logic(operator=operator, operands=operands):
                parts = tuple(self.closure(operand) for operand in operands)
                return _conjunction(parts) if operator == "&&" else _disjunction(parts)
            case Choice(condition=condition, then=then, otherwise=otherwise):
                return _choice(self.closure(condition), self.closure(then), self.closure(otherwise))
            case Listing(items=items):
                return _listing(tuple(self.closure(item) for item in items))
            case Table(pairs=pairs):
                return _table(tuple((self.closure(key), self.closure(value)) for key, value in pairs))
            case _:
                assert_never(node)

    def _path(self, node: Name | Field) -> Closure:
        names: list[str] = []
        root: Node = node
        while isinstance(root, Field):
            names.append(root.name)
            root = root.of
        names.reverse()
        if not isinstance(root, Name):
            return _fields(self.closure(root), tuple(names))
        if root.name in self.bound:
            slot = self.bound[root.name]
            return _fields(lambda scope: scope.local[slot], tuple(names))
        return _variable(root.name, tuple(names))

    def _call(self, node: Call) -> Closure:
        self.weight += _CALL_WEIGHT
        wrong = misuse(node.name, len(node.arguments), method=node.method)
        if wrong is not None:
            return _failing(wrong)
        parts = tuple(self.closure(argument) for argument in node.arguments)
        if node.name == "matches" and isinstance(node.arguments[1], Literal):
            self._check_pattern(node.arguments[1])
        run = FUNCTIONS[node.name].run
        if len(parts) == 1:
            only = parts[0]
            return lambda scope: run(scope, only(scope))
        return lambda scope: run(scope, *[part(scope) for part in parts])

    def _check_pattern(self, pattern: Literal) -> None:
        if not isinstance(pattern.value, str):
            raise fault(self.source, pattern.position, "a pattern must be a string")
        try:
            automaton(pattern.value)
        except EvaluationError as error:
            raise fault(self.source, pattern.position, str(error)) from None

    def _macro(self, node: Macro) -> Closure:
        of = self.closure(node.of)
        around, slot, before = self.bound, self.depth, self.weight
        self.bound = around | {node.variable: slot}
        self.depth += 1
        self.most = max(self.most, self.depth)
        *condition, body = [self.closure(body) for body in node.bodies]
        self.bound, self.depth = around, slot
        cost = self.weight - before + 2
        return MACROS[node.name](Loop(of, slot, cost, body, condition[0] if condition else None))

    def _chain(self, node: Chain) -> Closure:
        self.weight += _OPERATOR_WEIGHT * len(node.rest)
        first = self.closure(node.first)
        rest = tuple((_OPERATIONS[operator], self.closure(operand)) for operator, operand in node.rest)
        if len(rest) > 1:
            return _folded(first, rest)
        (operator, operand) = node.rest[0]
        if operator == "==" and isinstance(operand, Literal) and isinstance(operand.value, str):
            return _is_text(first, operand.value)
        operation, second = rest[0]
        return lambda scope: operation(first(scope), second(scope), scope)


def _variable(root: str, names: tuple[str, ...]) -> Closure:
    known = TYPES.get(root)

    def look_up(scope: Scope) -> Any:
        try:
            value = scope.variables[root]
        except KeyError:
            if known is None:
                raise EvaluationError(f"the variable {root!r} has no value here") from None
            value = known
        for name in names:
            value = value.get(name) if type(value) is dict else select(value, name)
        return value

    return look_up


def _fields(of: Closure, names: tuple[str, ...]) -> Closure:
    if not names:
        return of

    def look_up(scope: Scope) -> Any:
        value = of(scope)
        for name in names:
            value = value.get(name) if type(value) is dict else select(value, name)
        return value

    return look_up


def _failing(what: str) -> Closure:
    def fail(scope: Scope) -> Any:
        raise EvaluationError(what)

    return fail


def _indexed(of: Closure, key: Closure) -> Closure:
    return lambda scope: at(of(scope), key(scope), scope)


def _has(of: Closure, name: str) -> Closure:
    def has(scope: Scope) -> bool:
        value = of(scope)
        return isinstance(value, Mapping) and name in value

    return has


def _signed(operator: str, of: Closure) -> Closure:
    if operator == "!":
        return lambda scope: not truthy(of(scope))
    return lambda scope: negate(of(scope))


def _is_text(of: Closure, text: str) -> Closure:
    def is_text(scope: Scope) -> bool:
        value = of(scope)
        return value == text if type(value) is str else equal(value, text, scope)

    return is_text


def _folded(first: Closure, rest: tuple[tuple[Operation, Closure], ...]) -> Closure:
    def fold(scope: Scope) -> Any:
        value = first(scope)
        for operation, operand in rest:
            value = operation(value, operand(scope), scope)
        return value

    return fold


def _conjunction(operands: tuple[Closure, ...]) -> Closure:
    def conjunction(scope: Scope) -> Any:
        value, failure = None, None
        for operand in operands:
            try:
                value = operand(scope)
            except EvaluationError as error:
                failure = failure or error
                scope.spend(FAILED)
                continue
            if value is not True and not truthy(value):
                return value
        if failure is not None:
            raise failure
        return value

    return conjunction


def _disjunction(operands: tuple[Closure, ...]) -> Closure:
    def disjunction(scope: Scope) -> Any:
        value, failure = None, None
        for operand in operands:
            try:
                value = operand(scope)
            except EvaluationError as error:
                failure = failure or error
                scope.spend(FAILED)
                continue
            if value is not False and truthy(value):
                return value
        if failure is not None:
            raise failure
        return value

    return disjunction


def _choice(condition: Closure, then: Closure, otherwise: Closure) -> Closure:
    return lambda scope: then(scope) if truthy(condition(scope)) else otherwise(scope)


def _listing(items: tuple[Closure, ...]) -> Closure:
    return lambda scope: [item(scope) for item in items]


def _table(pairs: tuple[tuple[Closure, Closure], ...]) -> Closure:
    def table(scope: Scope) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_of, value_of in pairs:
            key = plain(key_of(scope))
            if not isinstance(key, str | int | float | bytes):
                raise EvaluationError(f"{shown(key)} cannot be the key of a map")
            if key in result:
                raise EvaluationError(f"the map has the key {shown(key)} twice")
            result[key] = value_of(scope)
        return result

    return table
