"""What others keep in a store's file is left alone, what hangs on its own tables is refused by its name."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry
from tests.proof.crashes.senders import change, made, sent


def _do(path: Path, *statements: str) -> None:
    for statement in statements:
        change(path, statement)


async def _used(path: Path) -> list[str]:
    store = FileStore(path, durability="none")
    await store.open()
    await store.append([Entry("r", "StepClosed", "step")])
    await store.close()
    async with FileReader(path) as reader:
        return [entry.body async for entry in reader.history("r")]


@pytest.mark.parametrize(
    "statements",
    [
        # What Litestream makes in the file that it backs up.
        [
            "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
            "CREATE TABLE _litestream_lock (id INTEGER)",
            "INSERT INTO _litestream_seq VALUES (1, 1)",
        ],
        ["CREATE VIEW failed AS SELECT id, error FROM runs WHERE status = 'failed'"],
        ["CREATE TABLE mine (x)", "CREATE INDEX mine_x ON mine (x)"],
        ["CREATE TABLE mine (x)", "CREATE TRIGGER mine_t AFTER INSERT ON mine BEGIN DELETE FROM mine; END"],
        ["CREATE VIEW v AS SELECT 1 AS x", "CREATE TRIGGER vt INSTEAD OF INSERT ON v BEGIN SELECT 1; END"],
        ["ANALYZE"],
        ["PRAGMA auto_vacuum = 0", "VACUUM"],
        ["PRAGMA auto_vacuum = 1", "VACUUM"],
        ["VACUUM"],
        ["REINDEX"],
    ],
)
def test_what_others_keep_in_the_file_is_left_alone(tmp_path: Path, statements: list[str]) -> None:
    path = made(tmp_path / "x.db")
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    kept = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    assert asyncio.run(_used(path)) == ["step"]
    assert sent(path, "a/b")
    assert asyncio.run(_used(path)) == ["step", "step"]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == kept
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "CREATE TRIGGER audit AFTER INSERT ON journal BEGIN SELECT 1; END",
            "foreign trigger 'audit' .*'journal'.*DROP TRIGGER",
        ),
        ("CREATE TRIGGER runs BEFORE DELETE ON Runs BEGIN SELECT 1; END", "foreign trigger 'runs' .*DROP TRIGGER"),
        ("CREATE TRIGGER t AFTER UPDATE ON mark BEGIN SELECT 1; END", "foreign trigger 't'"),
        ("CREATE INDEX by_kind ON journal (kind)", "foreign index 'by_kind' .*'journal'.*DROP INDEX"),
        ("CREATE UNIQUE INDEX x ON runs (function) WHERE function = 'f'", "foreign index 'x' .*'runs'"),
    ],
)
def test_what_hangs_on_a_table_of_the_stores_own_is_refused_by_its_name(
    tmp_path: Path, statement: str, said: str
) -> None:
    path = made(tmp_path / "x.db")
    change(path, statement)
    for use in (_used(path), FileReader(path).open()):
        with pytest.raises(StoreError, match=said) as caught:
            asyncio.run(use)
        assert not isinstance(caught.value, StoreCorruptError)
    kind, name = statement.replace("UNIQUE ", "").split()[1:3]
    change(path, f"DROP {kind} {name}")
    assert asyncio.run(_used(path)) == ["step"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP INDEX journal_run", "lacks its index 'journal_run'"),
        ("DROP TABLE mark", "lacks its table 'mark'"),
        ("ALTER TABLE runs ADD COLUMN mine", "another table 'runs'"),
        ("ALTER TABLE journal RENAME TO diary", "lacks its table 'journal'"),
    ],
)
def test_a_table_that_is_another_than_it_was_made_is_damage_and_named(
    tmp_path: Path, statement: str, said: str
) -> None:
    path = made(tmp_path / "x.db")
    change(path, statement)
    for use in (_used(path), FileReader(path).open()):
        with pytest.raises(StoreCorruptError, match=said):
            asyncio.run(use)


def test_what_was_read_in_from_a_dump_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db")
    asyncio.run(_used(path))
    source, copy = sqlite3.connect(path), sqlite3.connect(tmp_path / "copy.db")
    copy.executescript("\n".join(source.iterdump()))
    source.execute("VACUUM INTO ?", (str(tmp_path / "good.db"),))
    source.close()
    copy.close()
    for use in (_used(tmp_path / "copy.db"), FileReader(tmp_path / "copy.db").open()):
        with pytest.raises(StoreError, match=r"lost its application_id.*\.dump.*VACUUM INTO"):
            asyncio.run(use)
    assert asyncio.run(_used(tmp_path / "good.db")) == ["step", "step"]
