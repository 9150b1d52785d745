"""Parse a regular expression in RE2's syntax to a tree.

Separate because a pattern's grammar is another language inside a string.
Leaves to `automaton` the matching.

What no automaton can do (back-references, look-around, possessive and atomic groups) is refused by name. Source:
https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NoReturn

from durable.events.expressions.charsets import (
    CATEGORIES,
    ESCAPED,
    LAST,
    POSIX,
    Category,
    Charset,
    Range,
    inverted,
    merged,
)
from durable.events.expressions.faults import EvaluationError

MAX_PATTERN = 4096
MAX_REPEAT = 1000
_MAX_GROUPS = 64

Place = Literal["text begins", "line begins", "text ends", "line ends", "word edge", "no word edge"]


class One:
    """Matches one character of a set."""

    __slots__ = ("of",)

    def __init__(self, of: Charset) -> None:
        self.of = of


class Edge:
    """Matches a place between two characters."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place


class Sequence:
    """Matches its parts one after another; without parts, the empty text."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Pattern, ...]) -> None:
        self.parts = parts


class Either:
    """Matches one of several parts."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Pattern, ...]) -> None:
        self.parts = parts


class Repeat:
    """Matches a part from `least` to `most` times; None is without limit."""

    __slots__ = ("least", "most", "of")

    def __init__(self, of: Pattern, least: int, most: int | None) -> None:
        self.of, self.least, self.most = of, least, most


Pattern = One | Edge | Sequence | Either | Repeat

_COUNT = r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}"
_GROUP = r"\?(?:P?<([A-Za-z_]\w*)>|([imsU]*)(?:-([imsU]+))?([:)]))"
_HEX = r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))"
_OCTAL = r"0[0-7]{0,2}|[1-7][0-7]{2}"
_CLASS = r"([pP])(?:\{(\^?)(\w+)\}|(\w))"
_POSIX = r"\[:(\^?)(\w+):\]"
_CONTROLS = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_EDGES: dict[str, Place] = {"A": "text begins", "z": "text ends", "b": "word edge", "B": "no word edge"}
_REFUSED = {"?=": "look-ahead", "?!": "look-ahead", "?<=": "look-behind", "?<!": "look-behind", "?>": "an atomic group"}
_ANY: tuple[Range, ...] = ((0, LAST),)


@cache
def _rule(spelling: str) -> re.Pattern[str]:
    """Compile a rule when a pattern first needs it.

    Importing the library should not wait for that.
    """
    return re.compile(spelling, re.ASCII)


def pattern_tree(text: str) -> Pattern:
    """Return the tree of a pattern.

    Raises:
        EvaluationError: not RE2's syntax, or longer or deeper than is read.
    """
    if len(text) > MAX_PATTERN:
        raise EvaluationError(f"the pattern is {len(text):,} characters long, at most {MAX_PATTERN:,} are read")
    reader = _Reader(text)
    tree = reader.either()
    if reader.at < len(text):
        reader.refuse("an unopened )")
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self.groups = 0
        self.flags: frozenset[str] = frozenset()

    def refuse(self, what: str) -> NoReturn:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        raise EvaluationError(f"the pattern {shown!r} has {what} at character {self.at + 1}")

    def sees(self, start: str) -> bool:
        return self.text.startswith(start, self.at)

    def accepts(self, start: str) -> bool:
        if self.sees(start):
            self.at += len(start)
            return True
        return False

    def either(self) -> Pattern:
        parts = [self._sequence()]
        while self.accepts("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _sequence(self) -> Pattern:
        parts: list[Pattern] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            if self.accepts("\\Q"):
                parts.extend(self._quoted())
            elif (part := self._atom()) is not None:
                parts.append(self._repeated(part))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quoted(self) -> list[Pattern]:
        end = self.text.find("\\E", self.at)
        end = len(self.text) if end < 0 else end
        found: list[Pattern] = [self._one(character) for character in self.text[self.at : end]]
        self.at = min(end + 2, len(self.text))
        if found:
            found[-1] = self._repeated(found[-1])
        return found

    def _repeated(self, part: Pattern) -> Pattern:
        counts = self._counts()
        if counts is None:
            return part
        self.accepts("?")  # lazy: the order in which texts are tried does not change whether one matches
        if self.at < len(self.text) and (self.text[self.at] in "*+?" or _rule(_COUNT).match(self.text, self.at)):
            self.refuse("a repetition of a repetition (write a group around the first)")
        return Repeat(part, *counts)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, least, most in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self.accepts(sign):
                return least, most
        found = _rule(_COUNT).match(self.text, self.at)
        if found is None:
            return None
        least = int(found[1])
        most = None if found[2] and not found[3] else int(found[3] or least)
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            self.refuse(f"a repetition that is not within 0 to {MAX_REPEAT:,}")
        self.at = found.end()
        return least, most

    def _atom(self) -> Pattern | None:
        """Return the next part, or None for a group that only sets flags."""
        character = self.text[self.at]
        if character in "*+?":
            self.refuse(f"nothing to repeat before {character}")
        if character == "\\":
            return self._escaped()
        if character == "[":
            return One(self._bracketed())
        self.at += 1
        match character:
            case "(":
                return self._group()
            case ".":
                return One(Charset(_ANY if "s" in self.flags else inverted([(10, 10)])))
            case "^":
                return Edge("line begins" if "m" in self.flags else "text begins")
            case "$":
                return Edge("line ends" if "m" in self.flags else "text ends")
        return self._one(character)

    def _one(self, character: str) -> One:
        return One(Charset(((ord(character), ord(character)),), folded="i" in self.flags))

    def _group(self) -> Pattern | None:
        flags = self.flags
        if self.sees("?"):
            for start, name in _REFUSED.items():
                if self.sees(start):
                    self.refuse(f"{name}, which RE2's syntax does not have,")
            found = _rule(_GROUP).match(self.text, self.at)
            if found is None:
                self.refuse("an unknown kind of group")
            self.at = found.end()
            self.flags = (flags | set(found[2] or "")) - set(found[3] or "")
            if found[4] == ")":
                return None
        self.groups += 1
        if self.groups > _MAX_GROUPS:
            self.refuse(f"groups nested deeper than {_MAX_GROUPS}")
        tree = self.either()
        if not self.accepts(")"):
            self.refuse("an unclosed (")
        self.groups -= 1
        self.flags = flags
        return tree

    def _escaped(self) -> Pattern:
        self.at += 1
        letter = self.text[self.at : self.at + 1]
        if letter in _EDGES and letter:
            self.at += 1
            return Edge(_EDGES[letter])
        charset = self._named_class()
        return One(charset) if charset is not None else self._one(self._character())

    def _named_class(self) -> Charset | None:
        """Return the set of `\\d`, `\\pL` and the like; the backslash has been read."""
        letter = self.text[self.at : self.at + 1]
        if letter.lower() in ESCAPED and letter:
            self.at += 1
            ranges = ESCAPED[letter.lower()]
            return Charset(ranges if letter.islower() else inverted(ranges))
        found = _rule(_CLASS).match(self.text, self.at)
        if found is None:
            return None
        name, negated = found[3] or found[4], (found[1] == "P") != (found[2] == "^")
        if name == "Any":
            self.at = found.end()
            return Charset(() if negated else _ANY)
        if name not in CATEGORIES:
            self.refuse(f"the class {name!r}, which is none of Unicode's general categories such as L, Lu or Nd,")
        self.at = found.end()
        return Charset((), (Category(name, negated=negated),))

    def _character(self) -> str:
        """Return the character that an escape stands for; the backslash has been read."""
        letter = self.text[self.at : self.at + 1]
        if found := _rule(_HEX).match(self.text, self.at):
            code = int(found[1] or found[2], 16)
        elif found := _rule(_OCTAL).match(self.text, self.at):
            code = int(found[0], 8)
        elif letter in _CONTROLS or not letter.isalnum():
            self.at += 1
            return _CONTROLS.get(letter, letter) or self.refuse("a \\ at its end")
        elif letter.isdigit():
            self.refuse(f"the back-reference \\{letter}, which RE2's syntax does not have,")
        else:
            self.refuse(f"the unknown escape \\{letter}")
        if code > LAST:
            self.refuse("a character beyond 10FFFF")
        self.at = found.end()
        return chr(code)

    def _bracketed(self) -> Charset:
        start = self.at
        self.at += 1
        negated = self.accepts("^")
        ranges: list[Range] = []
        categories: list[Category] = []
        first = True
        while first or not self.sees("]"):
            if self.at >= len(self.text):
                self.at = start
                self.refuse("an unclosed [")
            first = False
            self._member(ranges, categories)
        self.at += 1
        return Charset(merged(ranges), tuple(categories), negated=negated, folded="i" in self.flags)

    def _member(self, ranges: list[Range], categories: list[Category]) -> None:
        if found := _rule(_POSIX).match(self.text, self.at):
            if found[2] not in POSIX:
                self.refuse(f"the unknown class {found[0]}")
            self.at = found.end()
            ranges.extend(inverted(POSIX[found[2]]) if found[1] else POSIX[found[2]])
            return
        if self.sees("\\"):
            self.at += 1
            if (charset := self._named_class()) is not None:
                ranges.extend(charset.ranges)
                categories.extend(charset.categories)
                return
            self.at -= 1
        low = self._member_character()
        if not self.sees("-") or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            ranges.append((low, low))
            return
        self.at += 1
        high = self._member_character()
        if high < low:
            self.refuse("a range that runs backwards")
        ranges.append((low, high))

    def _member_character(self) -> int:
        if self.accepts("\\"):
            return ord(self._character())
        self.at += 1
        return ord(self.text[self.at - 1])
