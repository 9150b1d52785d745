"""The intake: what other processes have put into the store's inbox goes to this engine's functions, exactly once.

Separate because two files cannot be written as one, and it must not be possible to tell from outside.
Leaves to `stores.inbox` the file, to `causes` what follows from an event or a signal, to `sender` the other side.

A message is taken in three steps: what follows from it is posted, in one write with a `MessageTaken` of its id; that is
awaited until it is durable; the message is removed. Nothing further is taken before it is gone. So a process that dies
leaves in the inbox at most one group of messages that have been taken, the oldest ones: whoever opens the store next
asks the journal about each of the first group. The answer is there however long the store was shut.

A message that cannot be taken (another version sent it, or the engine's limits are lower than the sender's) is named in
the log and left where it is; others pass it by, and it is tried again when the store is opened next.

Nothing is polled. The bell rings after a message was put. It may be lost, as with a sender that was killed in between,
or be out of order, so every 30 s, which is as often as an idle engine may wake, the file's own times are looked at.
An engine whose store has no inbox makes none, and has no thread for it. If the store fails, the inbox stays as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import TypeVar, assert_never

from durable.engine.messages import SentEvents, SentSignal, read_sent
from durable.errors import StoreError
from durable.journal import MessageTaken, Record, accepted, check_signal
from durable.scheduler import LookDue, Parts
from durable.stores import Bell, FileStore, Inbox, Message, Store, StoreThread, message_run, perform_each
from durable.timers import after, on_a_line

LOOK_AGAIN = timedelta(seconds=30)
PATIENCE = 5.0  # seconds until the log says that somebody keeps the inbox locked
_COARSE = timedelta(seconds=2)  # two writes as close as that may leave a file with the same times
_SHOWN = 2_000

T = TypeVar("T")


class Receiver:
    """The way in from other processes, for an engine on a `FileStore`; without one, or in a `Lab`, it does nothing."""

    def __init__(self, parts: Parts, store: Store) -> None:
        self._parts = parts
        self._store = store
        self._inbox: Inbox | None = None
        self._bell: Bell | None = None
        if isinstance(store, FileStore) and parts.stand_in is None:
            path = os.path.realpath(store.path)
            self._rung = asyncio.Event()
            self._inbox, self._bell = Inbox(path, patience=PATIENCE), Bell(path, self._rung.set)
        self._worker: StoreThread | None = None
        self._found: list[Message] = []
        self._posted: set[str] = set()
        self._refused: set[str] = set()
        self._complaint = ""
        self._seen_empty: object = None
        self._is_level = False
        self._closing = False
        self._taking = False
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Look into the inbox, and ask the journal which of the messages it has already.

        Raises:
            StoreError: the inbox cannot be read, is damaged, or something else's.
        """
        if self._inbox is None:
            return
        try:
            self._found = await self._look(self._inbox)
            await self._ask_journal(self._found)
        except BaseException:
            self._stop_worker()
            raise

    async def _ask_journal(self, messages: Sequence[Message]) -> None:
        # Until the inbox has been seen empty: those that the last process refused may stand before those it took.
        for message in messages:
            async for _ in self._store.history(message_run(message.id)):
                self._posted.add(message.id)

    def begin(self) -> None:
        """Post what has waited longest, before anything is sent to the engine itself, and hear the bell from now on."""
        if self._inbox is None or self._bell is None:
            return
        self._post(self._found)
        self._found = []
        self._look_later()
        try:
            self._bell.open()
        except (OSError, NotImplementedError) as error:
            self._parts.logger.info(
                "the store has no bell (%s): what is sent from other processes is taken within 30 s", error
            )

    async def take(self) -> None:
        """Take messages as they come, until closed or until the store has failed."""
        if self._inbox is None:
            return
        self._taking = True
        try:
            while not self._closing and self._parts.journal.failure is None:
                self._rung.clear()
                try:
                    await self._take_all(self._inbox)
                except StoreError as error:
                    self._complain(error)
                if not self._closing:
                    await self._rung.wait()
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Take no more; what was posted is durable and removed on return, if the store and the inbox let it."""
        if self._inbox is None or self._bell is None:
            return
        self._closing = True
        self._inbox.hurry()
        self._bell.close()
        self._rung.set()
        if self._taking:
            await self._ended.wait()
        self._stop_worker()

    def _look_later(self) -> None:
        self._parts.timers.set_span(LookDue(self._look_again), after(self._parts.clock.now(), LOOK_AGAIN))

    def _look_again(self) -> None:
        if self._inbox is not None and not self._closing:
            if (stamp := _stamp(self._inbox)) is not None and stamp != self._seen_empty:
                self._rung.set()
            self._look_later()

    async def _take_all(self, inbox: Inbox) -> None:
        while True:
            if self._posted:
                await self._parts.journal.synced()
                await self._ask(partial(inbox.remove, tuple(self._posted)))
                self._posted.clear()
            if self._closing:
                return
            stamp, now = _stamp(inbox), self._parts.clock.now().timestamp()
            found = await self._look(inbox)
            if not found:
                is_sure = stamp is not None and now - stamp[0] / 1e9 > _COARSE.total_seconds()
                self._seen_empty = stamp if is_sure else None
                self._is_level = True
                return
            if not self._is_level:
                await self._ask_journal(found)
            if not self._closing:
                self._post(found)

    def _post(self, messages: Sequence[Message]) -> None:
        now = self._parts.clock.now()
        for message in messages:
            if message.id in self._posted:
                continue
            try:
                self._parts.journal.post_all(chain([MessageTaken(message.id, now)], self._decided(message, now)))
            except StoreError:
                raise
            except Exception as error:  # whatever a message holds, those behind it must not wait for it
                self._refuse(message, error)
            else:
                self._posted.add(message.id)

    def _decided(self, message: Message, now: datetime) -> Iterator[Record]:
        """Return what follows from a message, which is decided as it is iterated over; everything is checked now."""
        decisions = self._parts.decisions
        sent = read_sent(message.kind, message.body)
        match sent:
            case SentEvents(at, events):
                # With the time at which it was sent; never one to come, which would delay it.
                checked = [(id, accepted(event, decisions.limits, id, min(at, now))) for id, event in events]
                return decisions.events_sent(checked, now)[1]
            case SentSignal(_, signal, data):
                check_signal(signal, data, decisions.limits)
                return decisions.signal_sent(signal, data, now)
            case _:
                assert_never(sent)

    def _refuse(self, message: Message, error: Exception) -> None:
        self._refused.add(message.id)
        self._parts.logger.error(
            "message %s in the inbox of store %r cannot be taken and stays there: %s: %s: mend that and open the store "
            "again; it reads %s",
            on_a_line(message.id),
            self._inbox and self._inbox.store,
            type(error).__name__,
            error,
            on_a_line(message.body[:_SHOWN]),
        )

    def _complain(self, error: StoreError) -> None:
        if self._parts.journal.failure is None and str(error) != self._complaint:
            self._complaint = str(error)
            self._parts.logger.error("nothing is taken from the inbox, what was sent stays there: %s", error)

    async def _look(self, inbox: Inbox) -> list[Message]:
        if _stamp(inbox) is None:
            return []
        return await self._ask(partial(inbox.look, tuple(self._refused)))

    async def _ask(self, task: Callable[[], T]) -> T:
        if self._worker is None:
            self._worker = StoreThread("durable-inbox", perform_each)
        answer: T = await self._worker.post(task)
        return answer

    def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()


def _stamp(inbox: Inbox) -> tuple[int, int, int] | None:
    """Return what changes with every write to the inbox, None where there is none."""
    try:
        found = os.stat(inbox.path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
