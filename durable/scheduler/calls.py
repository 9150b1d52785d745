"""Follow one call of a step method, from the call to its outcome.

Separate because steps of all kinds are recalled, begun, answered and taken back alike.
Leaves to `session` the list of calls, to `delivery` the order of outcomes, to `first_try` and `attempts` the handlers.

A call is the coroutine that a step method returns: one object from the call to the outcome. A plain coroutine would not
do. A wait is recorded at the call, so a wait that is never awaited must be taken back, and a plain coroutine that is
cancelled before its first part ran is thrown away without notice. A call notices: if an error is thrown into it, or it
is closed or collected, before its first part ran, its step is taken back (R19). So that it can be collected, its
session knows the key alone until the first part runs. asyncio's warning "was never awaited" is given here, with the
step's name.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine, Generator
from datetime import datetime
from typing import Any, NoReturn, Protocol

from durable.errors import CodecError, DriftError
from durable.functions import Handler, Handling
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
from durable.scheduler.turns import Turns
from durable.scheduler.unawaited import Unawaited
from durable.scheduler.undocumented import current_task, running_loop
from durable.scheduler.works import Work


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
    turns: Turns | None
    calls: dict[str, StepCall | None]
    works: dict[Work, None]

    @property
    def refusals(self) -> Refusals:
        """The answers to step calls after the execution is over."""

    def refuse(self) -> None:
        """Refuse every further step call."""

    def receive(self, key: str, facts: StepFacts) -> None:
        """Note that the function gets the recorded outcome of a step."""

    def end_with(self, fault: DriftError) -> NoReturn:
        """Raise an error that ends the run."""


def _of_steps(name: str) -> property:
    return property(lambda call: getattr(call._steps, name, None))  # None before the first part has run


class StepCall(Unawaited, Coroutine[Any, Any, Any]):
    """A step call is a call of a step method that has got its key, and the coroutine of its outcome.

    It is awaited once, or put into a task. Without a key it is refused when it is awaited (R8).

    Attributes:
        key, step_id, kind: the step's key, its id as the user gave it, and its kind.
        type: the type of the outcome's value.
        handling: the handler in its parts, of a step that calls one.
        began: when the first try of the handler began, None before that and where it is not known.
        begin: does the step's work when the call is first awaited; None if the step was recorded at the call.
        work: the step's handler while it is running beyond its first part.
        future: passes the outcome to the task that awaits the call.
        outcome: the outcome, once the function has it.
        called_by, awaited_by: the tasks that called and that awaits the step.
        was_awaited: whether the coroutine's first part has run.
        was_dropped: whether the code has cancelled the call, or let it go without awaiting it.
        is_over: it takes nothing back: it was awaited or dropped, or it has not come yet to who asks for it.
    """

    __slots__ = (
        "__weakref__",
        "_steps",
        "awaited_by",
        "began",
        "begin",
        "called_by",
        "future",
        "handling",
        "is_over",
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

    handling: Handling
    awaited_by: asyncio.Task[Any] | None
    began: datetime | None
    begin: Callable[[StepCall], object] | None
    future: asyncio.Future[Outcome] | None
    outcome: Outcome | None
    work: Work | None
    _steps: Generator[Any, Any, Any] | None

    def __init__(
        self, session: Caller, key: str, step_id: str, kind: StepKind, called_by: asyncio.Task[Any] | None
    ) -> None:
        self.session = session
        self.key = key
        self.step_id = step_id
        self.kind = kind
        self.called_by = called_by
        self.type: object = ABSENT
        self.awaited_by = self.began = self.begin = self.future = self.outcome = self.work = self._steps = None
        self.was_awaited = self.was_dropped = False
        self.is_over = True

    def __repr__(self) -> str:
        if not self.key:
            return f"<a step of run {self.session.ledger.run!r}, refused>"
        return f"<step {self.key!r} of run {self.session.ledger.run!r}>"

    # Awaiting it.

    def __await__(self) -> Generator[Any, Any, Any]:
        """Do the step unless its outcome is recorded; return its value, or raise its error.

        Raises:
            StepError: the step failed.
            DriftError: the recorded value no longer fits the type.
        """
        session, key = self.session, self.key
        if self.is_over:
            raise misplaced("a step can be awaited only once, and not after its coroutine was closed: call it again")
        self.is_over = True
        if key:
            self.was_awaited = True
            self.awaited_by = current_task(session.parts.loop)
        if self.awaited_by is not session.main or session.refused:
            yield from self._admitted()
        if key in session.calls:
            session.calls[key] = self
        begin, facts = self.begin, session.ledger.steps.get(key)
        if begin is not None and (facts is None or facts.outcome is None):
            self.begin = None
            begin(self)
        outcome = self.outcome or self._recalled()
        if outcome is None:
            self.future = session.parts.loop.create_future()
            try:
                outcome = yield from self.future
            except BaseException:
                self.abandon()  # R9: recorded before the cancelling goes on
                raise
        if not isinstance(outcome, Ok):
            raise raised(outcome.error, self.key) if isinstance(outcome, Err) else asyncio.CancelledError
        try:
            return decode(outcome.value, self.type, deep=outcome.deep)
        except CodecError as error:
            self._drifted(error)

    def _admitted(self) -> Generator[Any, Any, None]:
        session, task = self.session, self.awaited_by
        if self.key and task is not None and task is not session.main:
            session.branches.note(task, session)
        if self.key and session.refused:
            session.refusals.check_own(self.key)
        if not self.key or session.refused:
            yield from session.refusals.refuse().__await__()

    def _drifted(self, error: CodecError) -> NoReturn:
        self.session.end_with(
            DriftError(
                f"what is recorded for step {self.key!r} of run {self.session.ledger.run!r} no longer fits its type: "
                f"{error}; keep the type able to read it, or give the step a new id"
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
        """Return the recorded outcome, or None.

        It was returned inline, without a turn, or its turn was delivered before the call was awaited.
        """
        session, facts = self.session, self.session.ledger.steps.get(self.key)
        if facts is None or not isinstance(facts.outcome, (Ok, Err)):
            return None
        if self.key not in session.calls:
            return facts.outcome  # delivered
        if facts.turn is not None or session.parts.journal.failure is not None:
            return None  # R31: it is unknown whether the outcome is stored, so the function must not see it
        session.receive(self.key, facts)
        self.receive(facts)
        return facts.outcome

    def receive(self, facts: StepFacts) -> None:
        """Give the recorded outcome to the function."""
        self.work = self.called_by = self.awaited_by = None  # a task of the function's own may hold this call
        self.outcome = facts.outcome
        if self.future is not None and facts.outcome is not None and not self.future.done():
            self.future.set_result(facts.outcome)

    @property
    def handler(self) -> Handler:
        """The handler of a step that calls one."""
        function, args, kwargs, is_async, policy, spans = self.handling
        timeout, within = spans or (None, None)
        return Handler(function, args, kwargs, is_async, policy, timeout, self.type, within)

    @property
    def is_trying(self) -> bool:
        """Whether the handler is running, or waits for a thread to run in."""
        if self.work is not None:
            return self.work.is_running
        return self.began is not None and self.future is None and self._is_due()  # in place, and asks for itself

    @property
    def label(self) -> str:
        """The step and its run, for messages."""
        return f"step {self.key!r} of run {self.session.ledger.run!r}"

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
            began=self.began,
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
            turn, now = session.delivery.delivered if self.was_awaited else None, parts.clock.now()
            closed = StepClosed(session.ledger.run, self.key, self.kind, Cancelled(), turn, now, 0, self.began)
            parts.journal.post(closed)
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

    # What a coroutine has.

    def send(self, value: Any) -> Any:
        """Run the coroutine up to where it suspends."""
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where the coroutine is suspended.

        Before its first part has run, this takes the step back.
        """
        if self._steps is not None:
            return self._steps.throw(*error)
        self._drop()
        return _thrown(*error)

    def close(self) -> None:
        """Close the coroutine; before its first part has run, take the step back."""
        if self._steps is not None:
            self._steps.close()
        else:
            self._drop()

    def _drop(self) -> None:
        if not self.is_over:
            self.is_over = True
            if self.key:
                self.abandon_unawaited()

    def __del__(self) -> None:
        if self.is_over or not self.key or self.session.refused:
            return
        self._drop()
        ledger = self.session.ledger
        if self.session.parts.logger.is_new(f"not awaited in {ledger.function}"):
            text = f"step {self.key!r} of run {ledger.run!r} was called, but never awaited: write `await`"
            text = f"{text}; this is said once for the function {ledger.function!r}"
            warnings.warn(text, RuntimeWarning, stacklevel=1, source=self)

    # These are read by inspect.getcoroutinestate and asyncio's debugging.

    cr_running = _of_steps("gi_running")
    cr_suspended = _of_steps("gi_suspended")
    cr_frame = _of_steps("gi_frame")
    cr_await = _of_steps("gi_yieldfrom")
    cr_code = property(lambda _: StepCall.__await__.__code__)


def _thrown(error: Any, value: Any = None, traceback: Any = None) -> Any:
    # The old three-argument form, `throw(class, value, traceback)`, is still allowed.
    raise error if isinstance(error, BaseException) else value or error
