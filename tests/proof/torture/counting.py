"""Count openings, starts and runs by what the records say, and check that each was within the limits and in its turn.

Separate because it is the model: it goes through all instants again at each record, and shares no code with the rules.
Leaves to `limits` the stories, to `trying` the tries of handlers, whose beginning and end no record tells.
"""

from __future__ import annotations

import json
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
    counts: str = "runs"

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
    counts: str = "runs"


Bucket = tuple[str, str, bool, str]
"""What those have in common who share slots: the function, or "" for all; what is counted; by key or not; the key."""


@attrs.frozen
class Limits:
    """What a function bounds."""

    rate: Most | None
    throttle: Most | None
    slots: tuple[Slots, ...]
    has_priority: bool

    def slots_of(self, counts: str) -> list[Slots]:
        """Return those of the slots that runs take, or those that tries take."""
        return [slots for slots in self.slots if slots.counts == counts]

    def throttle_of(self, counts: str) -> Most | None:
        """Return the limit of starts, or that of tries."""
        return self.throttle if self.throttle is not None and self.throttle.counts == counts else None

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
class Known:
    """What was recorded of a run; `order` is its place among those that wait, `above` the run that has invoked it."""

    function: str
    key: str
    order: tuple[float, datetime, int]
    above: str | None
    is_reopened: bool = False

    def bucket(self, slots: Slots) -> Bucket:
        """Return what the run has in common with those that share these slots."""
        return "" if slots.shared else self.function, slots.counts, slots.keyed, self.key if slots.keyed else ""


class Book:
    """A book holds who waits, who has begun and what has counted, by the records it was given so far.

    `held` says of each bucket which runs hold a slot, and whose it is: a run below one that holds a slot shares it.
    """

    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}
        self.known: dict[str, Known] = {}
        self.waiting, self.begun, self.failed = set[str](), set[str](), set[str]()
        self.paused = set[str]()
        self.held: dict[Bucket, dict[str, str]] = {}
        self.openings = list[tuple[str, str, datetime]]()
        self.starts = list[tuple[str, str, datetime]]()
        self.tries = list[tuple[str, str, datetime]]()
        self.closed: dict[tuple[str, str], bool] = {}  # the steps that have ended, and whether well
        self.retried: dict[tuple[str, str], datetime] = {}  # the steps that are tried again, and when

    def bounded(self, limits: Mapping[str, Limits]) -> None:
        """Let other limits hold from now on: those that have begun take the slots of their function anew."""
        changed = [name for name in limits if limits[name] is not self.limits.get(name)]
        self.limits = dict(limits)
        anew = [run for run in self.known if run in self.begun and self.known[run].function in changed]
        for run in anew:
            self._leaves(run)
        for run in anew:
            self._enters(run)

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
                self._leaves(record.run)
                if record.status != "completed":
                    self.failed.add(record.run)
            case "FunctionPaused":
                self.paused.add(record.function)
            case "FunctionResumed":
                self.paused.discard(record.function)
            case "RunRetried" if record.reopened:
                self.failed.discard(record.run)
                self.known[record.run].is_reopened = True
                self.closed = {step: well for step, well in self.closed.items() if well or step[0] != record.run}
                self.retried = {step: due for step, due in self.retried.items() if step[0] != record.run}
                self._comes(record.run)
            case "Counted" if record.counted_as == "try":
                self._tried(record)
            case "StepRetried":
                self.retried[record.run, _name(record.key)] = record.due
            case "StepClosed":
                self.closed[record.run, _name(record.key)] = type(record.outcome).__name__ == "Ok"

    def opens(self, function: str, key: str, now: datetime) -> bool:
        """Say whether a rate limit lets a run open now."""
        rate = self.limits[function].rate
        return rate is None or rate.has_room(counted(self.openings, function, key, rate), now)

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
        above = None if record.parent is None else record.parent[0]
        self.known[record.run] = Known(record.function, key, (first, record.at, len(self.known)), above)
        self._comes(record.run)

    def _comes(self, run: str) -> None:
        known = self.known[run]
        limits, is_start = self.limits[known.function], not known.is_reopened  # R32 is no start
        slots = [one for one in limits.slots_of("runs") if self._shared(run, one) is None]
        if slots or (limits.throttle_of("runs") and is_start) or known.function in self.paused:
            self.waiting.add(run)
        else:
            self._begins(run)

    def _started(self, record: Any) -> None:
        run, at = record.run, record.at
        known = self.known[run]
        if run in self.begun and (known.is_reopened or known.function in self.paused):
            return  # it had begun, and nothing else tells that
        assert run in self.waiting, f"{run} began and did not wait"
        assert not self._is_held_up(run, at), f"{run} began beyond a limit"
        for other in self.waiting:
            comes_later = at == known.order[1] and self.known[other].order[1:] > known.order[1:]  # nobody waited before
            if self.known[other].order < known.order and not comes_later and not self._is_tied(other, run):
                assert self._is_held_up(other, at), f"{run} began before the turn of {other}"
        self.waiting.discard(run)
        self._begins(run)
        if not known.is_reopened:
            self.starts.append((known.function, known.key, at))

    def _begins(self, run: str) -> None:
        self.begun.add(run)
        self._enters(run)

    def _enters(self, run: str) -> None:
        known = self.known[run]
        for slots in self.limits[known.function].slots_of("runs"):
            holder = self._shared(run, slots) or run
            self.held.setdefault(known.bucket(slots), {})[run] = holder

    def _leaves(self, run: str) -> None:
        for held in self.held.values():
            held.pop(run, None)

    def _shared(self, run: str, slots: Slots) -> str | None:
        """Return whose slot a run shares: that of an unfinished run above it which holds one, through whatever runs."""
        held, above = self.held.get(self.known[run].bucket(slots), {}), self.known[run].above
        while above in self.begun | self.waiting:
            if above in held:
                return held[above]
            above = self.known[above].above
        return None

    def _tried(self, record: Any) -> None:
        key, throttle = key_of({"k": json.loads(record.key)}), self.limits[record.function].throttle_of("steps")
        assert throttle is not None, f"a try of {record.function} was counted that nothing bounds"
        before = counted(self.tries, record.function, key, throttle)
        assert throttle.has_room(before, record.at), f"a try of {record.function} began beyond the throttle"
        self.tries.append((record.function, key, record.at))

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
        if (throttle := limits.throttle_of("runs")) is not None and not known.is_reopened:
            yield throttle.has_room(counted(self.starts, known.function, known.key, throttle), now)
        for slots in limits.slots_of("runs"):
            held = self.held.get(known.bucket(slots), {})
            yield self._shared(run, slots) is not None or len(set(held.values())) < slots.limit


def counted(seen: list[tuple[str, str, datetime]], function: str, key: str, of: Most) -> list[datetime]:
    """Return the instants at which something was counted that counts towards a limit."""
    return [at for name, one, at in seen if name == function and (one == key or not of.keyed)]


def _name(key: str) -> str:
    """Return the id of a step, of which a run here has one, in whatever branch."""
    return key.rpartition("»")[2]
