"""Beginning a coroutine in place, and going on with it in a task of its own if it suspends.

Separate because most handlers on a dict store never suspend, and a task for each would cost more than the step.
Leaves to `tries` which handlers may begin so.

A coroutine may take its task for granted: `asyncio.timeout` cancels the task it was entered in. So what begins in place
must not see the caller's task, but the one in which it would go on. One spare task waits for such a coroutine: it is
the current task while the coroutine's first part runs, and takes it over if it suspends. Python 3.12 has the same as
`eager_start`; this does it for 3.11 too, and without a new task for each coroutine.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any


class Suspended:
    """A coroutine that has begun: awaiting it goes on with it, in its own context, from what it waits for."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any, context: Context) -> None:
        self.cancelled: asyncio.CancelledError | None = None
        self._coroutine = coroutine
        self._awaited = awaited
        self._context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited, context, coroutine = self._awaited, self._context, self._coroutine
        error: BaseException | None = self.cancelled
        value: Any = None
        while True:
            if error is None:
                try:
                    value = yield awaited
                except BaseException as thrown:
                    error = thrown
            try:
                if error is None:
                    awaited = context.run(coroutine.send, value)
                else:
                    raised, error = error, None
                    awaited = context.run(coroutine.throw, raised)
            except StopIteration as stop:
                return stop.value


class _Handover:
    """What a spare task waits for, and goes on with."""

    __slots__ = ("given", "rest", "suspended")

    def __init__(self, given: asyncio.Future[None]) -> None:
        self.given = given
        self.suspended: Suspended | None = None
        self.rest: Coroutine[Any, Any, None] | None = None


class Spare:
    """A task that waits for a coroutine that has begun, in `context`. One can begin when `is_ready`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._renew()

    def _renew(self) -> None:
        self.is_ready = False  # until the new task waits: not in the first round after the last one was taken over
        self._handover = _Handover(self._loop.create_future())
        self._task = asyncio.Task(
            self._take_over(self._handover), loop=self._loop, name="durable spare", context=self._context.copy()
        )

    async def _take_over(self, handover: _Handover) -> None:
        if handover is self._handover:
            self.is_ready = True
        try:
            await handover.given
        except asyncio.CancelledError as error:
            if handover.rest is None or handover.suspended is None:
                raise
            handover.suspended.cancelled = error  # asked for by the coroutine's own first part, or since
        if handover.rest is not None:
            await handover.rest

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Suspended:
        """Run a coroutine up to where it suspends; what it raises comes out, StopIteration with what it returns."""
        caller = asyncio.current_task(self._loop)
        assert caller is not None
        _leave_task(self._loop, caller)
        _enter_task(self._loop, self._task)
        task = self._task
        try:
            awaited = context.run(coroutine.send, None)
        except BaseException:
            if task.cancelling():  # by the coroutine itself, and meant for it alone
                self._renew()
            raise
        finally:
            _leave_task(self._loop, task)
            _enter_task(self._loop, caller)
        return Suspended(coroutine, awaited, context)

    def go_on(self, suspended: Suspended, rest: Callable[[Suspended], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Let the task go on with `rest(suspended)`, and return it; another one waits from now on."""
        handover, task = self._handover, self._task
        handover.suspended, handover.rest = suspended, rest(suspended)
        if not handover.given.done():
            handover.given.set_result(None)
        self._renew()
        return task

    def close(self) -> None:
        """Wait for nothing any more."""
        self._task.cancel()
