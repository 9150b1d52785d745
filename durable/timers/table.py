"""Find values by key in many small dicts.

Separate because one large dict stops the loop when it grows: all that it holds is moved at once.
Leaves to `slots` what the values are.

This is the extendible hashing of Fagin, Nievergelt, Pippenger and Strong (1979). A table begins as one dict. A dict
that is full is divided in two by the next bit of its keys' hashes; the list of dicts, by the lowest bits, doubles when
that is needed, and names a dict that is less divided than others several times. So a set moves some thousand entries
at most, however many there are, and a small table is one small dict.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

FULL = 1_365  # entries, for which a dict has room before it grows: to divide them takes a third of a millisecond

_DEEPEST = 14  # bits: keys that hash alike are never divided
_ROOMY = 240  # bytes: a dict that has so many for each of its entries is mostly room
_SMALL = 400


def shrink(entries: dict[Any, Any]) -> None:
    """Give back the room of what was taken out of a dict, in its order: a dict never does so by itself."""
    if not len(entries) & 7 and entries.__sizeof__() > _ROOMY * len(entries) + _SMALL:
        rest: dict[Any, Any] = {}
        rest.update(entries)  # where it is as small as it can be; a copy may be as large as the original
        entries.clear()
        entries.update(rest)


class Table(Generic[Key, Value]):
    """A table finds values by key: `parts[hash(key) & mask]` is the dict that has the key, if any has.

    Whoever puts a key there divides the dict that is full. It says so itself, because a call for each key would take as
    long as all else.
    """

    __slots__ = ("mask", "parts")

    def __init__(self) -> None:
        self.parts: list[dict[Key, Value]] = [{}]
        self.mask = 0

    def __contains__(self, key: Key) -> bool:
        return key in self.parts[hash(key) & self.mask]

    def __bool__(self) -> bool:
        return any(self.parts)

    def clear(self) -> None:
        """Forget everything."""
        self.parts = [{}]
        self.mask = 0

    def divide(self, key: Key) -> None:
        """Divide the dict of a key in two, unless its keys hash alike."""
        parts, code = self.parts, hash(key)
        full = parts[code & self.mask]
        bit = len(parts)
        while bit > 1 and parts[(code ^ bit >> 1) & self.mask] is full:
            bit >>= 1
        if bit >> _DEEPEST:
            return
        if bit == len(parts):
            parts += parts
            self.mask = 2 * bit - 1
        zeros: dict[Key, Value] = {}
        ones: dict[Key, Value] = {}
        for one, value in full.items():
            (ones if hash(one) & bit else zeros)[one] = value
        for place in range(code & bit - 1, len(parts), 2 * bit):
            parts[place], parts[place + bit] = zeros, ones
