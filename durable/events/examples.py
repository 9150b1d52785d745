"""Find data with which an event would be heard by a listener.

Separate because only people ask for this, who want to answer a wait by hand.
Leaves to `triggers` the decision whether an event is heard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from durable.events.event import Event
from durable.events.expressions.scope import Budget
from durable.events.matching import Path, at_path, seen_by_filters
from durable.events.triggers import Listener


def fitting(listener: Listener, now: datetime) -> dict[str, Any] | None:
    """Return data with which an event of the listener's name answers it at `now`, or None.

    They hold only what the listener's path and the equalities of its filter ask for, as values of plain JSON. None: the
    filter asks for more than that, or for something else than data.
    """
    data: dict[str, Any] = {}
    try:
        for path, value in _required(listener):
            copy = json.loads(json.dumps(value, allow_nan=False))
            if path[0] != "data" or not _put(data, path[1:], copy):
                return None
        seen = seen_by_filters(Event(listener.event, data))
        return data if listener.hears(seen, now, Budget()) else None
    except Exception:  # of a filter, or of a value that JSON does not have: no data are known to fit
        return None


def _required(listener: Listener) -> Iterator[tuple[Path, object]]:
    if listener.path is not None:
        yield listener.path, at_path(listener.own, listener.path)
    for equality in () if listener.expression is None else listener.expression.equalities():
        yield equality.path, equality.value({"event": listener.own})


def _put(data: dict[str, Any], path: Path, value: object) -> bool:
    """Put a value at a path; return whether there is room for it."""
    if not path:
        if not isinstance(value, Mapping):
            return False
        data.update(value)
        return True
    for name in path[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            return False
    return bool(data.setdefault(path[-1], value) == value)
