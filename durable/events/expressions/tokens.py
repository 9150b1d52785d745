"""Split an expression's text into words with their positions.

Separate because the form of literals (quotes, escapes, raw strings, numbers) is a small language of its own.
Leaves to `parser` the meaning of the words together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from durable.errors import ExpressionError

MAX_LENGTH = 32_768
_WINDOW = 60  # characters of a long line shown on either side of the caret

Kind = Literal["number", "text", "name", "quoted", "symbol", "end"]


class Token(NamedTuple):
    """A token is one word of an expression.

    `value` is the value of a literal, `position` the offset in the source.
    """

    kind: Kind
    text: str
    value: Any
    position: int


# Compiled when first used, which `re` remembers: importing the library should not wait for them.
_TOKEN = r"""
      (?P<blank>[ \t\r\n\f]+|//[^\n]*)
    | (?P<text>(?:[rR][bB]?|[bB][rR]?)?(?:"|'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
    | (?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    | (?P<symbol>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:()\[\]{},.])
"""
# The body of a literal ends at its closing quote. In a raw one a backslash is a character like any other.
_BODIES = {
    ('"', False): r'((?:[^"\\\n\r]|\\[^\n\r])*)"',
    ("'", False): r"((?:[^'\\\n\r]|\\[^\n\r])*)'",
    ('"', True): r'([^"\n\r]*)"',
    ("'", True): r"([^'\n\r]*)'",
    ('"""', False): r'((?:[^"\\]|\\[\s\S]|"(?!""))*)"""',
    ("'''", False): r"((?:[^'\\]|\\[\s\S]|'(?!''))*)'''",
    ('"""', True): r'((?:[^"]|"(?!""))*)"""',
    ("'''", True): r"((?:[^']|'(?!''))*)'''",
}
_ESCAPE = r"\\(?:([abfnrtv\\?\"'`])|([0-3][0-7]{2})|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HINTS = {"=": "; to compare, write ==", "&": "; to join conditions, write &&", "|": "; to join conditions, write ||"}
# What Python's words, and those of other languages, are here.
INSTEAD = {"and": "&&", "or": "||", "not": "!", "is": "==", "===": "==", "True": "true", "False": "false"}
INSTEAD |= {"None": "null", "nil": "null", "undefined": "null", "len": "size"}


def fault(source: str, position: int, what: str) -> ExpressionError:
    """Return the error that says `what` is wrong at `position`.

    It tells the line and the column, and shows the line with a caret below it.
    """
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", position)
    end = len(source) if end < 0 else end
    line, column = source.count("\n", 0, position) + 1, position - start + 1
    left, right = max(start, position - _WINDOW), min(end, position + _WINDOW)
    shown = ("..." if left > start else "") + source[left:right] + ("..." if right < end else "")
    shown = "".join(character if character.isprintable() else " " for character in shown)
    caret = " " * (position - left + (3 if left > start else 0)) + "^"
    return ExpressionError(f"line {line}, column {column}: {what}\n  {shown}\n  {caret}", position)


def tokens(source: str) -> Iterator[Token]:
    """Yield the words of `source`, the last one of kind "end".

    Raises:
        ExpressionError: more than `MAX_LENGTH` characters, an unknown character or an invalid literal.
    """
    if len(source) > MAX_LENGTH:
        what = f"the expression is {len(source):,} characters long, at most {MAX_LENGTH:,} are read"
        raise fault(source, MAX_LENGTH, what)
    position, token = 0, re.compile(_TOKEN, re.VERBOSE)
    while position < len(source):
        found = token.match(source, position)
        if found is None:
            hint = _HINTS.get(source[position], "")
            raise fault(source, position, f"unexpected character {source[position]!r}{hint}")
        word, start, position = found[0], position, found.end()
        match found.lastgroup:
            case "text":
                value, position = _literal(source, start, word)
                yield Token("text", source[start:position], value, start)
            case "number":
                yield Token("number", word, _number(source, start, word), start)
            case "name":
                yield Token("name", word, word, start)
            case "quoted":
                yield Token("quoted", word, word[1:-1], start)
            case "symbol":
                yield Token("symbol", word, None, start)
    yield Token("end", "", None, len(source))


def _number(source: str, position: int, word: str) -> int | float:
    try:
        if word[:2] in ("0x", "0X"):
            return int(word.rstrip("uU"), 16)
        if word[-1] in "uU":
            return int(word[:-1])
        return int(word) if word.isdigit() else float(word)
    except ValueError:
        raise fault(source, position, "the number has too many digits") from None


def _literal(source: str, start: int, opening: str) -> tuple[str | bytes, int]:
    """Return the value and the end of the string or bytes literal at `start`."""
    prefix, quote = opening[:-1].lower(), opening[-1]
    begin = start + len(opening)
    raw = "r" in prefix
    if source.startswith(quote * 2, begin):
        quote, begin = quote * 3, begin + 2
    found = re.compile(_BODIES[quote, raw]).match(source, begin)
    if found is None:
        raise fault(source, start, f"the string is not closed: {quote} is missing")
    body = found[1]
    if "b" in prefix:
        return (_encoded(body) if raw else _unescaped_bytes(source, begin, body)), found.end()
    return (body if raw or "\\" not in body else _unescaped(source, begin, body)), found.end()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _pieces(source: str, begin: int, body: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Yield the plain parts of a literal's body and its escapes."""
    position, known = 0, re.compile(_ESCAPE)
    while (backslash := body.find("\\", position)) >= 0:
        yield body[position:backslash], None
        escape = known.match(body, backslash)
        if escape is None:
            written = body[backslash : backslash + 2]
            raise fault(source, begin + backslash, f"unknown escape {written}: write \\\\ for a backslash")
        yield "", escape
        position = escape.end()
    yield body[position:], None


def _unescaped(source: str, begin: int, body: str) -> str:
    parts = []
    for plain, escape in _pieces(source, begin, body):
        if escape is None:
            parts.append(plain)
        elif escape[1]:
            parts.append(_SIMPLE.get(escape[1], escape[1]))
        else:
            code = int(escape[2], 8) if escape[2] else int(escape[3] or escape[4] or escape[5], 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise fault(source, begin + escape.start(), f"{escape[0]} is not a character")
            parts.append(chr(code))
    return "".join(parts)


def _unescaped_bytes(source: str, begin: int, body: str) -> bytes:
    parts = []
    for plain, escape in _pieces(source, begin, body):
        if escape is None:
            parts.append(_encoded(plain))
        elif escape[1]:
            parts.append(_SIMPLE.get(escape[1], escape[1]).encode())
        elif escape[4] or escape[5]:
            raise fault(source, begin + escape.start(), f"{escape[0]} does not fit a byte: write \\x and two digits")
        else:
            parts.append(bytes([int(escape[2], 8) if escape[2] else int(escape[3], 16)]))
    return b"".join(parts)
