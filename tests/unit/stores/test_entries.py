"""What may be written down at all: an entry and its row are plain when they are made, or are not made. R31

So one that cannot be kept is the error of whoever made it, on every store alike, and never that of a store.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import attrs
import pytest

from durable import Entry, RunQuery, RunRow
from tests.support.wordings import EAST, NOON, SHAPES, Elsewhere, Instant, NotATime, Odd

ROW = RunRow("r", "f", "e", NOON)
TEXTS: dict[str, Callable[[Any], Any]] = {
    "run": lambda text: Entry(text, "k", "b").run,
    "kind": lambda text: Entry("r", text, "b").kind,
    "body": lambda text: Entry("r", "k", text).body,
    "id": lambda text: attrs.evolve(ROW, id=text).id,
    "function": lambda text: attrs.evolve(ROW, function=text).function,
    "event": lambda text: attrs.evolve(ROW, event=text).event,
    "status": lambda text: attrs.evolve(ROW, status=text).status,
    "error": lambda text: attrs.evolve(ROW, error=text).error,
    "status of a query": lambda text: RunQuery(status=text).status,
    "function of a query": lambda text: RunQuery(function=text).function,
    "event_id of a query": lambda text: RunQuery(event_id=text).event_id,
    "parent of a query": lambda text: RunQuery(parent=text).parent,
    "before of a query": lambda text: RunQuery(before=text).before,
    "id of the events": lambda text: attrs.evolve(ROW, event_ids=(text,)).event_ids[0],
    "event of a query": lambda text: RunQuery(event=text).event,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", TEXTS)
def test_a_text_is_a_plain_one_or_refused(field: str, shape: str) -> None:
    """Of any length: what bounds it stands at the doors."""
    text = SHAPES[shape]
    if text.refused is ValueError and text.plain:
        with pytest.raises(ValueError, match="holds half of a surrogate pair"):
            TEXTS[field](text.text)
    else:
        found = TEXTS[field](text.text)
        assert type(found) is str and found == text.plain


@pytest.mark.parametrize("bad", [7, b"bytes", ["r"], Mock(spec=str)], ids=repr)
@pytest.mark.parametrize("field", TEXTS)
def test_what_is_no_text_is_refused(field: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=f"{field.partition(' ')[0]} of .* must be a string"):
        TEXTS[field](bad)


@pytest.mark.parametrize("field", ["run", "kind", "body", "id", "function", "event"])
def test_a_text_that_must_be_there_may_not_be_missing(field: str) -> None:
    with pytest.raises(TypeError, match="must be a string, not None"):
        TEXTS[field](None)


INSTANTS: dict[str, Callable[[Any], Any]] = {
    "keep_until": lambda when: Entry("", "k", "b", keep_until=when).keep_until,
    "opened_after": lambda when: RunQuery(opened_after=when).opened_after,
    "opened_before": lambda when: RunQuery(opened_before=when).opened_before,
    "opened_at": lambda when: attrs.evolve(ROW, opened_at=when).opened_at,
    "ended_at": lambda when: attrs.evolve(ROW, ended_at=when).ended_at,
}


@pytest.mark.parametrize("field", INSTANTS)
def test_an_instant_is_a_plain_one_in_utc_or_refused(field: str) -> None:
    for given in (NOON, NOON.astimezone(EAST), Instant(2030, 1, 1, 12, tzinfo=UTC)):
        found = INSTANTS[field](given)
        assert (type(found), found.tzinfo, found) == (datetime, UTC, NOON)
    for bad in (datetime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=Elsewhere()), NotATime(2030, 1, 1, tzinfo=UTC), 7):
        with pytest.raises((TypeError, ValueError), match=f"{field} of "):
            INSTANTS[field](bad)


def test_a_row_without_an_opening_is_refused() -> None:
    with pytest.raises(TypeError, match=r"opened_at of the row of run 'r' must be an aware .*, not None"):
        attrs.evolve(ROW, opened_at=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("run", ["", "other", Odd("R")])
def test_an_entry_brings_the_row_of_its_own_run(run: str) -> None:
    with pytest.raises(ValueError, match="cannot bring the row of run 'r': give both the same id"):
        Entry(run, "k", "b", row=ROW)
    assert Entry(Odd("r"), "k", "b", row=attrs.evolve(ROW, id=Odd("r"))).row == ROW


def test_ends_run_is_true_or_false() -> None:
    assert [Entry("r", "k", "b", flag).ends_run for flag in (0, 1, "", [7])] == [False, True, False, True]  # type: ignore[arg-type]
