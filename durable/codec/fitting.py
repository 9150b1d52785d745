"""Whether a value is what an annotation says, at its outermost: `list[int]` is a list, whatever is in it.

Separate because the promise of `values` does not depend on it: a value that does not fit comes back all the same. But
what was recorded under one annotation and is read under another must not pass for what the code expects now (R6).
Leaves to `classes` the instances inside.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

Check = Callable[[Any], bool]


class _Absent(enum.Enum):
    ABSENT = "no annotation"


ABSENT: Final = _Absent.ABSENT
"""Stands for a type that is not given: None would be one."""


def _anything(_value: Any) -> bool:
    return True


def fits(value: object, annotation: Any) -> bool:
    """Say whether `value` is what `annotation` says. What is no class, or cannot be checked, fits."""
    if annotation is ABSENT:
        return True
    try:
        return _check(annotation)(value)
    except TypeError:  # an annotation that cannot be hashed, a class that refuses isinstance
        return True


@lru_cache(maxsize=1024)
def _check(annotation: Any) -> Check:
    if annotation is None:
        return lambda value: value is None
    if annotation is float:  # an int stands for a float, as for type checkers
        return lambda value: isinstance(value, float | int) and not isinstance(value, bool)
    if annotation is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        checks = [_check(one) for one in typing.get_args(annotation)]
        return lambda value: any(check(value) for check in checks)
    if origin is typing.Literal:
        members = typing.get_args(annotation)
        return lambda value: any(type(value) is type(one) and value == one for one in members)
    if origin is typing.Annotated:
        return _check(typing.get_args(annotation)[0])
    if isinstance(annotation, typing.NewType):
        return _check(annotation.__supertype__)
    if typing.is_typeddict(annotation):
        return lambda value: isinstance(value, dict)
    cls = annotation if origin is None else origin
    if not isinstance(cls, type) or cls is object or getattr(cls, "_is_protocol", False):
        return _anything
    return lambda value: isinstance(value, cls)
