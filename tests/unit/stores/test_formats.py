"""The format of a file store: what an earlier release cannot read raises it, in the write that brings it. Design 8"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from durable import Entry, FileStore
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
