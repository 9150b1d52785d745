"""Take messages from other processes out of the store's inbox, each exactly once.

Separate because the store and the inbox are two files, which no single write can change together.
Leaves to `stores.file.inbox` the file, to `taking` what a message asks for, to `sender` the other side.

A message is taken in three steps. First its consequences are posted, in one write with a `MessageTaken` of its id. Then
the engine waits until these are durable. Then it removes the message. It takes no further messages before these are
gone. So a process that dies leaves at most one group of taken messages in the inbox, the oldest ones. The next engine
asks the journal about each message of the first group, and gets an answer however long the store was closed.

A message cannot be taken if another version has sent it, or if the engine's limits are lower than the sender's. It is
named in the log and stays in the inbox. Later messages are taken before it, and it is tried again when the store is
opened next.

There is no polling. The bell rings after a message was put. A ring can get lost, if a sender is killed before it rings,
or a bell can be out of order. So the times of the file are checked every 30 s, which is as often as an idle engine may
wake. An engine on a store without an inbox makes no inbox and no thread. If the store fails, the inbox stays as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TypeVar

from durable.engine.taking import Taking
from durable.errors import StoreCorruptError, StoreError
from durable.scheduler import LookDue, Parts
from durable.stores import Bell, FileStore, Inbox, Message, Store, StoreThread, message_run, perform_each
from durable.timers import after, on_a_line

LOOK_AGAIN = timedelta(seconds=30)
PATIENCE = 5.0  # seconds until the log says that another program keeps the inbox locked
_COARSE = timedelta(seconds=2)  # two writes within this time may leave a file with the same times
_SHOWN = 2_000

T = TypeVar("T")


class Receiver:
    """A receiver takes messages from other processes into an engine on a `FileStore`.

    On another store, or in a `Lab`, it does nothing. `taking` does what a message asks for.
    """

    def __init__(self, parts: Parts, store: Store, taking: Taking) -> None:
        self._parts = parts
        self._does = taking
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
        """Read the inbox, and ask the journal which of the messages were taken already.

        Raises:
            StoreError: the inbox cannot be read, is damaged, or belongs to another program.
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
        # Every message is asked about until the inbox was once empty: messages that the last process refused may stand
        # before those that it took. So it is where a copy may stand in the place of an inbox that was damaged.
        for message in messages:
            async for _ in self._store.history(message_run(message.id)):
                self._posted.add(message.id)

    async def begin(self) -> None:
        """Post the messages that `open` has found, and listen to the bell from now on.

        This comes before anything is sent to the engine itself, since these messages have waited longest.
        """
        if self._inbox is None or self._bell is None:
            return
        found, self._found = self._found, []
        with suppress(StoreError):  # the journal's: it has told the engine
            await self._post(found)
        self._look_later()
        try:
            self._bell.open()
        except (OSError, NotImplementedError) as error:
            self._parts.logger.info(
                "the store has no bell (%s): what is sent from other processes is taken within 30 s", error
            )

    async def take(self) -> None:
        """Take messages as they come, until the receiver is closed or the store fails."""
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
        """Stop taking messages.

        On return the posted messages are durable and removed, unless the store or the inbox has failed.
        """
        if self._inbox is None or self._bell is None:
            return
        self._closing = True
        self._inbox.hurry()
        self._bell.close()
        self._rung.set()
        if self._taking:
            await self._ended.wait()
        self._stop_worker()

    def troubles(self) -> list[str]:
        """Return what is wrong with the taking of messages, in words."""
        refused = len(self._refused)
        what = (
            "1 message cannot be taken and stays" if refused == 1 else f"{refused:,} messages cannot be taken and stay"
        )
        told = [f"{what} in the inbox: the log says why"] if refused else []
        return [*told, *([f"nothing is taken from the inbox: {self._complaint}"] if self._complaint else [])]

    def _look_later(self) -> None:
        self._parts.timers.set_span(LookDue(self._look_again), after(self._parts.clock.now(), LOOK_AGAIN))

    def _look_again(self) -> None:
        if self._inbox is not None and not self._closing:
            if self._complaint or ((stamp := _stamp(self._inbox)) is not None and stamp != self._seen_empty):
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
            self._complaint = ""
            if not found:
                is_sure = stamp is not None and now - stamp[0] / 1e9 > _COARSE.total_seconds()
                self._seen_empty = stamp if is_sure else None
                self._is_level = stamp is not None
                return
            if not self._is_level:
                await self._ask_journal(found)
            if not self._closing:
                await self._post(found)

    async def _post(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.id in self._posted:
                continue
            try:
                await self._does.take(message)
            except Exception as error:  # the messages behind it must not wait, whatever this one holds
                is_damage = isinstance(error, StoreCorruptError) and self._parts.journal.failure is None
                if isinstance(error, StoreError) and not is_damage:  # is_damage: of a run that it is about
                    raise
                self._refuse(message, error)
            else:
                self._posted.add(message.id)

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
            self._complaint, self._is_level = str(error), False
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
    """Return a value that changes with every write to the inbox, or None without an inbox."""
    try:
        found = os.stat(inbox.path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
