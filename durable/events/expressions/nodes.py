"""Define the nodes of an expression's tree.

Separate because the parser, the compiler and the index of equalities have only these shapes in common.
Leaves to `compiler` the evaluation of a node.

Operators of one precedence form one flat node (`a + b - c` is one `Chain`), so that a long expression is not a deep
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never


class Literal:
    """A literal is a number, a string, bytes, true, false or null."""

    __slots__ = ("position", "value")

    def __init__(self, position: int, value: Any) -> None:
        self.position, self.value = position, value


class Name:
    """A name is a variable of the bindings, or of a macro around it."""

    __slots__ = ("name", "position")

    def __init__(self, position: int, name: str) -> None:
        self.position, self.name = position, name


class Field:
    """A field is `of.name`, or null if the map lacks the name."""

    __slots__ = ("name", "of", "position")

    def __init__(self, position: int, of: Node, name: str) -> None:
        self.position, self.of, self.name = position, of, name


class Index:
    """`of[key]`."""

    __slots__ = ("key", "of", "position")

    def __init__(self, position: int, of: Node, key: Node) -> None:
        self.position, self.of, self.key = position, of, key


class Call:
    """A call of a function; `method` says that it was written `arguments[0].name(...)`."""

    __slots__ = ("arguments", "method", "name", "position")

    def __init__(self, position: int, name: str, arguments: tuple[Node, ...], *, method: bool) -> None:
        self.position, self.name, self.arguments, self.method = position, name, arguments, method


class Has:
    """`has(of.name)`."""

    __slots__ = ("name", "of", "position")

    def __init__(self, position: int, of: Node, name: str) -> None:
        self.position, self.of, self.name = position, of, name


class Macro:
    """`of.name(variable, *bodies)`: exists, all, exists_one, filter (one body), map (one, or a condition and one)."""

    __slots__ = ("bodies", "name", "of", "position", "variable")

    def __init__(self, position: int, name: str, of: Node, variable: str, bodies: tuple[Node, ...]) -> None:
        self.position, self.name, self.of, self.variable, self.bodies = position, name, of, variable, bodies


class Unary:
    """`!of` or `-of`."""

    __slots__ = ("of", "operator", "position")

    def __init__(self, position: int, operator: str, of: Node) -> None:
        self.position, self.operator, self.of = position, operator, of


class Chain:
    """A chain of operators of one precedence: `first`, then pairs (operator, operand)."""

    __slots__ = ("first", "position", "rest")

    def __init__(self, position: int, first: Node, rest: tuple[tuple[str, Node], ...]) -> None:
        self.position, self.first, self.rest = position, first, rest


class Logic:
    """`&&` or `||` over two operands or more."""

    __slots__ = ("operands", "operator", "position")

    def __init__(self, position: int, operator: str, operands: tuple[Node, ...]) -> None:
        self.position, self.operator, self.operands = position, operator, operands


class Choice:
    """`condition ? then : otherwise`."""

    __slots__ = ("condition", "otherwise", "position", "then")

    def __init__(self, position: int, condition: Node, then: Node, otherwise: Node) -> None:
        self.position, self.condition, self.then, self.otherwise = position, condition, then, otherwise


class Listing:
    """`[a, b]`."""

    __slots__ = ("items", "position")

    def __init__(self, position: int, items: tuple[Node, ...]) -> None:
        self.position, self.items = position, items


class Table:
    """`{key: value}`."""

    __slots__ = ("pairs", "position")

    def __init__(self, position: int, pairs: tuple[tuple[Node, Node], ...]) -> None:
        self.position, self.pairs = position, pairs


Node = Literal | Name | Field | Index | Call | Has | Macro | Unary | Chain | Logic | Choice | Listing | Table


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below `node`, in source order."""
    match node:
        case Literal() | Name():
            return ()
        case Field(of=of) | Has(of=of) | Unary(of=of):
            return (of,)
        case Index(of=of, key=key):
            return (of, key)
        case Call(arguments=below) | Logic(operands=below) | Listing(items=below):
            return below
        case Macro(of=of, bodies=bodies):
            return (of, *bodies)
        case Chain(first=first, rest=rest):
            return (first, *(operand for _, operand in rest))
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case Table(pairs=pairs):
            return tuple(part for pair in pairs for part in pair)
        case _:
            assert_never(node)


def below(node: Node) -> Iterator[Node]:
    """Yield `node` and all nodes below it."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(children(current))


def free_names(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Name]:
    """Yield the variables that no macro around them binds, in no particular order."""
    pending = [(node, bound)]
    while pending:
        current, known = pending.pop()
        match current:
            case Name(name=name) if name not in known:
                yield current
            case Macro(of=of, variable=variable, bodies=bodies):
                pending.append((of, known))
                pending.extend((body, known | {variable}) for body in bodies)
            case _:
                pending.extend((child, known) for child in children(current))
