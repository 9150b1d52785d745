"""The owner: the one task that opens an engine's store, recovers, serves, and gives everything back, in order.

Separate because who asks for an opening or a closing may be cancelled at any moment, and must not leave half of it
behind: they only wait for this task, which goes on to its end by itself.
Leaves to `runtime` the parts, to `engine` what users ask of them, to `neighbours` who else has the store open.

It is a task of its own also because an anyio task group may not be entered in one task and left in another, which
notebook cells and fixtures do. Closing, in order: take no more from other processes, refuse steps and stop functions,
give handlers that run their time, stop them, drain the journal, close the store.
"""

from __future__ import annotations

import asyncio
import os

import anyio

from durable.errors import StoreError
from durable.misuse import misplaced
from durable.records import EngineClosed
from durable.registry import Registry
from durable.runtime import Runtime, Settings, Unwanted
from durable.stores.opening import begin_writing, hurry


class Owner:
    """One life of an engine, from its opening to its end. It belongs to the process and the loop that opened it."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._registry = registry
        self.grace = settings.grace
        self._folded = settings.folded
        self.runtime = Runtime(settings, registry)
        self._pid = os.getpid()
        self._opened: asyncio.Future[None] = self.runtime.loop.create_future()
        self._callers = 0
        self._failure: Exception | None = None
        self._task = asyncio.Task(self._live(), loop=self.runtime.loop, name="durable engine")
        self._task.add_done_callback(self._end)
        self.runtime.owned_by = self._task

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it belongs to."""
        return self.runtime.loop

    @property
    def is_closing(self) -> bool:
        """Whether it is on its way out."""
        return self.runtime.closing.is_set() or self._task.done()

    @property
    def has_ended(self) -> bool:
        """Whether everything is given back."""
        return self._task.done()

    async def open(self) -> None:
        """Wait until the store is open and what is unfinished goes on. If this is cancelled, it is closed again.

        Raises:
            StoreError: the store cannot be opened, is locked or damaged.
            RuntimeError: it was closed meanwhile.
        """
        self._callers += 1
        try:
            await asyncio.wait([self._opened])
        except asyncio.CancelledError:
            self.begin_closing(0.0)
            raise
        finally:
            self._callers -= 1
        self._opened.result()

    def begin_closing(self, grace: float) -> None:
        """Let it end: at once, or when the handlers that run have ended, `grace` seconds at the most. Asked for again,
        the shorter time counts."""
        self.runtime.closing.set()
        if not self._opened.done():
            hurry(self.runtime.store)  # else an opening that waits for another program's lock never ends
        self.runtime.scheduler.time.give(grace)
        self.runtime.scheduler.stop()

    async def close(self, grace: float) -> None:
        """Close in order, and wait for it. If this is cancelled, the closing goes on.

        Raises:
            StoreError: the store could not be closed.
        """
        self.begin_closing(grace)
        self._callers += 1
        try:
            await self.ended()
        finally:
            self._callers -= 1
        if self._failure is not None:
            raise self._failure

    async def ended(self) -> None:
        """Wait until everything is given back."""
        await asyncio.wait([self._task])

    def entered(self, what: str) -> Runtime:
        """Return the parts; `what` names who asks.

        Raises:
            RuntimeError: asked by another process or from another loop, or everything is given back already.
            StoreError: the store has failed.
        """
        self.check_place(what)
        self.runtime.journal.check()
        if self.runtime.is_drained:
            raise RuntimeError(f"{what}: the engine is closing, nothing is recorded any more: open it again")
        return self.runtime

    def check_place(self, what: str) -> None:
        """Refuse whoever is elsewhere; `what` names what is asked.

        Raises:
            RuntimeError: asked by another process or from another loop.
        """
        if os.getpid() != self._pid:
            raise misplaced(
                f"{what}: the engine was opened by process {self._pid}, this is a forked child: open its own"
            )
        if asyncio._get_running_loop() is not self.loop:
            raise misplaced(
                f"{what}: the engine belongs to another event loop: from another thread write "
                "asyncio.run_coroutine_threadsafe(engine...., loop).result()"
            )

    # The task.

    def _end(self, task: asyncio.Task[None]) -> None:
        self.runtime.spare.close()
        self.runtime.timers.close()
        error: BaseException | None
        error = RuntimeError("the task of the engine was cancelled") if task.cancelled() else task.exception()
        if not isinstance(error, Exception):
            return
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # nobody may wait for it any more, which is no error of asyncio's
        else:
            self._failure = None if task.cancelled() else error
        if not self._callers and not task.cancelled() and not isinstance(error, Unwanted):
            self.runtime.logger.error("the engine has ended with an error that nobody waits for: %s", error)

    async def _live(self) -> None:
        runtime = self.runtime
        await runtime.store.open()
        try:
            await runtime.recover()
            await runtime.intake.open()
            await begin_writing(runtime.store)
            if self._folded is not None:
                await self._folded(runtime)
            await runtime.scheduler.deadlines.recover()  # last: nothing may come due in an engine that is refused
            await self._serve()
        except BaseException as error:
            await self._give_back(error)
            raise
        await runtime.store.close()

    async def _give_back(self, error: BaseException) -> None:
        self.runtime.timers.close()
        self.runtime.scheduler.time.give(0.0)
        try:
            await self.runtime.scheduler.close()
        finally:
            try:
                await self.runtime.store.close()
            except StoreError as failure:
                error.add_note(f"the store could not be closed either: {failure}")

    async def _serve(self) -> None:
        runtime = self.runtime
        runtime.check_wanted()
        async with anyio.create_task_group() as group:
            group.start_soon(runtime.journal.write)
            group.start_soon(runtime.intake.take)
            try:
                runtime.begin()
                self._opened.set_result(None)
                await runtime.closing.wait()
            finally:
                runtime.closing.set()
                await self._take_down()
                group.cancel_scope.cancel()

    async def _take_down(self) -> None:
        runtime = self.runtime
        self._registry.declared = None
        hurry(runtime.store)
        await runtime.intake.close()
        await runtime.scheduler.close()
        runtime.spare.close()
        runtime.timers.close()
        for label in await runtime.workers.close(runtime.scheduler.time.left_for_threads()):
            runtime.logger.error("%s does not end: its thread is left behind, and it will run again", label)
        runtime.park_all()
        if runtime.journal.failure is None:
            try:
                runtime.journal.close(EngineClosed(runtime.clock.now()))
                await runtime.journal.synced()
            except StoreError as error:
                runtime.logger.error("the store failed while the engine closed: %s", error)
