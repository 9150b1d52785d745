"""Decide which events debounce and batch hold back, and which runs open for them (F4, F5).

Separate because here an event opens no run when it comes, but later, with others or in their place.
Leaves to `held` what is held, to `openings` whether a run opens, to `deadlines` the time at which a group opens.

A group opens at its time, as it was when its last event came, whatever the function declares by then. An event that
comes after that time does not join it, even if its timer has yet to fire. The record of the event that fills a batch is
that of the run: only what must wait is recorded as held.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime

import attrs

from durable.events import Complaint, Event, Expression, Json, seen_by_filters, truthy
from durable.journal.gathered import EventHeld, EventSkipped, EventUnheld, GroupClosed, Mode
from durable.journal.ids import held_group, opened_run
from durable.journal.records import EventSent, Record, RunOpened
from durable.journal.rules.flow.held import Group, length
from durable.journal.rules.flow.keys import key_of
from durable.journal.rules.flow.options import Batching, Debouncing, Flow
from durable.journal.rules.state import State
from durable.timers import after

BATCH_BYTES = 10 * 1_024 * 1_024


@attrs.frozen
class Occasion:
    """An occasion is all for which a run is to open: an event, or those that a group has held.

    `group` is the group's id, `others` are the events of a batch after the first, each with the runtime's id.
    """

    event: Event
    group: str | None = None
    others: tuple[tuple[str, Event], ...] = ()

    def told(self, opened: RunOpened) -> RunOpened:
        """Return the record of the run's opening with what has led to it."""
        if self.group is None:
            return opened
        others = tuple([event for _, event in self.others])
        return attrs.evolve(opened, group=self.group, others=others, member_ids=tuple([id for id, _ in self.others]))


Opens = Callable[[str, str, Occasion, datetime], Iterable[Record]]
"""Open a run: its function, its id, what it opens for, and when."""


class Gathering:
    """Gathering applies the debounce and the batch of functions to the events that trigger them."""

    def __init__(self, state: State, opens: Opens, complain: Complaint) -> None:
        self._state = state
        self._held = state.held
        self._opens = opens
        self._complain = complain

    def event_came(self, function: str, flow: Flow, id: str, event: Event, now: datetime) -> Iterator[Record]:
        """Hold an event, or open the runs that it completes; `id` is the runtime's id."""
        if flow.debounce is not None:
            yield from self._debounced(function, flow.debounce, id, event, now)
        elif flow.batch is not None and self._holds(function, flow.batch.condition, event):
            yield from self._batched(function, flow.batch, id, event, now)
        else:
            yield from self._opens(function, opened_run(id, function), Occasion(event), now)

    def _debounced(self, function: str, option: Debouncing, id: str, event: Event, now: datetime) -> Iterator[Record]:
        key = self._key(function, "debounce", option.key, event)
        group = yield from self._current(function, "debounce", key, now)
        if group is not None and _is_older(event, group):
            yield EventSkipped(event.id or id, event.name, function, group.id, now)
            return
        name, since, replaced = held_group(id, function), now, None
        if group is not None:
            name, since, (held, before) = group.id, group.since, next(iter(group.events.items()))
            replaced = before.id or held
        due = after(now, option.period)
        if option.timeout is not None:
            due = min(due, after(since, option.timeout))
        yield EventHeld(name, function, "debounce", key, id, event, now, due, since, replaced)

    def _batched(self, function: str, option: Batching, id: str, event: Event, now: datetime) -> Iterator[Record]:
        key, size = self._key(function, "batch", option.key, event), length(event)
        group = yield from self._current(function, "batch", key, now)
        if group is not None and group.size + size > BATCH_BYTES:
            yield from self.opened(group, now)
            group = None
        if group is None and (option.max_size == 1 or size >= BATCH_BYTES):
            yield from self._opens(function, opened_run(id, function), Occasion(event), now)
        elif group is None:
            name = held_group(id, function)
            yield EventHeld(name, function, "batch", key, id, event, now, after(now, option.timeout), now)
        elif len(group.events) + 1 < option.max_size:
            yield EventHeld(group.id, function, "batch", key, id, event, now, group.due, group.since)
        else:
            yield from self._opened(group, [*group.events.items(), (id, event)], now)

    def _current(self, function: str, mode: Mode, key: Json, now: datetime) -> Generator[Record, None, Group | None]:
        """Return the group that an event joins; open the one whose time has passed."""
        group = self._held.of(function, mode, key)
        if group is None or now < group.due:
            return group
        yield from self.opened(group, now)
        return None

    def opened(self, group: Group, now: datetime) -> Iterator[Record]:
        """Open the runs of a group, unless its function is not known: then it stays (F5)."""
        if group.function in self._state.functions:
            yield from self._opened(group, list(group.events.items()), now)

    def _opened(self, group: Group, events: Sequence[tuple[str, Event]], now: datetime) -> Iterator[Record]:
        yield GroupClosed(group.id, now)
        flow = self._state.functions[group.function].flow
        most = len(events) if flow is None or flow.batch is None else flow.batch.max_size
        for first in range(0, len(events), most):  # several if the limit was lowered meanwhile
            (id, event), *others = events[first : first + most]
            occasion = Occasion(event, group.id, tuple(others))
            yield from self._opens(group.function, opened_run(id, group.function), occasion, now)

    def due(self, id: str, now: datetime) -> Iterator[Record]:
        """Open a group whose time has come."""
        if (group := self._held.groups.get(id)) is not None:
            yield from self.opened(group, now)

    def flushed(self, function: str, key: Json | None, now: datetime) -> Iterator[Record]:
        """Open now what is held for a function; with a `key` only what has that key."""
        for group in self._held.in_order(function):
            if key is None or group.key == key:
                yield from self.opened(group, now)

    def taken_back(self, event: str, now: datetime) -> Iterator[Record]:
        """Hold an event no longer, and open nothing for it; `event` is the runtime's id."""
        sent: Event | None = None
        for group in self._held.of_event(event):
            sent = group.events[event]
            if len(group.events) > 1:
                yield EventUnheld(group.id, event, now)
            else:
                yield GroupClosed(group.id, now)
        if sent is not None and sent.id != event:  # the id that its sender gave it is free again
            yield EventSent(event, sent, now, withdrawn=True)

    def _key(self, function: str, mode: Mode, expression: Expression | None, event: Event) -> Json:
        return key_of(expression, event, self._complain, what=f"the {mode} of function {function!r}")

    def _holds(self, function: str, condition: Expression | None, event: Event) -> bool:
        if condition is None:
            return True
        try:
            return truthy(condition.evaluate({"event": seen_by_filters(event)}))
        except Exception as error:
            what = f"if_exp of the batch of function {function!r}"
            self._complain(what, f"{what} cannot be evaluated, so that such an event runs alone: {error}")
            return False


def _is_older(event: Event, group: Group) -> bool:
    held = next(iter(group.events.values()))
    return event.ts is not None and held.ts is not None and event.ts < held.ts
