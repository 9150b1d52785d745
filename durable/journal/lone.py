"""Say that a run opens or ends, or a step waits or is answered, and nothing else follows, without the record of it.

Separate because nearly all do so, and the record would be made only to be taken apart again.
Leaves to `decisions` the choice, to `writer` the way into the state and the store.

A lone cause is a cause like any other: a row of records, of which it makes the one that it stands for when it is asked.
Its fields are called like those of the record, so whoever follows that record may be told of it instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from durable.errors import RecordedError
from durable.events import Event, Json
from durable.journal.records import (
    Ending,
    Fork,
    Outcome,
    Record,
    RunClosed,
    RunOpened,
    StepClosed,
    StepKind,
    StepOpened,
    Wait,
)


class LoneOpening:
    """A run opens, and its function asks for nothing more."""

    __slots__ = ("at", "event", "function", "parent", "run")
    fork: Fork | None = None

    def __init__(
        self, run: str, function: str, event: Event, at: datetime, parent: tuple[str, str] | None = None
    ) -> None:
        self.run = run
        self.function = function
        self.event = event
        self.at = at
        self.parent = parent

    def __iter__(self) -> Iterator[Record]:
        return iter((RunOpened(self.run, self.function, self.event, self.at, self.parent),))


class LoneEnding:
    """A run ends, and nobody is told of it by a record."""

    __slots__ = ("at", "error", "output", "reason", "run", "status")

    def __init__(
        self,
        run: str,
        status: Ending,
        at: datetime,
        output: Json | None,
        error: RecordedError | None,
        reason: str | None,
    ) -> None:
        self.run = run
        self.status: Ending = status
        self.at = at
        self.output = output
        self.error = error
        self.reason = reason

    def __iter__(self) -> Iterator[Record]:
        return iter((RunClosed(self.run, self.status, self.at, self.output, self.error, self.reason),))


class LoneWait:
    """A step waits, and takes nothing from another one."""

    __slots__ = ("at", "key", "kind", "run", "wait")

    def __init__(self, run: str, key: str, kind: StepKind, wait: Wait, at: datetime) -> None:
        self.run = run
        self.key = key
        self.kind: StepKind = kind
        self.wait = wait
        self.at = at

    def __iter__(self) -> Iterator[Record]:
        return iter((StepOpened(self.run, self.key, self.kind, self.wait, self.at),))


class LoneAnswer:
    """A wait ends with an outcome that joins a turn."""

    __slots__ = ("at", "key", "kind", "outcome", "run", "turn")
    tries: int = 0
    began: datetime | None = None

    def __init__(self, run: str, key: str, kind: StepKind, outcome: Outcome, turn: int, at: datetime) -> None:
        self.run = run
        self.key = key
        self.kind: StepKind = kind
        self.outcome = outcome
        self.turn = turn
        self.at = at

    def __iter__(self) -> Iterator[Record]:
        return iter((StepClosed(self.run, self.key, self.kind, self.outcome, self.turn, self.at, 0),))


Lone = LoneOpening | LoneEnding | LoneWait | LoneAnswer
LONE = (LoneOpening, LoneEnding, LoneWait, LoneAnswer)
