"""Find the tasks of a function that have called no step.

Separate because such tasks can be found only by looking at every task of the loop, from Python 3.12 on.
Leaves to `scheduler` the end of executions, to `session` the tasks that were seen in its steps.

A task inherits the context of the task that starts it, and with it the execution, in `BODY`. Tasks that a handler
starts do not belong to the function: a connection pool that was made in a step outlives the step. One look at all tasks
serves all runs that have ended or may be parked since the last look. There is at most one look in 100 ms, and looks
take at most a twentieth of the time.

Tasks that clean up may start other tasks. Those have 2.5 s, and are then cancelled too. They may wait for something
that a refused step should have given, and the tasks that clean up wait for them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any
from weakref import WeakSet

from durable.functions import BODY, CURRENT
from durable.scheduler.session import Session
from durable.scheduler.stopping import GRACE
from durable.stores import Log

LOOK_SECONDS = 0.1
CLEANUP_SECONDS = GRACE / 2  # for tasks that were started after the first look; the other half to end
_SHARE = 20
CAN_LOOK = sys.version_info >= (3, 12)
Found = tuple[Session, asyncio.Task[Any]]


class Strays:
    """Strays are tasks of functions that their executions do not know.

    `spawn` runs a coroutine in the background.
    """

    def __init__(
        self,
        engine: object,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._log = log
        self._spawn = spawn
        self._not_before = 0.0
        self._timer: asyncio.Handle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._over: dict[Session, float] = {}  # executions that had tasks at the last look, and when they first had
        self._told: list[asyncio.Future[set[Session]]] = []
        self._seen: WeakSet[asyncio.Task[Any]] = WeakSet()

    @property
    def is_idle(self) -> bool:
        """Whether no look is due."""
        return self._timer is None

    def look_soon(self) -> None:
        """Look as soon as the pace allows.

        Called when an execution is over: it may have left tasks.
        """
        if CAN_LOOK and self._timer is None:
            wait = self._not_before - self._loop.time()
            self._timer = self._loop.call_later(wait, self.look) if wait > 0 else self._loop.call_soon(self.look)

    async def busy(self) -> set[Session]:
        """Return the executions that have strays or clocks of their own; these must not be parked."""
        if not CAN_LOOK:
            return self.busy_now()
        told: asyncio.Future[set[Session]] = self._loop.create_future()
        self._told.append(told)
        self.look_soon()
        return await told

    def busy_now(self) -> set[Session]:
        """Return what `busy` does, whatever the pace of looks."""
        return {session for session, _ in self._found() if not session.refused} | self._timed()

    def _timed(self) -> set[Session]:
        """Return the executions whose function has set a timer of the loop, such as `asyncio.timeout` does.

        On a loop that does not show its timers, such as uvloop's, there are none.
        """
        timers: list[asyncio.TimerHandle] = getattr(self._loop, "_scheduled", [])
        contexts = [timer._context for timer in timers if not timer.cancelled()]  # type: ignore[attr-defined]
        owners = [context.get(BODY) for context in contexts if context.get(CURRENT) is None]
        return {owner for owner in owners if isinstance(owner, Session)}

    def look(self) -> None:
        """Look now, and cancel the strays of executions that are over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        began = self._loop.time()
        before, self._over = self._over, {}
        busy, over, cleanup = set[Session](), list[Found](), list[Found]()
        for session, task in self._found():
            if not session.refused:
                busy.add(session)
                continue
            since = self._over[session] = before.get(session, began)
            if not _is_known(session, task) and task not in self._seen:
                self._seen.add(task)
                if session in before and began < since + CLEANUP_SECONDS:
                    cleanup.append((session, task))
                else:
                    over.append((session, task))
        for _, task in over:
            self._loop.call_soon(task.cancel)  # by then the task has begun, and so has what it wraps, as in anyio
        if over:
            self._spawn(self._see_off(over))
        if cleanup:
            self._spawn(self._let_clean_up(cleanup))
        told, self._told = self._told, []
        if told:
            busy |= self._timed()
        for waiting in told:
            if not waiting.done():
                waiting.set_result(busy)
        now = self._loop.time()
        self._not_before = now + max(LOOK_SECONDS, _SHARE * (now - began))
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        self.forget()
        due = [since + CLEANUP_SECONDS for since in self._over.values() if now - since < GRACE]
        if due:
            self._again = self._loop.call_at(max(min(due), self._not_before), self.look)

    def forget(self) -> None:
        """Look no more for tasks that are started to clean up."""
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _found(self) -> Iterator[Found]:
        """Yield the tasks of executions that are over, and the unknown tasks of others."""
        for task in asyncio.all_tasks(self._loop) if CAN_LOOK else ():
            context = _context_of(task)
            session = context.get(BODY)
            if not isinstance(session, Session) or session.parts.settings.engine is not self._engine:
                continue
            if context.get(CURRENT) is None and (session.refused or not _is_known(session, task)):
                yield session, task

    async def _let_clean_up(self, cleanup: list[Found]) -> None:
        _, left = await asyncio.wait([task for _, task in cleanup], timeout=CLEANUP_SECONDS)
        for task in left:
            task.cancel()
        await self._see_off(cleanup)

    async def _see_off(self, over: list[Found]) -> None:
        _, left = await asyncio.wait([task for _, task in over], timeout=GRACE)
        self.look_soon()  # for tasks that these have started
        for session, task in over:
            if task in left:
                self._log.error(
                    "run %r: task %s, which its function started, does not end although it was cancelled; it is left "
                    "behind",
                    session.ledger.run,
                    task.get_name(),
                )


def _is_known(session: Session, task: asyncio.Task[Any]) -> bool:
    return task is session.main or task in session.branches.tasks


def _context_of(task: asyncio.Task[Any]) -> Context:
    if sys.version_info >= (3, 12):
        return task.get_context()
    return Context()
