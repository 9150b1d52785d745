"""Read values at paths in events, and compare them.

Separate because the index, the triggers and the waits must agree on equality.
Leaves to `bus` the index, to `expressions` filters of more than one path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from durable.errors import ExpressionError
from durable.events.event import Event
from durable.events.expressions.expression import Expression, parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.values import plain
from durable.events.words import NAME_BYTES, checked_name, checked_text, is_str
from durable.events.words import plain as plain_text
from durable.timers import shown

Path = tuple[str, ...]


Key = tuple[str, Any]


SOURCE_BYTES = 128 * 1_024  # the parser has a lower limit, with an error of its own


_ABSENT = object()


def seen_by_filters(event: Event) -> dict[str, Any]:
    """Return an event as expressions and paths see it, with `ts` in milliseconds as in Inngest."""
    ts = None if event.ts is None else int(event.ts.timestamp() * 1000)
    return {"name": event.name, "data": event.data, "id": event.id, "ts": ts, "v": event.v}


def at_path(value: object, path: Path) -> object:
    """Return the value at `path` below `value`, or `_ABSENT`."""
    for name in path:
        if type(value) is dict:  # nearly always: asking whether it is a Mapping takes ten times as long
            value = value.get(name, _ABSENT)
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return _ABSENT
    return value


def lacking(seen: Mapping[str, Any], path: Path) -> str | None:
    """Say why an event has no value at a path; None if it has one."""
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
    """Return the key under which a value is indexed, or None.

    Containers, null and NaN are not indexed.
    """
    kind = type(value)
    if kind is str or isinstance(value, str):
        return ("string", value)
    if kind is int:
        return ("number", value)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", value) if value == value else None
    try:
        simple = plain(value)
    except Exception:  # an absent value, or a value that expressions do not know
        return None
    return None if simple is value else index_key(simple)


def same_value(one: object, other: object) -> bool:
    """Return whether two values are equal in JSON.

    A bool equals only a bool. Numbers compare by value, other values only with values of their own kind.
    """
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
    """Return the path in a `match` that `checked_path` has let pass."""
    return tuple(text.split("."))


def checked_path(text: object, *, what: str) -> Path:
    """Check a `match`, and return its path.

    Raises:
        TypeError, ValueError, LimitError: it is not a dotted path below an event, such as "data.invoice_id".
    """
    if not is_str(text):
        raise TypeError(f"match of {what} must be a path such as 'data.invoice_id', not {shown(text)}")
    path = path_of(checked_text(text, f"match of {what}", most=NAME_BYTES))
    if path[0] not in ("data", "name", "id", "ts", "v") or not all(path) or (path == ("data",)):
        raise ValueError(
            f"match of {what} must be a path below the event, such as 'data.invoice_id', not {shown(text)}"
        )
    return path


def checked_expression(source: object, names: Collection[str], *, what: str) -> Expression:
    """Return the parsed expression of an option.

    `names` are the variables that it may use.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_text`.
        ExpressionError: it does not parse, or it uses another name. The message begins with `what`.
    """
    text = checked_text(source, what, most=SOURCE_BYTES)
    try:
        return parse(text, names)
    except ExpressionError as error:
        raise ExpressionError(f"{what}: {error}", error.position) from None


def checked_pattern(name: object, *, what: str) -> str:
    """Check an event name, which may end in `*` after `/` or `.`, and return it.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`; or there is a `*` in another place.
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
    """Return an event's name and all patterns that match it.

    The runtime's own names have their first "/" after "durable", so that every pattern for them holds that prefix
    (R16).
    """
    stars = [name[: position + 1] + "*" for position, character in enumerate(name) if character in "/."]
    return (name, *stars)
