"""Keep the few facts of a parked run that must stay in memory.

A parked run has no coroutine, and waits in one step. Most have recorded nothing but their opening and that wait: the
whole ledger of such a run can be made of what is kept, and the store need not be read when it goes on.

Separate because a hundred thousand of these must be small; the rest of their ledgers is in the store alone.
Leaves to `parking` and `resting` the choice of runs, and the reading of the rest.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from durable.events import Json
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.records import RunRested, StepKind, Until, Wait, without_ask
from durable.journal.rules.ledger import Ledger, StepFacts


def rest_of(ledger: Ledger, key: str, at: datetime) -> RunRested:
    """Return the record that a run rests in step `key`, as the run's next one."""
    facts = ledger.steps[key]
    wait = without_ask(facts.wait)
    assert wait is not None, "a run rests in a wait"
    return RunRested(
        ledger.run,
        ledger.function,
        key,
        facts.kind,
        wait,
        ledger.event,
        ledger.opened_at,
        at,
        ledger.next_turn,
        ledger.size,
        ledger.count + 1,
        ledger.started_at,
        ledger.reopenings,
        ledger.reopened_at,
        ledger.singleton,
        ledger.other_ids,
    )


def _span(ledger: Ledger, key: str) -> timedelta | None:
    """Return how long the wait of step `key` lasts, if with it all of the ledger is kept; else None.

    So it is if the run has recorded nothing but its opening and this wait, and if the span is one of whole seconds, as
    those are that were asked for as a duration: many runs then share it.
    """
    facts, has_more = ledger.steps[key], ledger.parent or ledger.fork or ledger.group or ledger.others
    wait, opened_at = facts.wait, facts.opened_at
    if ledger.count > 2 or has_more or ledger.priority or wait is not without_ask(wait):
        return None
    until = None if wait is None else wait.until
    if until is None or until.tzinfo is not opened_at.tzinfo or opened_at < ledger.opened_at:
        return None
    span = until - opened_at
    return None if span.microseconds else span


class _Shape(NamedTuple):
    """What is the same for most runs that wait in the same step of the same function.

    `event` is the name of the event that opened the run, and `beyond` how much longer the run's id is than the event's,
    with which it begins: the id of a run that was opened by an event is that of the event and of the function.
    """

    function: str
    key: str
    kind: StepKind
    turn: int
    size: int
    records: int
    reopenings: int
    is_said: bool
    span: timedelta | None
    event: str
    beyond: int


_shared = lru_cache(maxsize=4_096)(_Shape)  # one object for all equal shapes


class _Seldom(NamedTuple):
    """What few runs have; `event` is one that cannot be made of the shape, the run's id, the data and `opened_at`."""

    event: RecordedEvent | None
    started_at: datetime | None
    since: datetime | None
    singleton: Json | None
    other_ids: tuple[str, ...]


_NOTHING = _Seldom(None, None, None, None, ())


class ParkedRun:
    """A parked run holds the facts that the rules need while it waits.

    They find it by these, and end the step in which it waits. What is the same for many runs, it shares with them.
    `span` is what `_span` has said of the ledger.
    """

    __slots__ = ("_data", "_seldom", "_shape", "_wait", "opened_at", "run")

    def __init__(self, rest: RunRested, *, count: int, is_said: bool, span: timedelta | None = None) -> None:
        self.run, self.opened_at, wait = rest.run, rest.opened_at, rest.wait
        event = recorded_event(rest.event)
        self._data = event.text
        self._wait = wait.until if type(wait) is Until else wait
        id, beyond, kept = event.id, 0, None
        if id is not None and rest.run.startswith(id) and event.ts == rest.opened_at and event.v is None:
            beyond = len(rest.run) - len(id)
        else:
            kept = event
        if kept or rest.started_at or rest.since or rest.other_ids or rest.singleton is not None:
            self._seldom = _Seldom(kept, rest.started_at, rest.since, rest.singleton, rest.other_ids)
        else:
            self._seldom = _NOTHING
        function, key, kind, turn, size = rest.function, rest.key, rest.kind, rest.turn, rest.size
        often = rest.reopenings
        self._shape = _shared(function, key, kind, turn, size, count, often, is_said, span, event.name, beyond)

    @classmethod
    def of(cls, ledger: Ledger, key: str) -> ParkedRun:
        """Return what is kept of a run that waits in step `key`."""
        rest, is_said = rest_of(ledger, key, ledger.latest), ledger.rests_in is not None
        return cls(rest, count=ledger.count, is_said=is_said, span=_span(ledger, key))

    @property
    def function(self) -> str:
        """The id of the run's function."""
        return self._shape.function

    @property
    def key(self) -> str:
        """The key of the step in which the run waits."""
        return self._shape.key

    @property
    def count(self) -> int:
        """The number of the run's records."""
        return self._shape.records

    @property
    def is_said(self) -> bool:
        """Whether the run's last record says that it rests."""
        return self._shape.is_said

    @property
    def event(self) -> RecordedEvent:
        """The event that opened the run."""
        shape, run = self._shape, self.run
        return self._seldom.event or RecordedEvent(
            shape.event, self._data, run[: len(run) - shape.beyond], self.opened_at
        )

    @property
    def started_at(self) -> datetime | None:
        """When the run has recorded that it started, if its function has `Timeouts`."""
        return self._seldom.started_at

    @property
    def singleton(self) -> Json | None:
        """The key that the run holds: see `Ledger.singleton`."""
        return self._seldom.singleton

    @property
    def other_ids(self) -> tuple[str, ...]:
        """The ids of the other events of a batch."""
        return self._seldom.other_ids

    @property
    def since(self) -> datetime:
        """The time at which the run was opened, or last opened again: see `Ledger.since`."""
        return self._seldom.since or self.opened_at

    @property
    def wait(self) -> Wait:
        """What the run waits for."""
        return Until(self._wait) if isinstance(self._wait, datetime) else self._wait

    @property
    def until(self) -> datetime | None:
        """The deadline of the wait, if it has one."""
        return self._wait if isinstance(self._wait, datetime) else self._wait.until

    def rest(self, at: datetime) -> RunRested:
        """Return the record that the run rests, as its next one."""
        shape = self._shape
        return RunRested(
            self.run,
            shape.function,
            shape.key,
            shape.kind,
            self.wait,
            self.event,
            self.opened_at,
            at,
            shape.turn,
            shape.size,
            shape.records + 1,
            self.started_at,
            shape.reopenings,
            self._seldom.since,
            self.singleton,
            self.other_ids,
        )

    def ledger(self) -> Ledger:
        """Return a ledger that can fold further records: the whole one, or one that knows only the open step."""
        shape, seldom, until = self._shape, self._seldom, self.until
        ledger = Ledger(self.run, shape.function, self.event, self.opened_at, self.opened_at)
        ledger.count, ledger.size, ledger.open_turn = shape.records, shape.size, shape.turn
        if shape.span is not None and until is not None:
            ledger.latest = until - shape.span
        else:
            ledger.is_whole, ledger.is_admitted = False, True
        if seldom is not _NOTHING:
            ledger.started_at, ledger.reopened_at = seldom.started_at, seldom.since
            ledger.singleton, ledger.other_ids = seldom.singleton, seldom.other_ids
        ledger.reopenings = shape.reopenings
        ledger.steps[shape.key] = StepFacts(shape.kind, ledger.latest, self.wait, is_waiting=True)
        return ledger
