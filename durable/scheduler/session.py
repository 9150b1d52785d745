"""One execution of one run: hands out keys, hands out outcomes in order, refuses after it is over.

Separate because what lives only while a coroutine lives (futures, tasks, branches) must never be mistaken for facts.
Leaves to `ledger` what is recorded, to `delivery` the order, to `tries` the handlers, to `scheduler` beginning and end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

from durable.errors import DriftError, LimitError
from durable.journal import Ledger, RunStarted, StepKind, too_many_steps
from durable.scheduler.branches import Branches
from durable.scheduler.calls import StepCall, Work
from durable.scheduler.delivery import Delivery
from durable.scheduler.drift import tell_late, tell_unasked
from durable.scheduler.parts import Parts
from durable.scheduler.refusals import Refusals

# Shared, and never written to: of a hundred thousand sessions that wait, most have none of these.
_LEVEL: set[str] = set()
_NO_WORKS: dict[Work, None] = {}


class Session:
    """One execution of one run. `main` is the task that runs the function."""

    __slots__ = (
        "_cancelled",
        "_ended",
        "_refusals",
        "_told",
        "behind",
        "branches",
        "calls",
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
        "works",
    )

    main: asyncio.Task[Any]

    def __init__(self, parts: Parts, ledger: Ledger, ended: Callable[[Session, asyncio.Task[Any]], None]) -> None:
        self._ended = ended
        self._refusals: Refusals | None = None
        self._cancelled: set[asyncio.Task[Any]] | None = None
        self.parts = parts
        self.ledger = ledger
        self.now = ledger.opened_at
        self.refused = self.is_stopped = self.tells_start = self.did_more = False
        self._told: tuple[str, ...] = ()
        self.fault: DriftError | LimitError | None = None
        self.works = _NO_WORKS
        self.calls: dict[str, StepCall] = {}
        self.gate: Callable[[Callable[[], None]], None] | None = None
        self.branches = Branches(self)
        self.behind = set(ledger.steps) if ledger.steps else _LEVEL  # recorded, but not come to again
        self.delivery = Delivery(ledger, parts.journal, parts.rounds, self)

    @property
    def is_replaying(self) -> bool:
        """Whether the function has only repeated what is recorded, and there is more to come."""
        return bool(self.behind) and not self.did_more

    @property
    def is_level(self) -> bool:
        """Whether the code has come to everything that is recorded: what ends from now on comes after it."""
        return not self.behind

    @property
    def waits(self) -> list[str]:
        """The keys of the steps that the function waits for and that may still be answered.

        One that is recorded as cancelled is none of them: nothing answers it, the code will cancel it again (R9).
        """
        facts = self.ledger.steps
        return [key for key in self.calls if key not in facts or facts[key].outcome is None]

    @property
    def is_settled(self) -> bool:
        """Whether nothing can move without time or input from outside."""
        return self.refused or (bool(self.waits) and not self.working and self.delivery.is_idle)

    @property
    def waits_only_in(self) -> str | None:
        """The key of the step that the function's own task waits in, if that is all there is of the run."""
        if self.refused or self.has_loose_ends or len(self.calls) != 1 or not self.delivery.is_idle:
            return None
        if any(self.ledger.steps[key].outcome is None for key in self.behind):
            return None  # open since an earlier attempt: what answers it must find it
        [call] = self.calls.values()
        facts = call.facts
        is_awaited = call.awaited_by is self.main and call.future is not None and not call.future.done()
        return call.key if is_awaited and facts is not None and facts.is_waiting else None

    @property
    def working(self) -> set[Work]:
        """The handlers that run."""
        return {work for work in self.works if work.is_running}

    @property
    def waits_for_timeouts(self) -> bool:
        """Whether handlers run, and every one of them will be stopped by the timeout of its step."""
        working = self.working
        return bool(working) and all(work.is_bounded for work in working)

    def count(self, step_id: str, kind: StepKind) -> StepCall:
        """Count a call of a step method, and return it.

        Raises:
            NestedStepError, LimitError, DriftError: see the rules R7, R28, R6.
        """
        parts, ledger = self.parts, self.ledger
        if len(self.branches.asked) >= parts.decisions.limits.steps:
            self.end_with(too_many_steps(parts.decisions.limits, ledger.run, step_id))
        task = asyncio.current_task(parts.loop)
        key = self.branches.key(step_id, task, self.main)
        facts = ledger.steps.get(key)
        if facts is None:
            self.did_more = True  # whatever is recorded beside it, this is no replay any more
        elif facts.kind != kind:
            self.end_with(
                DriftError(
                    f"step {key!r} of run {ledger.run!r} is recorded as a {facts.kind}, but the code asks for a "
                    f"{kind}: give the step a new id"
                )
            )
        else:
            parts.changes.set()  # nothing is recorded of this, yet the run has come on
            if facts.outcome is None and self.behind:
                self.behind.discard(key)
        if self.tells_start and ledger.started_at is None:
            parts.journal.post(RunStarted(ledger.run, parts.clock.now()))
        call = self.calls[key] = StepCall(self, key, step_id, kind, task)
        self.delivery.touch()
        return call

    def deliver(self, keys: Sequence[str]) -> list[str]:
        """Hand outcomes out to those who wait for them; return the keys that nobody has claimed yet."""
        unclaimed = []
        for key in keys:
            call = self.calls.get(key)
            if call is None:
                if key not in self.branches.asked:
                    unclaimed.append(key)
            elif call.future is None or not call.future.cancelled():
                call.receive(self.ledger.steps[key])
        changes = self.parts.changes
        changes.stirred() if changes.is_crowded else changes.set()
        return unclaimed

    def has_asked(self, key: str) -> bool:
        """Whether the code has called the step of this key."""
        return key in self.branches.asked

    def tell_stuck(self, keys: Iterable[str]) -> None:
        """Say once that the code does not come to steps that are recorded."""
        if not self._told:
            self._told = tell_late(self.parts, self.ledger, keys)

    def tell_unasked(self) -> None:
        """Say which recorded steps the function has not asked for, but for those that were named before."""
        tell_unasked(self.parts, self.ledger, {*self.branches.asked, *self._told})

    def end_with(self, fault: DriftError | LimitError) -> NoReturn:
        """Raise an error that ends the run whatever the function catches (R6, R7)."""
        self.fault = self.fault or fault
        self.stop()
        raise fault

    def refuse(self) -> None:
        """Refuse every further step call, record nothing that the function does from now on (R8)."""
        self.refused = True
        self.delivery.stop()
        if self.branches.strangers:
            self.refusals.turn_away(self.calls.values(), self.branches.strangers)

    @property
    def refusals(self) -> Refusals:
        """The calls that are refused."""
        if self._refusals is None:
            self._refusals = Refusals(self, self.parts.logger, partial(self._ended, self, self.main))
        return self._refusals

    def stop(self) -> None:
        """Refuse, and cancel the function and all tasks seen in its steps: it may wait for one that cleans up.

        Each is cancelled once, however often this is called: a second cancelling would end its cleanup.
        """
        self.refuse()
        cancelled = self._cancelled = self._cancelled or set()
        for task in (self.main, *self.branches.tasks):
            if task not in cancelled:
                cancelled.add(task)
                task.cancel()

    @property
    def has_loose_ends(self) -> bool:
        """Whether tasks that called or awaited steps, or handlers, still run."""
        return bool(self.works) or any(not task.done() for task in self.branches.tasks)
