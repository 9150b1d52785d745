"""Spell every id that the library makes: fresh ones, those that derive from others, and the marks that no user spells.

Separate because two ids must never be spelled the same by accident, which can only be seen where all of them stand.
Leaves to `causes` when one derives, to `stores.inbox` the run of a message that was taken: a file's reader needs it.

A fresh id is time-ordered, so that sorting by id is sorting by time. The id that a user gives a run holds no "/", and
so is never that of a run which derives.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import SystemRandom

PREFIX_END = "»"
"""Ends the prefix of a branch in a step's key, and begins what stands in place of a key: no step's id holds it."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CHANCE_BITS = 80
_CHANCE = SystemRandom()


@lru_cache(maxsize=1_024)
def part(name: str) -> str:
    """Return a step's key or a function's id as one part of a derived id: two paths of parts never spell the same id.

    Without this the step "a/b" of a run and the step "b" of the child of its step "a" would open one run between them.
    """
    return name.replace("~", "~t").replace("/", "~s").replace("#", "~h")


def opened_run(event: str, function: str) -> str:
    """Return the id of the run of a function that an event opens; `event` is the runtime's id of it."""
    return f"{event}/{part(function)}"


def sent_event(run: str, key: str, number: int, reopenings: int) -> str:
    """Return the id of an event that a step sends. One that is sent anew in a run that was opened again is another."""
    return f"{run}/{part(key)}#{number}{_again(reopenings)}"


def child_run(run: str, key: str, openings: int) -> str:
    """Return the id of the run that a step invokes; "failure" is the id of the run's own failure handler (R15)."""
    name = "~failure" if key == "failure" else part(key)  # no part begins so: of a name, every "~" is spelled "~t"
    return f"{run}/{name}{_again(openings)}"


def failure_run(run: str, reopenings: int) -> str:
    """Return the id of the run of a run's failure handler."""
    return f"{run}/failure{_again(reopenings)}"


def ending_event(run: str, name: str, reopenings: int) -> str:
    """Return the id of the event of this name that tells of a run's end."""
    return f"{run}#{name.rpartition('.')[2]}{_again(reopenings)}"


def scheduled_run(event: str) -> str:
    """Return the run as which an event is kept that is due later: its delivery ends it."""
    return f"durable/event/{event}"


def _again(number: int) -> str:
    """Return how an id ends that derives anew. No part of a name ends so, nor does an id from outside, in digits."""
    return f"~r{number}" if number else ""


def cancel_place(run: str, number: int) -> tuple[str, str]:
    """Return where a run's cancel rule of this number listens, in place of a step's key."""
    return run, f"{PREFIX_END}cancel {number}"


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
