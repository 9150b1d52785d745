"""The tree of an expression, as the parser leaves it and the compiler takes it.

Separate because both of them and the index of equalities speak of these shapes and of nothing else in common.
Leaves to `compiler` what a node does. Chains of one precedence are flat (`a + b - c` is one `Chain`), so that a long
expression is not a deep one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

import attrs


@attrs.frozen(eq=False, repr=False)
class Literal:
    """A number, a string, bytes, true, false or null."""

    position: int
    value: Any


@attrs.frozen(eq=False, repr=False)
class Name:
    """A variable: of the bindings, or of the macro around it."""

    position: int
    name: str


@attrs.frozen(eq=False, repr=False)
class Field:
    """`of.name`, which is null where there is none."""

    position: int
    of: Node
    name: str


@attrs.frozen(eq=False, repr=False)
class Index:
    """`of[key]`."""

    position: int
    of: Node
    key: Node


@attrs.frozen(eq=False, repr=False)
class Call:
    """A function's call; `method` says that it was written `arguments[0].name(...)`."""

    position: int
    name: str
    arguments: tuple[Node, ...]
    method: bool = attrs.field(kw_only=True)


@attrs.frozen(eq=False, repr=False)
class Has:
    """`has(of.name)`."""

    position: int
    of: Node
    name: str


@attrs.frozen(eq=False, repr=False)
class Macro:
    """`of.name(variable, *bodies)`: exists, all, exists_one, filter (one body), map (one, or a condition and one)."""

    position: int
    name: str
    of: Node
    variable: str
    bodies: tuple[Node, ...]


@attrs.frozen(eq=False, repr=False)
class Unary:
    """`!of` or `-of`."""

    position: int
    operator: str
    of: Node


@attrs.frozen(eq=False, repr=False)
class Chain:
    """Operators of one precedence, from left to right: `first`, then (operator, operand) each."""

    position: int
    first: Node
    rest: tuple[tuple[str, Node], ...]


@attrs.frozen(eq=False, repr=False)
class Logic:
    """`&&` or `||` over two operands or more."""

    position: int
    operator: str
    operands: tuple[Node, ...]


@attrs.frozen(eq=False, repr=False)
class Choice:
    """`condition ? then : otherwise`."""

    position: int
    condition: Node
    then: Node
    otherwise: Node


@attrs.frozen(eq=False, repr=False)
class Listing:
    """`[a, b]`."""

    position: int
    items: tuple[Node, ...]


@attrs.frozen(eq=False, repr=False)
class Table:
    """`{key: value}`."""

    position: int
    pairs: tuple[tuple[Node, Node], ...]


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
    """Yield `node` and everything under it."""
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
