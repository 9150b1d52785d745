"""One execution of one run: hands out keys, hands out outcomes in order, refuses after it is over.

Separate because what lives only while a coroutine lives (futures, tasks, branches) must never be mistaken for facts.
Leaves to `ledger` what is recorded, to `delivery` the order, to `tries` the handlers, to `scheduler` beginning and end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

import attrs

from durable.causes import Acting
from durable.claims import BRANCH, Branch, Claim, Work, is_own
from durable.delivery import Delivery
from durable.drift import tell_late, tell_other_child, tell_other_wait, tell_unasked
from durable.errors import DriftError, LimitError
from durable.ledger import Ledger, StepFacts
from durable.machine import Machine
from durable.records import Cancelled, Err, Event, Ok, Outcome, RunStarted, StepClosed, StepKind, Wait
from durable.refusals import Refusals

# Shared, and never written to: of a hundred thousand sessions that wait, most have none of these.
_LEVEL: set[str] = set()
_NO_WORKS: dict[Work, None] = {}
_NO_BRANCHES: dict[asyncio.Task[Any], Branch | None] = {}  # None: it only awaits what another task called


class Session:
    """One execution of one run. `main` is the task that runs the function."""

    __slots__ = (
        "_asked",
        "_behind",
        "_ended",
        "_refusals",
        "_root",
        "_told",
        "branches",
        "claims",
        "delivery",
        "did_more",
        "fault",
        "gate",
        "is_stopped",
        "ledger",
        "machine",
        "main",
        "now",
        "refused",
        "tells_start",
        "works",
    )

    main: asyncio.Task[Any]

    def __init__(self, machine: Machine, ledger: Ledger, ended: Callable[[Session], None]) -> None:
        self._ended = ended
        self._refusals: Refusals | None = None
        self.machine = machine
        self.ledger = ledger
        self.now = ledger.opened_at
        self.refused = self.is_stopped = self.tells_start = self.did_more = False
        self._told: tuple[str, ...] = ()
        self.fault: DriftError | LimitError | None = None
        self.works = _NO_WORKS
        self.claims: dict[str, Claim] = {}
        self._asked: dict[str, int] = {}
        self.gate: Callable[[Callable[[], None]], None] | None = None
        self._root = Branch("", self._asked)
        self.branches = _NO_BRANCHES
        self._behind = set(ledger.steps) if ledger.steps else _LEVEL  # recorded, but not come to again
        self.delivery = Delivery(ledger, machine.journal, machine.rounds, self)

    def begin(self, main: asyncio.Task[Any]) -> None:
        """Take the task that runs the function, before it runs."""
        self.main = main

    def main_ended(self, main: asyncio.Task[Any]) -> None:
        """Pass on that the function has ended."""
        self._ended(self)

    @property
    def is_replaying(self) -> bool:
        """Whether the function has only repeated what is recorded, and there is more to come."""
        return bool(self._behind) and not self.did_more

    @property
    def is_level(self) -> bool:
        """Whether the code has come to everything that is recorded: what ends from now on comes after it."""
        return not self._behind

    @property
    def waits(self) -> list[str]:
        """The keys of the steps that the function waits for and that may still be answered.

        One that is recorded as cancelled is none of them: nothing answers it, the code will cancel it again (R9).
        """
        facts = self.ledger.steps
        return [key for key in self.claims if key not in facts or facts[key].outcome is None]

    @property
    def is_settled(self) -> bool:
        """Whether nothing can move without time or input from outside."""
        return self.refused or (bool(self.waits) and not self.working and self.delivery.is_idle)

    @property
    def waits_only_in(self) -> str | None:
        """The key of the step that the function's own task waits in, if that is all there is of the run."""
        if self.refused or self.has_loose_ends or len(self.claims) != 1 or not self.delivery.is_idle:
            return None
        if any(self.ledger.steps[key].outcome is None for key in self._behind):
            return None  # open since an earlier attempt: what answers it must find it
        [claim] = self.claims.values()
        facts = self.facts(claim)
        is_awaited = claim.awaited_by is self.main and claim.future is not None and not claim.future.done()
        return claim.key if is_awaited and facts is not None and facts.is_waiting else None

    @property
    def working(self) -> set[Work]:
        """The handlers that run."""
        return {work for work in self.works if work.is_running}

    @property
    def waits_for_timeouts(self) -> bool:
        """Whether handlers run, and every one of them will be stopped by the timeout of its step."""
        working = self.working
        return bool(working) and all(work.is_bounded for work in working)

    def claim(self, step_id: str, kind: StepKind) -> Claim:
        """Count a call of a step method and return its claim.

        Raises:
            NestedStepError, LimitError, DriftError: see the rules R7, R28, R6.
        """
        if len(self._asked) >= self.machine.causes.limits.steps:
            self.end_with(
                LimitError(
                    f"run {self.ledger.run!r} calls more than {self.machine.causes.limits.steps:,} steps with "
                    f"{step_id!r}: let it invoke other functions for parts of the work, or pass Limits(steps=...) to "
                    "the engine"
                )
            )
        task = asyncio.current_task(self.machine.loop)
        branch = self._branch(task)
        key = branch.key(step_id)
        facts = self.ledger.steps.get(key)
        if facts is None:
            self.did_more = True  # whatever is recorded beside it, this is no replay any more
        elif facts.kind != kind:
            self.end_with(
                DriftError(
                    f"step {key!r} of run {self.ledger.run!r} is recorded as a {facts.kind}, but the code asks for a "
                    f"{kind}: give the step a new id"
                )
            )
        else:
            self.machine.changed()  # nothing is recorded of this, yet the run has come on
            if facts.outcome is None and self._behind:
                self._behind.discard(key)
        if self.tells_start and self.ledger.started_at is None:
            self.machine.journal.post(RunStarted(self.ledger.run, self.machine.clock.now()))
        claim = self.claims[key] = Claim(key, step_id, kind, called_by=task)
        self.delivery.touch()
        return claim

    def _branch(self, task: asyncio.Task[Any] | None) -> Branch:
        if task is None or task is self.main:
            return self._root
        branch = self._tasks().get(task)
        if branch is None:
            inherited = BRANCH.get()
            parent = inherited[1] if inherited is not None and inherited[0] is self else self._root
            branch = parent.child()
            self._note(task, branch)
        inherited = BRANCH.get()
        if inherited is None or inherited[1] is not branch:
            BRANCH.set((self, branch))
        return branch

    def _tasks(self) -> MutableMapping[asyncio.Task[Any], Branch | None]:
        return self.branches if is_own(self) else self.refusals.strangers

    def _note(self, task: asyncio.Task[Any], branch: Branch | None) -> None:
        if self.branches is _NO_BRANCHES:
            self.branches = {}
        self._tasks()[task] = branch

    def facts(self, claim: Claim) -> StepFacts | None:
        """Return what is recorded of a claimed step."""
        return self.ledger.steps.get(claim.key)

    def begin_wait(self, claim: Claim, wait: Wait, span: timedelta | None, *, replace: bool = False) -> None:
        """Record that a claimed step waits, unless that is recorded; a recorded deadline stands.

        `span` is what the deadline counts, None for an instant. A wait that is open stands as it is recorded (R6).
        """
        facts = self.facts(claim)
        if facts is not None and (facts.outcome is not None or facts.is_waiting):
            if facts.outcome is None:
                tell_other_wait(self.machine, self.ledger, claim.key, wait, span)
            return
        if facts is not None and facts.wait is not None and facts.wait.until is not None:
            wait = attrs.evolve(wait, until=facts.wait.until)  # R9: cancelled in an earlier attempt
        causes, now = self.machine.causes, self.machine.clock.now()
        self.machine.journal.post_all(causes.wait((self.ledger.run, claim.key), claim.kind, wait, now, replace=replace))

    def close_step(self, claim: Claim, outcome: Outcome, *, tries: int = 0, inline: bool = False) -> None:
        """Record that a step has ended, unless its run or the step itself has ended by now."""
        facts = self.facts(claim)
        if self.ledger.status is not None or (facts is not None and facts.outcome is not None):
            return
        record = self.ledger.closing(
            claim.key,
            claim.kind,
            outcome,
            at=self.machine.clock.now(),
            limits=self.machine.causes.limits,
            tries=tries,
            inline=inline,
        )
        self.machine.journal.post(record)
        if inline:
            self.machine.journal.flush()

    def close_after(self, claim: Claim, acting: Acting) -> None:
        """Record what a claimed step sends and that it has ended with that, as one (R22)."""
        causes, now = self.machine.causes, self.machine.clock.now()
        self.machine.journal.post_all(causes.act(self.ledger, claim.key, claim.kind, acting, now))

    def begin_invoke(self, claim: Claim, function: str, event: Event, span: timedelta | None) -> None:
        """Record that a claimed step invokes a function, unless that is recorded; `span` as for `begin_wait`."""
        facts = self.facts(claim)
        if facts is not None and facts.outcome is None and facts.is_waiting and not facts.is_unasked:
            tell_other_child(self.machine, self.ledger, claim.key, function, span)
        elif facts is None or facts.outcome is None:
            causes, place, now = self.machine.causes, (self.ledger.run, claim.key), self.machine.clock.now()
            self.machine.journal.post_all(causes.invoke(place, function, event, span, now))

    def await_claim(self, claim: Claim) -> None:
        """Note that a task begins to await a claimed step."""
        claim.was_awaited = True
        claim.awaited_by = task = asyncio.current_task(self.machine.loop)
        if task is not None and task is not self.main:
            self._note(task, self._tasks().get(task))

    def is_due(self, claim: Claim) -> bool:
        """Whether a claimed step is still to be done: it has no outcome on record, not even a cancelling."""
        facts = self.facts(claim)
        return facts is None or facts.outcome is None

    def begin_work(self, claim: Claim, work: Work) -> None:
        """Begin a claimed step's handler."""
        claim.work = work
        if self.works is _NO_WORKS:
            self.works = {}
        self.works[work] = None
        work.begin()

    def future(self, claim: Claim) -> asyncio.Future[Outcome]:
        """Return the future through which the outcome of a claimed step will come."""
        claim.future = self.machine.loop.create_future()
        return claim.future

    def recalled(self, claim: Claim) -> Outcome | None:
        """Return the outcome of a step that was returned inline, at the call, when it ran first."""
        facts = self.facts(claim)
        if facts is None or facts.turn is not None or not isinstance(facts.outcome, (Ok, Err)):
            return None
        if self.machine.journal.failure is not None:
            return None  # R31: not known to be recorded, so nobody sees it
        self.take(claim, facts)
        return facts.outcome

    def take(self, claim: Claim, facts: StepFacts) -> None:
        """Note that the function receives an outcome now."""
        if facts.closed_at is not None and facts.closed_at > self.now:
            self.now = facts.closed_at
        if self._behind:
            self._behind.discard(claim.key)
        self.claims.pop(claim.key, None)
        claim.work = None
        claim.outcome = facts.outcome
        if claim.future is not None and facts.outcome is not None and not claim.future.done():
            claim.future.set_result(facts.outcome)

    def abandon(self, claim: Claim) -> None:
        """The code cancelled a pending step: record it, without awaiting; its handler ends, its wait is freed."""
        if claim.was_dropped or self.refused or self.ledger.status is not None:
            return
        if self.machine.is_ending():  # R14: asyncio.run cancels every task once an exit has left the loop
            self.is_stopped = True
            self.refuse()
            return
        claim.was_dropped = True
        if self._behind:
            self._behind.discard(claim.key)
        self.claims.pop(claim.key, None)
        facts = self.facts(claim)
        outcome = facts.outcome if facts is not None else None
        was_awaited = claim.was_awaited
        if outcome is None and (was_awaited or facts is not None) and self.machine.journal.failure is None:
            turn = self.delivery.delivered if was_awaited else None
            now = self.machine.clock.now()
            self.machine.journal.post(StepClosed(self.ledger.run, claim.key, claim.kind, Cancelled(), turn, now))
        elif isinstance(outcome, Cancelled):
            self.delivery.cancelled_again(claim.key)
            self.machine.changed()
        if claim.work is not None:
            claim.work.stop()
            self.works.pop(claim.work, None)
        self.delivery.touch()

    def abandon_unawaited(self, claim: Claim) -> None:
        """A step's coroutine is gone and nobody has awaited it; the collector may say so in any thread."""
        loop = self.machine.loop
        if asyncio._get_running_loop() is loop:
            self.abandon(claim)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self.abandon, claim)

    def admit(self, begin: Callable[[], None]) -> None:
        """Begin a handler's try, once the scheduler lets this run call handlers (R26)."""
        if self.gate is None:
            begin()
        else:
            self.gate(begin)

    def deliver(self, keys: Sequence[str]) -> list[str]:
        """Hand outcomes out to those who wait for them; return the keys that nobody has claimed yet."""
        unclaimed = []
        for key in keys:
            claim = self.claims.get(key)
            if claim is None:
                if key not in self._asked:
                    unclaimed.append(key)
            elif claim.future is None or not claim.future.cancelled():
                self.take(claim, self.ledger.steps[key])
        self.machine.stirred()
        return unclaimed

    def has_asked(self, key: str) -> bool:
        """Whether the code has called the step of this key."""
        return key in self._asked

    def tell_stuck(self, keys: Iterable[str]) -> None:
        """Say once that the code does not come to steps that are recorded."""
        if not self._told:
            self._told = tell_late(self.machine, self.ledger, keys)

    def tell_unasked(self) -> None:
        """Say which recorded steps the function has not asked for, but for those that were named before."""
        tell_unasked(self.machine, self.ledger, {*self._asked, *self._told})

    def end_with(self, fault: DriftError | LimitError) -> NoReturn:
        """Raise an error that ends the run whatever the function catches (R6, R7)."""
        self.fault = self.fault or fault
        self.stop()
        raise fault

    def refuse(self) -> None:
        """Refuse every further step call, record nothing that the function does from now on (R8)."""
        self.refused = True
        self.delivery.stop()
        if self._refusals is not None:
            self._refusals.turn_away(self.claims.values())

    @property
    def refusals(self) -> Refusals:
        """The calls that are refused."""
        if self._refusals is None:
            self._refusals = Refusals(self, self.machine.logger, partial(self._ended, self))
        return self._refusals

    def stop(self) -> None:
        """Refuse, and cancel the function and all tasks seen in its steps: it may wait for one that cleans up."""
        self.refuse()
        for task in (self.main, *self.branches):
            task.cancel()

    @property
    def has_loose_ends(self) -> bool:
        """Whether tasks that called or awaited steps, or handlers, still run."""
        return bool(self.works) or any(not task.done() for task in self.branches)
