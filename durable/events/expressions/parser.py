"""Parse the words of an expression to a tree.

Separate because only the grammar must know the position of every word.
Leaves to `compiler` the names and functions that exist.

Operators are parsed by precedence climbing instead of one method per level of precedence. A bracket then costs eight
frames of Python's stack, and `MAX_NESTING` of them fit under its limit.
"""

from __future__ import annotations

from typing import NoReturn

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
    children,
)
from durable.events.expressions.tokens import INSTEAD, Token, fault, tokens

MAX_NESTING = 64
_MAX_DEPTH = 128

_LEVELS = {"||": 0, "&&": 1, "==": 2, "!=": 2, "<": 2, "<=": 2, ">": 2, ">=": 2, "in": 2}
_LEVELS |= {"+": 3, "-": 3, "*": 4, "/": 4, "%": 4}
_WORDS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "package", "return", "var", "void", "while"}
)
_MACROS = {"exists": (2,), "all": (2,), "exists_one": (2,), "existsOne": (2,), "filter": (2,), "map": (2, 3)}


def parsed(source: str) -> Node:
    """Return the tree of `source`.

    Raises:
        ExpressionError: with the position of what was not expected, or of what is nested too deep.
    """
    parser = _Parser(source, list(tokens(source)))
    tree = parser.expression()
    if parser.word.kind != "end":
        parser.refuse("an operator or the end")
    _check_depth(source, tree)
    return tree


def _check_depth(source: str, tree: Node) -> None:
    """Refuse a chain of calls and indexes that is too deep."""
    level: list[Node] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return
    raise fault(source, level[0].position, f"nested deeper than {_MAX_DEPTH} levels")


class _Parser:
    __slots__ = ("at", "nesting", "source", "words")

    def __init__(self, source: str, words: list[Token]) -> None:
        self.source, self.words = source, words
        self.at = self.nesting = 0

    @property
    def word(self) -> Token:
        return self.words[self.at]

    def refuse(self, wanted: str) -> NoReturn:
        word = self.word
        found = "the expression ends" if word.kind == "end" else f"unexpected {word.text!r}"
        foreign = [one.text for one in self.words[max(self.at - 1, 0) : self.at + 1] if one.text in INSTEAD]
        hint = f"; for {foreign[0]!r} write {INSTEAD[foreign[0]]}" if foreign else ""
        raise fault(self.source, word.position, f"{found}, where {wanted} should stand{hint}")

    def take(self) -> Token:
        word = self.words[self.at]
        self.at += 1
        return word

    def sees(self, symbol: str) -> bool:
        word = self.words[self.at]
        return word.text == symbol and word.kind == "symbol"

    def accepts(self, symbol: str) -> bool:
        if self.sees(symbol):
            self.at += 1
            return True
        return False

    def expects(self, symbol: str, wanted: str) -> None:
        if not self.accepts(symbol):
            self.refuse(wanted)

    def expression(self) -> Node:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise fault(self.source, self.word.position, f"nested deeper than {MAX_NESTING} levels")
        tree = self._operation(0)
        if self.sees("?"):
            position = self.take().position
            then = self.expression()
            self.expects(":", "the : of the choice")
            tree = Choice(position, tree, then, self.expression())
        self.nesting -= 1
        return tree

    def _operation(self, floor: int) -> Node:
        tree = self._unary()
        while (level := self._level()) >= floor:
            tree = self._chain(tree, level)
        return tree

    def _level(self) -> int:
        word = self.word
        return _LEVELS.get(word.text, -1) if word.kind in ("symbol", "name") else -1

    def _chain(self, first: Node, level: int) -> Node:
        position = self.word.position
        rest = []
        while self._level() == level:
            operator = self.take().text
            rest.append((operator, self._operation(level + 1)))
        if level > 1:
            return Chain(position, first, tuple(rest))
        return Logic(position, rest[0][0], (first, *(operand for _, operand in rest)))

    def _unary(self) -> Node:
        operator, position, count = self.word.text, self.word.position, 0
        if self.word.kind != "symbol" or operator not in "!-":
            return self._member()
        while self.accepts(operator):
            count += 1
        tree = self._member()
        for _ in range(2 - count % 2):  # more than two signs change nothing
            if operator == "-" and isinstance(tree, Literal) and type(tree.value) in (int, float):
                tree = Literal(position, -tree.value)
            else:
                tree = Unary(position, operator, tree)
        return tree

    def _member(self) -> Node:
        tree = self._primary()
        while True:
            if self.accepts("."):
                tree = self._selected(tree)
            elif self.sees("["):
                position = self.take().position
                tree = Index(position, tree, self.expression())
                self.expects("]", "the closing ]")
            else:
                return tree

    def _selected(self, tree: Node) -> Node:
        word = self.word
        if word.kind not in ("name", "quoted"):
            self.refuse("a field's name")
        self.take()
        if word.kind == "quoted" or not self.accepts("("):
            return Field(word.position, tree, word.value)
        arguments = self._items(")")
        if word.value not in _MACROS:
            return Call(word.position, word.value, (tree, *arguments), method=True)
        return self._macro(word, tree, arguments)

    def _macro(self, word: Token, of: Node, arguments: tuple[Node, ...]) -> Node:
        counts = _MACROS[word.text]
        if len(arguments) not in counts:
            takes = " or ".join(map(str, counts))
            raise fault(self.source, word.position, f"{word.text}() takes {takes} arguments, not {len(arguments)}")
        variable, *bodies = arguments
        if not isinstance(variable, Name):
            what = f"the first argument of {word.text}() is the name of its variable"
            raise fault(self.source, variable.position, what)
        name = "exists_one" if word.text == "existsOne" else word.text
        return Macro(word.position, name, of, variable.name, tuple(bodies))

    def _primary(self) -> Node:
        word = self.word
        if word.kind in ("number", "text"):
            self.take()
            return Literal(word.position, word.value)
        if word.kind == "name":
            return self._named()
        if self.accepts("("):
            tree = self.expression()
            self.expects(")", "the closing )")
            return tree
        if self.accepts("["):
            return Listing(word.position, self._items("]"))
        if not self.accepts("{"):
            self.refuse("a value")
        return self._table(word.position)

    def _named(self) -> Node:
        word = self.word
        if word.text in _RESERVED:
            raise fault(self.source, word.position, f"{word.text!r} is a reserved word: it cannot name a variable")
        self.take()
        if word.text in _WORDS:
            return Literal(word.position, _WORDS[word.text])
        if not self.accepts("("):
            return Name(word.position, word.text)
        arguments = self._items(")")
        if word.text != "has":
            return Call(word.position, word.text, arguments, method=False)
        if len(arguments) != 1 or not isinstance(arguments[0], Field):
            raise fault(self.source, word.position, "has() takes one field, as in has(event.data.name)")
        return Has(word.position, arguments[0].of, arguments[0].name)

    def _items(self, closing: str) -> tuple[Node, ...]:
        items = []
        while not self.accepts(closing):
            items.append(self.expression())
            if not self.accepts(","):
                self.expects(closing, f"a comma or the closing {closing}")
                break
        return tuple(items)

    def _table(self, position: int) -> Node:
        pairs = []
        while not self.accepts("}"):
            key = self.expression()
            self.expects(":", "the : between a key and its value")
            pairs.append((key, self.expression()))
            if not self.accepts(","):
                self.expects("}", "a comma or the closing }")
                break
        return Table(position, tuple(pairs))
