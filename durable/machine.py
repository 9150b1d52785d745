"""The machine: what all executions of one engine share.

Separate because a session, a handler's tries and the scheduler need the same parts, and none of them owns them.
Leaves to `runtime` to put the parts together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import attrs

from durable.causes import Causes
from durable.claims import StandIn
from durable.clock import Clock
from durable.eager import Spare
from durable.journal import Journal
from durable.ledger import Ledger
from durable.log import Log
from durable.rounds import Rounds
from durable.timers import Timers
from durable.workers import Workers


@attrs.frozen(eq=False, repr=False)
class Machine:
    """What all sessions of one engine share.

    Without `workers` blocking handlers run on the loop's thread. `changed()` is called when a handler or a task has
    ended, `stirred()` when something was recorded or delivered. `resolve(function, what)` returns the id and the output
    type of a function to be invoked, `read(run)` the ledger of a run from the store. `resident` is how many runs keep
    their coroutine while they wait. `exits`: a SystemExit of a blocking handler ends the process, as in a script.
    `is_debugging`: the loop is in asyncio's debug mode.
    """

    engine: object
    loop: asyncio.AbstractEventLoop
    clock: Clock
    timers: Timers[tuple[str, str]]
    journal: Journal
    causes: Causes
    rounds: Rounds
    variables: Context
    logger: Log
    workers: Workers | None
    spare: Spare
    changed: Callable[[], None]
    stirred: Callable[[], None]
    is_ending: Callable[[], bool]
    is_cut: Callable[[], bool]
    resolve: Callable[[Any, str], tuple[str, object]]
    read: Callable[[str], Awaitable[Ledger | None]]
    resident: int
    stand_in: StandIn | None = None
    exits: bool = False
    is_debugging: bool = attrs.field(default=attrs.Factory(lambda machine: machine.loop.get_debug(), takes_self=True))
