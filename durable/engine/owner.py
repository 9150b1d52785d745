"""Open an engine, serve it and close it, all in one task.

Separate because the caller of `open` or `close` may be cancelled at any moment, and must not leave half of it done.
Callers only wait for this task, which goes on to its end by itself.
Leaves to `runtime` the parts, to `engine` the methods for users, to `neighbours` the engines that share a file.

There is a second reason for one task: an anyio task group must be left in the task that entered it, but notebook cells
and fixtures open in one task and close in another. The order of closing: take no more messages from other processes,
refuse steps and stop functions, give running handlers their time, stop them, drain the journal, close the store.
"""

from __future__ import annotations

import asyncio
import os
from typing import NoReturn

import anyio

from durable.engine.collecting import collecting_seldom
from durable.engine.runtime import Runtime, Unwanted
from durable.errors import StoreError
from durable.functions import Registry
from durable.journal import EngineClosed, misplaced
from durable.scheduler import Settings, assembled, running_loop
from durable.stores import begin_writing, hurry


class Owner:
    """An owner is the task that opens, serves and closes an engine.

    It belongs to the process and the loop that opened it.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.grace = settings.grace
        self._parts = assembled(settings, registry)
        self.runtime = Runtime(self._parts)
        self._pid = os.getpid()
        self._opened: asyncio.Future[None] = self.runtime.loop.create_future()
        self._has_recovered = False  # before, what is asked for would be decided without what is recorded
        self._callers = 0
        self._failure: Exception | None = None
        self._task = asyncio.Task(self._live(), loop=self.runtime.loop, name="durable engine")
        self._task.add_done_callback(self._end)
        self._parts.life.owner = self._task

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the engine belongs to."""
        return self.runtime.loop

    @property
    def is_closing(self) -> bool:
        """Whether the engine is closing or has closed."""
        return self._parts.life.closing.is_set() or self._task.done()

    @property
    def has_opened(self) -> bool:
        """Whether the engine has been opened, and unfinished runs go on."""
        return self.runtime.opened_at is not None

    @property
    def has_ended(self) -> bool:
        """Whether the engine has closed everything."""
        return self._task.done()

    async def open(self) -> None:
        """Wait until the store is open and unfinished runs go on.

        If the caller is cancelled, the engine is closed again.

        Raises:
            StoreError: the store cannot be opened, is locked or damaged.
            RuntimeError: the engine was closed meanwhile.
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
        """Begin to close; running handlers get `grace` seconds at the most.

        Called again, the shorter time counts.
        """
        self._parts.life.closing.set()
        if not self._opened.done():
            hurry(self.runtime.store)  # else an opening that waits for another program's lock would never end
        self.runtime.scheduler.time.give(grace)
        self.runtime.scheduler.stop()

    async def close(self, grace: float) -> None:
        """Close the engine and wait until it has closed.

        `grace` is in seconds. If the caller is cancelled, the closing goes on.

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
        """Wait until the engine has closed everything."""
        await asyncio.wait([self._task])

    def entered(self, what: str) -> Runtime:
        """Return the runtime of the open engine; `what` names the caller's method.

        Raises:
            RuntimeError: called in another process or from another loop, or the engine records nothing any more.
            StoreError: the store has failed.
        """
        if self._task.done() and not self.runtime.is_abandoned:
            raise not_open(what)
        if os.getpid() != self._pid or running_loop() is not self.runtime.loop:
            self.check_place(what)
        if not self._has_recovered:
            raise not_open(what)
        if self.runtime.journal.failure is not None:
            self.runtime.journal.check()
        if self.runtime.is_drained:
            raise RuntimeError(f"{what}: the engine is closing, nothing is recorded any more: open it again")
        return self.runtime

    def check_place(self, what: str) -> None:
        """Check that the caller is in the engine's process and loop; `what` names its method.

        Raises:
            RuntimeError: called in another process or from another loop.
        """
        self.check_process(what)
        if running_loop() is not self.loop:
            raise misplaced(
                f"{what}: the engine belongs to another event loop: from another thread write "
                "asyncio.run_coroutine_threadsafe(engine...., loop).result()"
            )

    def check_process(self, what: str) -> None:
        """Check that the caller is in the engine's process; `what` names its method.

        Raises:
            RuntimeError: called in a forked child.
        """
        if os.getpid() != self._pid:
            raise misplaced(
                f"{what}: the engine was opened by process {self._pid}, this is a forked child: open its own"
            )

    # The task.

    def _end(self, task: asyncio.Task[None]) -> None:
        self.runtime.beacon.drop()
        self._parts.spare.close()
        self.runtime.timers.close()
        self._tell_end(task)
        self.runtime.logger.tell_left_out()

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        error: BaseException | None
        error = RuntimeError("the task of the engine was cancelled") if task.cancelled() else task.exception()
        if not isinstance(error, Exception):
            return
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # read it: asyncio would complain if no caller waits for it any more
        else:
            self._failure = None if task.cancelled() else error
        if not self._callers and not task.cancelled() and not isinstance(error, Unwanted):
            self.runtime.logger.error("the engine has ended with an error that nobody waits for: %s", error)

    async def _live(self) -> None:
        runtime = self.runtime
        await runtime.store.open()
        try:
            with collecting_seldom():
                await runtime.recover()
            await runtime.receiver.open()
            await begin_writing(runtime.store)
            if (folded := self._parts.settings.folded) is not None:
                await folded(runtime)
            self._has_recovered = True
            runtime.recovered = runtime.state.count
            self._parts.notices.opened(self._parts.settings.store)
            with collecting_seldom():
                await runtime.scheduler.deadlines.recover()  # last: if opening fails, nothing may have come due
            await runtime.scheduler.ticker.recover(runtime.clock.now() if runtime.was_closed else None)
            await self._serve()
            if (drained := self._parts.settings.drained) is not None:
                await drained(runtime)
        except BaseException as error:
            await self._give_back(error)
            raise
        await runtime.store.close()

    async def _give_back(self, error: BaseException) -> None:
        self.runtime.timers.close()
        self.runtime.scheduler.time.give(0.0)
        try:
            await self.runtime.scheduler.close()
            self.runtime.park_all()
            if self.runtime.journal.failure is None:
                lost = "the engine was closed while it was being opened: this is not recorded"
                self.runtime.journal.lose(StoreError(lost))
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
            try:
                await runtime.begin()
                group.start_soon(runtime.receiver.take)
                self._opened.set_result(None)
                runtime.opened_at = runtime.clock.now()
                await self._parts.life.closing.wait()
            finally:
                self._parts.life.closing.set()
                await self._take_down()
                group.cancel_scope.cancel()

    async def _take_down(self) -> None:
        runtime = self.runtime
        self._parts.registry.declared = None
        hurry(runtime.store)
        await runtime.pruning.close()
        await runtime.receiver.close()
        await runtime.scheduler.close()
        self._parts.spare.close()
        runtime.timers.close()
        for label in await self._parts.threads.close(runtime.scheduler.time.left_for_threads()):
            runtime.logger.error(
                "%s does not end: its thread is left behind; it will run again unless its run has ended or has "
                "cancelled the step",
                label,
            )
        await runtime.beacon.close()
        runtime.park_all()
        self._parts.notices.closing()
        if runtime.journal.failure is None:
            try:
                await runtime.scheduler.resting.say_all()
                runtime.journal.close(EngineClosed(runtime.clock.now()))
                await runtime.journal.synced()
            except StoreError as error:
                runtime.logger.error("the store failed while the engine closed: %s", error)


def not_open(what: str) -> RuntimeError:
    """Return the error for a caller of `what` while no engine is open."""
    return RuntimeError(
        f"{what}: the engine is not open: write `async with engine:` or `await engine.open()` before, wait for it, and "
        "do not use the engine after `close`"
    )


class AsyncWith:
    """What is opened by `async with` says so to a plain `with`."""

    __slots__ = ()

    def __enter__(self) -> NoReturn:
        raise TypeError(f"write `async with {type(self).__name__}(...)`, not `with`: opening it takes time")

    def __exit__(self, *_error: object) -> None:
        """Do nothing: it is never entered."""
