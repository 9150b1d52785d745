"""Begin a coroutine in place, and move it to a task if it suspends.

Separate because most handlers never suspend, and a task for each of them would cost more than the step.
Leaves to `attempts` the choice of handlers that may begin in place.

A coroutine may rely on its task: `asyncio.timeout` cancels the task in which it was entered. So a coroutine that begins
in place must not see the caller's task, but the task in which it would go on. One spare task waits for such a
coroutine. It is the current task while the coroutine's first part runs, and takes the coroutine over if it suspends.
Python 3.12 offers the same as `eager_start`; this works on 3.11 too, and without a new task for each coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

from durable.scheduler.undocumented import make_current


class Suspended:
    """A suspended coroutine has begun, and goes on when it is awaited.

    It goes on in its own context, from what it waits for.
    """

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
    """A handover gives a spare task the coroutine to go on with."""

    __slots__ = ("given", "rest", "suspended")

    def __init__(self, given: asyncio.Future[None]) -> None:
        self.given = given
        self.suspended: Suspended | None = None
        self.rest: Coroutine[Any, Any, None] | None = None


class SpareTask:
    """A spare is a task that waits to take a coroutine over.

    `context` is the context in which the task starts. A coroutine can begin when `is_ready`.
    """

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
            handover.suspended.cancelled = error  # cancelled by the coroutine's own first part, or since then
        if handover.rest is not None:
            await handover.rest

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context, caller: asyncio.Task[Any]) -> Any:
        """Run a coroutine of the task `caller` up to where it ends or suspends.

        Return what it returns, or a `Suspended`. What it raises is raised here.
        """
        task, loop = self._task, self._loop
        make_current(loop, task)
        try:
            awaited = context.run(coroutine.send, None)
        except BaseException as end:
            make_current(loop, caller)
            if task.cancelling():  # the coroutine has cancelled its own task: the next coroutine needs a new one
                self._renew()
            if type(end) is StopIteration:
                return end.value
            raise
        make_current(loop, caller)
        return Suspended(coroutine, awaited, context)

    def go_on(self, suspended: Suspended, rest: Callable[[Suspended], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Let the spare task go on with `rest(suspended)`, and return the task.

        A new spare task waits from now on.
        """
        handover, task = self._handover, self._task
        handover.suspended, handover.rest = suspended, rest(suspended)
        if not handover.given.done():
            handover.given.set_result(None)
        self._renew()
        return task

    def close(self) -> None:
        """Cancel the spare task."""
        self._task.cancel()


async def raising(error: BaseException) -> None:
    """Raise an error that a coroutine's first part has raised, in a task of its own."""
    raise error
