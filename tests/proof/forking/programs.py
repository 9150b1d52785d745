"""Make random workflows whose result does not depend on time, and say what they come to.

Separate because this knows nothing of the engine: the expected result is computed from the tree alone.
Leaves to `plays` the workflow as a function.

A fork begins open waits and tries anew. So where two of them race, another one may win: that is no fault. Here the
losers of a race never end: they do some steps, and then sleep for years, wait for what never comes, or hang in a
handler. Everything else may end in any order, and is put together by its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import attrs

LEAVES = ("step", "step", "step", "failing", "nap", "timeout", "told", "invoke", "chance")
TREES = ("sequence", "gather", "group", "race", "race", "background", "branch", "loop", "cleanup")
MANNERS = {
    "step": ("async", "async", "sync", "inline"),
    "race": ("join", "leave", "finally"),
    "background": ("await", "cancel"),
}
ENDLESS = ("sleep", "event", "handler", "both")


@attrs.frozen
class Part:
    """One operation: its kind, how it does it, a number, its place in the tree, and the parts under it."""

    kind: str
    manner: str
    number: int
    place: str
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_lines(self, ""))


def _lines(part: Part, indent: str) -> Iterator[str]:
    yield f"{indent}{part.place} {part.kind} {part.manner or '-'} {part.number}"
    for under in part.parts:
        yield from _lines(under, indent + "  ")


def random_program(random: Random) -> Part:
    """Return a workflow; "again": its first attempt fails at its end. With the number 1 all steps share one id."""
    size = random.choice((3, 5, 8, 12, 20))
    parts = tuple(_part(random, size, f"{number}") for number in range(random.choice((1, 2, 3))))
    return Part("program", random.choice(("once", "once", "once", "again")), int(random.random() < 0.3), "", parts)


def _part(random: Random, size: int, place: str, *, in_branch: bool = False) -> Part:
    kind = random.choice(LEAVES if size <= 1 else TREES)
    if kind == "chance" and in_branch:  # the order in which branches draw numbers depends on how long they take
        kind = "step"
    manner = random.choice(MANNERS.get(kind, ("",)))
    if size <= 1:
        return Part(kind, manner, random.choice((0, 1, 3, 20, 60)) if kind == "step" else random.randrange(100), place)
    count = {"background": 2, "branch": 2, "loop": 1, "cleanup": 1}.get(kind) or random.choice((2, 2, 3))
    below = in_branch or kind in ("gather", "group", "race", "background", "cleanup")
    parts = [_part(random, (size - 1) // count, f"{place}.{number}", in_branch=below) for number in range(count)]
    return Part(kind, manner, random.randrange(100), place, tuple(parts))


@attrs.define
class Expected:
    """What a workflow comes to: `must` are the handlers that have to be called for it, each once.

    `given` are values of steps, by the name of their call, in place of those of their handlers.
    """

    given: Mapping[str, Any]
    chance: Random
    must: list[str] = attrs.field(factory=list)

    def of(self, part: Part, again: str = "") -> Any:
        """Return the value of a part; `again` names the repeats of the loops around it."""
        return getattr(self, f"_{part.kind}")(part, again)

    def _all(self, part: Part, again: str) -> list[Any]:
        return [self.of(under, again) for under in part.parts]

    def _program(self, part: Part, again: str) -> list[Any]:
        if part.manner == "again":
            before = self.chance.getstate()
            self._all(part, again)
            self.chance.setstate(before)  # the second attempt draws the same numbers
            self.must.clear()
        return self._all(part, again)

    def _step(self, part: Part, again: str, *, value: Any = None) -> Any:
        name = f"{part.place}{again}"
        self.must.append(name)
        return self.given.get(name, worth(name) if value is None else value)

    def _failing(self, part: Part, again: str) -> Any:
        return self._step(part, again, value="failed")

    def _nap(self, part: Part, again: str) -> None:
        return None

    _timeout = _nap

    def _told(self, part: Part, again: str) -> int:
        return part.number

    def _invoke(self, part: Part, again: str) -> int:
        return part.number + 1

    def _chance(self, part: Part, again: str) -> int:
        return self.chance.randrange(1000)

    _sequence = _gather = _group = _all

    def _race(self, part: Part, again: str) -> list[Any]:
        winner = part.number % len(part.parts)
        return [winner, self.of(part.parts[winner], again)]

    def _background(self, part: Part, again: str) -> Any:
        side, main = part.parts
        if part.manner == "cancel":
            return self.of(main, again)
        return [self.of(main, again), self.of(side, again)]

    def _branch(self, part: Part, again: str) -> Any:
        way = self._step(part, again)
        return [way, self.of(part.parts[way % 2], again)]

    def _loop(self, part: Part, again: str) -> list[Any]:
        return [self.of(part.parts[0], f"{again}#{number}") for number in range(1 + part.number % 3)]

    def _cleanup(self, part: Part, again: str) -> list[Any]:
        return [self.of(part.parts[0], again), self._step(part, again)]


def worth(name: str) -> int:
    """Return what the handler of a call gives."""
    return sum(map(ord, name)) % 1000
