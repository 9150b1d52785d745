"""Do the work of an open engine: recover runs, send events, start runs, wait for ends.

Separate because everything here lives from one opening to the next closing.
Leaves to `owner` the order of opening and closing, to `engine` the methods that users call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from durable.engine.beacon import Beacon
from durable.engine.ends import Ends
from durable.engine.pruning import Pruning
from durable.engine.receiver import Receiver
from durable.engine.settling import settled
from durable.engine.taking import Taking
from durable.errors import RateLimitedError, StoreCorruptError, StoreError
from durable.events import Event
from durable.functions import Function, declaration_of, progress_of
from durable.journal import (
    EngineClosed,
    Ids,
    Ledger,
    Record,
    RecordedEvent,
    RunClosed,
    accepted,
    plainly_accepted,
    read,
    stamped,
)
from durable.scheduler import GRACE, Admission, Calendar, Parts, Recovery, Scheduler, lines_of
from durable.stores import Entry
from durable.views import RunInfo, run_info

FOLDED_AT_ONCE = 200  # records, which take a few milliseconds: other tasks of the loop go on while an engine opens


class Unwanted(RuntimeError):
    """The engine is closed while it is being opened."""


class Runtime:
    """A runtime is an engine from an opening to the next closing."""

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
        self.ends = Ends(parts.journal)
        self.starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.opened_at: datetime | None = None
        self.recovered = 0
        self.is_drained = self.is_abandoned = self.was_closed = False
        self._stopping: asyncio.Task[None] | None = None
        self.journal.on_failure = self._fail
        parts.registry.declared = self.declare
        self.recovery = Recovery(parts, parts.settings.max_crashes)
        self.pruning = Pruning(parts)
        self.scheduler = Scheduler(parts, self.recovery)
        self.calendar = Calendar(parts, self.scheduler.ticker, self.scheduler.sessions)
        taking = Taking(parts, self.starting, self.pruning.still, self.calendar)
        self.receiver = Receiver(parts, parts.store, taking)
        self.beacon = Beacon(parts, self.scheduler)
        self.admission = Admission(self.journal, self.scheduler.to_begin)

    async def abandon(self) -> None:
        """Stop as if the process had died, and drop the queued records."""
        self.is_abandoned = True
        self.journal.abandon()
        self.beacon.drop()
        await self.pruning.close()
        await self.scheduler.close()
        self.timers.close()
        owner = self.parts.life.owner
        if owner is not None:
            owner.cancel()
            await asyncio.wait([owner])

    # Opening and closing, as the owner asks for it.

    def check_wanted(self) -> None:
        """Check that the engine is still to be opened.

        Raises:
            Unwanted: the engine was closed meanwhile.
        """
        if self.parts.life.closing.is_set():
            raise Unwanted("the engine was closed while it was being opened")

    async def begin(self) -> None:
        """Post the oldest messages of the inbox, then begin the recovered runs."""
        await self.receiver.begin()
        self.scheduler.starts.turnstile.admit()
        for run in list(self.state.ledgers):
            self.scheduler.begin(run)
        self.scheduler.missing.tell_all(self.state.parked.values())
        self.parts.notices.still_held()
        self.beacon.begin()
        self.pruning.begin()

    def park_all(self) -> None:
        """Tell all callers that wait for a run's end that the run is parked.

        From now on the runtime accepts no calls, and records nothing.
        """
        self.is_drained = True
        self.admission.close(lambda: RuntimeError("the engine was closed: this was not recorded"))
        for run, waiting in self.scheduler.endings.items():
            self._tell(waiting, _parked(run))

    # Recovery.

    async def recover(self) -> None:
        """Fold the stored records of unfinished runs.

        This yields to the loop after every few records.

        Raises:
            StoreError: the store cannot be read, or is damaged.
            Unwanted: the engine was closed meanwhile.
        """
        for function in self.parts.registry.functions.values():
            self.state.declare(declaration_of(function))
        last: Record | None = None
        number = 0
        async for entry in self.store.unfinished(self.clock.now()):
            last = self._fold(entry)
            if (number := number + 1) % FOLDED_AT_ONCE == 0:
                await asyncio.sleep(0)
                self.check_wanted()
        self.state.told_all()
        self.state.park_resting()
        for declaration in self.state.functions.values():
            self.state.unpark_unstarted(declaration)
        ledgers = list(self.state.ledgers.values())
        await self.scheduler.starts.recover(list(self.state.parked.values()))
        self.was_closed = isinstance(last, EngineClosed)
        self.recovery.recover(ledgers, was_clean=last is None or self.was_closed)
        for number, ledger in enumerate(ledgers):
            ledger.close_turns()
            if number % FOLDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        await self.scheduler.starts.recover(ledgers)

    def _fold(self, entry: Entry) -> Record:
        record = read(entry.kind, entry.body)
        try:
            self.state.fold(record)
        except Exception as error:  # a record contradicts another, or has a value that no release has written
            raise StoreCorruptError(
                f"a {entry.kind} of run {entry.run!r} is recorded, but not what must come before it ({error}): the "
                "store has lost records; restore a copy"
            ) from error
        return record

    def declare(self, function: Function[Any]) -> None:
        """Register a function with the open engine, and begin the runs that lacked it."""
        self.state.declare(declaration_of(function))
        self.state.unpark_unstarted(self.state.functions[function.id])
        self.scheduler.deadlines.arm_groups(function.id)
        self.scheduler.starts.declared(self.state.functions[function.id])
        self.scheduler.ticker.declare(self.state.functions[function.id])
        for run in [run for run in self.state.unfinished() if run.function == function.id]:
            self.scheduler.deadlines.arm_timeouts(run)
            if run.run in self.scheduler.sessions:
                self.scheduler.sessions[run.run].declared(self.scheduler.tries)
            self.scheduler.begin(run.run)
        self.scheduler.tries.turnstile.admit()

    def handlers_left(self) -> tuple[list[str], float]:
        """Return the handlers that a closing will wait for, and for how many seconds at the most."""
        grace, blocking = self.parts.settings.grace, self.parts.threads.running
        works = [work for session in self.scheduler.sessions.values() for work in session.works if work.is_running]
        names = dict.fromkeys([*blocking, *(work.step.label for work in works if grace)])
        return list(names), max(grace, GRACE if blocking else 0.0)

    async def settled(self) -> None:
        """Wait until every run waits for time or for input from outside: see `settling`."""
        await settled(self.parts, self.scheduler)

    def pictured(self, ledger: Ledger) -> RunInfo:
        """Return a picture of a run as it is now."""
        status, running = self.scheduler.status(ledger)
        told = {key: progress_of(self.parts.settings.engine, ledger.run, key) for key in running}
        progress = {key: one for key, one in told.items() if one is not None}
        lines, type_ = (
            lines_of(self.scheduler, ledger, self.clock.now()),
            self.parts.registry.output_type(ledger.function),
        )
        return run_info(ledger, status, running, progress, type_, lines=lines)

    # Calls from the parts.

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

    async def send(self, events: Sequence[Event]) -> tuple[list[str], Iterable[Record]]:
        """Send events, and wait until their consequences are durable.

        Returns their ids, and the records of all that has followed at once.

        Raises:
            TypeError, ValueError, CodecError, LimitError: an event is invalid or too large; nothing was sent.
            StoreError: the store has failed; it is not known whether the events are recorded.
        """
        now, limits, fresh = self.clock.now(), self.decisions.limits, self.ids.fresh
        sent = [(id := fresh(now), accepted(event, limits, id, now)) for event in events]
        ids, decided = self.decisions.events_sent(sent, now)
        records = self.journal.post_all(decided)
        await self.journal.synced()
        return ids, records

    async def send_plainly(self, name: str, data: object) -> str:
        """Send an event that is just a name and data, and return its id: see `send`."""
        now = self.clock.now()
        id = self.ids.fresh(now)
        event = plainly_accepted(name, data, self.decisions.limits, id, now)
        self.journal.post_all(self.decisions.event_came(id, event, now))
        await self.journal.synced()
        return id

    async def start(self, function: str, event: RecordedEvent, run: str, *, is_named: bool) -> str:
        """Open a run, and return its id once it is durable.

        A repeat opens no run, and returns the id of the first. With `is_named` the user has given the id, and the first
        is a run of the same id. Otherwise it is a run that has claimed the same `idempotency` key of the function
        (R21). In both cases it may be the run that holds the same key of its `singleton` (F7).

        Raises:
            RateLimitedError: the function's rate limit opens no run now.
            StoreError: the store has failed; it is not known whether the run is recorded.
        """
        now = self.clock.now()
        event = stamped(event, run, now)
        other: str | None = None
        declaration = self.state.functions.get(function)
        if declaration is not None and not declaration.opens_freely:
            if (limited := self.decisions.openings.limited(function, event, now)) is not None:
                await self.journal.synced()
                raise RateLimitedError(limited)
            other = self.decisions.openings.answers(function, event, now, is_named=is_named)
        if other is None:
            opening = self.decisions.run_opens(function, run, event, now, is_named=is_named)
            self.parts.callers.begin(self.journal.post_all, opening)
        await self.journal.synced()
        return other or run

    async def ending(self, run: str, seconds: float | None) -> RunClosed:
        """Wait until the end of an unfinished run is durable, and return its record.

        `seconds` is for how long the caller waits at the most; it sees to that itself.

        Raises:
            RuntimeError: the engine was closed before the run ended.
        """
        if self.is_drained:
            raise _parked(run)
        ending: asyncio.Future[RunClosed] = self.loop.create_future()
        waiting = self.scheduler.endings.setdefault(run, [])
        waiting.append(ending)
        try:
            watched = self.parts.settings.watched
            ended: RunClosed = await (ending if watched is None else watched(run, ending, seconds))
            return ended
        finally:
            if ending in waiting:
                waiting.remove(ending)
            if not waiting and self.scheduler.endings.get(run) is waiting:
                del self.scheduler.endings[run]


def _parked(run: str) -> RuntimeError:
    return RuntimeError(f"the engine was closed: run {run!r} is parked, and goes on when its store is opened")
