"""The parts of one open engine, and how they are put together.

Separate because a run's execution must not reach for the engine as a whole, nor each part be handed over one by one.
Leaves to `runtime` who acts on these parts, and when they are opened and closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

import attrs

from durable.functions import Registry
from durable.journal import Decisions, History, Journal, Limits, State
from durable.scheduler.branches import outside
from durable.scheduler.eager import SpareTask
from durable.scheduler.rounds import Rounds
from durable.scheduler.stand_in import StandIn
from durable.scheduler.threads import HandlerThreads
from durable.stores import Log, Store, opening_of
from durable.timers import Clock, TimerWheel

RESIDENT = 10_000


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
    folded: Callable[[Any], Awaitable[None]] | None = None


class Life:
    """How long the parts live: `owner` is the task that opens and closes them, `closing` is set when they are to."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.owner: asyncio.Task[None] | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the loop itself ends: `asyncio.run` cancels every task once an exit has left the loop."""
        owner = self.owner
        return owner is None or owner.done() or owner.cancelling() > 0

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is to begin."""
        return self.closing.is_set() or self.is_cut


class Changes:
    """That something has moved: for who waits until nothing moves any more, and for parking.

    `set()` is called when a handler or a task has ended, a record was folded, an outcome was delivered. While more runs
    have a coroutine than may keep it, `is_crowded`, `stirred()` is called for each record and delivery of a run.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.set = self.event.set
        self.is_crowded = False
        self.stirred: Callable[[], None] = self.event.set


@attrs.frozen(eq=False, repr=False)
class Parts:
    """What all executions of one engine share. Without `workers` blocking handlers run on the loop's thread.
    `variables` is the context outside of all functions. `is_debugging`: the loop is in asyncio's debug mode."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    clock: Clock
    logger: Log
    store: Store
    timers: TimerWheel[Any]
    journal: Journal
    history: History
    decisions: Decisions
    registry: Registry
    rounds: Rounds
    variables: Context
    threads: HandlerThreads
    spare: SpareTask
    changes: Changes
    life: Life
    stand_in: StandIn | None
    is_inline: bool
    is_debugging: bool


def assembled(settings: Settings, registry: Registry) -> Parts:
    """Put the parts of an engine together, in the loop that is running."""
    loop, clock, logger = asyncio.get_running_loop(), settings.clock, Log(settings.logger)

    def complain(about: str, text: str) -> None:
        logger.warn_once(about, "%s", text)

    store, changes = opening_of(settings.store), Changes()
    state = State(complain)
    journal = Journal(store, state, changes.event)
    return Parts(
        settings=settings,
        loop=loop,
        clock=clock,
        logger=logger,
        store=store,
        timers=TimerWheel(clock, None, loop.call_soon),
        journal=journal,
        history=History(store, journal),
        decisions=Decisions(state, settings.limits),
        registry=registry,
        rounds=Rounds(),
        variables=outside(),
        threads=HandlerThreads(settings.threads),
        spare=SpareTask(loop, copy_context()),
        changes=changes,
        life=Life(),
        stand_in=settings.stand_in,
        is_inline=settings.is_inline,
        is_debugging=loop.get_debug(),
    )
