"""The format of a file store: what an earlier release cannot read raises it, in the write that brings it. Design 8"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from durable import Entry, FileStore, RunRow, StoreError
from durable.journal.records import Record
from durable.stores.file import schema

OF_FORMAT_1 = set(
    "EventSent KeyClaimed MessageTaken EngineClosed RunOpened RunResumed RunStarted RunRetried StepOpened StepRetried "
    "StepClosed RunClosed".split()
)
OF_FORMAT_2 = {"RunRested"}


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of record that came after format 2."""
    monkeypatch.setattr(schema, "LATER_KINDS", frozenset({"Later"}))
    return "Later"


def formats_after(path: Path, *entries: Entry) -> list[int]:
    """Append each entry by itself; return the store's format after each."""

    async def story() -> list[int]:
        found = []
        store = FileStore(path, durability="none")
        await store.open()
        for entry in entries:
            await store.append([entry])
            with closing(sqlite3.connect(path)) as connection:
                found.append(connection.execute("PRAGMA user_version").fetchone()[0])
        await store.close()
        return found

    return asyncio.run(story())


def test_every_kind_of_record_is_known_to_format_1_or_raises_the_format() -> None:
    kinds = {kind.__name__ for kind in get_args(Record)}
    assert kinds - OF_FORMAT_1 - OF_FORMAT_2 == schema.LATER_KINDS
    assert not schema.LATER_KINDS & (OF_FORMAT_1 | OF_FORMAT_2)


def test_the_first_record_of_a_later_kind_raises_the_format_and_no_other_lowers_it(tmp_path: Path, kind: str) -> None:
    plain, later = Entry("r", "StepClosed", "{}"), Entry("r", kind, "{}")
    assert formats_after(tmp_path / "s.db", plain, later, plain, Entry("r", "RunRested", "{}", sums_up=True)) == [
        *(1, 3, 3, 3)
    ]


def test_a_later_kind_raises_the_format_wherever_its_entry_stands(tmp_path: Path, kind: str) -> None:
    alone = [Entry("s", kind, "{}"), Entry("", kind, "{}"), Entry("t", kind, "{}", ends_run=True)]
    for number, entry in enumerate(alone):
        assert formats_after(tmp_path / f"{number}.db", entry) == [3]


def test_a_rest_alone_raises_it_to_2(tmp_path: Path) -> None:
    entries = [Entry("r", "StepClosed", "{}"), Entry("r", "RunRested", "{}", sums_up=True)]
    assert formats_after(tmp_path / "s.db", *entries) == [1, 2]


def opened(run: str, *event_ids: str) -> Entry:
    row = RunRow(run, "f", "e", datetime(2030, 1, 1, tzinfo=UTC), event_ids=event_ids)
    return Entry(run, "RunOpened", "{}", row=row)


def test_a_run_that_is_found_by_an_id_of_its_event_raises_it_too(tmp_path: Path) -> None:
    entries = opened("r"), opened("s", "order-7"), opened("t"), opened("u", "order-8")
    assert formats_after(tmp_path / "s.db", *entries) == [1, 3, 3, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"CREATE TRIGGER theirs AFTER INSERT ON {schema.BY_EVENT} BEGIN SELECT 1; END", "foreign trigger 'theirs'"),
        (f"DROP INDEX {schema.BY_EVENT}_run", f"lacks its index '{schema.BY_EVENT}_run'"),
        (f"ALTER TABLE {schema.BY_EVENT} ADD COLUMN theirs", "has another table"),
    ],
)
def test_the_table_of_these_ids_must_be_as_it_was_made(tmp_path: Path, change: str, said: str) -> None:
    formats_after(tmp_path / "s.db", opened("s", "order-7"))
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute(change)
    with pytest.raises(StoreError, match=said):
        asyncio.run(FileStore(tmp_path / "s.db").open())
