"""Do the event loop's jobs in one daemon thread, in order.

Separate because a file store must never block the loop, for writing as for reading.
Leaves to `writer` and `reader` the work that the thread does, to `waking` a quick way back to the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import attrs

from durable.stores.file.waking import Waker
from durable.timers import asyncio_loop


@attrs.define(eq=False, repr=False)
class Job:
    """A job is a task for a worker, and once done its result or error.

    Then `told(job)` is called on the loop of whoever gave it; `wake(function, argument)` has that loop call a function.
    """

    task: Any
    told: Callable[[Job], None]
    wake: Callable[[Callable[[Any], object], Any], object]
    result: Any = None
    error: Any = None


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
        loop = asyncio_loop()
        future = loop.create_future()
        self._jobs.put(Job(task, partial(_settle, future), loop.call_soon_threadsafe))
        return future

    def submit(self, task: Any, told: Callable[[Exception | None], None], waker: Waker) -> None:
        """Queue a task, and have the waker's loop call `told(error)` once it is done; the error is None if it is well.

        This is quicker than `post`: it makes no future, and a waker has less to do than a loop of its own.
        """
        self._jobs.put(Job(task, lambda job: told(job.error), waker.call))

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
    ways: dict[Callable[..., object], list[Job]] = {}
    for job in jobs:
        ways.setdefault(job.wake, []).append(job)
    for wake, done in ways.items():
        try:
            wake(_tell, done)
        except RuntimeError:  # the loop is closed, so no caller waits any more
            continue


def _tell(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.told(job)


def _settle(future: asyncio.Future[Any], job: Job) -> None:
    if future.done():  # it was cancelled meanwhile; the task is done all the same
        return
    if job.error is None:
        future.set_result(job.result)
    else:
        future.set_exception(job.error)
