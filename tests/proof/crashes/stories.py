"""Tell the story of a store: attack it in round after round, then judge it.

The story ends when a child on the store ends by itself; then the child's log is judged.

Separate because each round is of a random kind, and meets a store as the round before has left it.
Leaves to `hostile` the attacks on a store that no process has open.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import attrs

from tests.proof.crashes import hostile, judge, life, worked

MAKING, AT_WORK = "killed while it is made", "killed at work"
OPENING_S = 0.015  # of a child that is killed while it opens its store, or makes it


@attrs.define(eq=False)
class Story:
    """One store, in its folder.

    Attributes:
        kinds: how many rounds of each kind there were.
        kills: how many children were killed.
        result: of the child that ended by itself.
    """

    folder: Path
    chance: Random
    kinds: Counter[str] = attrs.field(factory=Counter)
    kills: int = 0
    result: list[Any] | None = None

    @property
    def store(self) -> Path:
        """Where the store is."""
        return self.folder / "x.db"

    def round(self, kind: str) -> None:
        """Do one round of a kind.

        Raises:
            AssertionError: something went wrong; the message says in which round.
        """
        self.kinds[kind] += 1
        try:
            (Story.opens if kind == MAKING else KINDS[kind][1])(self)
        except Exception as error:
            raise AssertionError(f"round {self.kinds.total()}, {kind}: {error!r}") from error

    def end(self, expected: list[Any]) -> Counter[str]:
        """Let a child end by itself, if none has; return what was executed.

        Raises:
            AssertionError: a rule is broken, or the results are others than without crashes.
        """
        result = self.result if self.result is not None else life(self.folder, None)
        assert result == expected, f"after {self.kinds.total()} rounds: {result}, without: {expected}"
        return judge(self.folder / "log", self.kills)

    def lives(self) -> None:
        """Kill a child at work, or in its first milliseconds."""
        self._live(self.chance.uniform(0, self.chance.choice((0.02, 0.1, 0.4))))

    def opens(self) -> None:
        """Kill a child while it opens the store."""
        self._live(self.chance.uniform(0, OPENING_S), opening=True)

    def raised(self) -> None:
        """Kill a child while it brings the file into WAL mode."""
        hostile.rollback_mode(self.store, self.chance)
        self.opens()

    def beside(self) -> None:
        """Put something else beside the store."""
        hostile.something_beside(self.store, self.chance)

    def linked(self) -> None:
        """Give it a second name."""
        hostile.second_name(self.store, self.chance)

    def cancelled(self) -> None:
        """Cancel its opening."""
        hostile.cancelled_openings(self.store, self.chance)

    def locked(self) -> None:
        """Have another program lock it while a child opens it and works."""
        with hostile.foreign_lock(self.store, self.chance):
            self.lives()

    def put_back(self) -> None:
        """Put an older copy of it back beside what a dead process has left."""
        copy = hostile.backup(self.store, self.chance)
        for _ in range(self.chance.randrange(1, 4)):
            hostile.taken_in(self.store)
            self.lives()
            if self.result is not None:
                return
        hostile.put_back(self.store, copy)

    def _live(self, after: float, *, opening: bool = False) -> None:
        self.result = life(self.folder, after, since="begins" if opening else "open")
        self.kills += self.result is None


KINDS: dict[str, tuple[int, Callable[[Story], None]]] = {
    AT_WORK: (10, Story.lives),
    "killed while it opens": (4, Story.opens),
    "killed while its format is raised": (4, Story.raised),
    "something else beside it": (4, Story.beside),
    "a second name": (2, Story.linked),
    "an opening cancelled": (4, Story.cancelled),
    "a foreign lock": (3, Story.locked),
    "a backup put back": (4, Story.put_back),
}


def story(folder: Path, chance: Random, expected: list[Any], most: int) -> tuple[Counter[str], Counter[str]]:
    """Let one store live until a child of it ends by itself, in so many rounds at most.

    It is made in the first rounds, by children that are killed meanwhile. Return how many rounds of each kind there
    were, and what was executed.

    Raises:
        AssertionError: a rule is broken, or the results are others than without crashes.
    """
    told = Story(folder, chance)
    first = [MAKING] * chance.randrange(1, 6) + [AT_WORK]
    while told.kinds.total() < most and told.result is None:
        weights = [weight for weight, _ in KINDS.values()]
        told.round(first.pop(0) if first else chance.choices(list(KINDS), weights)[0])
    return told.kinds, told.end(expected)


def rounds(folder: Path, number: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Do so many rounds; return how many of each kind there were, and what was executed in how many stories.

    Raises:
        AssertionError: the message begins with seed and story, and says where the store is.
    """
    expected = asyncio.run(worked(None, folder / "quiet"))
    assert not judge(folder / "quiet", 0)["again"]
    chance, kinds, total = Random(seed), Counter[str](), Counter[str]()
    while kinds.total() < number:
        place = folder / str(total["stories"])
        place.mkdir()
        try:
            had, executed = story(place, chance, expected, number - kinds.total())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, story {total['stories']} in {place}: {error}") from error
        kinds += had
        total += executed
        total.update(stories=1)
    return kinds, total
