"""Measure what the machine does without the library, to compare figures with it.

Separate because a limit must not depend on the library.
Leaves to `figures` the alternation of limits and measurements.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

_BODY = '{"run":"01HFQ8Z7M5T0","key":"one:17","kind":"run","outcome":{"_type":"Ok"},"turn":18,"tries":1}\n17'


class Commits:
    """Bare single-row commits of `sqlite3`, WAL and synchronous FULL: one durable write after the other."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, body TEXT)")

    async def write(self, count: int) -> None:
        """Commit so many rows."""
        for _ in range(count):
            self._connection.execute("INSERT INTO journal (body) VALUES (?)", (_BODY,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


async def one(number: int) -> int:
    """The trivial coroutine: it is also the handler of every step that is measured."""
    return number


async def plain(count: int) -> None:
    """Await a trivial coroutine, `json.dumps` and `json.loads` its value, so many times."""
    for number in range(count):
        json.loads(json.dumps(await one(number)))
