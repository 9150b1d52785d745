"""Find the triggers and waits that hear an event.

Separate because with 100,000 waits the answer must be looked up in an index, which only this module knows.
Leaves to `decisions` the consequences for those that hear the event.

An event finds triggers by its name and by the patterns that match its name. It finds listeners (the waits of steps, and
the cancellations of runs) by name, then by one equality: the value at one path of the event. In the index the value
stands under its JSON type, because `True == 1` in Python. A listener without such an equality is checked for every
event of its name. The index gives candidates only; `Listener.hears` decides, unless the equality is all that is asked.

A filter is a user's code. If it fails, or takes too long, only its own listener is affected. All filters over one event
together have one bounded `Budget`, since the whole engine waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from durable.events.event import Event
from durable.events.expressions.expression import Expression
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.matching import Key, Path, _patterns, at_path, index_key, seen_by_filters
from durable.events.triggers import Complaint, Listener, Place, Trigger

REMEMBERED = 10
"""So many of the last events of a name are kept while somebody waits for it."""

_NAMES_KNOWN = 512

Placed = tuple[Listener, tuple[Path, Key] | None]
Together = dict[Place, Listener]
Triggered = tuple[tuple[Trigger, ...], tuple[str, ...] | None]
"""The triggers for events of one name; and the functions that these open runs of, if no filter is asked for that."""


@attrs.define(eq=False, repr=False)
class _Listeners:
    """The listeners for one event name, indexed by path and value where possible.

    Under a path and a value there is mostly one listener, which stands there without a dict of its own. `came` has the
    last events of the name, each with the instant at which it came, since the first listener is here.
    """

    paths: dict[Path, dict[Key, Listener | Together]] = attrs.field(factory=dict)
    rest: Together = attrs.field(factory=dict)
    came: list[tuple[Event, datetime]] = attrs.field(factory=list)

    def add(self, listener: Listener, equality: tuple[Path, Key] | None) -> None:
        if equality is None:
            self.rest[listener.place] = listener
        else:
            path, key = equality
            values = self.paths.get(path)
            if values is None:
                values = self.paths[path] = {}
            others = values.setdefault(key, listener)
            if isinstance(others, dict):
                others[listener.place] = listener
            elif others is not listener:
                values[key] = {others.place: others, listener.place: listener}

    def found(self, seen: Mapping[str, Any]) -> Iterable[Listener]:
        """Return the listeners whose equality holds for an event."""
        found: list[Listener] = []
        for path, values in self.paths.items():
            key = index_key(at_path(seen, path))
            listeners = None if key is None else values.get(key)
            if listeners is not None:
                found += listeners.values() if isinstance(listeners, dict) else (listeners,)
        return found

    def drop(self, place: Place, equality: tuple[Path, Key] | None) -> None:
        if equality is None:
            del self.rest[place]
            return
        path, key = equality
        values = self.paths[path]
        listeners = values[key]
        if isinstance(listeners, dict):
            del listeners[place]
        if not isinstance(listeners, dict) or not listeners:
            del values[key]
        if not values:
            del self.paths[path]


class EventBus:
    """An event bus knows all triggers and listeners, and finds those that hear an event.

    A filter that fails matches nothing; `complain(about, text)` is called to say so.
    """

    def __init__(self, complain: Complaint) -> None:
        self.complain = complain
        self._triggers: dict[str, list[Trigger]] = {}
        self._triggered: dict[str, Triggered] = {}  # by names that were asked for, patterns looked up
        self._listeners: dict[str, _Listeners] = {}
        self._places: dict[Place, Placed] = {}

    def add_trigger(self, trigger: Trigger) -> None:
        """Let events of the trigger's name or pattern open runs of its function."""
        self._triggers.setdefault(trigger.event, []).append(trigger)
        self._triggered.clear()

    def drop_triggers(self, function: str) -> None:
        """Forget the triggers of a function."""
        for name, triggers in list(self._triggers.items()):
            self._triggers[name] = [trigger for trigger in triggers if trigger.function != function]
            if not self._triggers[name]:
                del self._triggers[name]
        self._triggered.clear()

    def _triggered_by(self, name: str) -> Triggered:
        found = self._triggered.get(name)
        if found is None:
            if len(self._triggered) >= _NAMES_KNOWN:
                self._triggered.clear()
            triggers = tuple([trigger for pattern in _patterns(name) for trigger in self._triggers.get(pattern, ())])
            functions = None
            if all(trigger.expression is None for trigger in triggers):
                functions = tuple(dict.fromkeys([trigger.function for trigger in triggers]))
            self._triggered[name] = found = triggers, functions
        return found

    def functions_for(self, seen: Mapping[str, Any], budget: Budget | None = None) -> list[str]:
        """Return the functions that an event opens runs of.

        Each is returned once, even if several of its triggers match (R19).
        """
        found: dict[str, None] = {}
        for trigger in self._triggered_by(seen["name"])[0]:
            function = trigger.function
            try:
                if function not in found and (trigger.expression is None or trigger.hears(seen, budget)):
                    found[function] = None
            except Exception as error:
                self._complain_of(trigger.expression, f"a trigger of function {function!r}", function, error)
        return list(found)

    def listen(self, listener: Listener) -> None:
        """Let a listener hear events; it replaces a listener at the same place."""
        # The equality is kept with the listener: computed again, it could differ, and `leave` would not find it.
        self.put(listener.place, (listener, listener.equality()))

    def put(self, place: Place, placed: Placed | None) -> None:
        """Put back at a place what `at` has returned for it.

        It replaces any other listener. With None the place becomes empty.
        """
        if place in self._places:
            self.leave(place)
        if placed is not None:
            self._places[place] = placed
            name = placed[0].event
            listeners = self._listeners.get(name)
            if listeners is None:
                listeners = self._listeners[name] = _Listeners()
            listeners.add(*placed)

    def leave(self, place: Place) -> None:
        """Remove the listener at this place, if there is one."""
        found = self._places.pop(place, None)
        if found is None:
            return
        listener, equality = found
        listeners = self._listeners[listener.event]
        listeners.drop(place, equality)
        if not listeners.rest and not listeners.paths:
            del self._listeners[listener.event]

    def at(self, place: Place) -> Placed | None:
        """Return the listener at this place and its equality in the index, or None."""
        return self._places.get(place)

    def listeners_for(self, seen: Mapping[str, Any], now: datetime, budget: Budget | None = None) -> list[Listener]:
        """Return the listeners that an event answers at `now`, the oldest first."""
        listeners = self._listeners.get(seen["name"])
        if listeners is None:
            return []
        hearing: list[Listener] = []
        for one in listeners.found(seen):
            if (one.until is None or now < one.until) if one.is_exact else self._hears(one, seen, now, budget):
                hearing.append(one)
        for one in listeners.rest.values():
            if self._hears(one, seen, now, budget):
                hearing.append(one)
        if len(hearing) > 1:
            hearing.sort(key=lambda one: one.number)  # the index gives them in another order
        return hearing

    def _hears(self, one: Listener, seen: Mapping[str, Any], now: datetime, budget: Budget | None) -> bool:
        try:
            return one.hears(seen, now, budget)
        except Exception as error:
            run, key = one.place
            what = f"a Cancel of run {run!r}" if one.cancels else f"step {key!r} of run {run!r}"
            self._complain_of(one.expression, what, key, error)
            return False

    def heard_by(self, event: Event, now: datetime) -> tuple[list[Listener], Sequence[str]]:
        """Return the results of `listeners_for` and `functions_for`, with one budget for both."""
        name = event.name
        functions = (self._triggered.get(name) or self._triggered_by(name))[1]
        listeners = self._listeners.get(name)
        if listeners is None and functions is not None:  # as nearly always: the name alone decides
            return [], functions
        if listeners is not None:
            came = listeners.came
            came.append((event, now))
            if len(came) > REMEMBERED:
                del came[0]
        seen, budget = seen_by_filters(event), Budget()
        hearing = self.listeners_for(seen, now, budget)
        return hearing, functions if functions is not None else self.functions_for(seen, budget)

    def is_heard(self, name: str) -> bool:
        """Return whether any trigger or listener is for events of this name."""
        return name in self._listeners or bool((self._triggered.get(name) or self._triggered_by(name))[0])

    def triggered_by(self, name: str) -> list[str]:
        """Return the functions with a trigger for events of this name, without asking its filter."""
        return list(dict.fromkeys([trigger.function for trigger in self._triggered_by(name)[0]]))

    def listeners(self) -> list[Listener]:
        """Return every listener."""
        return [listener for listener, _ in self._places.values()]

    def near_misses(self, name: str) -> list[Listener]:
        """Return every listener for events of this name, without asking its filter."""
        return [listener for listener, _ in self._places.values() if listener.event == name]

    def last_of(self, name: str) -> list[tuple[Event, datetime]]:
        """Return the last events of a name that is listened to, and when they came, the latest first."""
        listeners = self._listeners.get(name)
        return [] if listeners is None else listeners.came[::-1]

    def _complain_of(self, expression: Expression | None, what: str, whose: str, error: Exception) -> None:
        source = "" if expression is None else expression.source
        why = str(error) if isinstance(error, EvaluationError) else f"{type(error).__name__}: {error}"
        # The run is not part of `about`: a wrong filter in a thousand runs is one mistake, and is told once.
        about, of = f"{whose} {source}", f"the filter {source!r} of {what}"
        self.complain(about, f"{of} cannot be evaluated, which counts as no match: {why}")
