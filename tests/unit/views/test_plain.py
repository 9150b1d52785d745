"""Values of users in the form that JSON can hold, for `to_dict` and the command line."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest

from durable import Progress, RecordedError
from durable.views.plain import plainly


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


@attrs.frozen
class Order:
    total: Decimal
    lines: tuple[int, ...] = ()


@dataclasses.dataclass
class Customer:
    born: date


class Odd:
    def __str__(self) -> str:
        raise ValueError

    def __repr__(self) -> str:
        raise ValueError


Point = namedtuple("Point", "x y")
CASES: list[tuple[object, Any]] = [
    *[(one, one) for one in (None, True, 7, 10**40, 1.5, "a\n")],
    (Size.BIG, 3), (Colour.RED, "red"),
    (float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"),
    (datetime(2030, 1, 1, 12, tzinfo=UTC), "2030-01-01T12:00:00+00:00"),
    (date(2030, 1, 1), "2030-01-01"), (time(12, 30), "12:30:00"), (timedelta(minutes=1.5), 90.0),
    (b"\xff", "/w=="), (Decimal("1.10"), "1.10"), (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("/a"), "/a"), (ZoneInfo("UTC"), "UTC"),
    ([1, (2, 3)], [1, [2, 3]]), ({3, 1, 2}, [1, 2, 3]), (frozenset({"b", "a"}), ["a", "b"]),
    (Point(1, {2}), {"x": 1, "y": [2]}),
    ({2: "a", None: "b", True: "c", (1, 2): "d", Colour.RED: "e", 1.5: "f"},
     {"2": "a", "null": "b", "true": "c", "[1, 2]": "d", "red": "e", "1.5": "f"}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}), (Order(Decimal(3), (1,)), {"total": "3", "lines": [1]}),
    (Customer(date(2000, 2, 1)), {"born": "2000-02-01"}), (Order, repr(Order)),
    (Progress(1, 2), {"done": 1, "total": 2, "note": None}),
    (Odd(), "<a Odd that cannot be shown: ValueError>"),
    (
        RecordedError("A", "m", causes=(RecordedError("B", ""),)),
        {"name": "A", "message": "m", "stack": "", "step_id": None,
         "causes": [{"name": "B", "message": "", "stack": "", "step_id": None, "causes": []}]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("value", "plain"), CASES, ids=lambda case: f"{type(case).__name__}")
def test_a_value_has_one_plain_form(value: object, plain: Any) -> None:
    found = plainly(value)
    assert found == plain and type(found) is type(plain)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_mapping_keeps_its_order() -> None:
    assert list(plainly({"b": 1, "a": 2})) == ["b", "a"]
