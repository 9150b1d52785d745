"""Fold how far ticks are done with, which schedules there are, and which functions are paused.

Separate because these facts hold for no run, and outlive every run.
Leaves to `ticking` and `pausing` the choice of records.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, assert_never

from durable.journal.schedule_records import (
    FunctionPaused,
    FunctionResumed,
    ScheduleEnded,
    ScheduleMade,
    ScheduleRecord,
    TicksPassed,
    TicksReplaced,
)
from durable.timers import after

V = TypeVar("V")


class Standing:
    """What stands until another record replaces it.

    Attributes:
        passed: how far the ticks of a timetable are done with, by how the ids of its runs begin.
        made: the schedules that were made while an engine ran, by id.
        pauses: the last pause or resume of a function, by the function's id.
    """

    def __init__(self) -> None:
        self.passed: dict[str, TicksPassed] = {}
        self.made: dict[str, ScheduleMade] = {}
        self.pauses: dict[str, FunctionPaused | FunctionResumed] = {}
        self.paused: set[str] = set()

    def fold(self, record: ScheduleRecord) -> None:
        """Take one more record in."""
        match record:
            case TicksPassed():
                self.passed[record.of] = record
            case TicksReplaced():
                if record.of in self.passed and self.passed[record.of].number == record.number:
                    del self.passed[record.of]
            case ScheduleMade():
                self.made[record.id] = record
            case ScheduleEnded():
                del self.made[record.id]
            case FunctionPaused():
                self.pauses[record.function] = record
                self.paused.add(record.function)
            case FunctionResumed():
                self.paused.discard(record.function)
                self.pauses.pop(record.function, None)
                if record.spans:
                    self.pauses[record.function] = record
            case _:
                assert_never(record)

    def retraction(self, record: ScheduleRecord) -> Callable[[], object]:
        """Return a function that undoes the folding of a record."""
        match record:
            case TicksPassed() | TicksReplaced():
                return _entry(self.passed, record.of)
            case ScheduleMade() | ScheduleEnded():
                return _entry(self.made, record.id)
            case FunctionPaused() | FunctionResumed():
                return partial(self._put_pause, record.function, self.pauses.get(record.function))
            case _:
                assert_never(record)

    def _put_pause(self, function: str, known: FunctionPaused | FunctionResumed | None) -> None:
        self.pauses.pop(function, None)
        self.paused.discard(function)
        if known is not None:
            self.fold(known)

    def put_off(self, function: str, since: datetime, wait: timedelta) -> datetime | None:
        """Return when a wait is over that does not run while a function is paused; None: not before it is resumed."""
        due, known = after(since, wait), self.pauses.get(function)
        if known is None:
            return due
        for begin, end in known.spans:
            if end > since and begin < due:
                due = after(due, end - max(begin, since))
        return None if isinstance(known, FunctionPaused) and known.at < due else due


def _entry(table: MutableMapping[str, V], key: str) -> Callable[[], object]:
    return partial(table.__setitem__, key, table[key]) if key in table else partial(table.pop, key, None)
