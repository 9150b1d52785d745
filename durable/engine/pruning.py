"""Forget runs that ended long ago, piece by piece, beside all that an engine does.

Separate because it takes as long as it takes, and nothing may wait for it but the run that is to be opened again.
Leaves to `stores` the deletions, and how many rows go at once.

What is forgotten, and what is not:
- a run that has ended before, with all its records. Its id is free again; what it had opened or invoked stays until
  that has ended long enough by itself; a parent that goes on has its outcome in its own record.
- the child of a failed run goes by its own end: when the parent is opened again (R32), it begins anew.
- no run that has not ended, however old, and nothing that it has recorded.
- facts of no single run (ids of events, keys, openings in a window) once their own time is over, never before.
- what is held until another record replaces it is an unfinished run of its own, and stays.
- that a message was taken stays for as long as the message may still be found in the inbox.

A run that is read in order to be opened again must not go meanwhile. So pieces wait for such readers, and these for the
piece that is under way. Before each piece all that was posted is made durable, so that the store knows what is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta

from durable.scheduler import LookDue, Parts
from durable.stores import pruning
from durable.timers import after, earlier

EVERY = timedelta(hours=1)
# By itself a pruning takes a twentieth of the writer's time, in pieces that take hardly longer than a commit, so that
# nobody can tell that it goes on. If that is too slow for all that there is to forget, it goes as fast as it can.
ROWS = 50
_PAUSE = 20
_LONGEST_PAUSE = 1.0  # seconds
_PATIENCE = 1_800.0  # seconds


class Pruning:
    """A pruning forgets what ended before an instant.

    It does so when it is asked to. With a retention also by itself: when the engine opens, and once an hour.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._retention: timedelta | None = parts.settings.retention
        self._readers = 0
        self._is_cutting = False
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.failure: Exception | None = None

    async def prune(self, ended_before: datetime) -> int:
        """Forget the runs that ended before an instant, as fast as it goes; return how many.

        Raises:
            StoreError: the store has failed.
        """
        return sum([count async for count in self._pieces(ended_before)])

    async def _pieces(self, ended_before: datetime, *rows: int) -> AsyncIterator[int]:
        before = min(ended_before, self._parts.clock.now())  # else keys would go that are still in force
        async with aclosing(pruning(self._parts.store, before, *rows)) as pieces:
            while (count := await self._next(pieces)) is not None:
                yield count
                await asyncio.sleep(0)

    async def _next(self, pieces: AsyncIterator[int]) -> int | None:
        while self._readers or self._is_cutting:
            await self._moved.wait()
        self._is_cutting = True
        try:
            await self._parts.journal.synced()
            return await anext(pieces, None)
        finally:
            self._is_cutting = False
            self._stir()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Forget nothing inside the context."""
        self._readers += 1
        try:
            while self._is_cutting:
                await self._moved.wait()
            yield
        finally:
            self._readers -= 1
            self._stir()

    def _stir(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    # By itself.

    def begin(self) -> None:
        """Begin to forget what is older than the retention, if there is one."""
        if self._retention is not None and not self._is_closed:
            self._task = asyncio.Task(self._forget(self._retention), loop=self._parts.loop, name="durable retention")

    async def close(self) -> None:
        """Forget nothing more by itself; what is half forgotten is forgotten next time."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _forget(self, retention: timedelta) -> None:
        before = earlier(self._parts.clock.now(), retention)
        try:
            count = await self._slowly(before)
            self.failure = None
            if count:
                runs, are = (f"{count:,} runs", "are") if count > 1 else ("1 run", "is")
                self._parts.logger.info("%s that ended before %s %s forgotten", runs, before, are)
        except Exception as error:
            if self._parts.journal.failure is None:  # else that was told
                self.failure = error
                self._parts.logger.error("what ended before %s is not forgotten: %s", before, error)
        if not self._is_closed:
            self._parts.timers.set_span(LookDue(self.begin), after(self._parts.clock.now(), EVERY))

    async def _slowly(self, before: datetime) -> int:
        forgotten, time = 0, self._parts.loop.time
        began = last = time()
        async for count in self._pieces(before, ROWS):
            forgotten += count
            if time() - began < _PATIENCE:
                await asyncio.sleep(min(_PAUSE * (time() - last), _LONGEST_PAUSE))
            last = time()
        return forgotten
