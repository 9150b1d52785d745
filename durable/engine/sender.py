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

from durable.engine import planning
from durable.engine.arguments import (
    checked_event_id,
    checked_events,
    checked_function,
    checked_key,
    checked_reason,
    checked_run_id,
    looked_up,
)
from durable.engine.equipment import checked_limits
from durable.engine.foresight import Look, nothing, of_cancel, of_flush, of_fork, of_retry, of_start, of_unsend
from durable.engine.forks import NO_STEPS, checked_wanted, portable
from durable.engine.messages import (
    STEERING,
    Sent,
    SentCancel,
    SentEvents,
    SentFlush,
    SentFork,
    SentRetry,
    SentSignal,
    SentStart,
    SentUnsend,
    Steering,
    write_sent,
)
from durable.engine.outbox import Outbox
from durable.engine.owner import AsyncWith
from durable.errors import checked_making
from durable.events import Event
from durable.functions import Function, check_not_in_function, checked_signal
from durable.journal import Ids, Limits, accepted, check_signal, data_text, decode, invoked, misplaced, scheduled_run
from durable.stores import FileReader, Message
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
        limits: the engine's limits, unless they are the default ones. Here only `event_bytes` counts, and for `fork`
            `step_bytes` and `run_bytes`.

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
            raise RuntimeError("the sender is open already: use it, or close it before")
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
            RuntimeError: called in a function, or the sender was opened by another process.
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
        engine lacks the function, the run stays parked until it has it. If another run has the key of the
        function's `idempotency` or `singleton`, or its `rate_limit` is reached, none is opened, and the log says so.

        Raises:
            TypeError, ValueError: an id with "/", or one that belongs to another function or other data.
            CodecError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        name = checked_function(function, "start")
        event = invoked(name, data, self._limits)
        run = self._ids.fresh(self._clock.now()) if id is None else checked_run_id(id)
        asked = SentStart(self._clock.now(), name, run, decode(event.text), id is not None)
        await self._ask("start", run, nothing if id is None else of_start(run, name, event), asked)
        return run

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        """Cancel a run when the engine takes this; return False if it has ended already.

        `reason`, at most 16 KiB, is recorded and shown. If the run has ended when this is taken, nothing happens.

        Raises:
            KeyError: there is no such run.
            TypeError, ValueError, LimitError, RuntimeError, StoreError: as for `send`.
        """
        run, reason = looked_up(run_id), checked_reason(reason)
        return await self._ask("cancel", run, of_cancel(run), SentCancel(self._clock.now(), run, reason))

    async def retry(self, run_id: str) -> None:
        """Open a failed or cancelled run again when the engine takes this: see `Engine.retry`.

        If it has been opened again by then, nothing happens.

        Raises:
            KeyError: there is no such run.
            ValueError: the run has completed, or has not ended.
            TypeError, RuntimeError, StoreError: as for `send`.
        """
        run = looked_up(run_id)
        await self._ask("retry", run, of_retry(run), SentRetry(self._clock.now(), run))

    async def fork(
        self,
        run_id: str,
        *,
        before: str | None = None,
        data: Mapping[str, Any] | None = None,
        steps: Mapping[str, Any] = NO_STEPS,
        id: str | None = None,
    ) -> str:
        """Begin a new run with what another has finished, when the engine takes this: see `Engine.fork`.

        Return the id of the new run, which is known before the run is. A run that is not finished may have come
        further by then.

        Raises:
            KeyError: there is no such run, it has no record of the step `before`, or no outcome for a key of `steps`.
            TypeError, ValueError, CodecError, LimitError: as for `Engine.fork`, as far as the store shows.
            RuntimeError, StoreError: as for `send`.
        """
        origin, now = looked_up(run_id), self._clock.now()
        wanted = checked_wanted(before, data, steps)
        what = f"the data for a fork of run {origin!r}"
        given = None if data is None else decode(data_text(data, what, self._limits))
        values = {key: portable(key, value, self._limits) for key, value in wanted.steps.items()}
        run = self._ids.fresh(now) if id is None else checked_run_id(id)
        asked = SentFork(now, origin, run, wanted.before, given, values, id is not None)
        look = of_fork(origin, wanted, run, self._limits, now, is_named=id is not None)
        await self._ask("fork", origin, look, asked)
        return run

    async def unsend(self, event_id: str) -> bool:
        """Take back an event that is still to come, or held; return False if there is none: see `Engine.unsend`.

        If the event has been delivered, or has opened a run, when the engine takes this, nothing happens.

        Raises:
            TypeError, RuntimeError, StoreError: as for `send`.
        """
        event = checked_event_id(event_id)
        return await self._ask("unsend", scheduled_run(event), of_unsend(event), SentUnsend(self._clock.now(), event))

    async def flush(self, function: Function[Any] | str, key: Any = None) -> bool:
        """Open what debounce and batch hold back for a function when the engine takes this: see `Engine.flush`.

        Return False if nothing is held that it would open. If that has been opened by then, nothing happens.

        Raises:
            TypeError, ValueError: neither a Function nor an id, or a key that is no value of an expression.
            RuntimeError, StoreError: as for `send`.
        """
        name, text = checked_function(function, "flush"), checked_key(key)
        return await self._ask("flush", None, of_flush(name, text), SentFlush(self._clock.now(), name, text))

    pause, resume, backfill = planning.pause, planning.resume, planning.backfill
    schedule, unschedule = planning.schedule, planning.unschedule

    async def _ask(self, what: str, run: str | None, look: Look, sent: Steering) -> bool:
        """Send what steers a run, unless the store shows that nothing is left to do; return whether it was sent."""
        check_not_in_function(what, _INSTEAD)
        async with self._opened(what) as outbox:
            found = await outbox.seen(run, look)
            if isinstance(found, Exception):
                raise found
            if found is None:
                await outbox.put(self._message(sent), format=STEERING)
        return found is None

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
