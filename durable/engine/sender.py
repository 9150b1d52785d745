"""Send events and signals to a store's engine from any process.

Separate because sending needs no engine, no lock and no functions: every process that can write beside the store can
send, whether an engine has the store open or not.
Leaves to `stores.file.inbox` the keeping of messages, to `receiver` the taking of them by an engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from durable.engine.arguments import checked_events
from durable.engine.equipment import checked_limits
from durable.engine.messages import Sent, SentEvents, SentSignal, write_sent
from durable.engine.owner import AsyncWith
from durable.errors import checked_making
from durable.events import Event
from durable.functions import check_not_in_function, checked_signal
from durable.journal import Ids, Limits, accepted, check_signal, misplaced
from durable.stores import FileReader, Inbox, Job, Message, StoreThread, deliver, ring
from durable.timers import SystemClock, answering


@answering(trigger="send", emit="send", signal="send_signal")
@checked_making
class Sender(AsyncWith):
    """A sender sends events and signals to the engine of a file store.

    The engine may be in this process or in another. If no engine has the store open, the next one to open it takes what
    was sent.

    Args:
        path: the path of the store, which an engine must have made before.
        limits: the engine's limits, unless they are the default ones. Only `event_bytes` counts here.

    Messages stand in the store's inbox, the file `<path>.inbox`, until an engine takes them, each exactly once; a
    running engine takes them at once. An event arrives when it is taken: a wait whose deadline has passed by then is
    not answered. Open the sender with `async with sender`, or `open` and `close`. It belongs to the process that opened
    it. The event loop does not wait for the disk: one daemon thread writes, and sends at the same time share a
    transaction.

    Raises:
        TypeError, ValueError: at the call, for an invalid path, or for ":memory:".
    """

    def __init__(self, path: str | os.PathLike[str], *, limits: Limits | None = None) -> None:
        self.path = FileReader(path).path
        self._inbox = Inbox(os.path.realpath(self.path))
        self._limits = checked_limits(limits)
        self._clock = SystemClock()
        self._ids = Ids()
        self._pid = 0
        self._worker: StoreThread | None = None

    async def open(self) -> None:
        """Open the sender, and check that there is a store to send to.

        Raises:
            RuntimeError: the sender is open already.
            StoreCorruptError: the store or its inbox is damaged, or not a SQLite file.
            StoreError: there is no store, or the store or its inbox belongs to another program or has another format.
        """
        if self._worker is not None:
            raise RuntimeError("the sender is open already")
        worker = StoreThread("durable-sender", self._perform)
        try:
            await worker.post(())
        except BaseException:
            worker.stop()
            raise
        self._worker, self._pid = worker, os.getpid()

    async def close(self) -> None:
        """Finish what is being sent, and close the sender.

        Closing twice does nothing.
        """
        if self._worker is None:
            return
        worker, self._worker = self._opened("close"), None
        done = worker.post(None)
        worker.stop()
        await done

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def send(
        self,
        name: str | Event | Sequence[Event],
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        ts: datetime | None = None,
    ) -> list[str]:
        """Send events; return the ids that the runtime gives them.

        Give a name and data, an `Event`, or a sequence of Events. On return all of them are durable, and the engine
        will take them together. A run that an event opens has the id `<runtime's id>/<function>`. An event whose `id`
        the engine has seen in the last 24 h is dropped when it is taken; no run then has its runtime's id. An event
        with a `ts` in the future is delivered then. Cancelling the caller does not take the events back.

        Raises:
            TypeError, ValueError, CodecError, LimitError: nothing was sent.
            RuntimeError: the sender is not open, or was opened by another process.
            StoreError: it is not known whether the events were sent.
        """
        worker = self._asked("send", "ctx.step.run with a handler that calls it")
        events = [accepted(event, self._limits) for event in checked_events(name, data, id=id, ts=ts)]
        if not events:
            return []
        now = self._clock.now()
        ids = [self._ids.fresh(now) for _ in events]
        await worker.post((self._message(SentEvents(now, tuple(zip(ids, events, strict=True))), now),))
        return ids

    async def send_signal(self, signal: str, data: Any = None) -> None:
        """Send a signal to the run that waits for it.

        If no run waits for the signal when the engine takes it, it is lost (R23). On return the message is durable.

        Raises:
            TypeError, ValueError, CodecError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        worker = self._asked("send_signal", "ctx.step.run with a handler that calls it")
        signal = checked_signal(signal, what="send_signal")
        check_signal(signal, data, self._limits)
        now = self._clock.now()
        await worker.post((self._message(SentSignal(now, signal, data), now),))

    def _message(self, sent: Sent, now: datetime) -> Message:
        return Message(self._ids.fresh(now), *write_sent(sent))

    def _asked(self, what: str, instead: str) -> StoreThread:
        check_not_in_function(what, instead)
        return self._opened(what)

    def _opened(self, what: str) -> StoreThread:
        if self._worker is None:
            raise RuntimeError(f"{what}: the sender is not open: write `async with sender:` or `await sender.open()`")
        if self._pid != os.getpid():
            raise misplaced(
                f"{what}: the sender was opened by process {self._pid}, this is a forked child: open its own"
            )
        return self._worker

    def _perform(self, jobs: Sequence[Job]) -> None:
        asked = [job for job in jobs if job.task is not None]
        messages = [message for job in asked for message in job.task]
        try:
            if asked:
                self._inbox.put(messages)
        except Exception as error:
            for job in asked:  # each caller gets an error of its own: a shared one would collect all their tracebacks
                job.error = type(error)(*error.args)
                job.error.__cause__ = error.__cause__
        deliver(jobs)
        if messages:
            ring(self._inbox.store)
