"""Fresh ids for what comes from outside: time-ordered, so that sorting by id is sorting by time.

Separate because ids of everything else derive from these, and only these need chance.
Leaves to `causes` which ids derive, but not how a part of one is spelled.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import SystemRandom

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CHANCE_BITS = 80
_CHANCE = SystemRandom()


def part(name: str) -> str:
    """Return a step's key or a function's id as one part of a derived id: two paths of parts never spell the same id.

    Without this the step "a/b" of a run and the step "b" of the child of its step "a" would open one run between them.
    """
    return name.replace("~", "~t").replace("/", "~s").replace("#", "~h")


class Ids:
    """Makes ids of 26 characters: 48 bits of milliseconds, 80 bits of chance, each larger than the one before.

    Source: the ULID specification.
    """

    def __init__(self) -> None:
        self._last = 0

    def fresh(self, now: datetime) -> str:
        """Return an id that nobody has seen."""
        milliseconds = max(0, (now - _EPOCH) // _MILLISECOND) & (2**48 - 1)
        number = milliseconds << _CHANCE_BITS | _CHANCE.getrandbits(_CHANCE_BITS - 1)
        if number <= self._last and number >> _CHANCE_BITS == self._last >> _CHANCE_BITS:
            number = self._last + 1 + _CHANCE.getrandbits(32)
        self._last = number
        return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
