"""Write and read JSON text, and plain values beyond JSON under tags.

Separate because these values need no type to come back, and no recursion: one table each way.
Leaves to `to_tree` and `from_tree` the containers and the walk, to `classes` the values that need an annotation.

A tag is a JSON object whose first key starts with `~`. A user's object that starts so is written under the tag `~dict`,
so the two cannot be confused. A quote inside a JSON string is escaped, and our texts hold no spaces. So the three
characters of `MARK` occur in a text exactly if it holds a tag, and a text without them needs no walk.
"""

from __future__ import annotations

import json
import math
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from json import encoder
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

MARK = '{"~'
# The interpreter's limit on digits can be set as low as 640. An int of at most this many bits has fewer digits.
_INT_BITS = 2_000
_FEW_DIGITS = 600
# More digits take long to write and to read. The interpreter refuses them unless its limit was raised or removed.
LONG = 10_000
_MOST_DIGITS = 1_000_000
# JSON reads such a pair as one character, so two lone halves side by side need a tag.
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _refused(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


_PLAIN_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_refused)
# JSONEncoder makes this C function anew at every call. Made once, it saves more than half of a small value's cost.
_MAKE: Any = getattr(encoder, "c_make_encoder", None)  # absent where json has no C code
_C_WRITE = _MAKE and _MAKE(None, _refused, encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
# Hot paths call both directly, which saves a call: `"".join(WRITE(tree, 0))` is `dumps(tree)`.
WRITE = _C_WRITE or (lambda tree, _level: (_PLAIN_ENCODER.encode(tree),))
SCAN = json.JSONDecoder().raw_decode


def dumps(tree: object) -> str:
    """Return a tree as JSON text in one line of ASCII.

    Raises:
        ValueError: it holds NaN, an infinity, or an int with more digits than the interpreter writes.
    """
    return "".join(WRITE(tree, 0))


def loads(text: str) -> Any:
    """Read JSON text as `dumps` writes it; an int may have any number of digits.

    Raises:
        ValueError: the text is not JSON, or something follows it.
    """
    if len(text) > LONG and not 0 < sys.get_int_max_str_digits() <= LONG:
        return json.loads(text, parse_int=_whole)
    try:
        tree, end = SCAN(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # written where the interpreter's limit on digits was higher
        return json.loads(text, parse_int=_whole)
    if end != len(text):
        raise ValueError(f"more text after the value, at character {end}")
    return tree


def _whole(digits: str) -> int:
    """Read an int of any number of digits, past the interpreter's limit.

    The time grows less than with the square of the number of digits.
    """
    if digits.startswith("-"):
        return -_whole(digits[1:])
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an int of {len(digits):,} digits takes too long to read: it was not written by the codec")
    return _joined(digits, {})


def _joined(digits: str, powers: dict[int, int]) -> int:
    if len(digits) <= _FEW_DIGITS:
        return int(digits)
    low = len(digits) // 2
    if low not in powers:
        powers[low] = 10**low
    return _joined(digits[:-low], powers) * powers[low] + _joined(digits[-low:], powers)


def is_long(value: int) -> bool:
    """Return whether an int has so many digits that writing them takes long."""
    return value.bit_length() > _INT_BITS


def integer(value: int) -> object:
    """Return an int as it is, or tagged if another interpreter might refuse its digits."""
    return {"~int": hex(value)} if is_long(value) else value


def real(value: float) -> object:
    """Return a float, tagged if it is NaN or an infinity, which JSON lacks."""
    if math.isfinite(value):
        return value
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    return {"~float": sign + ("nan" if math.isnan(value) else "inf")}


def text(value: str) -> object:
    """Return a string, tagged if two halves of a surrogate pair stand side by side."""
    if value.isascii() or not _SURROGATE_PAIR.search(value):
        return value
    return {"~str": _from_bytes(value.encode("utf-8", "surrogatepass"))}


def _to_text(payload: Any) -> str:
    return str(payload) if isinstance(payload, str) else _to_bytes(payload["~str"]).decode("utf-8", "surrogatepass")


def _from_bytes(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _to_bytes(payload: str) -> bytes:
    return b64decode(payload, validate=True)


def _from_timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _from_timezone(value: timezone) -> list[object]:
    offset, name = value.utcoffset(None), value.tzname(None)
    return [_from_timedelta(offset), None if name == timezone(offset).tzname(None) else text(name)]


def _to_timezone(payload: Any) -> timezone:
    offset, name = payload
    return timezone(timedelta(*offset)) if name is None else timezone(timedelta(*offset), _to_text(name))


def _from_zone(value: ZoneInfo) -> str:
    if value.key is None:
        raise ValueError("a ZoneInfo without a key cannot be found again: make it by ZoneInfo(key)")
    return value.key


def _from_tzinfo(zone: tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is ZoneInfo:
        return _from_zone(zone)
    if type(zone) is timezone:
        return _from_timezone(zone)
    raise ValueError(
        f"a time zone of the class {type(zone).__module__}.{type(zone).__qualname__} would not come back: "
        "use zoneinfo.ZoneInfo or datetime.timezone"
    )


def _to_tzinfo(payload: Any) -> tzinfo | None:
    if payload is None:
        return None
    return ZoneInfo(payload) if isinstance(payload, str) else _to_timezone(payload)


def _from_clock(value: datetime | time) -> object:
    zone = value.tzinfo
    if (zone is None or zone is UTC) and not value.fold:
        return value.isoformat()
    return [value.replace(tzinfo=None, fold=0).isoformat(), _from_tzinfo(zone), value.fold]


def _to_datetime(payload: Any) -> datetime:
    if isinstance(payload, str):
        return datetime.fromisoformat(payload)
    return datetime.fromisoformat(payload[0]).replace(tzinfo=_to_tzinfo(payload[1]), fold=payload[2])


def _to_time(payload: Any) -> time:
    if isinstance(payload, str):
        return time.fromisoformat(payload)
    return time.fromisoformat(payload[0]).replace(tzinfo=_to_tzinfo(payload[1]), fold=payload[2])


def _from_path(value: PurePosixPath | PureWindowsPath) -> object:
    if type(value)(str(value)) != value:  # such as PureWindowsPath("//://")
        raise ValueError(f"the path {value!r} is another one when its text is read: keep it as text")
    return text(str(value))


def _to_path(kind: Callable[[str], object]) -> Callable[[Any], object]:
    def path(payload: Any) -> object:
        try:
            return kind(_to_text(payload))
        except NotImplementedError:
            raise ValueError("a path of another operating system: keep it as a PurePath to read it here") from None

    return path


# By tag: the type, the function from a value to its payload, and the function back.
_TABLE: dict[str, tuple[type, Callable[[Any], object], Callable[[Any], object]]] = {
    "~datetime": (datetime, _from_clock, _to_datetime),
    "~date": (date, date.isoformat, date.fromisoformat),
    "~time": (time, _from_clock, _to_time),
    "~timedelta": (timedelta, _from_timedelta, lambda payload: timedelta(*payload)),
    "~timezone": (timezone, _from_timezone, _to_timezone),
    "~ZoneInfo": (ZoneInfo, _from_zone, ZoneInfo),
    "~Decimal": (Decimal, str, Decimal),
    "~UUID": (UUID, str, UUID),
    "~bytes": (bytes, _from_bytes, _to_bytes),
    "~PosixPath": (PosixPath, _from_path, _to_path(PosixPath)),
    "~WindowsPath": (WindowsPath, _from_path, _to_path(WindowsPath)),
    "~PurePosixPath": (PurePosixPath, _from_path, _to_path(PurePosixPath)),
    "~PureWindowsPath": (PureWindowsPath, _from_path, _to_path(PureWindowsPath)),
}

TO_PAYLOAD: dict[type, tuple[str, Callable[[Any], object]]] = {
    kind: (tag, written) for tag, (kind, written, _) in _TABLE.items()
}
FROM_PAYLOAD: dict[str, Callable[[Any], object]] = {
    **{tag: read for tag, (_, _, read) in _TABLE.items()},
    "~int": lambda payload: int(payload, 16),
    "~float": float,
    "~str": lambda payload: _to_text({"~str": payload}),
}
