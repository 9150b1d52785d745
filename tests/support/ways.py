"""Let a test's engine go on in three ways: undisturbed, after a crash, opened again.

Opened again, it reads its store from a file.

Separate because nearly every rule promises the same for all three, and a test should only say this promise.
Leaves to the tests the places at which they call `again`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from durable import FileStore, Function
from durable.testing import Lab

WAYS = ("live", "after a crash", "opened again from a file")


class _Undisturbed(Lab):
    """A lab whose engine goes on."""

    async def _restart(self) -> None:
        """Do nothing: the test must also pass without a crash."""


class _InAFile(Lab):
    """A lab on a file, whose engine is closed and opened again."""

    def __init__(self, functions: Iterable[Function[Any]], path: Path) -> None:
        super().__init__(functions, store=FileStore(path))
        self._path = path

    async def _restart(self) -> None:
        """Close the engine in order, and open another on the same file."""
        await self.engine.close()
        self._store = FileStore(self._path)
        self.engine = self._new_engine()
        await self.engine.open()


def lab_of(way: str, functions: Iterable[Function[Any]], folder: Path) -> Lab:
    """Return a lab whose `crash` is that of one of the three ways."""
    if way == "live":
        return _Undisturbed(functions)
    return Lab(functions) if way == "after a crash" else _InAFile(functions, folder / "x.db")
