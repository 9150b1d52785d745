"""Turn the values of a view into plain ones that JSON can hold.

Separate because a command line, a web page and a test must spell the same value alike.
Leaves to `info` and `why` which values are shown.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

import attrs


def brief(value: object) -> str:
    """Return a value's `repr`, or a stand-in text if its `repr` raises.

    The `repr` of an int with very many digits raises, for instance.
    """
    try:
        return repr(value)
    except Exception as error:
        return f"<a {type(value).__name__} that cannot be shown: {type(error).__name__}>"


def plainly(value: object) -> Any:
    """Return a value in the form that JSON can hold.

    None, bools, ints, texts and finite floats stay. NaN and infinities become "NaN", "Infinity" and "-Infinity". Dates,
    times and instants become their ISO 8601 texts, a timedelta its seconds, bytes their Base64 text, an Enum's member
    its value. Mappings keep their order, and their keys become texts. Lists, tuples and sets become lists, sets in the
    order of their members' `repr`. Instances of attrs classes and dataclasses, and named tuples, become mappings of
    their fields. Anything else becomes its `str`: a Decimal, a UUID, a path, a zone.
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return plainly(value.value)
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return (
                float(value) if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity")
            )
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case _:
            return _parts(value)


def _parts(value: object) -> Any:
    match value:
        case Mapping():
            return {_key(key): plainly(one) for key, one in value.items()}
        case tuple() if hasattr(value, "_fields"):
            return {name: plainly(one) for name, one in zip(value._fields, value, strict=True)}
        case list() | tuple():
            return [plainly(one) for one in value]
        case set() | frozenset():
            return [plainly(one) for one in sorted(value, key=brief)]
        case type():
            return brief(value)
        case _ if attrs.has(kind := type(value)):
            return {field.name: plainly(getattr(value, field.name)) for field in attrs.fields(kind)}
        case _ if dataclasses.is_dataclass(value):
            return {field.name: plainly(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return _text(value)


def _key(key: object) -> str:
    found = plainly(key)
    return found if isinstance(found, str) else brief(found) if not isinstance(found, bool | None) else _WORDS[found]


_WORDS = {None: "null", True: "true", False: "false"}


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # of a user's class
        return brief(value)
