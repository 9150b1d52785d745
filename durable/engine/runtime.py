"""The runtime: what an engine does as long as it is open: recover, send, start, tell who waits.

Separate because everything here lives from an opening to a closing and no longer.
Leaves to `owner` in which order they are opened and closed, to `engine` what users ask of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from durable.engine.receiver import Receiver
from durable.engine.settling import settled
from durable.errors import StoreCorruptError, StoreError
from durable.events import Event
from durable.functions import Function
from durable.journal import EngineClosed, Ids, Record, RunClosed, RunOpened, accepted, read, stamped
from durable.scheduler import Admission, Parts, Recovery, Scheduler
from durable.stores import Entry

FOLDED_AT_ONCE = 200  # records, a few milliseconds: the loop has others to serve while an engine opens


class Unwanted(RuntimeError):
    """What is being opened is to be closed."""


class Runtime:
    """The parts of one open engine."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.loop, self.clock, self.logger = parts.loop, parts.clock, parts.logger
        self.store, self.journal, self.history = parts.store, parts.journal, parts.history
        self.timers, self.rounds, self.decisions, self.state = (
            parts.timers,
            parts.rounds,
            parts.decisions,
            parts.decisions.state,
        )
        self.ids = Ids()
        self.starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.is_drained = self.is_abandoned = False
        self._stopping: asyncio.Task[None] | None = None
        self.journal.on_failure = self._fail
        parts.registry.declared = self.declare
        self.recovery = Recovery(parts, parts.settings.max_crashes)
        self.receiver = Receiver(parts, parts.store)
        self.scheduler = Scheduler(parts, self.recovery)
        self.admission = Admission(self.journal, self.scheduler.to_begin)

    async def abandon(self) -> None:
        """Stop as if the process had died: record nothing more, not even what has queued."""
        self.is_abandoned = True
        self.journal.abandon()
        await self.scheduler.close()
        self.timers.close()
        owner = self.parts.life.owner
        if owner is not None:
            owner.cancel()
            await asyncio.wait([owner])

    # Opening and closing, as the owner asks for it.

    def check_wanted(self) -> None:
        """Refuse to go on opening what is to be closed.

        Raises:
            Unwanted
        """
        if self.parts.life.closing.is_set():
            raise Unwanted("the engine was closed while it was being opened")

    def begin(self) -> None:
        """Begin what was recovered, after what has waited longest in the inbox."""
        self.receiver.begin()
        for run in list(self.state.ledgers):
            self.scheduler.begin(run)

    def park_all(self) -> None:
        """Tell all who wait that their runs are parked: from now on nobody is let in, and nothing more is recorded."""
        self.is_drained = True
        self.admission.close(lambda: RuntimeError("the engine was closed: this was not recorded"))
        for run, waiting in self.scheduler.endings.items():
            self._tell(waiting, _parked(run))

    # Recovery.

    async def recover(self) -> None:
        """Fold what the store has recorded of what is unfinished, a few records at a time: the loop stays free.

        Raises:
            StoreError: it cannot be read, or is damaged.
            Unwanted: the engine was closed meanwhile.
        """
        for function in self.parts.registry.functions.values():
            self.state.declare(function.declaration)
        last: Record | None = None
        number = 0
        async for entry in self.store.unfinished(self.clock.now()):
            last = self._fold(entry)
            if (number := number + 1) % FOLDED_AT_ONCE == 0:
                await asyncio.sleep(0)
                self.check_wanted()
        self.state.told_all()
        ledgers = list(self.state.ledgers.values())
        self.recovery.recover(ledgers, was_clean=last is None or isinstance(last, EngineClosed))
        for number, ledger in enumerate(ledgers):
            ledger.close_turns()
            if number % FOLDED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _fold(self, entry: Entry) -> Record:
        record = read(entry.kind, entry.body)
        try:
            self.state.fold(record)
        except Exception as error:  # a record that contradicts another, or asks for what no release has written
            raise StoreCorruptError(
                f"a {entry.kind} of run {entry.run!r} is recorded, but not what must come before it ({error}): the "
                "store has lost records; restore a copy"
            ) from error
        return record

    def declare(self, function: Function[Any]) -> None:
        """Take a function in while open; its parked runs go on."""
        self.state.declare(function.declaration)
        for run in [run for run in self.state.unfinished() if run.function == function.id]:
            self.scheduler.deadlines.arm_timeouts(run)
            self.scheduler.begin(run.run)

    async def settled(self) -> None:
        """Wait until nothing can move without time or input from outside: see `settling`."""
        await settled(self.parts, self.scheduler)

    # What the parts tell.

    def _fail(self, error: StoreError) -> None:
        self.logger.error("the store has failed, the engine stops: %s", error)
        for waiting in self.scheduler.endings.values():
            self._tell(waiting, error)
        self.scheduler.endings.clear()
        self.timers.close()
        self.parts.changes.set()
        self.scheduler.time.give(0.0)
        self.scheduler.stop()  # now: a function whose step call was refused by the journal would see the StoreError
        self._stopping = asyncio.Task(self.scheduler.close(), loop=self.loop, name="durable engine stopping")

    def _tell(self, waiting: list[asyncio.Future[RunClosed]], error: Exception) -> None:
        for ending in waiting:
            if not ending.done():
                ending.set_exception(error)

    async def send(self, events: Sequence[Event]) -> tuple[list[str], list[str]]:
        """Send events; return their ids, and the ids of the runs that they opened at once, when all is durable.

        Raises:
            TypeError, ValueError, CodecError, LimitError: nothing was sent.
            StoreError: it is not known to be recorded.
        """
        now = self.clock.now()
        fresh = [self.ids.fresh(now) for _ in events]
        sent = [(id, accepted(event, self.decisions.limits, id, now)) for id, event in zip(fresh, events, strict=True)]
        ids, decided = self.decisions.events_sent(sent, now)
        records = self.journal.post_all(decided)
        await self.journal.synced()
        return ids, [record.run for record in records if isinstance(record, RunOpened)]

    async def start(self, function: str, event: Event, run: str, *, is_named: bool) -> str:
        """Open a run; return the id of the run there is, when it is durable.

        `is_named`: the user has given the id, which is its key. Else that of the function's `idempotency` is asked for,
        and where a run has claimed it, that is the one (R21).

        Raises:
            StoreError: it is not known to be recorded.
        """
        now = self.clock.now()
        event = stamped(event, run, now)
        claimant = None if is_named else self.decisions.claimed_by(function, event, now)[1]
        if claimant is None:
            self.journal.post_all(self.decisions.run_opens(function, run, event, now, is_named=is_named))
        await self.journal.synced()
        return claimant or run

    async def ending(self, run: str) -> RunClosed:
        """Wait for the end of a run that has not ended, or whose end is not durable yet.

        Raises:
            RuntimeError: the engine was closed before.
        """
        if self.is_drained:
            raise _parked(run)
        ending: asyncio.Future[RunClosed] = self.loop.create_future()
        waiting = self.scheduler.endings.setdefault(run, [])
        waiting.append(ending)
        try:
            return await ending
        finally:
            if ending in waiting:
                waiting.remove(ending)
            if not waiting and self.scheduler.endings.get(run) is waiting:
                del self.scheduler.endings[run]


def _parked(run: str) -> RuntimeError:
    return RuntimeError(f"the engine was closed: run {run!r} is parked, and goes on when its store is opened")
