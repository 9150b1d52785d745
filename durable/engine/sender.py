"""Send events, signals and what steers runs to a store's engine, from any process.

Separate because sending needs no engine, no lock and no functions: every process that can write beside the store can
send, whether an engine has the store open or not.
Leaves to `outbox` the keeping of messages, to `receiver` the taking of them by an engine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

from durable.engine.answers import no_such_run
from durable.engine.arguments import (
    check_reopened,
    check_same,
    checked_event_id,
    checked_events,
    checked_function,
    checked_reason,
    checked_run_id,
    looked_up,
)
from durable.engine.equipment import checked_limits
from durable.engine.messages import (
    STEERING,
    Sent,
    SentCancel,
    SentEvents,
    SentRetry,
    SentSignal,
    SentStart,
    SentUnsend,
    write_sent,
)
from durable.engine.outbox import Outbox
from durable.engine.owner import AsyncWith
from durable.errors import checked_making
from durable.events import Event
from durable.functions import Function, check_not_in_function, checked_signal
from durable.journal import (
    HELD,
    Ids,
    Limits,
    accepted,
    check_signal,
    decode,
    ends_in,
    holds,
    invoked,
    misplaced,
    scheduled_run,
)
from durable.stores import FileReader, Glance, Message
from durable.timers import SystemClock, answering

_INSTEAD = "ctx.step.run with a handler that calls it"


@answering(trigger="send", emit="send", signal="send_signal")
@checked_making
class Sender(AsyncWith):
    """A sender asks the engine of a store to take events and steer runs.

    The engine may be in this process or in another. If no engine has the store open, the next one to open it takes what
    was sent.

    Args:
        path: the path of the store, which an engine must have made before.
        limits: the engine's limits, unless they are the default ones. Only `event_bytes` counts here.

    Messages stand in the store's inbox, the file `<path>.inbox`, until an engine takes them, each exactly once and in
    the order of sending; a running engine takes them at once. What a message asks for happens when it is taken: a wait
    whose deadline has passed by then is not answered. What cannot be done any more by then is named in the log.

    Every call opens what it needs and gives it back. For many calls open the sender, with `async with sender`, or
    `open` and `close`; it then belongs to the process that opened it. The event loop does not wait for the disk: one
    daemon thread writes, and sends at the same time share a transaction.

    An engine of an earlier release takes events and signals alone: while it has the store open, other calls are a
    StoreError that says so.

    Raises:
        TypeError, ValueError: at the call, for an invalid path, or for ":memory:".
    """

    def __init__(self, path: str | os.PathLike[str], *, limits: Limits | None = None) -> None:
        self.path = FileReader(path).path
        self._limits = checked_limits(limits)
        self._clock = SystemClock()
        self._ids = Ids()
        self._pid = 0
        self._outbox: Outbox | None = None

    async def open(self) -> None:
        """Open the sender for many calls, and check that there is a store to send to.

        Raises:
            RuntimeError: the sender is open already.
            StoreCorruptError: the store or its inbox is damaged, or not a SQLite file.
            StoreError: there is no store, or the store or its inbox belongs to another program or has another format.
        """
        if self._outbox is not None:
            raise RuntimeError("the sender is open already")
        outbox = Outbox(self.path)
        await outbox.open()
        self._outbox, self._pid = outbox, os.getpid()

    async def close(self) -> None:
        """Finish what is being sent, and close the sender.

        Closing twice does nothing. A call after that opens what it needs again.
        """
        if self._outbox is None:
            return
        self._check_process("close")
        outbox, self._outbox = self._outbox, None
        await outbox.close()

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
        check_not_in_function("send", _INSTEAD)
        events = [accepted(event, self._limits) for event in checked_events(name, data, id=id, ts=ts)]
        if not events:
            return []
        now = self._clock.now()
        ids = [self._ids.fresh(now) for _ in events]
        async with self._opened("send") as outbox:
            await outbox.put(self._message(SentEvents(now, tuple(zip(ids, events, strict=True)))))
        return ids

    async def send_signal(self, signal: str, data: Any = None) -> None:
        """Send a signal to the run that waits for it.

        If no run waits for the signal when the engine takes it, it is lost (R23). On return the message is durable.

        Raises:
            TypeError, ValueError, CodecError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        check_not_in_function("send_signal", _INSTEAD)
        signal = checked_signal(signal, what="send_signal")
        check_signal(signal, data, self._limits)
        async with self._opened("send_signal") as outbox:
            await outbox.put(self._message(SentSignal(self._clock.now(), signal, data)))

    async def start(
        self, function: Function[Any] | str, data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> str:
        """Open a run of a function; return its id, which is known before the run is.

        A given `id` starts once: a run of it that is there, ended or not, is left as it is. None is a fresh id. If the
        engine lacks the function, the run stays parked until it has it. If the function's `idempotency` finds that
        another run has come before, none is opened, and the log says so.

        Raises:
            TypeError, ValueError: an id with "/", or one that belongs to another function or other data.
            CodecError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        check_not_in_function("start", _INSTEAD)
        name = checked_function(function, "start")
        event = invoked(name, data, self._limits)
        run = self._ids.fresh(self._clock.now()) if id is None else checked_run_id(id)

        def repeats(store: Glance) -> bool | None:
            opened, _ = ends_in(store.history(run))
            if opened is None:
                return None
            check_same(opened, name, event)
            return True

        async with self._opened("start") as outbox:
            if id is None or not await outbox.seen(run, repeats):
                asked = SentStart(self._clock.now(), name, run, decode(event.text), id is not None)
                await outbox.put(self._message(asked), format=STEERING)
        return run

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        """Cancel a run when the engine takes this; return False if it has ended already.

        `reason`, at most 16 KiB, is recorded and shown. If the run has ended when this is taken, nothing happens.

        Raises:
            KeyError: there is no such run.
            TypeError, ValueError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        check_not_in_function("cancel", _INSTEAD)
        run, reason = looked_up(run_id), checked_reason(reason)

        def has_ended(store: Glance) -> bool | KeyError | None:
            opened, closed = ends_in(store.history(run))
            return no_such_run(run, ()) if opened is None else True if closed is not None else None

        async with self._opened("cancel") as outbox:
            refusal = await outbox.seen(run, has_ended)
            if isinstance(refusal, KeyError):
                raise refusal
            if refusal is None:
                await outbox.put(self._message(SentCancel(self._clock.now(), run, reason)), format=STEERING)
        return refusal is None

    async def retry(self, run_id: str) -> None:
        """Open a failed or cancelled run again when the engine takes this: see `Engine.retry`.

        If it has been opened again by then, nothing happens.

        Raises:
            KeyError: there is no such run.
            ValueError: the run has completed, or has not ended.
            TypeError, RuntimeError, StoreError: as for `send`.
        """
        check_not_in_function("retry", _INSTEAD)
        run = looked_up(run_id)

        def refusal(store: Glance) -> KeyError | ValueError | None:
            opened, closed = ends_in(store.history(run))
            try:
                check_reopened(run, closed, is_unfinished=opened is not None and closed is None)
            except (KeyError, ValueError) as error:
                return error
            return None

        async with self._opened("retry") as outbox:
            if (error := await outbox.seen(run, refusal)) is not None:
                raise error
            await outbox.put(self._message(SentRetry(self._clock.now(), run)), format=STEERING)

    async def unsend(self, event_id: str) -> bool:
        """Take back an event that is still to come, or held; return False if there is none: see `Engine.unsend`.

        If the event has been delivered when the engine takes this, nothing happens.

        Raises:
            TypeError, RuntimeError, StoreError: as for `send`.
        """
        check_not_in_function("unsend", _INSTEAD)
        event = checked_event_id(event_id)

        def is_gone(store: Glance) -> bool | None:
            entries = store.history(scheduled_run(event))
            is_coming = bool(entries) and not entries[-1].ends_run
            return None if is_coming or any(holds(store.history(group), event) for group in store.open(HELD)) else True

        async with self._opened("unsend") as outbox:
            if await outbox.seen(scheduled_run(event), is_gone):
                return False
            await outbox.put(self._message(SentUnsend(self._clock.now(), event)), format=STEERING)
        return True

    def _message(self, sent: Sent) -> Message:
        return Message(self._ids.fresh(sent.at), *write_sent(sent))

    @asynccontextmanager
    async def _opened(self, what: str) -> AsyncIterator[Outbox]:
        if self._outbox is not None:
            self._check_process(what)
            yield self._outbox
            return
        outbox = Outbox(self.path)
        try:
            yield outbox
        finally:
            await outbox.close()

    def _check_process(self, what: str) -> None:
        if self._pid != os.getpid():
            raise misplaced(
                f"{what}: the sender was opened by process {self._pid}, this is a forked child: open its own"
            )
