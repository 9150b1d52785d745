"""Data with which an event is heard: what a wait's match and the equalities of its filter ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable.events import Event, Listener, fitting, parse, path_of, seen_by_filters

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OWN = {"id": 7, "by": {"name": "ann"}, "ok": True, "none": None, "tags": [1], "when": NOW, "nan": float("nan")}


def listener(match: str | None, if_exp: str | None, until: datetime | None = None) -> Listener:
    own = seen_by_filters(Event("order/placed", OWN, id="own"))
    path, expression = None if match is None else path_of(match), None if if_exp is None else parse(if_exp)
    return Listener(("run", "step"), "order/approved", until, path, expression, own)


@pytest.mark.parametrize(
    ("match", "if_exp", "data"),
    [
        (None, None, {}),
        ("data.id", None, {"id": 7}),
        ("data.ok", None, {"ok": True}),
        ("data.none", None, {"none": None}),
        ("data.by.name", None, {"by": {"name": "ann"}}),
        ("data.by", None, {"by": {"name": "ann"}}),
        ("data.tags", None, {"tags": [1]}),
        (None, "async.data.id == event.data.id", {"id": 7}),
        (None, "async.data.a.b == 'x' && event.data.id == async.data.id", {"a": {"b": "x"}, "id": 7}),
        ("data.id", "async.data.ok == true && async.data.id > 3", {"id": 7, "ok": True}),
        (None, "async.data.id == event.data.missing.deep", {"id": None}),
        # What no data are known to fulfil.
        ("data.nothing", None, None),
        ("data.when", None, None),  # plain JSON has no instant
        ("data.nan", None, None),
        ("id", None, None),
        (None, "async.data.total > 5", None),
        (None, "async.data.id == 1 && async.data.id == 2", None),
        (None, "async.data.id == 1 || async.data.id == 2", None),
        (None, "async.name == 'order/approved'", None),
        ("data.by", "async.data.by.name.first == 'a'", None),
        ("data.id", "async.data.id.x == 1", None),
    ],
)
def test_the_data_are_those_that_are_asked_for_or_none_are_known(
    match: str | None, if_exp: str | None, data: dict[str, Any] | None
) -> None:
    one = listener(match, if_exp)
    found = fitting(one, NOW)
    assert repr(found) == repr(data)
    assert found is None or one.hears(seen_by_filters(Event("order/approved", found)), NOW)


def test_nothing_fits_after_the_deadline() -> None:
    assert fitting(listener("data.id", None, NOW), NOW - timedelta(seconds=1)) == {"id": 7}
    assert fitting(listener("data.id", None, NOW), NOW) is None


def test_the_runs_own_data_are_left_as_they_are() -> None:
    assert fitting(listener("data.by", "async.data.by.last == 'x'"), NOW) is None
    assert OWN["by"] == {"name": "ann"}
