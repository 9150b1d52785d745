"""What the writer refuses to rest on: a setting that SQLite did not take, a file that is not at its path any more."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable.errors import StoreError
from durable.stores.file import connection, schema
from durable.stores.file.store import FileStore
from durable.stores.store import Entry


class Stubborn(sqlite3.Connection):
    """A connection that takes every setting without a word, and then says of one that it is another."""

    answer: tuple[str, str] = ("", "")

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        name, value = self.answer
        return super().execute(f"SELECT {value}" if sql == f"PRAGMA {name}" else sql, *parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "'delete'"),
        ("synchronous", "1"),
        ("fullfsync", "0"),
        ("checkpoint_fullfsync", "0"),
        ("wal_autocheckpoint", "1000"),
    ],
)
def test_a_setting_that_is_not_taken_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    """R30: durability rests on each of them; the mode stays "delete" where a file system has no shared memory."""
    stubborn = sqlite3.connect(tmp_path / "x.db", isolation_level=None, factory=Stubborn)
    stubborn.text_factory = bytes
    schema.create(stubborn)
    schema.configure(stubborn, "x.db", schema.SYNCHRONOUS["power"])
    stubborn.answer = name, value
    with pytest.raises(StoreError, match=rf"{name} = \w+, it stays b?{value}: .*local disk"):
        schema.configure(stubborn, "x.db", schema.SYNCHRONOUS["power"])
    stubborn.close()


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_was_moved_is_noticed_at_the_checkpoint(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R31: a checkpoint would drop from the -wal what no opener of the path finds in the file."""
    monkeypatch.setattr(connection, "_LOOK_S", math.inf)

    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        await store.open()
        await store.append([Entry("r", "StepClosed", "small")])
        os.rename(tmp_path / f"x.db{suffix}", tmp_path / "elsewhere")
        await store.append([Entry("r", "StepClosed", "small")])
        await store.append([Entry("r", "StepClosed", "x" * (2 << 20))])
        with pytest.raises(StoreError, match="moved, deleted or replaced"):
            await store.append([Entry("r", "StepClosed", "small")])
        await store.close()

    asyncio.run(main())
