"""Leave behind a try that does not end although its time is over.

Separate because a handler may swallow its cancelling, and then neither its step nor a closing engine may wait for it.
Leaves to `attempts` the cancelling and what is recorded of the try, to `refusals` the hiding of its task.

Source: R11a.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from durable.functions import Trying
from durable.scheduler.parts import Parts
from durable.scheduler.refusals import leave_behind
from durable.scheduler.stopping import GRACE


class Overtime:
    """Overtime is what tries of one step take after they were cancelled.

    A task that takes more than 5 s is named in the log and left behind.
    """

    __slots__ = ("_left", "_over", "_parts")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._left: asyncio.Task[Any] | None = None
        self._over: asyncio.Future[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the current task is one that was left behind, so that its outcome is dropped."""
        return self._left is not None and self._left is asyncio.current_task(self._parts.loop)

    def begin(self, task: asyncio.Task[Any], trying: Trying, label: str, end: Callable[[], None]) -> None:
        """Give a cancelled task 5 s; if it goes on, leave it behind and call `end()`."""
        self._parts.loop.call_later(GRACE, self._look, task, trying, label, end)

    def _look(self, task: asyncio.Task[Any], trying: Trying, label: str, end: Callable[[], None]) -> None:
        if task.done():
            return
        self._parts.logger.error(
            "%s does not end although its time is over and it was cancelled; it is left behind", label
        )
        leave_behind(task)
        self._left = task
        trying.is_cancelled = True
        task.add_done_callback(partial(self._forget, trying))
        end()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        self._over = None

    def _forget(self, trying: Trying, task: asyncio.Task[Any]) -> None:
        trying.is_over = True
        self._left = None

    async def last_ended(self) -> None:
        """Wait until a task that was left behind has ended."""
        if self._left is not None:
            await asyncio.wait([self._left])

    async def ended(self, task: asyncio.Task[Any]) -> None:
        """Wait until a task has ended or is left behind."""
        if self._over is None:
            self._over = self._parts.loop.create_future()
        await asyncio.wait([task, self._over], return_when=asyncio.FIRST_COMPLETED)
