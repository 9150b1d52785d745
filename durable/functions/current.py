"""The step whose handler is running, as the handler sees it.

Separate because handlers, in any thread or task, ask for it without holding anything.
Leaves to `scheduler` to set it around each try.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextvars import ContextVar
from typing import Any, Protocol
from weakref import WeakValueDictionary

import attrs

from durable.errors import LimitError, NestedStepError
from durable.events import NAME_BYTES, checked_number, checked_text
from durable.journal import misplaced, misuse


@attrs.frozen
class CurrentStep:
    """The current step tells a handler about the step it runs for.

    `run_id` is the run, `key` the key under which the step is recorded, `attempt` the number of the try, from 0.
    `idempotency_key` is the same for every try of this step, over retries and crashes, and different for every other
    step: give it to the service that the handler calls.
    """

    run_id: str
    key: str
    attempt: int
    _trying: Trying | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def idempotency_key(self) -> str:
        """32 hexadecimal digits that are the same for every try of this step.

        They are different for every other step. Give them to the service that the handler calls.
        """
        name = f"{self.run_id}\0{self.key}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(name, digest_size=16).hexdigest()

    @property
    def cancelled(self) -> bool:
        """Whether this try is no longer awaited.

        Its time is over, or its step or run was cancelled. What the handler returns from then on is dropped. A blocking
        handler cannot be stopped from outside, but it can look here and stop.
        """
        return self._trying is not None and self._trying.is_cancelled


@attrs.frozen
class Progress:
    """Progress says how far a running handler has come.

    `done` and `total` are numbers in any unit, `total` None if it is not known; `note` is a text for people, or None.
    """

    done: float
    total: float | None = None
    note: str | None = None

    def __str__(self) -> str:
        """Return such as "40 of 100, rows"."""
        far = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        return far if self.note is None else f"{far}, {self.note}"


class InThread(Protocol):
    """A blocking handler's call, whose thread may run longer than its try."""

    running: bool


@attrs.define(eq=False, repr=False)
class Trying:
    """A running try of a handler marks the code that belongs to it.

    Tasks and threads that the handler leaves behind carry the mark too, and may outlive the try: the mark counts only
    while the try `is_running`.

    Attributes:
        run, key, attempt: the run, the step's key and the number of the try.
        engine: the engine of the run.
        thread: the call in which a blocking handler runs.
        nested: the error of a step that was called inside the handler. The try fails with it, even if the handler
            caught it (R7).
        is_over: the try is no longer awaited.
        is_cancelled: the try was ended from outside, not by the handler's end.
        progress: how far the handler says that it has come.
    """

    run: str
    key: str
    attempt: int
    engine: object
    thread: InThread | None = None
    nested: NestedStepError | None = None
    is_over: bool = False
    is_cancelled: bool = False
    progress: Progress | None = None

    @property
    def is_running(self) -> bool:
        """Whether the handler is running; a thread may run longer than its try."""
        return not self.is_over or (self.thread is not None and self.thread.running)

    @property
    def step(self) -> CurrentStep:
        """The step as its handler sees it."""
        return CurrentStep(self.run, self.key, self.attempt, self)


CURRENT: ContextVar[Trying | None] = ContextVar("durable_current_step", default=None)


def current_try() -> Trying | None:
    """Return the try whose handler is running here, or None outside handlers."""
    trying = CURRENT.get()
    return trying if trying is not None and trying.is_running else None


def current_step() -> CurrentStep:
    """Return the step whose handler is running.

    Raises:
        RuntimeError: called outside a step's handler.
    """
    trying = current_try()
    if trying is None:
        raise misplaced("current_step() is for the handler of a step: no handler is running here")
    return trying.step


def progress(done: float, total: float | None = None, note: str | None = None) -> None:
    """Tell how far the running handler has come.

    `done` and `total` are numbers in any unit, zero or more; `note` is a text of at most 1 KB. The latest is shown by
    the live line of `durable.run`, and in `StepInfo.progress` while this try of the handler runs. It is not recorded:
    nothing of it is left after the try's end or a crash, and a call costs no write. Any thread or task of the handler
    may call it, as often as it likes.

    Raises:
        RuntimeError: called outside a step's handler.
        TypeError, ValueError, LimitError: a number that is negative, not finite or none; a note that is no text.
    """
    trying = current_try()
    if trying is None:
        raise misplaced(
            "durable.progress() is for the handler of a step: no handler is running here. What a function itself has "
            "done is shown by its steps"
        )
    try:
        told = Progress(
            checked_number(done, "done of durable.progress"),
            None if total is None else checked_number(total, "total of durable.progress"),
            None if note is None else checked_text(note, "note of durable.progress", most=NAME_BYTES),
        )
    except (TypeError, ValueError, LimitError) as error:
        raise misuse(error) from None
    trying.progress = told
    _TELLING[trying.engine, trying.run, trying.key] = trying


# The latest try of each step that has told of its progress, for as long as it runs: few steps do, and the others must
# not pay for it.
_TELLING: WeakValueDictionary[tuple[object, str, str], Trying] = WeakValueDictionary()


def progress_of(engine: object, run: str, key: str) -> Progress | None:
    """Return what the running try of a step has told of its progress, or None."""
    trying = _TELLING.get((engine, run, key))
    return None if trying is None or trying.is_over else trying.progress


class Body(Protocol):
    """A body is a function's execution, as code in the function finds it."""

    parts: Any
    ledger: Any
    main: asyncio.Task[Any]
    context: Any


BODY: ContextVar[Body | None] = ContextVar("durable_body", default=None)
"""The execution, in a function's own task and in tasks that it starts. A handler's context has `CURRENT` as well."""


def is_own(body: object) -> bool:
    """Return whether the calling task belongs to an execution.

    It is the function's task or one that the function has started, but not a handler's.
    """
    mine: object = BODY.get()
    return mine is body and CURRENT.get() is None


def running_body() -> Body | None:
    """Return the execution whose function's own code is running.

    None elsewhere, such as in a step's handler, or in a task that has outlived its function.
    """
    body = BODY.get()
    # A task that a handler has left behind still carries CURRENT: it belongs neither to the handler nor the function.
    return None if body is None or CURRENT.get() is not None or body.main.done() else body


def check_not_in_function(what: str, instead: str) -> None:
    """Refuse a call in a function's own code, where every replay would repeat it.

    Inside a handler it is allowed: a finished step is not repeated. `what` names the call in the error, `instead` what
    to write in its place.

    Raises:
        RuntimeError: the call is made in a function's own code.
    """
    body = running_body()
    if body is not None:
        raise misplaced(
            f"{what} is called in the code of function {body.ledger.function!r} (run {body.ledger.run!r}), which "
            f"would do it again at every replay: write {instead}"
        )


def check_outside(engine: object, what: str, instead: str = "await it outside") -> None:
    """Refuse a call inside a handler or function that would wait for itself.

    `what` names the call, `instead` says what to do.

    Raises:
        RuntimeError: the call is made in a handler or a function of the same engine.
    """
    body, trying = running_body(), current_try()
    if body is not None and body.parts.settings.engine is engine:
        raise misplaced(
            f"{what} is awaited in the code of function {body.ledger.function!r} (run {body.ledger.run!r}) of the "
            f"same engine, which would wait for itself: {instead}, or wait for another run by ctx.step.invoke"
        )
    if trying is not None and trying.engine is engine:
        raise misplaced(
            f"{what} is awaited inside the handler of step {trying.key!r} of the same engine, which would wait for "
            f"itself: {instead}, or wait for another run by ctx.step.invoke"
        )


def check_not_nested(step_id: str) -> None:
    """Refuse a step that is called inside a handler (R7).

    The handler's try fails with the same error.

    Raises:
        NestedStepError: a handler is running.
    """
    trying = current_try()
    if trying is not None:
        trying.nested = NestedStepError(
            f"step {step_id!r} is called inside the handler of step {trying.key!r} of run "
            f"{trying.run!r}: call it from the function, before or after that step"
        )
        raise trying.nested
