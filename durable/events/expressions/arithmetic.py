"""Compute `+ - * / %` and the sign, and write numbers in strings.

Separate because values grow only here, and so their growth is limited here.
Leaves to `values` comparisons.

An int has any size that JSON text can have, up to `MAX_BITS`. An int and a float give a float. A string and a number
are joined. Adding null changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Scope
from durable.events.expressions.values import plain, shown, type_name

MAX_BITS = 8192  # an int of so many bits can still be printed: Python refuses more than 4,300 digits
MAX_LENGTH = 1_000_000

Operation = Callable[[Any, Any, Scope], Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refusal(sign: str, one: Any, other: Any) -> EvaluationError:
    return EvaluationError(f"{shown(one)} {sign} {shown(other)} has no meaning")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise EvaluationError(f"{shown(value)} is too large for arithmetic with fractions") from None


def _bounded(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise EvaluationError(f"the number has more than {MAX_BITS:,} bits")
    return value


def text_of(value: Any, scope: Scope) -> str:
    """Return a number as people write it: `100` also for 100.0, `1.5`, `1e+21`."""
    if isinstance(value, int):
        scope.spend(_bounded(value).bit_length() >> 6)
        return str(value)
    if math.isfinite(value) and value.is_integer() and abs(value) < 1e21:
        return "-0" if value == 0 and math.copysign(1, value) < 0 else str(int(value))
    return repr(value)


def add(one: Any, other: Any, scope: Scope) -> Any:
    """Return the sum of two values.

    Numbers are added, strings, bytes and lists joined, times moved by a duration.

    A string and a number are joined; null adds nothing, and null + null is false. Source: Inngest's rules.

    Raises:
        EvaluationError: values that have no sum, a result that is too long.
    """
    if type(one) is int and type(other) is int:
        return _bounded(one + other)
    one, other = plain(one), plain(other)
    if one is None or other is None:
        rest = other if one is None else one
        return False if rest is None else rest
    if _is_number(one) and _is_number(other):
        return _bounded(one + other) if _both_int(one, other) else _as_float(one) + _as_float(other)
    if isinstance(one, str) and _is_number(other):
        other = text_of(other, scope)
    elif isinstance(other, str) and _is_number(one):
        one = text_of(one, scope)
    if type(one) is type(other) and isinstance(one, str | bytes | list):
        return _joined(one, other, scope)
    if isinstance(one, datetime | timedelta) and isinstance(other, datetime | timedelta):
        return _moved("+", one, other)
    raise _refusal("+", one, other)


def _both_int(one: Any, other: Any) -> bool:
    return isinstance(one, int) and isinstance(other, int)


def _joined(one: Any, other: Any, scope: Scope) -> Any:
    length = len(one) + len(other)
    if length > MAX_LENGTH:
        raise EvaluationError(f"the joined {type_name(one)} is {length:,} long, at most {MAX_LENGTH:,} are held")
    scope.spend(length if isinstance(one, list) else length >> 4)
    return one + other


def _moved(sign: str, one: Any, other: Any) -> Any:
    try:
        return one + other if sign == "+" else one - other
    except TypeError:
        raise _refusal(sign, one, other) from None
    except OverflowError:
        raise EvaluationError(f"{type_name(one)} {sign} {type_name(other)} leaves the calendar") from None


def subtract(one: Any, other: Any, scope: Scope) -> Any:
    """Return the difference of numbers, of times, of durations."""
    one, other = plain(one), plain(other)
    if _is_number(one) and _is_number(other):
        return _bounded(one - other) if _both_int(one, other) else _as_float(one) - _as_float(other)
    if isinstance(one, datetime | timedelta) and isinstance(other, datetime | timedelta):
        return _moved("-", one, other)
    raise _refusal("-", one, other)


def multiply(one: Any, other: Any, scope: Scope) -> Any:
    """Return the product of numbers."""
    one, other = plain(one), plain(other)
    if not (_is_number(one) and _is_number(other)):
        raise _refusal("*", one, other)
    if not _both_int(one, other):
        return _as_float(one) * _as_float(other)
    if one.bit_length() + other.bit_length() > MAX_BITS:
        raise EvaluationError(f"the product would have more than {MAX_BITS:,} bits")
    return one * other


def divide(one: Any, other: Any, scope: Scope) -> Any:
    """Return the quotient of numbers.

    Of two ints it is truncated towards zero; with a float it follows IEEE 754.

    Raises:
        EvaluationError: an int by the int 0.
    """
    one, other = plain(one), plain(other)
    if not (_is_number(one) and _is_number(other)):
        raise _refusal("/", one, other)
    if not _both_int(one, other):
        return _quotient(_as_float(one), _as_float(other))
    return _divided(one, other)[0]


def remainder(one: Any, other: Any, scope: Scope) -> Any:
    """Return the remainder of a division, with the sign of the dividend.

    Raises:
        EvaluationError: by zero.
    """
    one, other = plain(one), plain(other)
    if not (_is_number(one) and _is_number(other)):
        raise _refusal("%", one, other)
    if _both_int(one, other):
        return _divided(one, other)[1]
    dividend, divisor = _as_float(one), _as_float(other)
    if divisor == 0 or math.isinf(dividend):
        raise EvaluationError(f"the remainder of {shown(one)} by {shown(other)} is no number")
    return math.fmod(dividend, divisor)


def _divided(one: int, other: int) -> tuple[int, int]:
    if other == 0:
        raise EvaluationError(f"{shown(one)} is divided by zero")
    _bounded(one), _bounded(other)
    quotient, rest = divmod(abs(one), abs(other))
    return (quotient if (one < 0) == (other < 0) else -quotient), (-rest if one < 0 else rest)


def _quotient(one: float, other: float) -> float:
    if other != 0:
        return one / other
    if one == 0 or one != one:
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1, other)


def negate(value: Any) -> Any:
    """Return the number or the duration with the opposite sign.

    Raises:
        EvaluationError: a value that has no sign.
    """
    value = plain(value)
    if _is_number(value) or isinstance(value, timedelta):
        try:
            return -value
        except OverflowError:
            raise EvaluationError("the duration is too long") from None
    raise EvaluationError(f"-{shown(value)} has no meaning")


OPERATIONS: dict[str, Operation] = {"+": add, "-": subtract, "*": multiply, "/": divide, "%": remainder}
