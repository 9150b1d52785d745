"""An event that is just a name and data is accepted, or refused, as any other event."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import pytest

from durable import Event, Limits
from durable.journal import accepted, plainly_accepted

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LIMITS = Limits(event_bytes=200)


class Text(str):
    """A str of a user's own."""


NAMES = [
    "go",
    "shop/order.placed",
    "räksmörgås",
    "ö" * 600,
    "x" * 1_024,
    "x" * 1_025,
    "",
    "durable/x",
    "shop/*",
    "\ud83d",
]
DATA: list[Any] = [
    {},
    {"k": 1},
    OrderedDict(k=1),
    {Text("k"): Text("v")},
    {1: 2},
    {"k": {3: (4, None)}},
    {"k": "\ud83d"},
    {"k": object()},
    {"k": "v" * 300},
    None,
    7,
    [("k", 1)],
]


def outcome(ask: Any) -> Any:
    try:
        event = ask()
    except Exception as error:
        return type(error), str(error).partition(" at 0x")[0]
    return event.name, type(event.name), event.text, event.id, event.ts, event.v


@pytest.mark.parametrize("data", DATA, ids=repr)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_plain_event_is_accepted_as_any_other_one(name: str, data: Any) -> None:
    assert outcome(lambda: plainly_accepted(name, data, LIMITS, "i", NOON)) == outcome(
        lambda: accepted(Event(name, data), LIMITS, "i", NOON)
    )
