"""Compute how long the tries of one step may take.

Separate because the end of a try's time is arithmetic, and must not be mixed with how a try is stopped.
Leaves to `attempts` the timer, and the record of when the first try began.

The time of one try counts from the beginning of its handler. It does not count while the try waits for a thread, or for
the end of the last try. The time of all tries together counts from the beginning of the first try without a pause.
Source: R11a.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from durable.errors import RecordedError
from durable.timers import after


class Bounds:
    """Bounds compute when a try, and all tries together, are over.

    All instants are in the engine's time. `timeout` bounds one try, `within` all tries; None is without limit.

    Attributes:
        began: when the first try began; None if no try has begun, or nothing is bounded.
        is_last: whether the instant that `until` returned last is the end of all tries, not of one try.
    """

    __slots__ = ("_timeout", "_within", "began", "is_last")

    def __init__(self, timeout: timedelta | None, within: timedelta | None) -> None:
        self._timeout = timeout
        self._within = within
        self.began: datetime | None = None
        self.is_last = False

    @property
    def last(self) -> datetime | None:
        """The instant at which the time of all tries is over, or None."""
        return None if self._within is None or self.began is None else after(self.began, self._within)

    def until(self, now: datetime, *, has_begun: bool) -> datetime | None:
        """Return the instant at which this try is over at the latest, if known.

        `has_begun` says that the handler of this try begins now.
        """
        if has_begun and self.began is None:
            self.began = now
        last = self.last
        ends = after(now, self._timeout) if self._timeout is not None and has_begun else None
        self.is_last = last is not None and (ends is None or last <= ends)
        return last if self.is_last else ends

    def is_past(self, when: datetime) -> bool:
        """Return whether the time of all tries is over at an instant."""
        last = self.last
        return last is not None and when >= last

    def error(self, label: str, attempt: int) -> TimeoutError:
        """Return the error for a try that has taken too long.

        It names the bound that is over, of this try or of all tries. `attempt` is the number of the try, from 0.
        """
        timeout = self._within if self.is_last else self._timeout
        seconds = 0.0 if timeout is None else timeout.total_seconds()
        if not self.is_last:
            return TimeoutError(f"try {attempt + 1} of {label} took longer than {seconds:g} s")
        tries = "1 try" if not attempt else f"{attempt + 1} tries"
        return TimeoutError(f"{label} took longer than {seconds:g} s, in {tries}")


def last_word(late: RecordedError, last: RecordedError | None, *, has_begun: bool) -> RecordedError:
    """Return the error of a step whose time is over.

    `late` says that the time is over. `last` is the error of the try before, or None. If a handler was running,
    return `late` with `last` as its cause, else `last` itself.
    """
    if last is None:
        return late
    if not has_begun:
        return last
    return attrs.evolve(late, causes=(attrs.evolve(last, causes=()), *last.causes)[:5])
