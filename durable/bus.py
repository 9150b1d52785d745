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

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Any

import attrs

from durable.expressions import Budget, EvaluationError, Expression, plain, truthy
from durable.records import Event
from durable.spelling import shown
from durable.words import NAME_BYTES, checked_name, checked_text, is_str
from durable.words import plain as plain_text

Path = tuple[str, ...]
Key = tuple[str, Any]
Place = tuple[str, str]  # a run and a step's key; for a cancellation, see `ids.cancel_place`
Complaint = Callable[[str, str], None]  # about what, to be said once; and what there is to say

SOURCE_BYTES = 128 * 1_024  # the parser reads less, and says so in its own words

_ABSENT = object()


def view(event: Event) -> dict[str, Any]:
    """Return the event as expressions and paths see it; `ts` is in milliseconds, as Inngest has it."""
    ts = None if event.ts is None else int(event.ts.timestamp() * 1000)
    return {"name": event.name, "data": event.data, "id": event.id, "ts": ts, "v": event.v}


def at_path(value: object, path: Path) -> object:
    """Return what stands at `path` below `value`, or `_ABSENT`."""
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def lacking(seen: Mapping[str, Any], path: Path) -> str | None:
    """Return how far a path leads in an event that has nothing there, in words; None if something stands there."""
    value: object = seen
    for number, name in enumerate(path):
        if not isinstance(value, Mapping):
            return f"{'.'.join(path[:number])!r} is no mapping"
        if name not in value:
            keys = ", ".join(sorted(map(repr, value))) or "nothing"
            return f"it has no {'.'.join(path[: number + 1])!r}: there is {keys} in {'.'.join(path[:number])!r}"
        value = value[name]
    return None


def index_key(value: object) -> Key | None:
    """Return the key under which a value is indexed, or None for one that is not: a container, null, NaN."""
    if isinstance(value, str):
        return ("string", value)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", value) if value == value else None
    try:
        simple = plain(value)
    except Exception:  # nothing there, or a value that expressions do not know
        return None
    return None if simple is value else index_key(simple)


def same_value(one: object, other: object) -> bool:
    """Compare as JSON does: a bool equals only a bool, numbers compare by value, everything else with its kind."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    try:
        return bool(plain(one) == plain(other))
    except EvaluationError:  # a value that expressions do not know is compared as Python does
        return bool(one == other)


def path_of(text: str) -> Path:
    """Return the path that a `match` names which was checked when it was given."""
    return tuple(text.split("."))


def checked_path(text: object, *, what: str) -> Path:
    """Return the path that a `match` names.

    Raises:
        TypeError, ValueError, LimitError: not a dotted path below an event, such as "data.invoice_id".
    """
    if not is_str(text):
        raise TypeError(f"match of {what} must be a path such as 'data.invoice_id', not {shown(text)}")
    path = path_of(checked_text(text, f"match of {what}", most=NAME_BYTES))
    if path[0] not in ("data", "name", "id", "ts", "v") or not all(path) or (path == ("data",)):
        raise ValueError(
            f"match of {what} must be a path below the event, such as 'data.invoice_id', not {shown(text)}"
        )
    return path


def checked_source(text: object, *, what: str) -> str:
    """Return the text of an expression, which is still to be parsed.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_text`.
    """
    return checked_text(text, what, most=SOURCE_BYTES)


def checked_pattern(name: object, *, what: str) -> str:
    """Return an event name that may end in `*` after `/` or `.`.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`; or a `*` anywhere else.
    """
    if not is_str(name):
        raise TypeError(f"the event of {what} must be a name, not {shown(name)} ({type(name).__name__})")
    found = plain_text(name)
    star = found.find("*")
    if not found or (star >= 0 and (star != len(found) - 1 or len(found) < 2 or found[-2] not in "/.")):
        raise ValueError(
            f"the event of {what} cannot be {shown(found)}: a name, or a pattern whose * ends it after / or ., as "
            "'shop/*'"
        )
    return checked_name(found, f"the event of {what}")


@attrs.frozen(eq=False, repr=False)
class Trigger:
    """One way in which an event opens a run of a function."""

    function: str
    event: str
    expression: Expression | None = None

    def hears(self, seen: Mapping[str, Any], budget: Budget | None = None) -> bool:
        """Say whether the trigger's expression, if any, holds for an event of its name. It may raise anything."""
        return self.expression is None or truthy(self.expression.evaluate({"event": seen}, budget))


@attrs.frozen(eq=False, repr=False)
class Listener:
    """Somebody who waits for an event: a step's wait, or the cancellation of a run.

    `own` is the view of the run's event, to which paths and expressions are bound; None where there are neither.
    `cancels`: it cancels its run, and is no step's wait.
    `number` says in which order they came: that is the order in which one event answers them.
    """

    place: Place
    event: str
    until: datetime | None
    path: Path | None = None
    expression: Expression | None = None
    own: Mapping[str, Any] | None = None
    cancels: bool = False
    number: int = attrs.field(factory=count().__next__, init=False)

    def hears(self, seen: Mapping[str, Any], now: datetime, budget: Budget | None = None) -> bool:
        """Say whether an event of the listener's name, seen at `now`, answers it. It may raise anything."""
        if self.until is not None and now >= self.until:
            return False
        return self._matches(seen) and self._holds(seen, budget)

    def _matches(self, seen: Mapping[str, Any]) -> bool:
        if self.path is None:
            return True
        mine, theirs = at_path(self.own, self.path), at_path(seen, self.path)
        return mine is not _ABSENT and theirs is not _ABSENT and same_value(mine, theirs)

    def _holds(self, seen: Mapping[str, Any], budget: Budget | None) -> bool:
        if self.expression is None:
            return True
        return truthy(self.expression.evaluate({"event": self.own, "async": seen}, budget))

    def equality(self) -> tuple[Path, Key] | None:
        """Return the one equality under which the listener is indexed: a bound value before a literal, then the
        first; None where no equality can be indexed."""
        if self.path is not None:
            key = index_key(at_path(self.own, self.path))
            if key is not None:
                return self.path, key
        if self.expression is None:
            return None
        for equality in sorted(self.expression.equalities(), key=lambda equality: equality.literal):
            try:
                key = index_key(equality.value({"event": self.own}))
            except EvaluationError:
                continue  # asked in full, it fails for every event, and says so then
            if key is not None:
                return equality.path, key
        return None


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


class Bus:
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


@lru_cache(maxsize=512)
def _patterns(name: str) -> tuple[str, ...]:
    """Return the names and patterns that an event's name falls under. A name of the runtime's own has its first / after
    "durable", so that every pattern for it spells that prefix (R16)."""
    stars = [name[: position + 1] + "*" for position, character in enumerate(name) if character in "/."]
    return (name, *stars)
