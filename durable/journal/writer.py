"""Fold records at once, append them in groups, and tell when they are durable.

Separate because R2 and R31 depend on it: a posted record is part of the state at once, but is shown outside only when
it is durable.
Leaves to the store the keeping of entries, to its followers and callers the actions that follow.

`post` folds a record and queues it, without an await. The next append takes all records that were queued while the last
one was under way. So a thousand runs that step at once share a few commits, and everything posted between two awaits is
kept or lost as one. Records are numbered as they are posted; the store has all records up to number `durable`. A failed
append is final: it is not tried again, since it is unknown how much of it is on disk, and all that wait get a
`StoreError`.

A record that cannot be kept is an error of the caller that posts it, before anything of its cause has happened. A
record's entry is made, and so checked for every store, before the record is folded. A cause of several records is
decided while they are folded. If a later one fails, those before it are taken back. This is safe, since followers are
told, and entries queued, only when all of them are there (R31).
"""

from __future__ import annotations

import asyncio
from bisect import insort_right
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any

from durable.errors import StoreError
from durable.journal.codec.write import closed_text
from durable.journal.entries import Entries, entry_of
from durable.journal.follower import Follower, Kind, resolve, told_of
from durable.journal.lone import LoneOpening
from durable.journal.records import Ok, Record, StepKind
from durable.journal.rules.ledger import Ledger
from durable.journal.rules.retraction import PutBack, retraction
from durable.journal.rules.state import State
from durable.stores import Appending, Entry, Store, keeping, submitting
from durable.timers import check_room

Told = Callable[[StoreError | None], None]

TOLD_AT_ONCE = 200  # in one turn of the loop: each may begin a run, or go on with one
_NUMBER = itemgetter(0)


class Journal:
    """A journal is the queue in front of a store.

    Right after a record is folded, the followers of its kind are told, in the order in which they were added, and
    `changed` is set. `on_failure(error)` is called once if the store fails. `watchers` are told of each run in which a
    handler has ended a step by `close_step`: nearly always nobody.
    A store whose class says `immediate = True` never suspends: batches are kept in place. To any other store they are
    submitted one at a time, while `write` allows it.
    """

    def __init__(self, store: Store, state: State, changed: asyncio.Event) -> None:
        self.posted = 0
        self.durable = 0
        self.failure: StoreError | None = None
        self._refusal: StoreError | None = None  # why nothing more is posted: the store has failed, or was closed
        self.immediate = bool(getattr(store, "immediate", False))
        self._keep = keeping(store)
        self._appending = Appending(store)
        self._submit = submitting(store) or self._appending.submit
        self._state = state
        self._entries = Entries(state)
        self.on_failure: Callable[[StoreError], None] | None = None
        self._changed = changed
        self._followers: dict[Kind, list[Callable[[Any], None]]] = {}
        self._queue: list[Entry] = []
        self._untold: list[tuple[Callable[[Any], None], Any]] = []
        self.watchers: list[Callable[[str], None]] = []
        self._riders: list[Callable[[], object]] = []
        self._loop = asyncio.get_running_loop()
        self._is_flushing = False  # a flush is scheduled
        self._is_submitting = not self.immediate  # a batch is under way, or none may be submitted yet
        self._submitted = 0
        self._is_telling = False
        self._waiting: deque[tuple[int, Told]] = deque()  # in the order of the numbers

    def follow(self, follower: Follower) -> None:
        """Add a follower, which is told of its kinds of records from now on."""
        for kind, told in told_of(follower):
            self._followers.setdefault(kind, []).append(told)

    def post(self, record: Record, *, at_once: bool = False) -> int:
        """Fold a record, queue it, and return its number.

        With `at_once` the record is appended now, if the store is immediate.

        Raises:
            StoreError: the store has failed, or the journal is closed; nothing was folded.
        """
        if self._refusal is not None:
            self._refuse()
        entry = self._entries.of(record)
        if at_once:
            self._changed.set()
        else:
            self._write_soon()
        self._state.fold(record)
        self._queue.append(entry)
        self.posted += 1
        for told in self._followers.get(type(record), ()):
            self._tell(told, record)
        if at_once:
            self.flush()
        return self.posted

    def close_step(
        self,
        ledger: Ledger,
        key: str,
        kind: StepKind,
        ok: Ok,
        turn: int | None,
        at: datetime,
        tries: int,
        began: datetime | None,
        joined: Callable[[int, int], None],
    ) -> None:
        """Post that a step of a run ended with a value, without making the record.

        The step waits for nothing. Without a turn, it is appended now if the store is immediate. Else
        `joined(turn, number)` is called in place of the followers of `StepClosed`. `watchers` are told in both cases.

        Raises:
            StoreError: as for `post`.
        """
        if self._refusal is not None:
            self._refuse()
        check_room()  # R31: what is begun here must not end half way
        run = ledger.run
        entry = entry_of(run, "StepClosed", closed_text(run, key, kind, ok, turn, at, tries, began))
        if turn is None and self.immediate:
            self._changed.set()
        else:
            self._write_soon()
        ledger.close_step(key, kind, ok, turn, at, tries, began)
        self._queue.append(entry)
        self.posted += 1
        if turn is not None:
            try:
                joined(turn, self.posted)
            except RecursionError:  # as in `_tell`
                self._untold.append((partial(joined, turn), self.posted))
        for told in self.watchers:
            self._tell(told, run)
        if turn is None and self.immediate:
            self.flush()

    def post_all(self, cause: Iterable[Record]) -> Iterable[Record]:
        """Post the records of one cause, all or nothing; return them.

        Each record is folded before the next is decided.

        Raises:
            StoreError: the store has failed; nothing was folded.
            ValueError, CodecError: a record cannot be kept. Then, and after any other error of deciding, writing or
                folding, nothing has happened.
        """
        if self._refusal is not None:
            self._refuse()
        kind: type[Any] = type(cause)
        if (lone := self._entries.lone.get(kind)) is None:
            return self._post_records(cause)
        made, fold = lone
        if kind is not LoneOpening:  # to fold one takes fewer calls than to write it
            check_room()  # R31: nothing else can fail once its entry is made
        entry = made(cause)
        self._write_soon()
        fold(cause)
        self._queue.append(entry)
        self.posted += 1
        for told in self._followers.get(kind, ()):
            self._tell(told, cause)
        return cause

    def _post_records(self, cause: Iterable[Record]) -> Iterable[Record]:
        records: list[Record] = []
        entries: list[Entry] = []
        retractions: list[PutBack] = []
        try:
            for record in cause:
                entries.append(self._entries.of(record))
                retractions.append(retraction(self._state, record))
                if not records:
                    self._write_soon()
                self._state.fold(record)
                records.append(record)
        except BaseException:
            for put_back in reversed(retractions):
                put_back()
            raise
        self._queue += entries
        self.posted += len(entries)
        for record in records:
            for told in self._followers.get(type(record), ()):
                self._tell(told, record)
        return records

    def _tell(self, told: Callable[[Any], None], what: Any) -> None:
        try:
            told(what)
        except RecursionError:  # a function's own calls have filled the stack; called by the loop, there is room
            self._untold.append((told, what))

    def _tell_untold(self) -> None:
        while self._untold:
            told, record = self._untold.pop(0)
            told(record)

    def _write_soon(self) -> None:
        # This comes first: if a full stack has no room for it, nothing has happened yet.
        self._changed.set()
        if not (self._is_flushing or self._is_submitting):
            self._flush_next()

    def _flush_next(self) -> None:
        if not self._is_flushing:
            self._loop.call_soon(self._flush_soon)
            self._is_flushing = True

    def tell(self, number: int, told: Told) -> None:
        """Call `told(None)` once record `number` is durable.

        It is called at once if the record is durable already. If the store fails, `told(error)` is called. If many wait
        for one append, 200 of them are told in each turn of the loop.
        """
        if number <= self.durable:
            told(None)
        elif self.failure is not None:
            told(self.failure)
        elif self._waiting and number < self._waiting[-1][0]:  # rarely: nearly all wait for what was posted last
            insort_right(self._waiting, (number, told), key=_NUMBER)
        else:
            self._waiting.append((number, told))

    def ride(self, rider: Callable[[], object]) -> None:
        """Call `rider` once, right before a later write if one follows, so that what it posts goes with that."""
        self._riders.append(rider)

    def _board(self) -> None:
        if self._riders and self._queue and self._refusal is None:
            riders, self._riders = self._riders, []
            for rider in riders:
                rider()

    def _refuse(self) -> None:
        raise StoreError(str(self._refusal)) from self._refusal

    def check(self) -> None:
        """Check that the store has not failed.

        Each caller gets an error of its own: an error that is raised again and again collects the traceback of every
        caller.

        Raises:
            StoreError: the store has failed.
        """
        if self.failure is not None:
            raise StoreError(str(self.failure)) from self.failure

    async def synced(self) -> None:
        """Wait until everything posted so far is durable.

        Raises:
            StoreError: the store has failed; it is not known whether the posted records are stored.
        """
        if self.immediate:
            if self._riders:
                self._board()
            self.flush()
        if self.failure is not None:
            self.check()
        if self.posted > self.durable:
            reached: asyncio.Future[None] = self._loop.create_future()
            self.tell(self.posted, partial(resolve, reached))
            await reached

    def flush(self) -> None:
        """Keep the queued records in an immediate store, now."""
        batch, self._queue = self._queue, []
        if not batch or self.failure is not None:
            return
        number = self.posted
        try:
            self._keep(batch)
        except BaseException as error:  # R31: whatever ended it, how much of it is kept is not known
            self._fail_with(error)
            return
        self.durable = number
        if self._waiting and not self._is_telling:
            self._tell_some()

    def close(self, last: Record) -> None:
        """Post the last record; refuse all records after it.

        Raises:
            StoreError: the store has failed.
        """
        self.post(last)
        self._refusal = StoreError("the engine was closed: this is not recorded; open it and ask again")

    def abandon(self) -> None:
        """Drop the queued records, as a dying process does."""
        self.lose(StoreError("the process died, as a test asked for"))

    def lose(self, failure: StoreError) -> None:
        """Drop the queued records, and tell all that wait for them why."""
        self._queue.clear()
        self._tell_failure(failure)

    async def write(self) -> None:
        """Let records go to the store, group by group, until cancelled or the store fails."""
        if not self.immediate:
            self._is_submitting = False
            self._submit_queued()
            await self._appending.work()

    def _flush_soon(self) -> None:
        self._is_flushing = False
        if self.immediate:
            self._tell_untold()
            self._board()
            self.flush()
        elif not self._is_submitting:
            self._submit_queued()

    def _submit_queued(self) -> None:
        self._tell_untold()
        self._board()
        batch = self._queue
        if not batch or self.failure is not None:
            return
        self._queue = []
        self._submitted = self.posted
        self._is_submitting = True
        try:
            self._submit(batch, self._written)
        except BaseException as error:  # as in `flush`
            self._fail_with(error)

    def _written(self, error: Exception | None) -> None:
        if self.failure is not None:
            return
        if error is not None:
            self.fail(error)
            return
        self._is_submitting = False
        self.durable = self._submitted
        try:
            if not self._is_telling:
                self._tell_some()
        finally:
            # After those who were told, so that what they post joins the next batch. Else the runs fall into two groups
            # that take turns for ever: one goes on while the other's batch is under way.
            self._flush_next()

    def _tell_some(self) -> None:
        self._is_telling = False
        waiting, left = self._waiting, TOLD_AT_ONCE
        while waiting and waiting[0][0] <= self.durable:
            if not left:
                self._is_telling = True
                self._loop.call_soon(self._tell_some)
                return
            left -= 1
            waiting.popleft()[1](None)

    def _fail_with(self, error: BaseException) -> None:
        self.fail(error)
        if not isinstance(error, Exception):
            raise error

    def fail(self, error: BaseException) -> None:
        """Note that the store has failed.

        Nothing is appended any more, and all that wait get a `StoreError`.
        """
        if self.failure is not None:
            return
        failure = error if isinstance(error, StoreError) else None
        if failure is None:
            failure = StoreError(f"the store failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
        self._tell_failure(failure)
        if self.on_failure is not None:
            self.on_failure(failure)

    def _tell_failure(self, failure: StoreError) -> None:
        self.failure = self._refusal = failure
        while self._waiting:
            number, told = self._waiting.popleft()
            told(failure if number > self.durable else None)
