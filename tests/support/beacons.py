"""See what an engine tells other processes of its steps, and hold these up.

Separate because what is seen from outside is what each of these tests asks.
Leaves to the tests what runs, and what goes wrong.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import durable
from durable.journal.history import ledger_of
from durable.stores import FileReader
from durable.views import Live, LiveStep, live_of


async def told(path: Path) -> Live:
    async with FileReader(path) as reader:
        return live_of(await reader.live())


async def seen(path: Path, run: str) -> durable.RunInfo:
    """Return a run as another process sees it."""
    async with FileReader(path) as reader:
        ledger = await ledger_of(reader.history(run))
        assert ledger is not None
        return live_of(await reader.live()).pictured(ledger)


async def until(path: Path, holds: Callable[[Live], object]) -> Live:
    async with asyncio.timeout(20):
        while not holds(live := await told(path)):
            await asyncio.sleep(0.001)
    return live


def steps(live: Live, run: str) -> list[LiveStep]:
    return list(live.running.get(run, {}).values())


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


class Hold:
    """Handlers that run until they are let go."""

    def __init__(self) -> None:
        self.going = asyncio.Event()
        self.gone = threading.Event()

    async def wait(self) -> None:
        await self.going.wait()

    def block(self) -> None:
        self.gone.wait(30)

    def let_go(self) -> None:
        self.going.set()
        self.gone.set()


@asynccontextmanager
async def opened(path: Path, function: durable.Function[Any], **options: Any) -> AsyncIterator[durable.Engine]:
    async with durable.Engine([function], store=path, **options) as engine:
        yield engine
