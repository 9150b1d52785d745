"""Make every id of the library, fresh ones and those derived from other ids.

Separate because no two ids may be spelled the same by accident, which is easy to check while all are made in one place.
Leaves to `decisions` the choice of an id, to `stores.file.inbox` the run of a taken message, which a file's reader
needs.

Fresh ids sort by the time at which they were made. An id that a user gives to a run holds no "/", so it never equals a
derived id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from random import SystemRandom

PREFIX_END = "»"
"""Ends a branch's prefix in a step's key, and begins places that are no step's key: no step id may hold it."""

OWN = "durable/"
"""Begins the runs as which the library keeps facts of its own."""

HELD, TICKS, SCHEDULES = f"{OWN}held/", f"{OWN}ticks/", f"{OWN}schedule/"
"""Begin those of groups of held events, of how far ticks are done with, of schedules."""

_CRON = "cron/"

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHANCE = SystemRandom()
_LETTERS = _ALPHABET.encode() * 8  # for each byte the letter of its last five bits


@lru_cache(maxsize=1_024)
def part(name: str) -> str:
    """Return a step's key or a function's id, escaped as one part of a derived id.

    So ids that derive by different paths are never equal. Without this the step "a/b" of a run and the step "b" of the
    child of its step "a" would open the same run.
    """
    return name.replace("~", "~t").replace("/", "~s").replace("#", "~h")


def _whole(part: str) -> str:
    """Return the name of which `part` gives this."""
    return part.replace("~h", "#").replace("~s", "/").replace("~t", "~")


def opened_run(event: str, function: str) -> str:
    """Return the id of a function's run that an event opens; `event` is the runtime's id."""
    return f"{event}/{part(function)}"


def sent_event(run: str, key: str, number: int, reopenings: int) -> str:
    """Return the id of an event that a step sends.

    In a run that was opened again the step may send the event anew, with another id.
    """
    return f"{run}/{part(key)}#{number}{_again(reopenings)}"


def child_run(run: str, key: str, openings: int) -> str:
    """Return the id of the run that a step invokes.

    The spelling "failure" is kept for the run's own failure handler (R15).
    """
    name = "~failure" if key == "failure" else part(key)  # no part begins with "~f", since `part` writes "~" as "~t"
    return f"{run}/{name}{_again(openings)}"


def parent_run(run: str) -> str:
    """Return the id of the run that must have invoked another, if any has: "" for an id that no invoke derives."""
    above, _, name = run.rpartition("/")
    return "" if "#" in name or name.partition("~r")[0] == "failure" else above


def failure_run(run: str, reopenings: int) -> str:
    """Return the id of the run of a failed run's failure handler."""
    return f"{run}/failure{_again(reopenings)}"


def ending_event(run: str, name: str, reopenings: int) -> str:
    """Return the id of the event, of this name, that tells of a run's end."""
    return f"{run}#{name.rpartition('.')[2]}{_again(reopenings)}"


def scheduled_run(event: str) -> str:
    """Return the run as which a scheduled event is kept, until its delivery ends that run."""
    return f"{OWN}event/{event}"


def held_group(event: str, function: str) -> str:
    """Return the run as which a group of held events is kept until it opens; `event` is the first one's id."""
    return f"{HELD}{event}/{part(function)}"


def skipped_by(by: str) -> str:
    """Return as which run it is kept what a run or a group has kept from opening."""
    return f"{OWN}skipped/{by}"


def cron_function(of: str) -> str | None:
    """Return the function of which `cron_runs` gives this, or None."""
    return _whole(of.removeprefix(_CRON)) if of.startswith(_CRON) else None


def cron_runs(function: str) -> str:
    """Return how the ids of the runs begin that a function's own cron triggers open."""
    return f"{_CRON}{part(function)}"


def schedule_runs(schedule: str) -> str:
    """Return how the ids of the runs begin that a schedule opens."""
    return f"schedule/{part(schedule)}"


def tick_run(of: str, tick: datetime) -> str:
    """Return the id of the run that a tick opens; `of` is how the ids of its timetable begin."""
    return f"{of}/{tick.replace(tzinfo=None).isoformat()}Z"


def ticks_fact(of: str, number: int) -> str:
    """Return the run as which it is kept how far the ticks of a timetable are done with."""
    return f"{TICKS}{of}/{number}"


def schedule_fact(schedule: str) -> str:
    """Return the run as which a schedule is kept, until it is taken back."""
    return f"{SCHEDULES}{schedule}"


def pause_fact(function: str) -> str:
    """Return the run as which a function's pause is kept."""
    return f"{OWN}pause/{function}"


def _again(number: int) -> str:
    """Return the suffix of an id that is derived once more, or "".

    No part of a name ends like this, and an id from outside does not hold "~r" before digits.
    """
    return f"~r{number}" if number else ""


def cancel_place(run: str, number: int) -> tuple[str, str]:
    """Return the place at which a run's cancel rule of this number listens."""
    return run, f"{PREFIX_END}cancel {number}"


def is_fresh(id: str) -> bool:
    """Return whether an id looks like one that `Ids.fresh` gives."""
    return len(id) == _LENGTH and set(id) <= set(_ALPHABET)


class Ids:
    """Makes fresh ids of 26 characters, each larger than the one before.

    An id holds 48 bits of milliseconds, 40 bits that count on from a random number within a millisecond, and 40 random
    bits. Source: the ULID specification.
    """

    def __init__(self) -> None:
        self._at = -1
        self._count = 0
        self._head = ""  # the milliseconds and the upper bits of the count as text: many ids begin alike

    def fresh(self, now: datetime) -> str:
        """Return an id that was never used before."""
        passed = now - _EPOCH
        at = (passed.days * 86_400 + passed.seconds) * 1_000 + passed.microseconds // 1_000
        if at != self._at:
            self._at = at
            self._begin(_CHANCE.getrandbits(39))  # half of the numbers are left to count on
        else:
            count = self._count = self._count + 1
            if not count & 1023:
                self._begin(count)
        # The random bits are read anew for each id: after a fork two processes would count on from the same number.
        return f"{self._head}{_PAIRS[self._count & 1023]}{_CHANCE.randbytes(8).translate(_LETTERS).decode()}"

    def _begin(self, count: int) -> None:
        self._count = count
        self._head = _in_letters(max(0, self._at) & (2**48 - 1), 5) + _in_letters(count >> 10, 3)


def _in_letters(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * (pairs - 1), -1, -10)])
