"""Refuse step calls of a run that is no longer being executed.

Separate because user code may do anything when it is cancelled, and may swallow it again and again.
Leaves to `session` the time of refusing, to `stopping` the waiting for refused tasks.

A refused call raises `asyncio.CancelledError`, so that `finally` blocks run and record nothing (R8). It does so after
one yield to the loop, so that code which swallows the error does not block the loop. After the tenth refusal a call
does not return at all, so that such code does not spin for ever. Waiting for a task in such a call would take for ever,
so it is taken out of asyncio's own list, by which `asyncio.run` cancels and awaits the tasks that are left.

A task that does not belong to the run, such as a web request that was given the context, has nothing to clean up, and
must not be cancelled by what it calls: it gets a RuntimeError.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from durable.functions import is_own
from durable.journal import misplaced
from durable.scheduler.undocumented import leave_alone
from durable.stores import RationedLog

ANSWERED = 10

Gone = Callable[[asyncio.Task[Any]], None]

_LEFT: set[asyncio.Task[Any]] = set()
_holding = threading.Lock()


def leave_behind(task: asyncio.Task[Any]) -> None:
    """Hide a task that does not end, so that nothing waits for it."""
    _LEFT.add(task)
    task.add_done_callback(_LEFT.discard)
    leave_alone(task)  # the log names it
    if _holding.acquire(blocking=False):
        threading.Thread(target=_hold, args=(_LEFT,), name="durable-left-behind", daemon=True).start()


def _hold(left: object) -> None:
    # A task that is garbage-collected is closed where it stands, and code that swallows this closing, too, goes on for
    # ever. The interpreter collects everything at its exit but what the frame of a daemon thread holds. So this thread
    # holds the tasks and waits for ever.
    _holding.acquire()


class Refused(Protocol):
    """A refused execution is one whose step calls are refused."""

    ledger: Any
    main: asyncio.Task[Any]
    is_stopped: bool
    fault: Any


class Awaited(Protocol):
    """An awaited call is a step call and the task that awaits it."""

    key: str
    awaited_by: asyncio.Task[Any] | None
    future: asyncio.Future[Any] | None


class Refusals:
    """Refusals answer the step calls of one execution that is over.

    `ended()` is called if the execution has a fault, but its function never ends.
    """

    __slots__ = ("_count", "_ended", "_gone", "_is_counted", "_is_told", "_log", "_of", "silent")

    def __init__(self, of: Refused, log: RationedLog, ended: Callable[[], None]) -> None:
        self._of = of
        self._log = log
        self._ended = ended
        self._count = 0
        self._is_counted = self._is_told = False
        self.silent: set[asyncio.Task[Any]] = set()  # tasks in a call that never returns
        self._gone: list[Gone] = []

    def check_own(self, step: str) -> None:
        """Refuse a call of a task that does not belong to the run.

        Raises:
            RuntimeError: the calling task does not belong to the run.
        """
        if not is_own(self._of):
            raise self._told_away(step)
        run = self._of.ledger.run
        if self._of.main.done() and not self._of.is_stopped and not self._is_told:
            self._is_told = True
            self._log.warn_sparingly(
                self._of.ledger.function,
                "run %r: step %r is called after the function has ended, and does nothing: await what calls it, a "
                "generator too (contextlib.aclosing), before the function returns",
                run,
                step,
            )

    def _told_away(self, step: str) -> RuntimeError:
        run, state = self._of.ledger.run, self._of.ledger.status or "parked"
        return misplaced(
            f"step {step!r} of run {run!r} is called from a task that is none of the run's own, and the run is "
            f"{state}: steps can be called while its function runs; to begin another run use engine.start"
        )

    def turn_away(self, calls: Iterable[Awaited], strangers: Container[asyncio.Task[Any]]) -> None:
        """Fail the calls in which tasks that do not belong to the run wait."""
        for call in calls:
            if call.awaited_by in strangers and call.future is not None and not call.future.done():
                call.future.set_exception(self._told_away(call.key))

    async def refuse(self) -> NoReturn:
        """Refuse one call: raise CancelledError, or after the tenth never return.

        The calls of one turn of the loop count as one, so that a fan-out that cleans up is refused as a whole.
        """
        loop = asyncio.get_running_loop()
        if not self._is_counted:
            self._count += 1
            self._is_counted = True
            loop.call_soon(self._turn)
        if self._count <= ANSWERED:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        if self._of.fault is not None:
            self._ended()  # R7: the function catches everything and so never ends by itself
        task = asyncio.current_task()
        assert task is not None
        self.silent.add(task)
        leave_behind(task)
        for gone in self._gone:
            gone(task)
        try:
            await loop.create_future()
        finally:
            self.silent.discard(task)
        raise asyncio.CancelledError

    def _turn(self) -> None:
        self._is_counted = False

    @contextmanager
    def watched(self, gone: Gone) -> Iterator[None]:
        """Call `gone(task)` for each task whose call will never return, while in the context."""
        self._gone.append(gone)
        try:
            yield
        finally:
            self._gone.remove(gone)
