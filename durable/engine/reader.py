"""Read the runs of a file store from any process, beside its engine.

Separate because reading needs no engine, no lock and no functions, and must not disturb the writer (R29).
Leaves to `stores.file` the reading of rows, to `views` the pictures of runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from durable.engine.answers import late, no_such_run
from durable.engine.arguments import checked_function, checked_query, looked_up
from durable.engine.owner import AsyncWith
from durable.engine.passed_over import passed_over
from durable.engine.run import OF_A_RUN, outcome
from durable.errors import checked_making
from durable.functions import Function
from durable.journal import HELD, SCHEDULES, TICKS, RunClosed, RunStatus, ends_of, folded, held_in, records_in
from durable.stores import Entry, FileReader
from durable.timers import Duration, SystemClock, answering, duration
from durable.views import Held, Live, RunInfo, Schedule, Why, held_of, listed, live_of, schedules_in, why_of, with_lines

LOOKS_EVERY = 1.0  # seconds, while a result is waited for


@answering(run="info", history="record", entries="record", send="Sender(path).send", cancel="Sender(path).cancel")
@checked_making
class Reader(AsyncWith):
    """A reader reads the runs of a file store, from any process.

    Args:
        path: the path of the store, which an engine must have made before.

    The engine may be in this process or in another, or nowhere. It is neither disturbed nor waited for (R29), and the
    event loop never waits for the disk. What is read is durable. A reader needs no opening: each call opens the file
    and gives it back. Inside `async with`, or between `open` and `close`, the file stays open, which makes calls
    quicker.

    Which steps run, since when and how far they are is what the engine of the store told at most a second ago; without
    an engine none run. A run that does not run is "queued" until something of a step is recorded, then "waiting".
    Outputs are in plain values.

    Raises:
        TypeError, ValueError: at the call, for an invalid path, or for ":memory:".
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = FileReader(path).path
        self._kept: FileReader | None = None

    async def open(self) -> None:
        """Open the file, and keep it open for the calls to come.

        Raises:
            RuntimeError: the reader is open already.
            StoreCorruptError: the store is damaged, or not a SQLite file.
            StoreError: there is no store, it cannot be read, or it belongs to another program or another format.
        """
        if self._kept is not None:
            raise RuntimeError("the reader is open already: use it, or close it before")
        kept = self._kept = FileReader(self.path)
        try:
            await kept.open()
        except BaseException:
            self._kept = None
            raise

    async def close(self) -> None:
        """Give the file back. Closing twice does nothing; later calls open the file for themselves again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def runs(
        self,
        *,
        status: RunStatus | None = None,
        function: Function[Any] | str | None = None,
        event: str | None = None,
        event_id: str | None = None,
        parent: str | None = None,
        opened_after: datetime | None = None,
        opened_before: datetime | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[RunInfo]:
        """Return the runs that fit every given condition, newest first: see `Engine.runs`.

        Raises:
            TypeError, ValueError: as for `Engine.runs`.
            KeyError: `before` is the id of no run.
            StoreError: see `open`.
        """
        query = checked_query(
            status=status,
            function=function,
            event=event,
            event_id=event_id,
            parent=parent,
            opened_after=opened_after,
            opened_before=opened_before,
            before=before,
            limit=limit,
        )
        async with self._file() as file:
            live = live_of(await file.live())
            return await listed(file, query, None, partial(_info, file, live))

    async def info(self, run_id: str) -> RunInfo:
        """Return a picture of a run, as `Engine.info` does.

        Raises:
            KeyError: there is no such run.
            StoreError: see `open`.
        """
        run_id = looked_up(run_id)
        async with self._file() as file:
            return await _info(file, live_of(await file.live()), run_id)

    async def why(self, run_id: str) -> Why:
        """Return what each open step of a run waits for, or how the run has ended, as `Engine.why` does.

        The events that nearly answered are in the memory of the engine alone.

        Raises:
            KeyError: there is no such run.
            StoreError: see `open`.
        """
        info = await self.info(run_id)
        ledger = folded(info.record)
        assert ledger is not None, "the picture was made from it"
        async with self._file() as file:
            below = await passed_over(partial(_entries, file), ledger)
        return with_lines(why_of(ledger, info, SystemClock().now()), below)

    async def schedules(self) -> list[Schedule]:
        """Return the schedules, and the triggers that an engine has seen, as `Engine.schedules` does.

        Raises:
            StoreCorruptError, StoreError: as for `runs`.
        """
        async with self._file() as file:
            entries = [*await file.standing(TICKS), *await file.standing(SCHEDULES)]
        return schedules_in(records_in(entries), datetime.now(UTC))

    async def held(self, function: Function[Any] | str | None = None) -> list[Held]:
        """Return what debounce and batch hold back, of all functions or of one, as `Engine.held` does.

        Raises:
            TypeError, ValueError: neither a Function nor an id.
            StoreError: see `open`.
        """
        name = None if function is None else checked_function(function, "held")
        async with self._file() as file:
            entries = await file.standing(HELD)
        return [held_of(group) for group in held_in(records_in(entries)).in_order(name)]

    async def record(self, run_id: str) -> tuple[Entry, ...]:
        """Return the run's entries as the store holds them: what `RunInfo.export` writes.

        Raises:
            KeyError: there is no such run.
            StoreError: see `open`.
        """
        return (await self.info(run_id)).record

    async def result(self, run_id: str, timeout: Duration | None = None) -> Any:
        """Wait until a run has ended, and return its function's value in plain values.

        It looks once a second. `timeout`, a duration in real time, bounds the wait; None: wait without limit.

        Raises:
            RunFailed, RunCancelled: the run ended so.
            TimeoutError: the run has not ended in time.
            KeyError: there is no such run.
            StoreError: see `open`.
        """
        run_id = looked_up(run_id)
        seconds = None if timeout is None else duration(timeout, what="the timeout of a result").total_seconds()
        try:
            async with asyncio.timeout(seconds), self._file() as file:
                ended = await _ended(file, run_id)
        except TimeoutError:  # it may have ended all the same: no time is too short to say so
            async with self._file() as file:
                _, closed = await ends_of(file.history(run_id))
            if closed is None:
                raise late(await self.info(run_id), seconds) from None
            ended = closed
        with OF_A_RUN:
            return outcome(ended, object)

    @asynccontextmanager
    async def _file(self) -> AsyncIterator[FileReader]:
        if self._kept is not None:
            yield self._kept
            return
        async with FileReader(self.path) as file:
            yield file


async def _entries(file: FileReader, run: str) -> list[Entry]:
    return [entry async for entry in file.history(run)]


async def _info(file: FileReader, live: Live, run_id: str) -> RunInfo:
    record = tuple([entry async for entry in file.history(run_id)])
    if (ledger := folded(record)) is None:
        raise no_such_run(run_id, (), is_read=True)
    return live.pictured(ledger, record)


async def _ended(file: FileReader, run_id: str) -> RunClosed:
    while True:
        opened, closed = await ends_of(file.history(run_id))
        if opened is None:
            raise no_such_run(run_id, (), is_read=True)
        if closed is not None:
            return closed
        await asyncio.sleep(LOOKS_EVERY)
