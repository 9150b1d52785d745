"""Make random workflow programs from a seed, print them, and simplify them.

A program is a tree of operations.

Separate because a program must not depend on the way in which it is played, driven, cut and compared.
Leaves to `plays` the operations themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import attrs

EVENTS = 3
DEEPEST = 28  # tasks below each other


@attrs.frozen
class Part:
    """One operation: its kind, how it does it, a number (rounds, seconds, times, depth), and the parts under it."""

    kind: str
    manner: str = ""
    number: int = 0
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_lines(self, ""))

    @property
    def size(self) -> int:
        """How many operations it has."""
        return 1 + sum(part.size for part in self.parts)


def _lines(part: Part, indent: str) -> Iterator[str]:
    yield f"{indent}{part.kind} {part.manner or '-'} {part.number}"
    for under in part.parts:
        yield from _lines(under, indent + "  ")


# Making programs.

LEAVES = ("step", "step", "step", "step", "sleep", "wait", "send", "pause", "fail", "drop")
MANNERS: dict[str, tuple[str, ...]] = {
    "step": ("async", "async", "async", "sync", "inline", "flaky", "failing", "explicit"),
    "sequence": ("",),
    "loop": ("",),
    "try": ("",),
    "cleanup": ("finally", "swallow"),
    "gather": ("raise", "return"),
    "steps": ("gather", "parallel"),
    "race": ("cancel", "join", "leave"),
    "group": ("",),
    "anyio": ("all", "first"),
    "completed": ("",),
    "queue": ("bounded", "free"),
    "background": ("await", "cancel", "leave"),
    "nest": ("task", "gather", "group", "wait"),
    "late": ("run", "sleep", "wait"),
    "limited": ("",),
    "shield": ("",),
    "flag": ("",),
    "deep": ("",),
}
BRANCHING = tuple(kind for kind in MANNERS if kind != "step")
COUNTS = {
    "try": 2,
    "anyio": 2,
    "cleanup": 2,
    "background": 2,
    "nest": 1,
    "loop": 1,
    "late": 1,
    "shield": 1,
    "flag": 2,
    "steps": 0,
}


def random_program(random: Random) -> Part:
    """Return a program: most are small, a few have fifty operations, some nest 25 tasks deep, some dive."""
    size = random.choice((3, 5, 5, 8, 8, 12, 20, 50))
    if not random.randrange(10):
        return Part("program", "once", 0, _dive(random))
    parts = tuple(_random_part(random, size, DEEPEST) for _ in range(random.choice((1, 1, 2, 3))))
    manner = random.choice(("once",) * 7 + ("again",))  # "again": the first attempt of the function raises at its end
    return Part("program", manner, 0, parts)


def _dive(random: Random) -> tuple[Part, ...]:
    """A task in the background goes down to its first step while main, which alone has stepped so far, goes on."""
    depth = random.choice((3, 8, 15, 25))
    below = Part("nest", random.choice(MANNERS["nest"]), depth, (Part("step", "async", random.choice((0, 1, 40))),))
    beside = Part("step", "async", random.choice((0, 1, 20, 50, 90)))
    background = Part("background", random.choice(MANNERS["background"]), random.choice((1, 2)), (below, beside))
    return Part("step", "async", random.choice((0, 1, 3))), background, _random_leaf(random)


def _random_part(random: Random, size: int, room: int) -> Part:
    if size <= 1 or room < 4:
        return _random_leaf(random)
    kind = random.choice(BRANCHING)
    manner = random.choice(MANNERS[kind])
    count = COUNTS[kind] if kind in COUNTS else random.choice((2, 2, 3, 4))
    number = _random_number(random, kind, room)
    room -= number + 1 if kind in ("nest", "deep") else 3
    parts = tuple(_random_part(random, (size - 1) // max(count, 1), room) for _ in range(count))
    if kind == "anyio":  # it cancels its tasks in the order of a set, which must not show
        parts = (parts[0], _random_leaf(random))
    return Part(kind, manner, number, parts)


def _random_number(random: Random, kind: str, room: int) -> int:
    match kind:
        case "nest" | "deep":
            return min(random.choice((1, 2, 3, 5, 8, 12, 25)), room - 3)
        case "steps":
            return random.choice((1, 2, 5, 12))
        case _:
            return random.choice((1, 2, 2, 3))


def _random_leaf(random: Random) -> Part:
    kind = random.choice(LEAVES)
    manner = random.choice(MANNERS[kind]) if kind in MANNERS else ""
    match kind:
        case "step":
            return Part(kind, manner, random.choice((0, 0, 1, 2, 3, 8, 20, 40, 90)))
        case "wait" | "send":
            return Part(kind, manner, random.randrange(EVENTS))
        case "pause":
            return Part(kind, manner, random.choice((0, 1, 1, 2, 3)))
        case _:
            return Part(kind, manner, random.choice((0, 1, 1, 2, 5)))


def simpler(part: Part) -> Iterator[Part]:
    """Yield programs that are a little smaller, the smallest first."""
    if part.kind != "program":
        yield from part.parts
        if part.parts or part.kind != "step" or part.number:
            yield Part("step", "async")
    for place in range(len(part.parts)):
        if part.kind not in COUNTS and len(part.parts) > 1:
            yield attrs.evolve(part, parts=part.parts[:place] + part.parts[place + 1 :])
        for under in simpler(part.parts[place]):
            yield attrs.evolve(part, parts=(*part.parts[:place], under, *part.parts[place + 1 :]))
    for number in {1, part.number // 2, part.number - 1}:
        if 0 < number < part.number:
            yield attrs.evolve(part, number=number)
