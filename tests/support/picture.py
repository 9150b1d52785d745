"""Show the state of an engine as one comparable value.

The value holds everything that a record can change.

Separate because "nothing has happened" and "a restart gives the same" are claims about the whole state.
Leaves to the tests the comparison.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

import attrs

from durable.events.triggers import Listener
from durable.journal.rules.state import State


def picture(state: State) -> dict[str, Any]:
    """Return the folded state in plain values; the order of tables does not count."""
    return {
        name: _drawn(getattr(state, name))
        for name in ("ledgers", "parked", "ended", "scheduled", "coming", "seen", "signals", "parents")
    } | {"bus": _bus(state), "windows": _windows(state)}


def _windows(state: State) -> dict[Any, Any]:
    """The last instant that counts at each place, and until when."""
    return {place: (seen.instants[-1], seen.until) for place, seen in state.windows._seen.items()}


def _bus(state: State) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, listeners in state.bus._listeners.items():
        found = [*listeners.rest.items()]
        for path, values in listeners.paths.items():
            for key, bucket in values.items():
                assert bucket, f"an empty bucket is left behind for {path} {key}"
                found += bucket.items() if isinstance(bucket, dict) else [(bucket.place, bucket)]
        assert found, f"an empty table is left behind for {name}"
        names[name] = {place: _listener(one) for place, one in found}
    listening = {place: _listener(one) for place, (one, _) in state.bus._places.items()}
    assert listening == {place: one for table in names.values() for place, one in table.items()}
    return names


def _listener(one: Listener) -> tuple[Any, ...]:
    source = None if one.expression is None else one.expression.source
    return (one.place, one.event, one.until, one.path, source, _drawn(one.own))


def _drawn(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    names = _names(kind)
    if names is not None:
        return {name: _drawn(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: _drawn(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_drawn(item) for item in value]
    return value


_PLAIN = {str, int, float, bool, type(None), datetime, timedelta}


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Name the attributes by which a value of this type is drawn, None if it is drawn otherwise."""
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if issubclass(kind, dict | list | tuple) or kind.__module__ == "datetime":
        return None
    return tuple(getattr(kind, "__slots__", ())) or None


def order(state: State) -> list[Any]:
    """Return the listeners, in the order in which one event answers them."""
    return [one.place for one in sorted(state.bus.listeners(), key=lambda one: one.number)]
