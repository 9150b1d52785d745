"""Count openings, starts and runs by what the records say, and check that each was within the limits and in its turn.

Separate because it is the model: it goes through all instants again at each record, and shares no code with the rules.
Leaves to `limits` the stories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

SECOND = timedelta(seconds=1)
PRIORITY_MOST = 600


@attrs.frozen
class Most:
    """So many in any period: of all, or of each key."""

    limit: int
    period: timedelta
    keyed: bool
    burst: int | None = None

    def has_room(self, before: list[datetime], now: datetime) -> bool:
        """Say whether one more may come now."""
        within = [instant for instant in before if now - instant < self.period]
        if len(within) >= self.limit:
            return False
        if self.burst is None:
            return True
        # A bucket of so many: since any instant no more have come than it holds, and has been filled up by since.
        return all(
            1 + len([one for one in within if one >= since]) <= self.burst + (now - since) * self.limit / self.period
            for since in within
        )


@attrs.frozen
class Slots:
    """So many at a time: of a function, or of all that share them; of each key, or of all."""

    limit: int
    shared: bool
    keyed: bool


@attrs.frozen
class Limits:
    """What a function bounds."""

    rate: Most | None
    throttle: Most | None
    slots: tuple[Slots, ...]
    has_priority: bool

    def counted(self, number: Callable[[], int]) -> Limits:
        """Return the same with other numbers."""
        return attrs.evolve(
            self,
            rate=self.rate and attrs.evolve(self.rate, limit=number()),
            throttle=self.throttle and attrs.evolve(self.throttle, limit=number()),
            slots=tuple([attrs.evolve(slots, limit=number()) for slots in self.slots]),
        )


def key_of(data: Mapping[str, Any]) -> str:
    """Return what an event's key is: 1 and 1.0 are one, True and "1" are others."""
    key = data.get("k")
    return f"number {key:g}" if isinstance(key, int | float) and not isinstance(key, bool) else repr(key)


@attrs.define(eq=False)
class _Known:
    """What was recorded of a run; `order` is its place among those that wait."""

    function: str
    key: str
    order: tuple[float, datetime, int]
    is_reopened: bool = False


class Book:
    """A book holds who waits, who has begun and what has counted, by the records it was given so far."""

    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}
        self.known: dict[str, _Known] = {}
        self.waiting, self.begun, self.failed = set[str](), set[str](), set[str]()
        self.paused = set[str]()
        self.openings = list[tuple[str, str, datetime]]()
        self.starts = list[tuple[str, str, datetime]]()

    def take(self, record: Any) -> None:
        """Take in the next record.

        Raises:
            AssertionError: it is beyond a limit, or before its turn.
        """
        match type(record).__name__:
            case "RunOpened":
                self._opened(record)
            case "RunAdmitted":
                self._started(record)
            case "RunClosed":
                self.waiting.discard(record.run)
                self.begun.discard(record.run)
                if record.status != "completed":
                    self.failed.add(record.run)
            case "FunctionPaused":
                self.paused.add(record.function)
            case "FunctionResumed":
                self.paused.discard(record.function)
            case "RunRetried" if record.reopened:
                self.failed.discard(record.run)
                self.known[record.run].is_reopened = True
                self._comes(record.run)

    def opens(self, function: str, key: str, now: datetime) -> bool:
        """Say whether a rate limit lets a run open now."""
        rate = self.limits[function].rate
        return rate is None or rate.has_room(_counted(self.openings, function, key, rate), now)

    def rests(self, now: datetime) -> None:
        """Check that nobody waits who may begin now.

        Raises:
            AssertionError: somebody does.
        """
        for run in self.waiting:
            assert self._is_held_up(run, now), f"{run} waits, and nothing is in its way"

    def _opened(self, record: Any) -> None:
        key, data = key_of(record.event.data), record.event.data
        assert self.opens(record.function, key, record.at), f"{record.run} was opened beyond the rate limit"
        self.openings.append((record.function, key, record.at))
        priority = 0.0
        if self.limits[record.function].has_priority and isinstance(data["p"], int):
            priority = max(-PRIORITY_MOST, min(PRIORITY_MOST, data["p"]))
        first = (record.at - priority * SECOND).timestamp()
        self.known[record.run] = _Known(record.function, key, (first, record.at, len(self.known)))
        self._comes(record.run)

    def _comes(self, run: str) -> None:
        function, is_start = self.known[run].function, not self.known[run].is_reopened  # R32 is no start
        limits = self.limits[function]
        waits = limits.slots or (limits.throttle and is_start) or function in self.paused
        (self.waiting if waits else self.begun).add(run)

    def _started(self, record: Any) -> None:
        run, at = record.run, record.at
        known = self.known[run]
        if run in self.begun and (known.is_reopened or known.function in self.paused):
            return  # it had begun, and nothing else tells that
        assert run in self.waiting, f"{run} began and did not wait"
        assert not self._is_held_up(run, at), f"{run} began beyond a limit"
        for other in self.waiting:
            if self.known[other].order < known.order and not self._is_tied(other, run):
                assert self._is_held_up(other, at), f"{run} began before the turn of {other}"
        self.waiting.discard(run)
        self.begun.add(run)
        if not known.is_reopened:
            self.starts.append((known.function, known.key, at))

    def _is_tied(self, one: str, other: str) -> bool:
        """Those that are opened again come in at the end of those of equal order."""
        known, beside = self.known[one], self.known[other]
        return known.order[:2] == beside.order[:2] and (known.is_reopened or beside.is_reopened)

    def _is_held_up(self, run: str, now: datetime) -> bool:
        return not all(self._rooms(run, now))

    def _rooms(self, run: str, now: datetime) -> Iterator[bool]:
        """Say of each limit that a run must pass whether it has room."""
        known = self.known[run]
        limits = self.limits[known.function]
        yield known.function not in self.paused
        if limits.throttle is not None and not known.is_reopened:
            before = _counted(self.starts, known.function, known.key, limits.throttle)
            yield limits.throttle.has_room(before, now)
        for slots in limits.slots:
            yield len([one for one in self.begun if self._holds(one, known, slots)]) < slots.limit

    def _holds(self, run: str, beside: _Known, wanted: Slots) -> bool:
        """Say whether a run that has begun holds one of these slots."""
        known = self.known[run]
        if wanted.keyed and known.key != beside.key:
            return False
        if not wanted.shared:
            return known.function == beside.function
        return any(slots.shared for slots in self.limits[known.function].slots)


def _counted(seen: list[tuple[str, str, datetime]], function: str, key: str, of: Most) -> list[datetime]:
    return [at for name, one, at in seen if name == function and (one == key or not of.keyed)]
