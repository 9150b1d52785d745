"""Put the parts of an open engine together.

Separate because executions need these parts without the engine, and without being handed each of them.
Leaves to `runtime` the opening and closing of the parts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from datetime import timedelta
from typing import Any

import attrs

from durable.functions import Registry
from durable.journal import Decisions, History, Journal, Limits, State
from durable.scheduler.branches import outside
from durable.scheduler.calling import Callers
from durable.scheduler.eager import SpareTask
from durable.scheduler.notices import Notices
from durable.scheduler.rounds import Rounds
from durable.scheduler.stand_in import StandIn
from durable.scheduler.threads import HandlerThreads
from durable.stores import RationedLog, Store, opening_of
from durable.timers import Clock, TimerWheel, asyncio_loop

RESIDENT = 10_000


@attrs.frozen(eq=False, repr=False)
class Settings:
    """Settings are what an engine is given when it is made.

    Attributes:
        max_crashes: how many deaths of the process a run may cause before it fails (R26).
        resident: how many waiting runs keep their coroutine.
        rests_after: how long a run is parked until it is recorded that it rests.
        threads: how many blocking handlers run at once.
        retention: how long runs are kept after their end, or None for ever.
        grace: the seconds for which a closing engine lets handlers go on.
        stand_in: replaces handlers in tests, or None.
        exits: whether a SystemExit in a blocking handler ends the process.
        is_inline: whether blocking handlers run on the loop's own thread.
        folded: is awaited when all unfinished runs are folded, before any of them begins. Its error fails the opening.
        watched: awaits the future of a run's end, in tests, or None. Its arguments are the run, the future, and the
            seconds for which the caller waits at the most, or None.
        drained: is awaited when the last record is kept, before the store is closed. Its error fails the closing.
    """

    engine: object
    store: Store
    clock: Clock
    limits: Limits
    logger: logging.Logger
    max_crashes: int = 10
    resident: int = RESIDENT
    rests_after: timedelta = timedelta(minutes=10)  # younger waits are not worth a record: most are over by then
    threads: int = 40
    retention: timedelta | None = None
    grace: float = 0.0
    stand_in: StandIn | None = None
    exits: bool = False
    is_inline: bool = False
    watched: Callable[[str, asyncio.Future[Any], float | None], Awaitable[Any]] | None = None
    folded: Callable[[Any], Awaitable[None]] | None = None
    drained: Callable[[Any], Awaitable[None]] | None = None


class Life:
    """The life of an engine's parts lasts from its opening to its closing.

    `owner` is the task that opens and closes them. `closing` is set when they are to be closed.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.owner: asyncio.Task[None] | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the loop itself is ending.

        `asyncio.run` cancels every task, the owner too, once an exit has left the loop.
        """
        owner = self.owner
        return owner is None or owner.done() or owner.cancelling() > 0

    @property
    def is_ending(self) -> bool:
        """Whether the engine is closing, so that nothing new may begin."""
        return self.closing.is_set() or self.is_cut


class Changes:
    """Changes tell waiting parts that something in the engine has moved.

    `set()` wakes those that wait until nothing moves any more, such as `settled`. It is called when a handler or a task
    has ended, a record was folded, or an outcome was delivered.

    `stirred()` does the same, and also counts: after enough of these calls `parking` looks for runs to park. It is
    called for each record and delivery of a run while `is_crowded`: more runs have a coroutine than may keep one.

    `begun()` is called when a run or a try of a handler begins, if somebody waits for that; it may come sooner.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.set = self.event.set
        self.is_crowded = False
        self.begun: Callable[[], None] | None = None
        self.stirred: Callable[[], None] = self.event.set


@attrs.frozen(eq=False, repr=False)
class Parts:
    """Parts are what all executions of one engine share.

    `variables` is the context outside of all functions, `callers` those in which runs were begun. With `is_inline`
    blocking handlers run on the loop's thread.
    `is_debugging` says whether the loop is in asyncio's debug mode.
    """

    settings: Settings
    loop: asyncio.AbstractEventLoop
    clock: Clock
    logger: RationedLog
    notices: Notices
    store: Store
    timers: TimerWheel[Any]
    journal: Journal
    history: History
    decisions: Decisions
    registry: Registry
    rounds: Rounds
    variables: Context
    callers: Callers
    threads: HandlerThreads
    spare: SpareTask
    changes: Changes
    life: Life
    stand_in: StandIn | None
    is_inline: bool
    is_debugging: bool


def assembled(settings: Settings, registry: Registry) -> Parts:
    """Put the parts of an engine together in the running loop."""
    loop, clock = asyncio_loop(), settings.clock
    logger = RationedLog(settings.logger, loop)

    def complain(about: str, text: str) -> None:
        logger.plain.warn_once(about, "%s", text)

    variables = outside()
    store, changes = opening_of(settings.store), Changes()
    state = State(complain)
    journal, decisions = Journal(store, state, changes.event), Decisions(state, settings.limits)
    notices = Notices(logger, clock, journal, state, registry)
    decisions.unheard, decisions.openings.dropped = notices.unheard, notices.dropped
    return Parts(
        settings=settings,
        loop=loop,
        clock=clock,
        logger=logger,
        notices=notices,
        store=store,
        timers=TimerWheel(clock, None, loop.call_soon),
        journal=journal,
        history=History(store, journal),
        decisions=decisions,
        registry=registry,
        rounds=Rounds(),
        variables=variables,
        callers=Callers(variables),
        threads=HandlerThreads(settings.threads),
        spare=SpareTask(loop, copy_context()),
        changes=changes,
        life=Life(),
        stand_in=settings.stand_in,
        is_inline=settings.is_inline,
        is_debugging=loop.get_debug(),
    )
