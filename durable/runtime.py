"""The runtime: the parts of one open engine, put together, and what each tells the others.

Separate because everything here lives from an opening to a closing and no longer.
Leaves to `owner` in which order they are opened and closed, to `engine` what users ask of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

import attrs

from durable.acceptance import accepted, stamped
from durable.branches import outside
from durable.causes import Causes
from durable.claims import StandIn
from durable.clock import Clock
from durable.codec import read
from durable.deadlines import TimerKey
from durable.delivery import QUIET
from durable.eager import Spare
from durable.errors import StoreCorruptError, StoreError
from durable.function import Function
from durable.history import ends_of, ledger_of
from durable.ids import Ids
from durable.intake import Intake
from durable.journal import Journal
from durable.ledger import Ledger
from durable.limits import Limits
from durable.log import Log
from durable.machine import Machine
from durable.pacing import Admission
from durable.records import EngineClosed, Event, Record, RunClosed, RunOpened
from durable.recovery import Recovery
from durable.registry import Registry
from durable.rounds import Rounds
from durable.scheduler import Scheduler
from durable.state import State
from durable.stores.opening import opening_of
from durable.stores.store import Entry, Store
from durable.timers import Timers
from durable.workers import Workers

RESIDENT = 10_000
FOLDED_AT_ONCE = 200  # records, a few milliseconds: the loop has others to serve while an engine opens


@attrs.frozen(eq=False, repr=False)
class Settings:
    """What an engine is told once. `threads`: how many blocking handlers run at once, unless `is_inline`: then they run
    on the loop's own. `grace`: seconds for which closing lets handlers go on. `resident`: how many waiting runs keep
    their coroutine. `exits`: a SystemExit of a blocking handler ends the process. `folded`: is awaited when what is
    unfinished is folded, before anything begins; what it raises is the opening's."""

    engine: object
    store: Store
    clock: Clock
    limits: Limits
    logger: logging.Logger
    max_crashes: int = 10
    resident: int = RESIDENT
    threads: int = 40
    grace: float = 0.0
    stand_in: StandIn | None = None
    exits: bool = False
    is_inline: bool = False
    folded: Callable[[Runtime], Awaitable[None]] | None = None


class Unwanted(RuntimeError):
    """What is being opened is to be closed."""


class Runtime:
    """The parts of one open engine."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = settings.clock
        self.ids = Ids()
        self.store = opening_of(settings.store)
        self.logger = Log(settings.logger)
        self.state = State(self._complain)
        self.causes = Causes(self.state, settings.limits)
        self.rounds = Rounds()
        self.journal = Journal(self.store, self.state, lambda record: self.scheduler.follow(record), self._fail)
        self.timers: Timers[TimerKey] = Timers(self.clock, self._on_due, self.loop.call_soon)
        self.workers = Workers(settings.threads)
        self.spare = Spare(self.loop, copy_context())
        self.changes = asyncio.Event()
        self.endings: dict[str, list[asyncio.Future[RunClosed]]] = {}
        self.starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._registry = registry
        self.closing = asyncio.Event()
        self.owned_by: asyncio.Task[None] | None = None
        self.is_drained = self.is_abandoned = False
        self._stopping: asyncio.Task[None] | None = None
        registry.declared = self.declare
        machine = self._machine(settings)
        self.recovery = Recovery(machine, settings.max_crashes)
        self.intake = Intake(machine, self.store)
        self.scheduler = Scheduler(machine, registry.functions, self.recovery, self._tell_ended)
        self.admission = Admission(self.journal, lambda: self.scheduler.backlog)

    def _machine(self, settings: Settings) -> Machine:
        return Machine(
            engine=settings.engine,
            loop=self.loop,
            clock=self.clock,
            timers=self.timers,
            journal=self.journal,
            causes=self.causes,
            rounds=self.rounds,
            variables=outside(),
            logger=self.logger,
            workers=None if settings.is_inline else self.workers,
            spare=self.spare,
            changed=self.changes.set,
            stirred=self._stirred,
            is_ending=self._is_ending,
            is_cut=self._is_cut,
            resolve=self._registry.resolve,
            read=self.load,
            resident=settings.resident,
            stand_in=settings.stand_in,
            exits=settings.exits,
        )

    async def abandon(self) -> None:
        """Stop as if the process had died: record nothing more, not even what has queued."""
        self.is_abandoned = True
        self.journal.abandon()
        await self.scheduler.close()
        self.timers.close()
        if self.owned_by is not None:
            self.owned_by.cancel()
            await asyncio.wait([self.owned_by])

    # Opening and closing, as the owner asks for it.

    def check_wanted(self) -> None:
        """Refuse to go on opening what is to be closed.

        Raises:
            Unwanted
        """
        if self.closing.is_set():
            raise Unwanted("the engine was closed while it was being opened")

    def begin(self) -> None:
        """Begin what was recovered, after what has waited longest in the inbox."""
        self.intake.begin()
        for run in list(self.state.ledgers):
            self.scheduler.begin(run)

    def park_all(self) -> None:
        """Tell all who wait that their runs are parked: from now on nobody is let in, and nothing more is recorded."""
        self.is_drained = True
        self.admission.close(lambda: RuntimeError("the engine was closed: this was not recorded"))
        for run, waiting in self.endings.items():
            self._tell(waiting, _parked(run))

    # Recovery.

    async def recover(self) -> None:
        """Fold what the store has recorded of what is unfinished, a few records at a time: the loop stays free.

        Raises:
            StoreError: it cannot be read, or is damaged.
            Unwanted: the engine was closed meanwhile.
        """
        for function in self._registry.functions.values():
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

    async def load(self, run: str) -> Ledger | None:
        """Return the ledger of a run from the store, None if there is no such run.

        Raises:
            StoreError: the store failed, or is damaged.
        """
        await self.journal.synced()
        return await ledger_of(self.store.history(run))

    async def record(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries, as the store holds them.

        Raises:
            StoreError: the store failed, or is damaged.
        """
        await self.journal.synced()
        return tuple([entry async for entry in self.store.history(run)])

    async def settled(self) -> None:
        """Wait until no handler runs and nothing can move without time or input from outside.

        Raises:
            StoreError: the store failed.
        """
        while True:
            self.changes.clear()
            self.timers.fire()
            if not self.scheduler.strays.is_idle:
                self.scheduler.strays.look()
            await self.journal.synced()
            await self.rounds.passed(QUIET + 2)
            if self._is_settled():
                return
            if not self._is_moving():
                await self.changes.wait()

    def _is_settled(self) -> bool:
        due = self.timers.next_due()
        overdue = due is not None and due <= self.clock.now()
        return not overdue and self.journal.durable == self.journal.posted and self.scheduler.is_settled()

    def _is_moving(self) -> bool:
        # Rounds alone will bring it on: there is no handler, timer or foreign await to wait for.
        return any(not session.delivery.is_idle for session in self.scheduler.unsettled())

    async def ends(self, run: str) -> tuple[RunOpened | None, RunClosed | None]:
        """Return how a run was opened and how it ended, from the store, reading nothing in between.

        Raises:
            StoreError: the store failed, or is damaged.
        """
        await self.journal.synced()
        return await ends_of(self.store.history(run))

    # What the parts tell.

    def _stirred(self) -> None:
        self.changes.set()
        self.scheduler.parking.stirred()

    def _on_due(self, due: list[tuple[TimerKey, datetime]]) -> None:
        self.scheduler.deadlines.on_due(self.intake.on_due(due))

    def _is_ending(self) -> bool:
        return self.closing.is_set() or self._is_cut()

    def _is_cut(self) -> bool:
        # By asyncio.run, which cancels every task once an exit has left the loop.
        owner = self.owned_by
        return owner is None or owner.done() or owner.cancelling() > 0

    def _complain(self, about: str, text: str) -> None:
        self.logger.warn_once(about, "%s", text)

    def _fail(self, error: StoreError) -> None:
        self.logger.error("the store has failed, the engine stops: %s", error)
        for waiting in self.endings.values():
            self._tell(waiting, error)
        self.endings.clear()
        self.timers.close()
        self.changes.set()
        self.scheduler.time.give(0.0)
        self.scheduler.stop()  # now: a function whose step call was refused by the journal would see the StoreError
        self._stopping = asyncio.Task(self.scheduler.close(), loop=self.loop, name="durable engine stopping")

    def _tell_ended(self, record: RunClosed) -> None:
        for ending in self.endings.pop(record.run, ()):
            if not ending.done():
                ending.set_result(record)

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
        sent = [(id, accepted(event, self.causes.limits, id, now)) for id, event in zip(fresh, events, strict=True)]
        ids = self.causes.ids_of(sent, now)
        records = self.journal.post_all(self.causes.send_all(sent, now))
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
        claimant = None if is_named else self.causes.claimed_by(function, event, now)[1]
        if claimant is None:
            self.journal.post_all(self.causes.open(function, run, event, now, is_named=is_named))
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
        waiting = self.endings.setdefault(run, [])
        waiting.append(ending)
        try:
            return await ending
        finally:
            if ending in waiting:
                waiting.remove(ending)
            if not waiting and self.endings.get(run) is waiting:
                del self.endings[run]


def _parked(run: str) -> RuntimeError:
    return RuntimeError(f"the engine was closed: run {run!r} is parked, and goes on when its store is opened")
