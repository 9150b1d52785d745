"""Send to a store from child processes that are killed before a statement of SQLite's.

Separate because the tests of the sender and of the receiver kill, send and look in the same way.
Leaves to the tests the messages, and the expected results.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import durable
from durable.stores.file.inbox import Inbox, Message
from durable.stores.file.store import FileReader
from durable.stores.store import RunQuery
from tests.proof.crashes import start

# Put before a child's program: it dies of `kill -9` before the statement that writes or commits and has that number,
# counted from when a connection to the inbox was first opened.
DIES = """
import os, signal, sqlite3, sys, threading

left = int(sys.argv[2])
counts = False
guard = threading.Lock()
connect = sqlite3.connect

class Mortal(sqlite3.Connection):
    def execute(self, text, *values):
        die_before(text)
        return super().execute(text, *values)

    def executemany(self, text, *values):
        die_before(text)
        return super().executemany(text, *values)

def die_before(text):
    global left
    with guard:
        if counts and text.startswith(("BEGIN IMMEDIATE", "CREATE", "INSERT", "DELETE", "COMMIT")):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

def counting(path, **options):
    global counts
    counts = counts or ".inbox" in path
    return connect(path, factory=Mortal, **options)

sqlite3.connect = counting
"""
# All that die of one program are forked off a process that has loaded the library once for them.
_NEST = """
import os, sys
from durable import Engine, Sender

code = compile(sys.argv[1], "mortal", "exec")
for path in iter(sys.stdin.readline, ""):
    number = sys.stdin.readline()
    child = os.fork()
    if not child:
        sys.argv = ["", path[:-1], number]
        exec(code, {"__name__": "__main__"})
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"ended {status}", flush=True)
    if status not in (0, -9):
        break
"""


def made(path: Path) -> Path:
    """Make a store, as an engine that was opened once has left it."""

    async def story() -> None:
        async with durable.Engine(store=path):
            pass

    asyncio.run(story())
    return path


def copied(path: Path, name: str) -> Path:
    """Copy a closed store and its inbox, if it has one, to another name beside it."""
    for ending in ("", ".inbox"):
        if os.path.exists(f"{path}{ending}"):
            shutil.copy(f"{path}{ending}", f"{path.with_name(name)}{ending}")
    return path.with_name(name)


def sent(path: Path, *names: Any, limits: durable.Limits | None = None, **options: Any) -> list[str]:
    """Send events or names in calls of their own; return the runtime's ids."""

    async def story() -> list[str]:
        async with durable.Sender(path, limits=limits) as sender:
            return [id for name in names for id in await sender.send(name, **options)]

    return asyncio.run(story())


def waiting(path: Path) -> list[Message]:
    """Return what is in the inbox."""
    return Inbox(str(path)).look()


@contextmanager
def mortals(program: str) -> Iterator[Callable[[Path, int], bool]]:
    """Give what runs a child on a store, killed before the statement of a number, and tells whether it came so far."""
    with start(_NEST, DIES + program) as nest:
        assert nest.stdin is not None and nest.stdout is not None
        asks, tells = nest.stdin, nest.stdout

        def died(path: Path, number: int) -> bool:
            asks.write(f"{path}\n{number}\n")
            asks.flush()
            said = []
            for line in tells:
                if line in ("ended 0\n", "ended -9\n"):
                    return line == "ended -9\n"
                said.append(line)
            raise AssertionError("".join(said))

        yield died


@asynccontextmanager
async def opened(path: Path, *functions: durable.Function[Any], **options: Any) -> AsyncIterator[durable.Engine]:
    """Open an engine, and give it once nothing waits in the inbox; what that led to is durable by then."""
    async with durable.Engine(functions, store=path, **options) as engine:
        while await asyncio.to_thread(waiting, path):
            await asyncio.sleep(0)
        await engine.settled()
        yield engine


_heard: asyncio.Queue[int]


def listen() -> asyncio.Queue[int]:
    """Return the queue into which runs of `paid` put the numbers of their events from now on."""
    global _heard
    _heard = asyncio.Queue()
    return _heard


@durable.function("shop/paid")
async def paid(ctx: durable.Context) -> int:
    """Say in this process that it was called."""
    _heard.put_nowait(ctx.event.data["n"])
    return ctx.event.data["n"]


def events(*numbers: int) -> list[durable.Event]:
    """Return events that open a run of `paid` each."""
    return [durable.Event("shop/paid", {"n": n}) for n in numbers]


async def hears(heard: asyncio.Queue[int], count: int) -> list[int]:
    """Wait for so many numbers."""
    return [await heard.get() for _ in range(count)]


async def reopened(path: Path, **options: Any) -> list[int]:
    """Open the store, let it take what waits, and return what its completed runs have returned."""
    listen()
    async with opened(path, paid, **options) as engine:
        return sorted([info.output for info in await engine.runs(status="completed", limit=1_000)])


def openings(path: Path) -> Counter[str]:
    """Return how often each run was opened, as the store has it."""

    async def story() -> Counter[str]:
        found: Counter[str] = Counter()
        async with FileReader(path) as reader:
            for row in await reader.find(RunQuery(limit=1_000)):
                found[row.id] = len([entry async for entry in reader.history(row.id) if entry.kind == "RunOpened"])
        return found

    return asyncio.run(story())


def change(inbox: Path, statement: str) -> None:
    """Change an inbox behind the library's back."""
    connection = sqlite3.connect(inbox, isolation_level=None)
    connection.execute(statement)
    connection.close()


def beside(path: Path) -> set[str]:
    """Return the names of the files beside a store, without the store's own name before them."""
    return {name.removeprefix(path.name) for name in os.listdir(path.parent)}
