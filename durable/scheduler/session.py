"""Follow one execution of a run, from the call of its function to its end.

Separate because futures, tasks and branches live only as long as a coroutine, and must never be mistaken for facts.
Leaves to `ledger` the recorded facts, to `delivery` the order of outcomes, to `attempts` the handlers, and to
`scheduler` the beginning and the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from durable.errors import DriftError, LimitError
from durable.functions import Context
from durable.journal import Ledger, StepFacts
from durable.scheduler.branches import Branches
from durable.scheduler.calls import StepCall
from durable.scheduler.delivery import Delivery
from durable.scheduler.drift import tell_late, tell_unasked
from durable.scheduler.parts import Parts
from durable.scheduler.refusals import Refusals
from durable.scheduler.turns import Tries, Turns
from durable.scheduler.works import Work

# Shared by all sessions that have nothing to put there: a hundred thousand of them may wait. Never write to these: with
# a key in _LEVEL every such run would seem to replay a step that it does not have, and a handler in _NO_WORKS would
# keep all these runs busy, and be stopped with the first that ends. `begin_attempts` gives a session its own dict.
_LEVEL: set[str] = set()
_NO_WORKS: dict[Work, None] = {}


class Session:
    """A session is one execution of one run.

    Attributes:
        main: the task that runs the function.
        context: what the function was called with.
        behind: the keys of recorded steps that the function has not called again yet.
        calls: the step calls that still wait for an outcome, by key; None for one that was not awaited yet.
        works: the running handlers, as an ordered set.
        refused: whether every further step call is refused.
        is_stopped: whether the execution was ended from outside, so that its end is not recorded.
        did_more: whether the function has called a step that was not recorded.
        tells_start: whether the first step call records that the run has started.
        fault: the error that ends the run even if the function catches it.
        gate: delays handlers until the run may call them (R26), or None.
        turns: those of its tries, or None if the function does not bound them.
        now: the time of the last delivered outcome.
    """

    __slots__ = (
        "_cancelled",
        "_ended",
        "_refusals",
        "_told",
        "behind",
        "branches",
        "calls",
        "context",
        "delivery",
        "did_more",
        "fault",
        "gate",
        "is_stopped",
        "ledger",
        "main",
        "now",
        "parts",
        "refused",
        "tells_start",
        "turns",
        "works",
    )

    main: asyncio.Task[Any]
    context: Context

    def __init__(self, parts: Parts, ledger: Ledger, ended: Callable[[Session, asyncio.Task[Any]], None]) -> None:
        self._ended = ended
        self._refusals: Refusals | None = None
        self._cancelled: set[asyncio.Task[Any]] | None = None
        self.parts = parts
        self.ledger = ledger
        self.now = (ledger.admitted_at or ledger.opened_at) if ledger.fork is None else ledger.fork.now
        self.refused = self.is_stopped = self.tells_start = self.did_more = False
        self._told: tuple[str, ...] = ()
        self.fault: DriftError | LimitError | None = None
        self.works = _NO_WORKS
        self.calls: dict[str, StepCall | None] = {}
        self.gate: Callable[[Callable[[], None]], None] | None = None
        self.turns: Turns | None = None
        self.branches = Branches()
        self.behind = set(ledger.steps) if ledger.steps else _LEVEL
        self.delivery = Delivery(ledger, parts.journal, parts.rounds, self)

    def main_ended(self, main: asyncio.Task[Any]) -> None:
        """Tell the scheduler that the function's task has ended, or must be given up."""
        self._ended(self, main)

    def declared(self, tries: Tries) -> None:
        """Let the tries of the run wait for, or hold, what the new definition of its function asks."""
        for work in self.works:
            if work.turn is None and work.is_running and work.step.kind == "run":
                work.turn = tries.begun()
        self.turns = tries.declared(self.ledger, [work.turn for work in self.works if work.turn is not None])

    @property
    def is_replaying(self) -> bool:
        """Whether the function only repeats recorded steps and more of them follow."""
        return bool(self.behind) and not self.did_more

    @property
    def is_level(self) -> bool:
        """Whether the function has called every recorded step.

        From then on new outcomes follow the recorded ones.
        """
        return not self.behind

    @property
    def waits(self) -> list[str]:
        """The keys of the called steps that may still get an outcome.

        A step that is recorded as cancelled is left out: it gets no outcome, and the code will cancel it again (R9).
        """
        facts = self.ledger.steps
        return [key for key in self.calls if key not in facts or facts[key].outcome is None]

    @property
    def is_settled(self) -> bool:
        """Whether the run waits for time or for input from outside."""
        # The order is that of the cost: ten thousand sessions are asked, and nearly all of them wait in one step.
        return self.refused or (self.delivery.is_idle and not (self.works and self.working) and bool(self.waits))

    @property
    def may_run(self) -> bool:
        """Whether the run may be running, which `Scheduler.status` decides: False for nearly all that wait."""
        return not self.refused and (bool(self.works) or not self.waits or self.delivery.is_delivering)

    @property
    def waits_only_in(self) -> str | None:
        """The key of the step in which a run waits that may be parked, or None.

        Such a run has one task, which awaits one recorded wait, and no outcome is on its way.
        """
        if self.refused or self.has_loose_ends or len(self.calls) != 1 or not self.delivery.is_idle:
            return None
        if any(self.ledger.steps[key].outcome is None for key in self.behind):
            return None  # a wait of an earlier attempt is still open, and a parked run is found by one wait only
        [call] = self.calls.values()
        if call is None or call.awaited_by is not self.main or call.future is None or call.future.done():
            return None
        facts = call.facts
        return call.key if facts is not None and facts.is_waiting else None

    @property
    def working(self) -> set[Work]:
        """The handlers that are running."""
        return {work for work in self.works if work.is_running}

    @property
    def waits_for_timeouts(self) -> bool:
        """Whether handlers are running that will all be stopped by timeouts."""
        working = self.working
        return bool(working) and all(work.is_bounded for work in working)

    def deliver(self, keys: Sequence[str]) -> list[str]:
        """Give outcomes to the calls that wait for them; return the keys not asked for yet."""
        unclaimed = []
        calls, steps = self.calls, self.ledger.steps
        for key in keys:
            call, facts = calls.get(key), steps[key]
            if call is None:
                if key in calls:
                    self.receive(key, facts)  # the call finds it when it is awaited
                elif key not in self.branches.asked:
                    unclaimed.append(key)
            elif call.future is None or not call.future.cancelled():
                self.receive(key, facts)
                call.receive(facts)
        # `stirred` wakes the same waiters as `set`, and counts towards the next look for runs to park.
        changes = self.parts.changes
        changes.stirred() if changes.is_crowded else changes.set()
        return unclaimed

    def receive(self, key: str, facts: StepFacts) -> None:
        """Note that the function gets the recorded outcome of a step."""
        if facts.closed_at is not None and facts.closed_at > self.now:
            self.now = facts.closed_at
        if self.behind:
            self.behind.discard(key)
        self.calls.pop(key, None)

    def has_asked(self, key: str) -> bool:
        """Return whether the code has called the step of this key."""
        return key in self.branches.asked

    def tell_stuck(self, keys: Iterable[str]) -> None:
        """Warn, once, that the code does not call recorded steps again."""
        if not self._told:
            self._told = tell_late(self.parts, self.ledger, keys)

    def tell_unasked(self) -> None:
        """Warn about recorded steps that the function never called, except those already named."""
        tell_unasked(self.parts, self.ledger, {*self.branches.asked, *self._told})

    def end_with(self, fault: DriftError | LimitError) -> NoReturn:
        """Raise an error that ends the run even if the function catches it (R6, R7)."""
        self.fault = self.fault or fault
        self.stop()
        raise fault

    def refuse(self) -> None:
        """Refuse every further step call, and deliver and record nothing more (R8)."""
        self.refused = True
        self.delivery.is_stopped = True
        self.ledger.delivered = None
        if self.branches.strangers:
            self.refusals.turn_away(filter(None, self.calls.values()), self.branches.strangers)

    @property
    def refusals(self) -> Refusals:
        """The answers to step calls after this execution is over."""
        if self._refusals is None:
            self._refusals = Refusals(self, self.parts.logger, partial(self.main_ended, self.main))
        return self._refusals

    def let_go(self, over: Any) -> None:
        """Cut the ways that lead from an execution that is over back to itself.

        Else all that it was made of, and all that its run has recorded, would wait for the garbage collector. `over` is
        a future that is done. It stands for the function's task from now on, whose context holds the execution.
        """
        if self.main is not over:
            self.main = over
            self.parts.rounds.moving.pop(self, None)
            del self.context, self.delivery.receiver
            if self.branches.tasks:
                self.branches.forget_done()

    def stop(self) -> None:
        """Refuse step calls, and cancel the function and all tasks seen in its steps.

        The tasks are cancelled too because the function may wait for one of them to clean up. Each is cancelled once,
        however often this is called: a second cancelling would end its cleanup.
        """
        self.refuse()
        cancelled = self._cancelled = self._cancelled or set()
        for task in (self.main, *self.branches.tasks):
            if task not in cancelled:
                cancelled.add(task)
                task.cancel()

    @property
    def has_loose_ends(self) -> bool:
        """Whether handlers, or tasks that called or awaited steps, are still running."""
        return bool(self.works) or any(not task.done() for task in self.branches.tasks)


def unsettled(moving: dict[Session, None]) -> Iterator[Session]:
    """Yield those of the moving executions that are not settled, the latest first.

    The others are still from now on, and are not asked again before they move: thousands may wait for days. Only those
    that have handlers are: a handler between two tries begins the next one without a sign.
    """
    still: list[Session] = []
    try:
        for session in reversed(moving):
            if not session.is_settled:
                yield session
            elif not session.works:
                still.append(session)
    finally:
        for session in still:
            session.delivery.is_still = True
            del moving[session]
