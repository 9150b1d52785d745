"""Follow one call of a step method, from the call to its outcome.

Separate because steps of all kinds are recalled, begun, answered and taken back alike.
Leaves to `session` the list of calls, to `delivery` the order of outcomes, to `attempts` the handlers.

A wait is recorded at the call, so a wait that is never awaited must be taken back, and a plain coroutine cannot tell:
cancelled before its first part ran, it is thrown away without notice, and the traceback may keep its arguments alive
for as long as the task is held. So the coroutine inside is made when the first part runs. If the outer one ends before
that, because an error is thrown into it, or it is closed or collected, the step is taken back (R19). So asyncio's
warning "was never awaited" is given here, with the step's name.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine, Generator
from datetime import datetime
from types import CodeType, FrameType
from typing import Any, NoReturn, Protocol

from durable.errors import CodecError, DriftError
from durable.journal import (
    ABSENT,
    Cancelled,
    Err,
    Ledger,
    Ok,
    Outcome,
    StepClosed,
    StepFacts,
    StepKind,
    decode,
    misplaced,
    raised,
)
from durable.scheduler.branches import Branches
from durable.scheduler.delivery import Delivery
from durable.scheduler.parts import Parts
from durable.scheduler.refusals import Refusals
from durable.scheduler.undocumented import current_task, running_loop


class Work(Protocol):
    """A work is the running handler of a step, as those see it who end it."""

    is_running: bool

    @property
    def is_in_thread(self) -> bool:
        """Whether the handler runs in a thread, which cannot be stopped."""

    @property
    def is_bounded(self) -> bool:
        """Whether a timeout will stop the handler."""

    @property
    def label(self) -> str:
        """The step and its run, for messages."""

    def stop(self) -> None:
        """Cancel the running try, and begin no other."""

    def come_due(self) -> None:
        """Begin the next try, or stop the running one: the step's timer is due."""

    async def ended(self) -> None:
        """Wait until no try is running."""


class Caller(Protocol):
    """A caller is the execution whose function has called the step: see `Session`.

    `gate(begin)` calls `begin` once the run may call handlers (R26). None lets a try begin at once.
    """

    parts: Parts
    ledger: Ledger
    main: asyncio.Task[Any]
    now: datetime
    refused: bool
    is_stopped: bool
    behind: set[str]
    branches: Branches
    delivery: Delivery
    gate: Callable[[Callable[[], None]], None] | None
    calls: dict[str, StepCall]
    works: dict[Work, None]

    @property
    def refusals(self) -> Refusals:
        """The answers to step calls after the execution is over."""

    def refuse(self) -> None:
        """Refuse every further step call."""

    def end_with(self, fault: DriftError) -> NoReturn:
        """Raise an error that ends the run."""


class StepCall:
    """A step call is a call of a step method that has got its key.

    Attributes:
        key, step_id, kind: the step's key, its id as the user gave it, and its kind.
        type: the type of the outcome's value.
        begin: does the step's work when the call is first awaited; None if the step was recorded at the call.
        work: the step's handler while it is running.
        future: passes the outcome to the task that awaits the call.
        outcome: the outcome, once the function has it.
        called_by, awaited_by: the tasks that called and that awaits the step.
        was_awaited: whether the coroutine's first part has run.
        was_dropped: whether the code has cancelled the call, or let it go without awaiting it.
    """

    __slots__ = (
        "awaited_by",
        "begin",
        "called_by",
        "future",
        "key",
        "kind",
        "outcome",
        "session",
        "step_id",
        "type",
        "was_awaited",
        "was_dropped",
        "work",
    )

    def __init__(
        self, session: Caller, key: str, step_id: str, kind: StepKind, called_by: asyncio.Task[Any] | None
    ) -> None:
        self.session = session
        self.key = key
        self.step_id = step_id
        self.kind = kind
        self.called_by = called_by
        self.awaited_by: asyncio.Task[Any] | None = None
        self.begin: Callable[[], object] | None = None
        self.type: object = ABSENT
        self.work: Work | None = None
        self.future: asyncio.Future[Outcome] | None = None
        self.outcome: Outcome | None = None
        self.was_awaited = self.was_dropped = False

    # Awaiting it.

    async def answer(self) -> Any:
        """Do the step unless its outcome is recorded; return its value, or raise its error.

        Raises:
            StepError: the step failed.
            DriftError: the recorded value no longer fits the type.
        """
        session = self.session
        self._await()
        if session.refused:
            session.refusals.check_own(self.key)
            await session.refusals.refuse()
        outcome = self._recalled()
        if outcome is None and self.begin is not None and self._is_due():
            begin, self.begin = self.begin, None
            begin()
            outcome = self._recalled()
        if outcome is None:
            outcome = self.outcome
        if outcome is None:
            self.future = session.parts.loop.create_future()
            try:
                outcome = await self.future
            except BaseException:
                self.abandon()  # R9: recorded before the cancelling goes on
                raise
        return self._value(outcome)

    def _await(self) -> None:
        session = self.session
        self.was_awaited = True
        self.awaited_by = task = current_task(session.parts.loop)
        if task is not None and task is not session.main:
            session.branches.note(task)

    def _value(self, outcome: Outcome) -> Any:
        if isinstance(outcome, Err):
            raise raised(outcome.error, self.key)
        if not isinstance(outcome, Ok):
            raise asyncio.CancelledError
        try:
            return decode(outcome.value, self.type, deep=outcome.deep)
        except CodecError as error:
            self.session.end_with(
                DriftError(
                    f"what is recorded for step {self.key!r} of run {self.session.ledger.run!r} no longer fits its "
                    f"type: {error}; keep the type able to read it, or give the step a new id"
                )
            )

    # The record.

    @property
    def facts(self) -> StepFacts | None:
        """The recorded facts of the step, or None if nothing is recorded."""
        return self.session.ledger.steps.get(self.key)

    def _is_due(self) -> bool:
        # A step with a recorded outcome is never done again, even if that outcome is a cancelling.
        facts = self.session.ledger.steps.get(self.key)
        return facts is None or facts.outcome is None

    def _recalled(self) -> Outcome | None:
        """Return the recorded outcome if it was returned inline, without a turn, else None."""
        facts = self.session.ledger.steps.get(self.key)
        if facts is None or facts.turn is not None or not isinstance(facts.outcome, (Ok, Err)):
            return None
        if self.session.parts.journal.failure is not None:
            return None  # R31: it is unknown whether the outcome is stored, so the function must not see it
        self.receive(facts)
        return facts.outcome

    def receive(self, facts: StepFacts) -> None:
        """Give the recorded outcome to the function."""
        session = self.session
        if facts.closed_at is not None and facts.closed_at > session.now:
            session.now = facts.closed_at
        if session.behind:
            session.behind.discard(self.key)
        session.calls.pop(self.key, None)
        self.work = None
        self.outcome = facts.outcome
        if self.future is not None and facts.outcome is not None and not self.future.done():
            self.future.set_result(facts.outcome)

    def record(self, outcome: Outcome, *, tries: int = 0, inline: bool = False) -> None:
        """Record the step's outcome, unless the step or its run has ended meanwhile."""
        session, parts = self.session, self.session.parts
        if session.ledger.status is not None or not self._is_due():
            return
        record = session.ledger.closing(
            self.key,
            self.kind,
            outcome,
            at=parts.clock.now(),
            limits=parts.decisions.limits,
            tries=tries,
            inline=inline,
        )
        parts.journal.post(record, at_once=inline)

    # Taking it back.

    def abandon(self) -> None:
        """Record that the code has cancelled the pending step, and stop its handler.

        This happens at once, without awaiting. A wait of the step is freed.
        """
        session, parts = self.session, self.session.parts
        if self.was_dropped or session.refused or session.ledger.status is not None:
            return
        if parts.life.is_ending:  # R14: asyncio.run cancels every task once an exit has left the loop
            session.is_stopped = True
            session.refuse()
            return
        self.was_dropped = True
        if session.behind:
            session.behind.discard(self.key)
        session.calls.pop(self.key, None)
        facts = self.facts
        outcome = facts.outcome if facts is not None else None
        if outcome is None and (self.was_awaited or facts is not None) and parts.journal.failure is None:
            turn = session.delivery.delivered if self.was_awaited else None
            now = parts.clock.now()
            parts.journal.post(StepClosed(session.ledger.run, self.key, self.kind, Cancelled(), turn, now))
        elif isinstance(outcome, Cancelled):
            session.delivery.cancelled_again(self.key)
            parts.changes.set()
        if self.work is not None:
            self.work.stop()
            session.works.pop(self.work, None)
        session.delivery.touch()

    def abandon_unawaited(self) -> None:
        """Take the step back, since its coroutine has gone without being awaited.

        The garbage collector may call this in any thread.
        """
        loop = self.session.parts.loop
        if running_loop() is loop:
            self.abandon()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self.abandon)


class StepCoroutine(Coroutine[Any, Any, Any]):
    """A step coroutine is awaited once, or put into a task.

    Without a `call` it refuses when it is awaited (R8). One that `is_over` takes nothing back: it was awaited, or it
    never came to who asked for it.
    """

    __slots__ = ("__weakref__", "_call", "_session", "_step", "is_over")

    def __init__(self, session: Caller, call: StepCall | None) -> None:
        self._session = session
        self._call = call
        self.is_over = call is not None
        self._step: Coroutine[Any, Any, Any] | None = None

    def __repr__(self) -> str:
        if self._call is None:
            return f"<a step of run {self._session.ledger.run!r}, refused>"
        return f"<step {self._call.key!r} of run {self._session.ledger.run!r}>"

    def _running(self) -> Coroutine[Any, Any, Any]:
        if self.is_over:
            raise misplaced("a step can be awaited only once, and not after its coroutine was closed: call it again")
        if self._step is None:
            self._step = self._session.refusals.refuse() if self._call is None else self._call.answer()
        return self._step

    def __await__(self) -> Generator[Any, Any, Any]:
        step = self._running()
        self.is_over = True  # from here on only the coroutine inside goes on
        return step.__await__()

    def send(self, value: Any) -> Any:
        """Run the coroutine up to where it suspends."""
        return self._running().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where the coroutine is suspended.

        Before its first part has run, this takes the step back.
        """
        if self._step is None:
            self._drop()
        return self._running().throw(*error) if self._step is not None else _thrown(*error)

    def close(self) -> None:
        """Close the coroutine; before its first part has run, take the step back."""
        if self._step is None:
            self._drop()
        elif not self.is_over:
            self._step.close()

    def _drop(self) -> None:
        if not self.is_over and self._call is not None:
            self.is_over = True
            self._call.abandon_unawaited()

    def __del__(self) -> None:
        if self._step is not None or self.is_over or self._call is None or self._session.refused:
            return
        self._drop()
        name = f"step {self._call.key!r} of run {self._session.ledger.run!r}"
        warnings.warn(f"{name} was called, but never awaited: write `await`", RuntimeWarning, stacklevel=1, source=self)

    # These are read by inspect.getcoroutinestate and asyncio's debugging.

    @property
    def cr_running(self) -> bool:
        """Whether the coroutine is running now."""
        return bool(getattr(self._step, "cr_running", False))

    @property
    def cr_suspended(self) -> bool:
        """Whether the coroutine has begun and is suspended."""
        return bool(getattr(self._step, "cr_suspended", False))

    @property
    def cr_frame(self) -> FrameType | None:
        """The coroutine's frame, or None before it has begun and after it has ended."""
        return getattr(self._step, "cr_frame", None)

    @property
    def cr_await(self) -> Any:
        """The object that the coroutine awaits."""
        return getattr(self._step, "cr_await", None)

    @property
    def cr_code(self) -> CodeType:
        """The coroutine's code."""
        return StepCall.answer.__code__


def asked(
    session: Caller, key: str, step_id: str, kind: StepKind, called_by: asyncio.Task[Any] | None
) -> tuple[StepCall, StepCoroutine]:
    """Return a new call of a step, and the coroutine that is awaited for it."""
    call = StepCall(session, key, step_id, kind, called_by)
    return call, StepCoroutine(session, call)


def _thrown(error: Any, value: Any = None, traceback: Any = None) -> Any:
    # The old three-argument form, `throw(class, value, traceback)`, is still allowed.
    raise error if isinstance(error, BaseException) else value or error
