"""Keep entries in a SQLite file, safe from crashes and power failures.

Separate because it is the one place where the event loop meets the file's threads.
Leaves to `writer` the writing, to `reader` the reading, to `schema` the form of a store's file.

A live store is more than one file: beside `path` are `path-wal` and `path-shm`, which belong to SQLite, `path.lock`,
which stays, and now and then `path.live`, of no worth elsewhere. To copy it, close it first, or run SQLite's
`VACUUM INTO`.
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

from durable.errors import StoreError, StoreLockedError, checked_making
from durable.events import can_be_kept, checked_choice, plain
from durable.stores.file.live import read_live
from durable.stores.file.pruning import pieces
from durable.stores.file.reader import Reader
from durable.stores.file.reading import ReadConnection
from durable.stores.file.room import Room, room_of
from durable.stores.file.schema import SYNCHRONOUS
from durable.stores.file.thread import StoreThread, perform_each
from durable.stores.file.waking import Waker
from durable.stores.file.writer import PRUNE_ROWS, Writer
from durable.stores.log import Log
from durable.stores.rows import micros
from durable.stores.store import Entry, Kept, RunQuery, RunRow
from durable.timers import shown

_T = TypeVar("_T")
_LOG = Log(logging.getLogger("durable"))
Durability = Literal["power", "process", "none"]


class FileReader:
    """A reader reads a store's file from any process while another writes.

    It takes no lock, never checkpoints, and holds no transaction longer than one chunk of rows. Open it, or use
    `async with`. `unfinished` shows the runs that were unfinished when it was begun; a run that ends and is pruned
    meanwhile may be cut short. Source: rule R29.

    Raises:
        TypeError, ValueError: at the call, for an invalid path, or for ":memory:".
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked(path)
        self._pid: int | None = None
        self._worker: StoreThread | None = None
        self._connection = ReadConnection(self.path)
        self._reader = Reader(self._connection)
        self._closing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Open the file to read.

        Raises:
            StoreCorruptError: the file is damaged, cut short, lacks rows, or is not a SQLite file.
            StoreError: there is no store, it cannot be read, or the file belongs to another program.
        """
        await self._start(ReadConnection.open)

    async def look(self) -> None:
        """Open the file without changing any file beside it.

        Only for a store that holds the lock and has examined the file.
        """
        await self._start(ReadConnection.look)

    def let_go(self) -> None:
        """End the looking of `look`, since the file is about to be written to."""
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
        """Yield every entry of a run in append order.

        The run "" has the facts that belong to no single run.

        Raises:
            StoreCorruptError: a row of it is damaged or missing.
        """
        if can_be_kept(run):
            for entry in await self._ask(partial(self._reader.history, plain(run))):
                yield entry

    async def standing(self, prefix: str) -> list[Entry]:
        """Return every entry of each unfinished run whose id begins with a prefix in ASCII, run by run."""
        return await self._ask(partial(self._reader.standing, prefix))

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
        """Return the rows that the query finds, newest run first: that whose first entry came last."""
        return await self._ask(partial(self._reader.find, query))

    async def live(self) -> str | None:
        """Return what the process that has the store open tells of itself now, or None: see `read_live`."""
        return await self._ask(partial(read_live, self._connection.path))

    async def ask(self, task: Callable[[ReadConnection], _T]) -> _T:
        """Return what a task finds out through the connection, in the reader's thread."""
        return await self._ask(partial(task, self._connection))

    async def prunable(self, ended_before: datetime) -> list[int]:
        """Return the numbers of the runs that `FileStore.prune` would forget."""
        return await self._ask(partial(self._reader.prunable, micros(ended_before)))

    async def close(self) -> None:
        """Close the file, even if the caller is cancelled; closing a reader that is not open does nothing."""
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


@checked_making
class FileStore:
    """A file store keeps entries in a SQLite file that has one writer.

    Args:
        path: the path of the file, which is made if it does not exist; its folder must exist. A symbolic link stands
            for the file it leads to.
        durability: what an acknowledged append survives. "power": a power failure; the default. "process": a crash of
            the process; a power failure may lose the last batches, from the end. "none": a crash of the process; a
            power failure may lose batches and damage the file.

    Two daemon threads do all file I/O, never the event loop. Reading and writing go on side by side.

    Raises:
        TypeError, ValueError: at the call, for an unknown durability, an invalid path, or ":memory:".
    """

    immediate = False

    def __init__(self, path: str | os.PathLike[str], *, durability: Durability = "power") -> None:
        self.path = _checked(path)
        self.durability = checked_choice(durability, SYNCHRONOUS, "durability")
        self._pid: int | None = None
        self._reader = FileReader(self.path)
        self._worker: StoreThread | None = None
        self._waker: Waker | None = None
        self._writer = self._new_writer()
        self._closing: asyncio.Task[None] | None = None

    def _new_writer(self) -> Writer:
        return Writer(self.path, SYNCHRONOUS[self.durability], said=_LOG.warning, lets_go=self._reader.let_go)

    async def open(self) -> None:
        """Take the lock at once or not at all, and examine the file.

        If there is no file, one is made. The file is opened to write at the first append, or by `begin`. Until then
        nothing in its folder changes but the lock's file, and a refused opening leaves that, too, as it was.

        Raises:
            StoreLockedError: another process, or another opener in this one, has the lock; the message names the
                holder.
            StoreCorruptError: the file is damaged, cut short, lacks rows, is not a SQLite file, or has a `-wal` or a
                `-journal` of another file beside it.
            StoreError: the path has no folder, or there is no right to write; the database belongs to another
                application, or has an unknown format; the file has a second name, or a trigger on its tables.
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
        self._worker, self._writer, self._waker, self._pid = worker, writer, Waker(), os.getpid()

    async def begin(self) -> None:
        """Open the file to write, after everything has been examined.

        Raises:
            StoreError: the file does not accept a setting that durability needs (WAL on a network file system), or
                cannot be written to.
        """
        await self._open_worker().post(self._writer.begin)

    def hurry(self) -> None:
        """Wait at most 5 s more for another program's lock, since the store is to close."""
        self._writer.patience.hurry()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep a batch of entries in order, all or nothing.

        The batch is durable, as far as `durability` says, when this returns. Appends awaited at the same time are
        committed together, in the order of their calls. Cancelling the caller does not take entries back: they are
        still committed.

        Raises:
            StoreError: the store is not open, or writing has failed, now or before. It is not known whether these
                entries are recorded, and nothing more will be (R31).
        """
        worker = self._open_worker()
        if entries:
            await worker.post(tuple(entries))

    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        """Keep a batch as `append` does; see `Store` for the calling of `told`.

        Raises:
            StoreError: the store is not open; `told` is not called.
        """
        worker = self._open_worker()
        assert self._waker is not None
        worker.submit(tuple(entries), told, self._waker)

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield the entries that recovery reads: see `FileReader.unfinished`."""
        return self._reader.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of the run in append order: see `FileReader.history`."""
        return self._reader.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query finds, newest run first.

        The newest run is the one whose first entry came last.
        """
        return await self._reader.find(query)

    async def room(self) -> Room:
        """Return the room that the store takes on its disk: see `room_of`."""
        return await self._reader.ask(lambda connection: room_of(connection.path))

    async def prune(self, ended_before: datetime) -> int:
        """Delete the runs whose rows say that they ended before an instant.

        Returns how many. Facts whose `keep_until` is past by then are deleted, too. So are ended runs without a row
        that says when they ended, if their last entry is older than that of a deleted run; these are not counted. The
        record that a message of the inbox was taken stays until the message has gone from the inbox. At most 250 rows
        are deleted between two commits, so that appends go on meanwhile. Then the file shrinks, in steps. If its
        auto_vacuum has been switched off by a VACUUM, it does not shrink, and the log says so.
        """
        return sum([count async for count in self.prunes(ended_before)])

    def prunes(self, ended_before: datetime, rows: int = PRUNE_ROWS) -> AsyncIterator[int]:
        """Do what `prune` does piece by piece, of so many rows; yield after each how many runs it has deleted."""
        chosen = partial(self._reader.prunable, ended_before)
        return pieces(chosen, micros(ended_before), rows, self._writer, lambda task: self._open_worker().post(task))

    async def close(self) -> None:
        """Commit the queued entries, copy the `-wal` into the file and release the lock.

        Closing a store that is not open does nothing. If another program has the file locked, this waits for 5 s at
        most. Then the `-wal` stays beside the file, and the log says so. Cancelling the caller does not stop it.
        """
        _check_process(self._pid, self.path)
        worker, self._worker = self._worker, None
        if worker is not None:
            self.hurry()
            self._closing = asyncio.ensure_future(self._close(worker))
            self._pid = None
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self, worker: StoreThread) -> None:
        await self._reader.close()  # before the writer: only the last to close the file can copy its -wal into it
        closed = worker.post(self._writer.close)
        worker.stop()
        try:
            await closed
        finally:
            assert self._waker is not None
            self._waker.close()

    def _open_worker(self) -> StoreThread:
        _check_process(self._pid, self.path)
        if self._worker is None:
            raise StoreError(f"store {self.path!r} is not open: open() it first; what is appended now would be lost")
        return self._worker


async def _started(
    name: str, perform: Callable[..., None], side: _T, *, opening: Callable[[], None], closing: Callable[[], None]
) -> tuple[StoreThread, _T]:
    """Start a thread, and open one side of the store in it.

    If the caller is cancelled meanwhile, nothing is left open.
    """
    worker = StoreThread(name, perform)
    try:
        await worker.post(opening)
    except BaseException:
        await _stopped(worker, closing)
        raise
    return worker, side


async def _stopped(worker: StoreThread, closing: Callable[[], None]) -> None:
    """Close one side of the store in its thread, end the thread, and wait for both.

    This waits even if the caller is cancelled again: after a failed opening the store may be opened anew at once.
    """
    closed = worker.post(closing)
    worker.stop()
    while not closed.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([closed])
    _seen(closed)


async def _ended(closing: asyncio.Future[None] | None) -> None:
    """Wait for a closing that goes on although its caller was cancelled.

    Its error belonged to that caller.
    """
    if closing is not None and closing.get_loop() is asyncio.get_running_loop():
        await asyncio.wait([closing])
        _seen(closing)


def _seen(closed: asyncio.Future[None]) -> None:
    """Read the error of a closing, since asyncio would log it as never retrieved."""
    if not closed.cancelled():
        closed.exception()


def _checked(path: str | os.PathLike[str]) -> str:
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    text = plain(given, "the path of a store")
    try:
        is_name = bool(os.fsencode(text)) and text != ":memory:" and "\0" not in text and "://" not in text
    except UnicodeEncodeError:  # half of a surrogate pair; those of names that the system lists stand for bytes
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
