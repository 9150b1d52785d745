"""Define who follows the journal, and by which kinds of records.

Separate because a lone cause is told to whoever follows the record that it stands for, and they need not know.
Leaves to `writer` the telling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from durable.errors import StoreError
from durable.journal.lone import Lone, LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import Record, RunClosed, RunOpened, StepClosed, StepOpened

Kind = type[Record | Lone]

_LONE: dict[Kind, Kind] = {
    RunOpened: LoneOpening,
    RunClosed: LoneEnding,
    StepOpened: LoneWait,
    StepClosed: LoneAnswer,
}


class Follower(Protocol):
    """A follower acts on records right after they are folded."""

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the function to call for each kind of record."""


def told_of(follower: Follower) -> Iterator[tuple[Kind, Callable[[Any], None]]]:
    """Yield the functions to call, each with the kind of what it is called with."""
    for kind, told in follower.follows().items():
        yield kind, told
        if kind in _LONE:
            yield _LONE[kind], told


def resolve(reached: asyncio.Future[None], error: StoreError | None) -> None:
    """Tell one who awaits that what it waits for is durable, or that the store has failed."""
    if reached.done():
        return
    if error is None:
        reached.set_result(None)
    else:
        reached.set_exception(error)
