"""Which code is running: the handler of which step, or the function of which run.

Separate because handlers and functions, in any thread or task, are told apart without holding anything.
Leaves to `tries` and `scheduler` to set it around what they call.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Protocol

import attrs

from durable.errors import NestedStepError
from durable.misuse import misplaced
from durable.records import StepKind
from durable.retries import Policy


@attrs.frozen
class CurrentStep:
    """What a handler can know of the step it runs for.

    `attempt` counts the tries from 0. `idempotency_key` is the same for every try of this step, over retries and
    crashes, and different for every other step: give it to the service that the handler calls.
    """

    run_id: str
    key: str
    attempt: int
    _trying: Trying | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def idempotency_key(self) -> str:
        """32 hexadecimal digits for services outside: the same for every try of this step, for no other step."""
        name = f"{self.run_id}\0{self.key}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(name, digest_size=16).hexdigest()

    @property
    def cancelled(self) -> bool:
        """Whether nobody awaits this try any more: its time was over, or its step or run was cancelled.

        What a blocking handler returns from then on is dropped: it cannot be stopped, but it can look here and stop.
        """
        return self._trying is not None and self._trying.is_cancelled


class InThread(Protocol):
    """A blocking handler's call: the thread runs on when nobody waits for it any more."""

    running: bool


@attrs.define(eq=False, repr=False)
class Trying:
    """One try of a handler, as long as it runs: what code in it stands for, and what it must not do.

    Tasks and threads that the handler leaves behind carry it too, and outlive it: it counts only while it `is_running`.

    Attributes:
        run, key, attempt: which try it is.
        engine: whose.
        thread: the call in which a blocking handler runs.
        nested: the error of a step that was called inside the handler: the try fails with it, whoever caught it (R7).
        is_over: nobody waits for the handler any more.
        is_cancelled: and it has not ended by itself.
    """

    run: str
    key: str
    attempt: int
    engine: object
    thread: InThread | None = None
    nested: NestedStepError | None = None
    is_over: bool = False
    is_cancelled: bool = False

    @property
    def is_running(self) -> bool:
        """Whether the handler runs: a thread runs on when nobody waits for it any more."""
        return not self.is_over or (self.thread is not None and self.thread.running)

    @property
    def step(self) -> CurrentStep:
        """What its handler can know."""
        return CurrentStep(self.run, self.key, self.attempt, self)


CURRENT: ContextVar[Trying | None] = ContextVar("durable_current_step", default=None)


def current_try() -> Trying | None:
    """Return the try whose handler is running here, None outside."""
    trying = CURRENT.get()
    return trying if trying is not None and trying.is_running else None


def current_step() -> CurrentStep:
    """Return what is known of the step whose handler is running.

    Raises:
        RuntimeError: called outside a step's handler.
    """
    trying = current_try()
    if trying is None:
        raise misplaced("current_step() is for the handler of a step: no handler is running here")
    return trying.step


class Body(Protocol):
    """The execution of a function: what must be known of it in the function's own code."""

    machine: Any
    ledger: Any
    main: asyncio.Task[Any]


BODY: ContextVar[Body | None] = ContextVar("durable_body", default=None)
"""In a function's own task and in those that it starts: its execution. A handler's context has `CURRENT` besides."""


def is_own(body: object) -> bool:
    """Say whether the task that asks is an execution's own: its function's, or one that this has started."""
    mine: object = BODY.get()
    return mine is body and CURRENT.get() is None


def running_body() -> Body | None:
    """Return the execution of the function in whose own code this is called; None elsewhere: in a step's handler, and
    in a task that has outlived its function."""
    body = BODY.get()
    # What a handler leaves behind carries CURRENT too: it is neither in the handler any more nor in the function.
    return None if body is None or CURRENT.get() is not None or body.main.done() else body


def check_not_in_function(what: str, instead: str) -> None:
    """Refuse in a function's own code what would be done again at every replay; in a handler it is done once.

    Raises:
        RuntimeError
    """
    body = running_body()
    if body is not None:
        raise misplaced(
            f"{what} is called in the code of function {body.ledger.function!r} (run {body.ledger.run!r}), which "
            f"would do it again at every replay: write {instead}"
        )


def check_outside(engine: object, what: str) -> None:
    """Refuse what would wait for itself inside a handler or a function of the same engine.

    Raises:
        RuntimeError
    """
    body, trying = running_body(), current_try()
    if body is not None and body.machine.settings.engine is engine:
        raise misplaced(
            f"{what} is awaited in the code of function {body.ledger.function!r} (run {body.ledger.run!r}) of the "
            "same engine, which would wait for itself: use ctx.step.invoke, or await it outside"
        )
    if trying is not None and trying.engine is engine:
        raise misplaced(
            f"{what} is awaited inside the handler of step {trying.key!r} of the same engine, which would wait for "
            "itself: use step.invoke, or await it outside"
        )


def check_not_nested(step_id: str) -> None:
    """Refuse a step that is called inside a handler, and let that handler's try fail with it (R7).

    Raises:
        NestedStepError
    """
    trying = current_try()
    if trying is not None:
        trying.nested = NestedStepError(
            f"step {step_id!r} is called inside the handler of step {trying.key!r} of run "
            f"{trying.run!r}: call it from the function, before or after that step"
        )
        raise trying.nested


@attrs.frozen(eq=False, repr=False)
class Handler:
    """A callable to be run as a step, with its arguments, and how."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_async: bool
    policy: Policy
    timeout: timedelta | None
    type: object
    within: timedelta | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether a try is stopped when it, or the step, has had its time."""
        return self.timeout is not None or self.within is not None

    def call(self) -> Any:
        """Call the callable."""
        return self.function(*self.args, **self.kwargs)


@attrs.frozen(eq=False, repr=False)
class Call:
    """One call of a step method, as a test sees it.

    `turn` is the last turn that had been delivered; `was_quiet`: nothing had been on its way to the run, so that it is
    something outside its steps which brought it here.
    """

    run: str
    key: str
    kind: StepKind
    attempt: int
    turn: int
    was_quiet: bool


class StandIn(Protocol):
    """What may take the place of handlers, and looks on: a test's stubs."""

    def asked(self, call: Call) -> None:
        """Take note that a function has called a step method."""

    def replaces(self, step_id: str) -> bool:
        """Whether a step of this id, of whatever kind, is answered by a stand-in."""

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Return the handler that is to be called."""
