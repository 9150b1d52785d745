"""Follow the tries of handlers in one life of an engine, and check that each was within the limits and in its turn.

Separate because no record tells when a try begins and ends: handlers tell it, and the records say the rest.
Leaves to `counting` what was recorded, to `limits` the stories.

Times within a moment cannot be told apart, since many things follow from one act. So who went before whom is asked when
all is at rest again: nobody may have what somebody before them still waits for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

import attrs

from tests.proof.torture.counting import Book, Bucket, Slots, counted

Step = tuple[str, str]  # a run and a step


@attrs.frozen(eq=False)
class Try:
    """A try of a handler which has not really ended; `number` is its place among all."""

    run: str
    step: str
    number: int


class Tries:
    """Tries are those of one life: `inside` are those whose handler runs, `faults` what was not as it must be."""

    def __init__(self, book: Book) -> None:
        self.inside: list[Try] = []
        self.faults: list[str] = []
        self.count = 0
        self._counted_before = len(book.tries)
        self._called = 0  # tries that had to be counted
        self._asked: dict[Step, int] = {}
        self._waited: dict[Step, tuple[float, datetime, int]] = {}
        self._begun: list[Try] = []  # since all was at rest

    def asks(self, run: str, step: str) -> None:
        """Note that a function has called a step."""
        self.count += 1
        self._asked[run, step] = self.count

    def begins(self, book: Book, run: str, step: str) -> Try:
        """Note that a handler was called."""
        self.count += 1
        one, function = Try(run, step, self.count), book.known[run].function
        limits, inside = book.limits[function], self.inside
        if limits.throttle_of("steps") is not None:
            # It had its slot while it was recorded; functions of higher limits may have begun tries meanwhile.
            inside = [one for one in inside if one not in self._begun or book.known[one.run].function == function]
        for slots in limits.slots_of("steps"):
            if _taken(book, run, slots, inside) >= slots.limit:
                self.faults.append(f"a try of {run} began beyond a limit")
        if limits.throttle_of("steps") is not None:
            self._called += 1
            if len(book.tries) - self._counted_before < self._called:
                self.faults.append(f"a handler of {run} was called before that was recorded")
        self.inside.append(one)
        self._begun.append(one)
        return one

    def ends(self, one: Try) -> None:
        """Note that a handler has really ended."""
        self.count += 1
        self.inside.remove(one)

    def rests(self, book: Book, now: datetime) -> None:
        """Check what must be so while nothing moves.

        Raises:
            AssertionError: somebody waits who may begin now or has been overtaken, or another fault was found.
        """
        assert not self.faults, self.faults[0]
        assert len(book.tries) - self._counted_before == self._called, "another number of tries is recorded than began"
        self._asked = {step: number for step, number in self._asked.items() if step[0] in book.begun}
        waiting = [step for step in self._asked if self._waits(book, step, now)]
        for run, step in waiting:
            assert self._is_held_up(book, run, now), f"step {step} of {run} waits, and nothing is in its way"
            if (order := self._waited.get((run, step))) is not None:
                later = [one for one in self._begun if self._order(book, (one.run, one.step)) > order]
                assert self._is_held_up(book, run, now, without=later), f"step {step} of {run} has been overtaken"
        self.count += 1
        # Who is tried again comes in behind those of equal order; among those of one moment nothing tells where.
        new = [step for step in waiting if step not in self._waited]
        if any(step in book.retried for step in new):
            self._asked.update(dict.fromkeys(new, self.count))
        self._waited, self._begun = {step: self._order(book, step) for step in waiting}, []

    def _order(self, book: Book, step: Step) -> tuple[float, datetime, int]:
        first, opened, _ = book.known[step[0]].order
        return self._waited.get(step, (first, opened, self._asked.get(step, self.count)))

    def _waits(self, book: Book, step: Step, now: datetime) -> bool:
        is_inside = any((one.run, one.step) == step for one in self.inside)
        return not is_inside and step not in book.closed and book.retried.get(step, now) <= now

    def _is_held_up(self, book: Book, run: str, now: datetime, without: Collection[Try] = ()) -> bool:
        """Say whether a try may not begin, be it that some had not begun which have since all was at rest."""
        inside = self.inside
        if without:  # what has ended meanwhile may have been in the way
            inside = [one for one in dict.fromkeys([*inside, *self._begun]) if one not in without]
        return not all(self._rooms(book, run, now, inside, without))

    def _rooms(
        self, book: Book, run: str, now: datetime, inside: Collection[Try], without: Collection[Try]
    ) -> Iterator[bool]:
        known = book.known[run]
        limits = book.limits[known.function]
        if (throttle := limits.throttle_of("steps")) is not None:
            before = counted(book.tries, known.function, known.key, throttle)
            mine = [one for one in without if book.known[one.run].function == known.function]
            if throttle.keyed:
                mine = [one for one in mine if book.known[one.run].key == known.key]
            yield throttle.has_room(before[: len(before) - len(mine)], now)
        for slots in limits.slots_of("steps"):
            yield _taken(book, run, slots, inside) < slots.limit


def _taken(book: Book, run: str, slots: Slots, inside: Collection[Try]) -> int:
    """Return how many of the slots that a run's tries ask for are taken."""
    bucket = book.known[run].bucket(slots)
    return len([one for one in inside if bucket in _buckets(book, one)])


def _buckets(book: Book, one: Try) -> list[Bucket]:
    known = book.known[one.run]
    return [known.bucket(slots) for slots in book.limits[known.function].slots_of("steps")]
