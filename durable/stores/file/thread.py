"""Do the event loop's jobs in one daemon thread, in order.

Separate because a file store must never block the loop, for writing as for reading.
Leaves to `writer` and `reader` the work that the thread does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import attrs


@attrs.define(eq=False, repr=False)
class Job:
    """A job is a task for a worker, and once done its result or error."""

    task: Any
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class StoreThread:
    """A worker is a daemon thread that takes all waiting jobs at once.

    While there are no jobs it sleeps without waking.

    `perform` gets them in order and must `deliver` every one of them; it runs in the thread and must not raise.
    """

    def __init__(self, name: str, perform: Callable[[Sequence[Job]], None]) -> None:
        self._perform = perform
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def post(self, task: Any) -> asyncio.Future[Any]:
        """Queue a task, and return the future of its result.

        The task is done even if the future is cancelled.
        """
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(Job(task, future))
        return future

    def stop(self) -> None:
        """End the thread after the queued tasks; no more may be posted."""
        self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            jobs = []
            while job is not None:
                jobs.append(job)
                if self._jobs.empty():
                    break
                job = self._jobs.get()
            if jobs:
                self._perform(jobs)
            if job is None:
                return
            job = None
            jobs.clear()  # an idle thread keeps no reference to its last jobs


def perform_each(jobs: Sequence[Job]) -> None:
    """Call every job's task in order, and deliver its result or error."""
    for job in jobs:
        try:
            job.result = job.task()
        except BaseException as error:
            job.error = error
        deliver((job,))


def deliver(jobs: Sequence[Job]) -> None:
    """Hand done jobs back to their loops: each loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, done in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, done)
        except RuntimeError:  # the loop is closed, so no caller waits any more
            continue


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():  # the future was cancelled meanwhile; the task is done all the same
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
