"""The event bus: which triggers and which waits an event, a signal or an ending answers.

Separate because with 100,000 waits the answer must be looked up, not searched for, and nothing else needs to know how.
Leaves to `state` what follows from an answer.

An event finds triggers by its name and by the patterns that its name can fall under. It finds listeners (the waits
of steps, and the cancellations of runs) by name, then by one equality: the value at one path of the event, written in
the index under its JSON type, because `True == 1` in Python. A listener without such an equality is looked at for
every event of its name. What the index finds is a candidate; `Listener.hears` decides.

A filter is a guest: whatever it raises or takes concerns its own listener alone. What the filters over one event may
take together is bounded (`Budget`), since everybody waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from durable.events.event import Event
from durable.events.expressions.expression import Expression
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.matching import Key, Path, _patterns, at_path, index_key, view
from durable.events.triggers import Complaint, Listener, Place, Trigger

Placed = tuple[Listener, tuple[Path, Key] | None]


@attrs.define(eq=False, repr=False)
class _Listeners:
    """The listeners of one event name: by path and value, and the rest."""

    paths: dict[Path, dict[Key, dict[Place, Listener]]] = attrs.field(factory=dict)
    rest: dict[Place, Listener] = attrs.field(factory=dict)

    def add(self, listener: Listener, equality: tuple[Path, Key] | None) -> None:
        if equality is None:
            self.rest[listener.place] = listener
        else:
            path, key = equality
            self.paths.setdefault(path, {}).setdefault(key, {})[listener.place] = listener

    def candidates(self, seen: Mapping[str, Any]) -> Iterator[Listener]:
        for path, values in self.paths.items():
            key = index_key(at_path(seen, path))
            if key is not None:
                yield from values.get(key, {}).values()
        yield from self.rest.values()

    def drop(self, place: Place, equality: tuple[Path, Key] | None) -> None:
        if equality is None:
            del self.rest[place]
            return
        path, key = equality
        values = self.paths[path]
        del values[key][place]
        if not values[key]:
            del values[key]
        if not values:
            del self.paths[path]


class EventBus:
    """Who listens for what. `complain(about, text)` is told of filters that fail: they match nothing."""

    def __init__(self, complain: Complaint) -> None:
        self.complain = complain
        self._triggers: dict[str, list[Trigger]] = {}
        self._listeners: dict[str, _Listeners] = {}
        self._places: dict[Place, Placed] = {}

    def add_trigger(self, trigger: Trigger) -> None:
        """Let events of the trigger's name or pattern open runs of its function."""
        self._triggers.setdefault(trigger.event, []).append(trigger)

    def drop_triggers(self, function: str) -> None:
        """Forget the triggers of a function."""
        for name, triggers in list(self._triggers.items()):
            self._triggers[name] = [trigger for trigger in triggers if trigger.function != function]
            if not self._triggers[name]:
                del self._triggers[name]

    def functions_for(self, seen: Mapping[str, Any], budget: Budget | None = None) -> list[str]:
        """Return the functions that an event opens a run of, each once, however many of its triggers match (R19)."""
        found: dict[str, None] = {}
        for pattern in _patterns(seen["name"]):
            for trigger in self._triggers.get(pattern, ()):
                function = trigger.function
                try:
                    if function not in found and (trigger.expression is None or trigger.hears(seen, budget)):
                        found[function] = None
                except Exception as error:
                    self._complain_of(trigger.expression, f"a trigger of function {function!r}", function, error)
        return list(found)

    def listen(self, listener: Listener) -> None:
        """Let a listener hear events; one at the same place is replaced."""
        # Kept, and not asked for again when it leaves: it must be looked for where it was put.
        self.put(listener.place, (listener, listener.equality()))

    def put(self, place: Place, placed: Placed | None) -> None:
        """Let who was found at this place by `at` listen there again, and nobody else; None: nobody."""
        self.leave(place)
        if placed is not None:
            self._places[place] = placed
            self._listeners.setdefault(placed[0].event, _Listeners()).add(*placed)

    def leave(self, place: Place) -> None:
        """Let nobody listen at this place."""
        found = self._places.pop(place, None)
        if found is None:
            return
        listener, equality = found
        listeners = self._listeners[listener.event]
        listeners.drop(place, equality)
        if not listeners.rest and not listeners.paths:
            del self._listeners[listener.event]

    def at(self, place: Place) -> Placed | None:
        """Return who listens at this place, and by which equality it is found."""
        return self._places.get(place)

    def listeners_for(self, seen: Mapping[str, Any], now: datetime, budget: Budget | None = None) -> list[Listener]:
        """Return the listeners that an event answers at `now`, in the order in which they came."""
        listeners = self._listeners.get(seen["name"])
        if listeners is None:
            return []
        hearing: list[Listener] = []
        for one in listeners.candidates(seen):
            try:
                if one.hears(seen, now, budget):
                    hearing.append(one)
            except Exception as error:
                run, key = one.place
                what = f"a Cancel of run {run!r}" if one.cancels else f"step {key!r} of run {run!r}"
                self._complain_of(one.expression, what, key, error)
        hearing.sort(key=lambda one: one.number)  # the index has them by what they ask for
        return hearing

    def heard_by(self, event: Event, now: datetime) -> tuple[list[Listener], list[str]]:
        """Return what `listeners_for` and `functions_for` do; what the filters of both may take is one budget."""
        name, found = event.name, dict[str, None]()
        is_filtered = name in self._listeners
        for pattern in _patterns(name):
            for trigger in self._triggers.get(pattern, ()):
                found[trigger.function] = None
                is_filtered = is_filtered or trigger.expression is not None
        if not is_filtered:  # the name says all
            return [], list(found)
        seen, budget = view(event), Budget()
        return self.listeners_for(seen, now, budget), self.functions_for(seen, budget)

    def is_heard(self, name: str) -> bool:
        """Say whether any trigger or listener is for events of this name."""
        return name in self._listeners or not self._triggers.keys().isdisjoint(_patterns(name))

    def listeners(self) -> list[Listener]:
        """Return every listener."""
        return [listener for listener, _ in self._places.values()]

    def near_misses(self, name: str) -> list[Listener]:
        """Return every listener for events of this name, whatever it asks of them."""
        return [listener for listener, _ in self._places.values() if listener.event == name]

    def _complain_of(self, expression: Expression | None, what: str, whose: str, error: Exception) -> None:
        source = "" if expression is None else expression.source
        why = str(error) if isinstance(error, EvaluationError) else f"{type(error).__name__}: {error}"
        # Once for all runs whose step asks it: a wait in a thousand runs is one mistake.
        about, of = f"{whose} {source}", f"the filter {source!r} of {what}"
        self.complain(about, f"{of} cannot be evaluated, which counts as no match: {why}")
