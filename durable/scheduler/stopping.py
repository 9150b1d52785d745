"""End an execution by cancelling its tasks and handlers.

Those that do not end are named in the log and left behind.

Separate because it takes time, and is the same however an execution ends: by itself, cancelled, parked or closed (R8).
Leaves to `scheduler` the records of the end, to `session` the refusal of step calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from durable.scheduler.refusals import leave_behind
from durable.scheduler.session import Session
from durable.scheduler.works import Work
from durable.timers import few

GRACE = 5.0  # seconds
# Seconds for a run's other tasks, once a call of one of them never returns: a task that waits for that one never ends.
AFTER_SILENCE = 0.2


class ClosingTime:
    """Closing time says how long handlers may go on while an engine closes.

    `is_given` says whether the engine closes, `is_up` whether running handlers are to be stopped.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_given = self.is_up = False
        self._loop = loop
        self._waiting: set[asyncio.Future[None]] = set()  # not one future for all: leaving it takes time for each in it
        self._timer: asyncio.TimerHandle | None = None
        self._given_at = self._ends = 0.0

    def give(self, seconds: float) -> None:
        """Give handlers this many seconds from now; called again, the shorter time counts."""
        now = self._loop.time()
        if not self.is_given:
            self._given_at, self.is_given = now, True
        elif now + seconds >= self._ends:
            return
        self._ends = now + seconds
        self.forget()
        if seconds > 0:
            self._timer = self._loop.call_at(self._ends, self._end)
        else:
            self._end()

    def _end(self) -> None:
        self.is_up = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait_for(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Wait until these are done or the time is up; while the engine stays open, without limit."""
        if self.is_up:
            return
        waiting, left = self._loop.create_future(), set(tasks)

        def ended(task: asyncio.Task[None]) -> None:
            left.discard(task)
            if not left and not waiting.done():
                waiting.set_result(None)

        for task in list(left):
            task.add_done_callback(ended)
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def forget(self) -> None:
        """Cancel the timer: handlers are no longer waited for."""
        if self._timer is not None:
            self._timer.cancel()

    def left_for_threads(self) -> float:
        """Return the seconds that blocking handlers still have.

        They have 5 s from the beginning of the closing, or the time given if that is longer.
        """
        return max(0.1, max(self._given_at + GRACE, self._ends) - self._loop.time())

    def left_after_all(self) -> float:
        """Return the seconds after which the closing waits for nothing any more."""
        return self._ends + 3 * GRACE - self._loop.time()


async def stop(session: Session, time: ClosingTime, *, at_once: bool) -> None:
    """End a session whose function has not ended by itself, recording nothing (R8).

    Handlers are ended as `end` does it; what they return before they are cancelled is recorded.
    """
    session.is_stopped = True
    session.stop()
    await has_left(session)
    await end(session, time, at_once=at_once)


async def has_left(session: Session) -> None:
    """Wait until a function that was cancelled has ended."""
    await _wait_for(session, [session.main])


async def end(session: Session, time: ClosingTime, *, at_once: bool) -> None:
    """Cancel a session's tasks and running handlers, and wait for their end.

    A task that does not end is named in the log, after 5 s at the most, and left behind. Handlers are cancelled now if
    `at_once`, else once the closing's `time` is up. While the engine stays open they are waited for without limit; once
    the time is up, 5 s more.
    """
    tasks = [task for task in session.branches.tasks if not task.done()]
    if tasks and not session.is_stopped:
        _tell_waiting(session, tasks)
    session.stop()
    if at_once:
        _stop_all(session.works)
    await _wait_for(session, tasks)
    works = list(session.works)
    left = await _ended(works, until=time)
    if not at_once:
        _stop_all(works)
    for work in await _ended(left, patience=GRACE):
        # Handlers in threads are named when the threads are closed. A closing ends also what ended by itself before,
        # so two may wait for one handler: the first to give it up names it.
        if not work.is_in_thread and work in session.works:
            del session.works[work]
            session.parts.logger.error("%s does not end although it was cancelled; it is left behind", work.step.label)


def _stop_all(works: Iterable[Work]) -> None:
    for work in list(works):
        work.stop()


async def _ended(works: Sequence[Work], *, until: ClosingTime | None = None, patience: float = 0.0) -> list[Work]:
    """Wait until handlers have ended; return those that have not.

    With `until`, wait no longer than until that time is up; else `patience` seconds at the most.
    """
    if not works:
        return []
    loop = asyncio.get_running_loop()
    endings = {asyncio.Task(work.ended(), loop=loop): work for work in works}
    if until is None:
        await asyncio.wait(endings, timeout=patience)
    else:
        await until.wait_for(endings)
    pending = {ending: work for ending, work in endings.items() if not ending.done()}
    for ending in pending:
        ending.cancel()
    return list(pending.values())


async def _wait_for(session: Session, tasks: Sequence[asyncio.Task[Any]]) -> None:
    left = await _left(session, tasks)
    if left:
        if session.refusals.silent:
            for task in left:
                leave_behind(task)
        session.parts.logger.error(
            "run %r: %d of its tasks do not end although they were cancelled; they are left behind: %s",
            session.ledger.run,
            len(left),
            few(sorted(task.get_name() for task in left)),
        )


async def _left(session: Session, tasks: Sequence[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Wait until tasks have ended, 5 s at the most; return those that have not.

    If a call of one of them never returns, the others are waited for 0.2 s only.
    """
    awaited = {task for task in tasks if not task.done()}
    if awaited:
        loop = asyncio.get_running_loop()
        gone = loop.create_future()

        def end() -> None:
            if not gone.done():
                gone.set_result(None)

        def leave(task: asyncio.Task[Any]) -> None:
            awaited.discard(task)
            if not awaited:
                end()

        def fall_silent(task: asyncio.Task[Any]) -> None:
            leave(task)
            loop.call_later(AFTER_SILENCE, end)

        for task in list(awaited):
            task.add_done_callback(leave)
        for task in list(session.refusals.silent):
            fall_silent(task)
        with session.refusals.watched(fall_silent):
            await asyncio.wait([gone], timeout=GRACE)
        for task in tasks:
            task.remove_done_callback(leave)
    return [task for task in tasks if not task.done()]


def _tell_waiting(session: Session, tasks: list[asyncio.Task[Any]]) -> None:
    waiting = [call.key for call in session.calls.values() if call is not None and call.awaited_by in tasks]
    if waiting:
        session.parts.logger.warn_sparingly(
            session.ledger.function,
            "run %r: the function ended while tasks of its own still waited in steps: %s; they are cancelled: await "
            "them before the function returns, as an asyncio.TaskGroup does",
            session.ledger.run,
            few(waiting),
        )
