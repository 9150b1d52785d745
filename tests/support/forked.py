"""Give the tests of forks handlers that note their calls, and both kinds of store.

Separate because what a fork calls again is what each of these tests asks.
Leaves to the tests the functions that are forked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable import DictStore, FileStore, NonRetriableError, current_step

MakeStore = Callable[[Path], Any]
STORES: list[MakeStore] = [lambda _: DictStore(), lambda path: FileStore(path / "x.db", durability="none")]
on_each_store = pytest.mark.parametrize("store", STORES, ids=["dict", "file"])
crashing_or_not = pytest.mark.parametrize("crashing", [False, True])

calls: list[str] = []
"""The keys of the steps whose handlers were called, in order."""

mended: list[str] = []
"""The keys of the steps at which `broken` fails no more."""


def forget() -> None:
    """Begin a test: nothing was called, nothing is mended."""
    calls.clear()
    mended.clear()


async def work(value: Any) -> Any:
    calls.append(current_step().key)
    return value


async def suspending(value: Any) -> Any:
    calls.append(current_step().key)
    await asyncio.sleep(0)
    return value


async def endless() -> None:
    calls.append(current_step().key)
    await asyncio.Event().wait()


async def broken() -> str:
    calls.append(current_step().key)
    if current_step().key not in mended:
        raise NonRetriableError("broken")
    return "mended"
