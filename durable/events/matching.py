"""Paths into events, the values at them, and when two values are equal.

Separate because the index, the triggers and the waits must agree on equality.
Leaves to `bus` the index, to `expressions` everything that is more than one path.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from durable.events.event import Event
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.values import plain
from durable.events.words import NAME_BYTES, checked_name, checked_text, is_str
from durable.events.words import plain as plain_text
from durable.timers import shown

Path = tuple[str, ...]


Key = tuple[str, Any]


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


@lru_cache(maxsize=512)
def _patterns(name: str) -> tuple[str, ...]:
    """Return the names and patterns that an event's name falls under. A name of the runtime's own has its first / after
    "durable", so that every pattern for it spells that prefix (R16)."""
    stars = [name[: position + 1] + "*" for position, character in enumerate(name) if character in "/."]
    return (name, *stars)
