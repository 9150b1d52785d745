"""Put messages into a store's inbox, and tell from the store what can still come of one.

Separate because both block, and are done in one thread for all calls of a sender.
Leaves to `stores.file.inbox` and `stores.file.glance` the files, to `sender` the calls.

The store may be behind: messages that are not taken yet stand before a new one. So what the store shows of a run counts
only if none of them can change that; they are looked at after the store, and then the store once more, since one of
them may have been taken in between.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import attrs

from durable.engine.foresight import Found, Look
from durable.engine.messages import (
    Sent,
    SentBackfill,
    SentEvents,
    SentFlush,
    SentPause,
    SentResume,
    SentSchedule,
    SentSignal,
    SentUnschedule,
    SentUnsend,
    read_sent,
)
from durable.journal import cron_runs, pause_fact, schedule_fact, schedule_runs, scheduled_run
from durable.stores import Glance, Inbox, Job, Message, StoreThread, check_taken, deliver, ring


@attrs.frozen
class _Putting:
    messages: tuple[Message, ...]
    format: int


class Outbox:
    """An outbox has a thread of its own from `open` to `close`."""

    def __init__(self, path: str) -> None:
        store = os.path.realpath(path)
        self._inbox = Inbox(store)
        self._glance = Glance(store)
        self._worker = StoreThread("durable-sender", self._perform)

    async def open(self) -> None:
        """Check that there is a store to send to.

        Raises:
            StoreCorruptError, StoreError: see `Inbox.put`. Then the thread has ended.
        """
        try:
            await self._worker.post(_Putting((), 1))
        except BaseException:
            self._worker.stop()
            raise

    async def close(self) -> None:
        """Finish what is being done, and end the thread."""
        done = self._worker.post(self._glance.close)
        self._worker.stop()
        await done

    async def put(self, message: Message, *, format: int = 1) -> None:
        """Put a message of a format into the inbox; it is durable on return.

        Raises:
            StoreError: the engine that has the store open does not take the format; or see `Inbox.put`.
        """
        await self._worker.post(_Putting((message,), format))

    async def seen(self, run: str | None, look: Look) -> Found:
        """Return what a look into the store finds against a message about a run, or None.

        None also if a message that stands before may change that; without a run, any message may.

        Raises:
            StoreCorruptError, StoreError: the run, or the inbox, cannot be read.
        """
        found: Found = await self._worker.post(partial(self._see, run, look))
        return found

    def _see(self, run: str | None, look: Look) -> Found:
        return None if look(self._glance) is None or self._is_awaited(run) else look(self._glance)

    def _is_awaited(self, run: str | None) -> bool:
        """Return whether a message in the inbox may open the run, open it again or end it; None is any run."""
        seen: list[str] = []
        while messages := self._inbox.look(seen):
            for message in messages:
                try:
                    if run is None or _is_about(read_sent(message.kind, message.body), run):
                        return True
                except ValueError:  # of another version, or damaged: an engine that takes it may do anything
                    return True
            seen += [message.id for message in messages]
        return False

    def _perform(self, jobs: Sequence[Job]) -> None:
        puttings: list[Job] = []
        for job in jobs:
            try:
                if isinstance(job.task, _Putting):
                    if job.task.format > 1:
                        check_taken(self._inbox.store, job.task.format)
                    puttings.append(job)
                else:
                    job.result = job.task()
            except Exception as error:
                job.error = error
        self._put(puttings)
        deliver(jobs)
        if any(job.task.messages for job in puttings):
            ring(self._inbox.store)

    def _put(self, puttings: list[Job]) -> None:
        try:
            if puttings:
                self._inbox.put([message for job in puttings for message in job.task.messages])
        except Exception as error:
            for job in puttings:  # each with an error of its own: a shared one would collect all their tracebacks
                job.error = type(error)(*error.args)
                job.error.__cause__ = error.__cause__


def _is_about(sent: Sent, run: str) -> bool:
    match sent:
        case SentSignal() | SentUnsend() | SentFlush():
            return False
        case SentPause(_, function) | SentResume(_, function):
            return run == pause_fact(function)
        case SentBackfill(_, function):
            return run.startswith(cron_runs(function))
        case SentSchedule(id=id) | SentUnschedule(id=id):
            return run == schedule_fact(id) or run.startswith(schedule_runs(id))
        case SentEvents(_, events):
            return any(run.startswith(f"{id}/") or run == scheduled_run(id) for id, _ in events)
        case _:
            return run == sent.run or run.startswith(f"{sent.run}/")
