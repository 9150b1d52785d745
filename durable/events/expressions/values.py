"""Define the types of values, their equality and their order.

The rules are JSON's, and exact for numbers.

Separate because operators, functions and macros must agree on these rules.
Leaves to `arithmetic` the computation of new values.

Values are bound as they are. A value that is not JSON (a Decimal, a UUID, an Enum, a tuple) is turned into its plain
form by `plain` only when an operator meets it, so JSON values cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Scope

LONG = 256  # characters from which on a string's length costs fuel
_NUMBERS = (int, float)
_EXACT_DIGITS = 400


@attrs.frozen
class Type:
    """A type is the result of `type(value)`; types with the same name are equal."""

    name: str


_TYPES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    datetime: "timestamp",
    timedelta: "duration",
    Type: "type",
}
TYPES = {name: Type(name) for name in _TYPES.values()} | {"uint": Type("int")}


def plain(value: Any) -> Any:
    """Return `value` as one of CEL's own types.

    Values of these types are returned as they are, without a look at their elements. An Enum becomes its value. A UUID,
    a path, a date and a time become strings. A Decimal becomes an int if it is whole, else a float. A tuple becomes a
    list, a set a sorted list, any mapping a dict, and an object of a subclass one of its base.

    Raises:
        EvaluationError: an object of any other class.
    """
    if type(value) in _TYPES:
        return value
    match value:
        case Enum():
            return plain(value.value)
        case Decimal():
            return _number(value)
        case UUID() | PurePath():
            return str(value)
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case datetime() | timedelta():
            return value
        case date() | time():
            return value.isoformat()
        case bytearray() | memoryview() | bytes():
            return bytes(value)
        case tuple() | list():
            return list(value)
        case set() | frozenset():
            return _ordered(value)
        case Mapping():
            return dict(value)
    raise EvaluationError(f"an expression cannot use a value of class {type(value).__qualname__!r}")


def _number(value: Decimal) -> int | float:
    if value.is_finite() and value.adjusted() < _EXACT_DIGITS and value == value.to_integral_value():
        return int(value)
    return float(value) if not value.is_snan() else float("nan")


def _ordered(values: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def type_name(value: Any) -> str:
    """Return the CEL name of the value's type."""
    kind = _TYPES.get(type(value))
    return kind if kind is not None else _TYPES.get(type(plain(value)), "timestamp")


def shown(value: Any) -> str:
    """Return a value for a message: its type and a short text."""
    if value is None:
        return "null"
    if isinstance(value, str):
        value = value[:41]  # the whole of a long one would cost more than the evaluation that failed
    text = repr(value) if isinstance(value, str | int | float) and not _is_huge(value) else "..."
    return f"{type_name(value)} {text if len(text) <= 40 else text[:37] + '...'}"


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > 4096


def truthy(value: Any) -> bool:
    """Return whether a value counts as true.

    Null, false, "", 0 and NaN do not; everything else does, `[]` too. Source: Inngest's filters.
    """
    if value is True or value is False:
        return value is True
    kind = type(value)
    if kind is str or value is None:
        return bool(value)
    if kind is not list and kind is not dict:
        value = plain(value)
    if isinstance(value, float):
        return value == value and value != 0.0
    return bool(value) if isinstance(value, str | int | bytes) else value is not None


_SAME = frozenset((str, int, bool, type(None), float, bytes))


def equal(one: Any, other: Any, scope: Scope) -> bool:
    """Return whether two values are equal.

    Numbers are compared by value, exactly. A bool equals only a bool. Lists are compared in order. Values of different
    types are unequal, which is not an error. The comparison is iterative, so that deep values do no harm; each element
    costs fuel.
    """
    kind = type(one)
    if kind is type(other) and kind in _SAME:
        if kind is str and len(one) > LONG:
            scope.spend(len(one) >> 6)
        return bool(one == other)
    pending = [(one, other)]
    while pending:
        a, b = pending.pop()
        kind = type(a)
        if kind is not type(b) or kind not in _SAME:
            a, b = plain(a), plain(b)
        if isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            scope.spend(2 * len(a) + 1)
            pending.extend(zip(a, b, strict=True))
        elif isinstance(a, dict) and isinstance(b, dict):
            if len(a) != len(b) or not _paired(a, b, pending, scope):
                return False
        elif not _same(a, b, scope):
            return False
    return True


def _paired(one: dict[Any, Any], other: dict[Any, Any], pending: list[tuple[Any, Any]], scope: Scope) -> bool:
    """Queue the values of two maps for comparison; return False if their keys differ."""
    scope.spend(2 * len(one) + 1)
    for key, value in one.items():
        found, there = looked_up(other, key, scope)
        if not there:
            return False
        pending.append((value, found))
    return True


def _same(one: Any, other: Any, scope: Scope) -> bool:
    kind = type(one)
    if kind is type(other):
        if kind in (str, bytes):
            scope.spend(len(one) >> 6)
        return bool(one == other)
    if kind is bool or type(other) is bool:
        return False
    both = isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS)
    both = both or (isinstance(one, datetime) and isinstance(other, datetime))
    return both and one == other


def looked_up(table: Mapping[Any, Any], key: Any, scope: Scope) -> tuple[Any, bool]:
    """Return the value under `key`, and whether the map has the key.

    1 and 1.0 are the same key, true is a different one.

    Raises:
        EvaluationError: the key is a list or a map.
    """
    if type(key) is not str:
        key = plain(key)
        if isinstance(key, list | dict):
            raise EvaluationError(f"a {type_name(key)} cannot be the key of a map")
    if key not in table:
        return None, False
    if (key == 0 or key == 1) and type(key) is not str:
        scope.spend(len(table))
        if not any(_same(plain(known), key, scope) for known in table if known == key):
            return None, False
    return table[key], True


_EMPTY: dict[type, Any] = {str: "", int: 0, float: 0.0, bool: False, bytes: b""}


def compare(one: Any, other: Any, scope: Scope) -> int | None:
    """Compare two values: return -1, 0 or 1, as in `one` minus `other`.

    Returns None if one of them is NaN. Null counts as 0, "" or false, as the other's type asks. Source: Inngest's rules
    for missing fields.

    Raises:
        EvaluationError: the values are of different types, or of a type without an order.
    """
    if type(one) not in _TYPES or type(other) not in _TYPES:
        one, other = plain(one), plain(other)
    if one is None:
        one = _EMPTY.get(type(other), 0 if other is None else None)
    if other is None:
        other = _EMPTY.get(type(one))
    kind, other_kind = type(one), type(other)
    if kind is not other_kind and not _is_ordered_pair(one, other):
        raise EvaluationError(f"{shown(one)} and {shown(other)} have no order: they are of two types")
    if kind in (list, dict, Type, type(None)):
        raise EvaluationError(f"values of type {type_name(one)} have no order")
    if kind in (str, bytes):
        scope.spend(min(len(one), len(other)) >> 6)
    try:
        return -1 if one < other else 1 if one > other else 0 if one == other else None
    except TypeError:
        raise EvaluationError("a timestamp without a time zone has no order with one that has it") from None


def _is_ordered_pair(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    return (
        (isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS))
        or (isinstance(one, datetime) and isinstance(other, datetime))
        or (isinstance(one, timedelta) and isinstance(other, timedelta))
    )


def select(value: Any, name: str) -> Any:
    """Return the field `name` of a map, or null.

    It is null for a missing field, and for a value that has no fields.
    """
    if type(value) not in _TYPES and isinstance(value, Mapping):
        return value.get(name)
    return value.get(name) if isinstance(value, dict) else None


def at(value: Any, key: Any, scope: Scope) -> Any:
    """Return a list's element or a map's value under `key`.

    It is null for a missing key of a map, and for null.

    Raises:
        EvaluationError: the index is outside the list or not a whole number, or the value has no elements.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        return looked_up(value, key, scope)[0]
    value, key = plain(value), plain(key)
    if not isinstance(value, list):
        raise EvaluationError(f"a {type_name(value)} has no elements to index")
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if type(key) is not int:
        raise EvaluationError(f"the index of a list must be a whole number, not {shown(key)}")
    if not 0 <= key < len(value):
        raise EvaluationError(f"index {shown(key)} is outside of a list of {len(value)}")
    return value[key]


def contains(value: Any, container: Any, scope: Scope) -> bool:
    """Return whether a list has the element, or a map the key, `value`.

    Null contains nothing.

    Raises:
        EvaluationError: the container is neither a list nor a map.
    """
    if container is None:
        return False
    if isinstance(container, Mapping):
        return not isinstance(plain(value), list | dict) and looked_up(container, value, scope)[1]
    container = plain(container)
    if not isinstance(container, list):
        raise EvaluationError(f"'in' looks into a list or the keys of a map, not into a {type_name(container)}")
    scope.spend(2 * len(container))
    return any(equal(value, element, scope) for element in container)
