"""Define sets of characters: ranges, RE2's named classes, Unicode's categories.

Separate because sets of characters know nothing of the order in which a pattern wants them.
Leaves to `patterns` the spelling of a set.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]
LAST = 0x10FFFF


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the ranges sorted, none touching another."""
    result: list[Range] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def inverted(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the ranges between the given ones."""
    result, following = [], 0
    for low, high in merged(ranges):
        if low > following:
            result.append((following, low - 1))
        following = high + 1
    if following <= LAST:
        result.append((following, LAST))
    return tuple(result)


def _ranges(text: str) -> tuple[Range, ...]:
    """Return the ranges that pairs of characters spell: "azAZ" is a to z and A to Z."""
    return merged((ord(low), ord(high)) for low, high in zip(text[::2], text[1::2], strict=True))


DIGITS = _ranges("09")
WORDS = _ranges("09AZaz__")
SPACES = _ranges("\t\n\f\r  ")
ESCAPED = {"d": DIGITS, "w": WORDS, "s": SPACES}
POSIX = {
    "alnum": _ranges("09AZaz"),
    "alpha": _ranges("AZaz"),
    "ascii": _ranges("\x00\x7f"),
    "blank": _ranges("\t\t  "),
    "cntrl": _ranges("\x00\x1f\x7f\x7f"),
    "digit": DIGITS,
    "graph": _ranges("!~"),
    "lower": _ranges("az"),
    "print": _ranges(" ~"),
    "punct": _ranges("!/:@[`{~"),
    "space": _ranges("\t\r  "),
    "upper": _ranges("AZ"),
    "word": WORDS,
    "xdigit": _ranges("09AFaf"),
}
_KINDS = {"C": "cfos", "L": "lmotu", "M": "cen", "N": "dlo", "P": "cdefios", "S": "ckmo", "Z": "lps"}
CATEGORIES = frozenset(kind + part for kind, parts in _KINDS.items() for part in ("", *parts))


class Category:
    """A category holds the characters of a Unicode general category, such as "Nd".

    With `negated` it holds all other characters.
    """

    __slots__ = ("name", "negated")

    def __init__(self, name: str, *, negated: bool) -> None:
        self.name, self.negated = name, negated

    def __contains__(self, character: str) -> bool:
        return unicodedata.category(character).startswith(self.name) != self.negated


class Charset:
    """A charset holds the characters of sorted ranges and of categories.

    With `negated` it holds all other characters. With `folded` upper and lower case are the same.
    """

    __slots__ = ("categories", "folded", "negated", "ranges")

    def __init__(
        self,
        ranges: tuple[Range, ...],
        categories: tuple[Category, ...] = (),
        *,
        negated: bool = False,
        folded: bool = False,
    ) -> None:
        self.ranges, self.categories, self.negated, self.folded = ranges, categories, negated, folded

    def __contains__(self, character: str) -> bool:
        if not self.folded:
            return self._has(character) != self.negated
        cases = {character, character.lower(), character.upper(), character.casefold()}
        return any(self._has(case) for case in cases if len(case) == 1) != self.negated

    def _has(self, character: str) -> bool:
        code = ord(character)
        place = bisect_right(self.ranges, (code, LAST)) - 1
        if place >= 0 and code <= self.ranges[place][1]:
            return True
        return any(character in category for category in self.categories)
