"""A store in a SQLite file: what was acknowledged outlives the process and, by default, the power.

Separate because it is the one place where the event loop meets the file's threads.
Leaves to `writer` what is written and when, to `reader` what is read, to `schema` what a store's file looks like.

A live store is more than one file: beside `path` are `path-wal` and `path-shm`, which belong to SQLite, and
`path.lock`, which stays. To copy it, close it first, or run SQLite's `VACUUM INTO`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from durable.errors import StoreError, StoreLockedError
from durable.log import Log
from durable.spelling import shown
from durable.stores.plain import micros
from durable.stores.reader import Reader
from durable.stores.reading import ReadConnection
from durable.stores.schema import SYNCHRONOUS
from durable.stores.store import Entry, RunQuery, RunRow
from durable.stores.worker import Worker, perform_each
from durable.stores.writer import Writer
from durable.words import can_be_kept, checked_choice, plain

_T = TypeVar("_T")
_LOG = Log(logging.getLogger("durable"))
Durability = Literal["power", "process", "none"]


class FileReader:
    """Read a store's file from any process, beside the one that writes to it.

    Takes no lock, never checkpoints, and holds no transaction longer than one chunk of rows. Open it, or use
    `async with`. `unfinished` shows the runs that were unfinished when it was begun; a run that ends and is pruned
    while it goes on may be cut short. Source: rule R29.

    Raises:
        TypeError, ValueError: at the call, for a path that is none, or ":memory:".
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked(path)
        self._pid: int | None = None
        self._worker: Worker | None = None
        self._connection = ReadConnection(self.path)
        self._reader = Reader(self._connection)
        self._closing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Open the file to read.

        Raises:
            StoreCorruptError: damaged, cut short, rows missing, or not a SQLite file.
            StoreError: there is no store, it cannot be read, or it is something else's.
        """
        await self._start(ReadConnection.open)

    async def look(self) -> None:
        """Open the file without changing anything beside it, for a store that holds its lock and has examined it."""
        await self._start(ReadConnection.look)

    def let_go(self) -> None:
        """Look no more, in any thread: somebody is about to write."""
        self._connection.let_go()

    async def _start(self, opening: Callable[[ReadConnection], None]) -> None:
        _check_process(self._pid, self.path)
        if self._worker is not None:
            raise StoreError(f"store {self.path!r} is open to read already: close this reader first, or use another")
        await _ended(self._closing)
        connection = ReadConnection(self.path)
        self._worker, self._connection = await _started(
            "durable-reader", perform_each, connection, opening=partial(opening, connection), closing=connection.close
        )
        self._reader, self._pid = Reader(connection), os.getpid()

    async def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of the run in append order; "" are the facts of no single run.

        Raises:
            StoreCorruptError: a row of it is damaged or missing.
        """
        if can_be_kept(run):
            for entry in await self._ask(partial(self._reader.history, plain(run))):
                yield entry

    async def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield, in append order, what recovery folds: see `Store.unfinished`.

        Raises:
            StoreCorruptError: a row of it is damaged or missing.
        """
        choice = await self._ask(partial(self._reader.choose, micros(now)))
        while True:
            for entry in await self._ask(partial(self._reader.read, choice)):
                yield entry
            if choice.at >= len(choice.numbers):
                return

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query names, the run first written of last coming first."""
        return await self._ask(partial(self._reader.find, query))

    async def prunable(self, ended_before: datetime) -> list[int]:
        """Return the numbers of the runs that `FileStore.prune` would forget."""
        return await self._ask(partial(self._reader.prunable, micros(ended_before)))

    async def close(self) -> None:
        """Close the file; one that is not open stays so. A caller that is cancelled meanwhile does not stop it."""
        _check_process(self._pid, self.path)
        worker, self._worker = self._worker, None
        if worker is not None:
            self._closing = worker.post(self._connection.close)
            self._pid = None
            worker.stop()
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def __aenter__(self) -> FileReader:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _ask(self, task: Callable[[], _T]) -> _T:
        _check_process(self._pid, self.path)
        if self._worker is None:
            raise StoreError(f"store {self.path!r} is not open: open() it first")
        result: _T = await self._worker.post(task)
        return result


class FileStore:
    """Keep entries in a SQLite file that one opener at a time writes to.

    Args:
        path: of the file, which is made if it is not there; its folder must be. A symbolic link is what it leads to.
        durability: what survives once `append` has returned. "power": a loss of power. "process": a crash of the
            process; a loss of power may take the last batches, from the end. "none": neither is promised to survive a
            loss of power, and that may damage the file.

    All files are touched in two daemon threads, never by the event loop. Reading goes on beside writing.

    Raises:
        TypeError, ValueError: at the call, for another word of durability, a path that is none, or ":memory:".
    """

    immediate = False

    def __init__(self, path: str | os.PathLike[str], *, durability: Durability = "power") -> None:
        self.path = _checked(path)
        self.durability = checked_choice(durability, SYNCHRONOUS, "durability")
        self._pid: int | None = None
        self._reader = FileReader(self.path)
        self._worker: Worker | None = None
        self._writer = self._new_writer()
        self._closing: asyncio.Task[None] | None = None

    def _new_writer(self) -> Writer:
        return Writer(self.path, SYNCHRONOUS[self.durability], said=_LOG.warning, lets_go=self._reader.let_go)

    async def open(self) -> None:
        """Take the lock and look at the file, at once or not at all; make one if there is none.

        It is opened to write when something is appended, or by `begin`. Until then not a byte in its folder changes,
        but in the lock's file, and whatever is refused leaves that, too, as it was.

        Raises:
            StoreLockedError: another process, or another opener in this one, has it; the message names the holder.
            StoreCorruptError: damaged, cut short, rows missing, not a SQLite file, or beside a `-wal` or a `-journal`
                of another file.
            StoreError: no folder or no right to write, another application's database, an unknown format, a second
                name, a trigger on its tables.
        """
        _check_process(self._pid, self.path)
        if self._worker is not None:
            raise StoreLockedError(
                f"store {self.path!r} is open in this process already (pid {self._pid}): close the engine that has it, "
                "or share that"
            )
        await _ended(self._closing)
        writer = self._new_writer()
        worker, _ = await _started("durable-writer", writer.perform, writer, opening=writer.open, closing=writer.close)
        try:
            await self._reader.look()
        except BaseException:
            await _stopped(worker, writer.close)
            raise
        self._worker, self._writer, self._pid = worker, writer, os.getpid()

    async def begin(self) -> None:
        """Open the file to write now: for who has looked at all that may be a reason to refuse it.

        Raises:
            StoreError: it does not take a setting on which durability rests (WAL on a network file system), or cannot
                be written to.
        """
        await self._open_worker().post(self._writer.begin)

    def hurry(self) -> None:
        """Wait for a lock of another program's for 5 s more at the most, since the store is to close."""
        self._writer.patience.hurry()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries in order, all or none; durable, as far as `durability` says, when it returns.

        Appends awaited at the same time are committed together, in the order of their calls. Cancelling the caller
        does not take entries back: they are still committed.

        Raises:
            StoreError: not open, or writing failed, now or before: these entries are not known to be recorded, and
                nothing more is. R31
        """
        worker = self._open_worker()
        if entries:
            await worker.post(tuple(entries))

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield, in append order, what recovery folds, in chunks: see `FileReader.unfinished`."""
        return self._reader.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of the run in append order: see `FileReader.history`."""
        return self._reader.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query names, the run first written of last coming first."""
        return await self._reader.find(query)

    async def prune(self, ended_before: datetime) -> int:
        """Forget the runs whose row says that they ended before then; return how many.

        With them go kept facts that are past by then, and ended runs of which no row says when they ended, if their
        last entry is older than that of a run that goes; these are not counted. That a message of the inbox was taken
        stays until it has gone from there. At most 250 rows are deleted between two commits, so that appends go on
        beside it; then the file shrinks, in steps. Where its auto_vacuum is off, since somebody's VACUUM, it does not,
        and the log says so.
        """
        before = micros(ended_before)
        runs = await self._reader.prunable(ended_before)
        forgotten = 0
        while runs:
            forgotten += await self._open_worker().post(partial(self._writer.forget, runs))
        while await self._open_worker().post(partial(self._writer.forget_facts, before)):
            continue
        while await self._open_worker().post(self._writer.vacuum):
            continue
        if not await self._open_worker().post(self._writer.gives_back):
            _LOG.warning(
                "prune gives no space of store %r back: its auto_vacuum is off since somebody's VACUUM: close it and "
                "run `PRAGMA auto_vacuum = 2; VACUUM` on it",
                self.path,
            )
        return forgotten

    async def close(self) -> None:
        """Commit what is queued, take the `-wal` into the file and give the lock back; one not open stays so.

        Where another program has the file locked, that is waited for, 5 s at the most; then the `-wal` stays beside
        the file, and the log says so. A caller that is cancelled meanwhile does not stop it.
        """
        _check_process(self._pid, self.path)
        worker, self._worker = self._worker, None
        if worker is not None:
            self.hurry()
            self._closing = asyncio.ensure_future(self._close(worker))
            self._pid = None
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self, worker: Worker) -> None:
        await self._reader.close()  # before the writer: only the last to close the file can take its -wal in
        closed = worker.post(self._writer.close)
        worker.stop()
        await closed

    def _open_worker(self) -> Worker:
        _check_process(self._pid, self.path)
        if self._worker is None:
            raise StoreError(f"store {self.path!r} is not open: open() it first; what is appended now would be lost")
        return self._worker


async def _started(
    name: str, perform: Callable[..., None], side: _T, *, opening: Callable[[], None], closing: Callable[[], None]
) -> tuple[Worker, _T]:
    """Start a thread and open one side of the store in it; a caller that is cancelled meanwhile leaves nothing open."""
    worker = Worker(name, perform)
    try:
        await worker.post(opening)
    except BaseException:
        await _stopped(worker, closing)
        raise
    return worker, side


async def _stopped(worker: Worker, closing: Callable[[], None]) -> None:
    """End a thread with what closes its side, and wait until that is done, even if the caller is cancelled again: who
    is told that opening has failed may open anew at once."""
    closed = worker.post(closing)
    worker.stop()
    while not closed.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([closed])
    _seen(closed)


async def _ended(closing: asyncio.Future[None] | None) -> None:
    """Wait for a close that goes on, because whoever asked for it was cancelled; its error was theirs."""
    if closing is not None and closing.get_loop() is asyncio.get_running_loop():
        await asyncio.wait([closing])
        _seen(closing)


def _seen(closed: asyncio.Future[None]) -> None:
    """Take note of the error of a close that nobody has awaited: asyncio would log it as never retrieved."""
    if not closed.cancelled():
        closed.exception()


def _checked(path: str | os.PathLike[str]) -> str:
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    text = plain(given, "the path of a store")
    try:
        is_name = bool(os.fsencode(text)) and text != ":memory:" and "\0" not in text
    except UnicodeEncodeError:  # half of a surrogate pair, unless it stands for a byte, as in what the system lists
        is_name = False
    if not is_name:
        raise ValueError(f"a store cannot be at {shown(text)}: name a file, or use DictStore() to keep nothing")
    return str(Path(text).absolute())


def _check_process(pid: int | None, path: str) -> None:
    if pid not in (None, os.getpid()):
        raise RuntimeError(
            f"store {path!r} was opened by process {pid} and this is {os.getpid()}, its forked child: "
            "make a store of its own here"
        )
