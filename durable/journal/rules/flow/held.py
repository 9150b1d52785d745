"""Fold which events debounce and batch hold back, in groups of the same key (F4, F5).

Separate because a group outlives the option that has made it: it opens at its time, whatever the function declares
then.
Leaves to `gather` what is held and when it opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import attrs

from durable.events import Event, Json
from durable.journal.codec.recorded import recorded_event
from durable.journal.gathered import EventHeld, EventUnheld, Gathered, GroupClosed, Mode
from durable.journal.records import Record


@attrs.define(eq=False, repr=False)
class Group:
    """A group holds the events of one function and key.

    Attributes:
        id: the run as which it is kept.
        since, due: when its first event came, and when it opens.
        events: the events by the runtime's ids, in the order in which they came; a debounce holds the last alone.
        size: the length of the data of all events of a batch.
    """

    id: str
    function: str
    mode: Mode
    key: Json
    since: datetime
    due: datetime
    events: dict[str, Event] = attrs.field(factory=dict)
    size: int = 0


class HeldEvents:
    """Held events stand in `groups`, by the group's id."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self._by_key: dict[tuple[str, Mode, Json], str] = {}

    def of(self, function: str, mode: Mode, key: Json) -> Group | None:
        """Return the group of a function that holds events of a key, or None."""
        return self.groups.get(self._by_key.get((function, mode, key), ""))

    def in_order(self, function: str | None = None) -> list[Group]:
        """Return the groups in the order in which they began, of one function or of all."""
        groups = [group for group in self.groups.values() if function in (None, group.function)]
        return sorted(groups, key=lambda group: (group.since, group.id))

    def of_event(self, event: str) -> list[Group]:
        """Return the groups that hold an event; `event` is the runtime's id."""
        return [group for group in self.groups.values() if event in group.events]

    def fold(self, record: Gathered) -> None:
        """Take one more record in."""
        match record:
            case EventHeld():
                self._hold(record)
            case EventUnheld():
                group = self.groups[record.group]
                group.size -= length(group.events.pop(record.id))
            case GroupClosed():
                group = self.groups.pop(record.group)
                if self._by_key.get(_key(group)) == group.id:
                    del self._by_key[_key(group)]

    def _hold(self, record: EventHeld) -> None:
        group = self.groups.get(record.group)
        if group is None:
            group = Group(record.group, record.function, record.mode, record.key, record.since, record.due)
            self.groups[group.id] = group
            self._by_key[_key(group)] = group.id
        if group.mode == "debounce":
            group.events.clear()
            group.size = 0
        group.due = record.due
        group.events[record.id] = record.event
        group.size += length(record.event)

    def retraction(self, record: Gathered) -> Callable[[], None]:
        """Return a function that puts a group back to what it is before a record is folded."""
        group = self.groups.get(record.group)
        if group is not None and isinstance(record, EventHeld) and group.mode == "batch":
            return partial(_take_out, group, record.id, group.size)
        # A group that is closed does not change any more. Other records change its few events, or are rare.
        is_same = group is None or isinstance(record, GroupClosed)
        known = group if group is None or is_same else attrs.evolve(group, events=dict(group.events))
        return partial(self._put_back, record.group, known)

    def _put_back(self, id: str, known: Group | None) -> None:
        if (gone := self.groups.pop(id, None)) is not None:
            self._by_key.pop(_key(gone), None)
        if known is not None:
            self.groups[id] = known
            self._by_key[_key(known)] = id


def _take_out(group: Group, event: str, size: int) -> None:
    # A batch may hold thousands of events: it is not copied for each that comes.
    group.events.pop(event, None)
    group.size = size


def held_in(records: Iterable[Record]) -> HeldEvents:
    """Return what is held after the records of groups; a group that has ended holds nothing."""
    held = HeldEvents()
    for record in records:
        if isinstance(record, Gathered):
            held.fold(record)
    return held


def length(event: Event) -> int:
    """Return how much an event counts towards what a batch may hold."""
    return len(recorded_event(event).text)


def _key(group: Group) -> tuple[str, Mode, Json]:
    return group.function, group.mode, group.key
