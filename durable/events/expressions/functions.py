"""Define the functions that an expression may call.

Separate because this is the one list of functions, with their forms and numbers of arguments: the compiler checks calls
against it.
Leaves to `macros` the functions that take an expression instead of a value.

For null a function returns null or false, because a missing field is null, and a filter over it should not fail.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from durable.events.expressions.arithmetic import MAX_BITS, add, subtract, text_of
from durable.events.expressions.automaton import automaton
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.moments import (
    PARTS,
    date,
    duration,
    part,
    seconds_since_epoch,
    timestamp,
    timestamp_text,
)
from durable.events.expressions.scope import Scope
from durable.events.expressions.values import TYPES, Type, plain, shown, type_name
from durable.timers import in_seconds

_COMPILED = 32_000  # the cost of an invalid pattern, in fuel
_LOCATED = 500  # the cost of a time zone, in fuel: it may have to be found on disk


class Function:
    """A function of the language is called as `run(scope, *arguments)`.

    `counts` are the numbers of arguments it takes. A method's first argument is the value before the dot.
    """

    __slots__ = ("counts", "form", "run")

    def __init__(
        self,
        run: Callable[..., Any],
        counts: tuple[int, ...],
        form: Literal["function", "method", "either"] = "function",
    ) -> None:
        self.run, self.counts, self.form = run, counts, form


def _text(value: Any, caller: str) -> str:
    value = plain(value)
    if not isinstance(value, str):
        raise EvaluationError(f"{caller}() takes a string, not {shown(value)}")
    return value


def _size(scope: Scope, value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, str | bytes | list | tuple | set | frozenset | Mapping):
        value = plain(value)
        if not isinstance(value, str | list | dict):
            raise EvaluationError(f"a {type_name(value)} has no size")
    return len(value)


def _starts_with(scope: Scope, value: Any, start: Any) -> bool:
    return value is not None and _text(value, "startsWith").startswith(_compared(start, "startsWith", scope))


def _ends_with(scope: Scope, value: Any, end: Any) -> bool:
    return value is not None and _text(value, "endsWith").endswith(_compared(end, "endsWith", scope))


def _compared(value: Any, caller: str, scope: Scope) -> str:
    text = _text(value, caller)
    scope.spend(len(text) >> 6)
    return text


def _contains(scope: Scope, value: Any, part: Any) -> bool:
    if value is None:
        return False
    text = _text(value, "contains")
    scope.spend(len(text) >> 5)
    return _text(part, "contains") in text


def _matches(scope: Scope, value: Any, pattern: Any) -> bool:
    if value is None:
        return False
    text = _text(value, "matches")
    try:
        machine = automaton(_text(pattern, "matches"))
    except EvaluationError:
        scope.spend(_COMPILED)
        raise
    scope.spend(8 * machine.size)  # the cost of compiling it, which may have been necessary
    return machine.matches(text, scope)


def _lowercase(scope: Scope, value: Any) -> str | None:
    return None if value is None else _cased(_text(value, "lowercase"), scope).lower()


def _uppercase(scope: Scope, value: Any) -> str | None:
    return None if value is None else _cased(_text(value, "uppercase"), scope).upper()


def _cased(text: str, scope: Scope) -> str:
    scope.spend(len(text) >> 4)
    return text


def _b64decode(scope: Scope, value: Any) -> str | None:
    if value is None:
        return None
    text = _cased(_text(value, "b64decode"), scope)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise EvaluationError(f"{shown(value)} is no Base64 of a UTF-8 text") from None


def _json_parse(scope: Scope, value: Any) -> Any:
    if value is None:
        return None
    text = _text(value, "json_parse")
    scope.spend(len(text) >> 1)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{shown(value)} is no JSON: {error}") from None


def _int(scope: Scope, value: Any) -> int:
    value = plain(value)
    if isinstance(value, datetime):
        return seconds_since_epoch(value)
    if (isinstance(value, float) and math.isfinite(value)) or type(value) is int:
        return int(value)
    if isinstance(value, str):
        return _int_of_text(value, scope)
    raise EvaluationError(f"int() cannot convert {shown(value)}")


def _int_of_text(text: str, scope: Scope) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if len(digits) * 3 > MAX_BITS or not (digits.isascii() and digits.isdigit()):
        raise EvaluationError(f"{shown(text)} is no whole number")
    scope.spend(len(digits) >> 5)
    return int(text)


def _uint(scope: Scope, value: Any) -> int:
    number = _int(scope, value)
    if number < 0:
        raise EvaluationError(f"uint() cannot convert {shown(value)}: it is negative")
    return number


def _double(scope: Scope, value: Any) -> float:
    value = plain(value)
    if (isinstance(value, str) and len(value) > 1000) or isinstance(value, bool):
        raise EvaluationError(f"double() cannot convert {shown(value)}")
    try:
        return float(value.replace("_", "?") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        raise EvaluationError(f"double() cannot convert {shown(value)}") from None


def _string(scope: Scope, value: Any) -> str:
    value = plain(value)
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return text_of(value, scope)
        case datetime():
            return timestamp_text(value)
        case timedelta():
            return in_seconds(value)
        case bytes():
            scope.spend(len(value) >> 4)
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvaluationError("string() cannot convert bytes that are not UTF-8") from None
    raise EvaluationError(f"string() cannot convert {shown(value)}")


_BOOLS = dict.fromkeys(("1", "t", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "false", "FALSE", "False"), False
)


def _bool(scope: Scope, value: Any) -> bool:
    value = plain(value)
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in _BOOLS:
        raise EvaluationError(f"bool() cannot convert {shown(value)}: write true or false")
    return _BOOLS[value]


def _bytes(scope: Scope, value: Any) -> bytes:
    value = plain(value)
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise EvaluationError(f"bytes() cannot convert {shown(value)}")
    scope.spend(len(value) >> 4)
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise EvaluationError("bytes() cannot convert a string with half a surrogate pair") from None


def _type(scope: Scope, value: Any) -> Type:
    return TYPES[type_name(value)]


def _now(scope: Scope) -> datetime:
    """Return `bindings["now"]` or the clock's time, the same throughout one evaluation."""
    if scope.now is None:
        bound = scope.variables.get("now")
        scope.now = datetime.now(UTC) if bound is None else timestamp(bound)
    return scope.now


def _now_plus(scope: Scope, length: Any) -> Any:
    return add(_now(scope), duration(length), scope)


def _now_minus(scope: Scope, length: Any) -> Any:
    return subtract(_now(scope), duration(length), scope)


def _part(name: str, scope: Scope, value: Any, zone: Any = None) -> int:
    if zone is None:
        return part(name, value)
    scope.spend(_LOCATED)
    return part(name, value, zone)


FUNCTIONS = {
    "size": Function(_size, (1,), "either"),
    "startsWith": Function(_starts_with, (2,), "method"),
    "endsWith": Function(_ends_with, (2,), "method"),
    "contains": Function(_contains, (2,), "method"),
    "matches": Function(_matches, (2,), "either"),
    "int": Function(_int, (1,)),
    "uint": Function(_uint, (1,)),
    "double": Function(_double, (1,)),
    "string": Function(_string, (1,)),
    "bool": Function(_bool, (1,)),
    "bytes": Function(_bytes, (1,)),
    "timestamp": Function(lambda scope, value: timestamp(value), (1,)),
    "duration": Function(lambda scope, value: duration(value), (1,)),
    "type": Function(_type, (1,)),
    "dyn": Function(lambda scope, value: value, (1,)),
    "lowercase": Function(_lowercase, (1,)),
    "uppercase": Function(_uppercase, (1,)),
    "b64decode": Function(_b64decode, (1,)),
    "json_parse": Function(_json_parse, (1,)),
    "date": Function(lambda scope, value: date(value), (1,)),
    "now": Function(_now, (0,)),
    "now_plus": Function(_now_plus, (1,)),
    "now_minus": Function(_now_minus, (1,)),
} | {name: Function(partial(_part, name), (1, 2), "method") for name in PARTS}
CLOCK_FUNCTIONS = frozenset(("now", "now_plus", "now_minus"))


def misuse(name: str, count: int, *, method: bool) -> str | None:
    """Return what is wrong with a call, or None.

    `name` is the function. `count` is the number of arguments, with a method's own value.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        return f"unknown function {name}()"
    if function.form != "either" and (function.form == "method") != method:
        written = f"value.{name}(...)" if function.form == "method" else f"{name}(...)"
        return f"{name}() is written {written}"
    if count not in function.counts:
        own = 1 if method else 0
        takes = " or ".join(str(wanted - own) for wanted in function.counts)
        return f"{name}() takes {takes} arguments, not {count - own}"
    return None
