"""Every exception of the library, each with its remedy, and what is kept of one.

Separate because every other module raises from here and this one imports none of them.
Leaves to `codec` how an exception is turned into a `RecordedError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

import attrs

from durable.headers import retry_after_of
from durable.times import Duration, aware, duration

T = TypeVar("T")

HOME = os.path.dirname(os.path.abspath(__file__)) + os.sep
"""The folder of the library's own code: lines below it are not the user's."""

_SHOWN = 60


def checked_calls(cls: type[T]) -> type[T]:
    """Let a call that does not fit the signature of a public method of the class, or of its constructor, be an error of
    durable's own: a line of this module stands between, since the interpreter raises it where the call is written."""
    for name, method in list(vars(cls).items()):
        if callable(method) and not isinstance(method, type) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, _checked(method))
    return cls


def _checked(method: Callable[..., T]) -> Callable[..., T]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> T:
        return method(*args, **kwargs)

    return call


@attrs.frozen
class RecordedError:
    """What is kept of an exception: enough to read, to compare and to show, never the live object.

    `name` is the class's name, `message` its text (at most 16 KiB), `stack` the formatted traceback (at most 32 KiB,
    without locals), `causes` the chain of `__cause__`/`__context__`, at most five deep, outermost first. `step_id`
    names the step when the error is one that a step ended with.
    """

    name: str
    message: str
    stack: str = ""
    step_id: str | None = None
    causes: tuple[RecordedError, ...] = ()

    def __str__(self) -> str:
        text = f"{self.name}: {self.message}" if self.message else self.name
        return text if self.step_id is None else f"StepError: step {self.step_id!r}: {text}"


class DurableError(Exception):
    """The root of every error that the library defines.

    All of them, and subclasses of yours, survive pickle and copy with their attributes: their constructors, which may
    take other arguments than `args` holds, are not called again.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), dict(self.__dict__)


def _rebuilt(cls: type[DurableError], args: tuple[Any, ...]) -> DurableError:
    return cls.__new__(cls, *args)


class NonRetriableError(DurableError):
    """Raise in a step or a function to end its tries at once.

    In a step it is recorded and reaches the function as a `StepError` whose `name` is this class's name; leaving the
    function it fails the run. Source: rule R12; Inngest's `NonRetriableError`.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


@checked_calls
class RetryAfterError(DurableError):
    """Raise in a step or a function to say when the next try is.

    `retry_after` is a duration (a bare number is seconds), an aware datetime, the text of a Retry-After header as it
    came ("7", "0.5", an HTTP date), or None: as the back-off says. A text that cannot be read is None too, with a note:
    it must not take the place of the error that it came with. The attribute is a timedelta, a datetime in UTC or None.
    It counts as a try; the last one fails the step. The function never sees it. Source: rule R12.

    Raises:
        TypeError, ValueError: a number or a timedelta that is no duration, a naive datetime.
    """

    retry_after: timedelta | datetime | None = None

    def __init__(self, message: str, retry_after: Duration | datetime | None) -> None:
        super().__init__(message)
        if retry_after is None:
            return
        if issubclass(type(retry_after), str):
            text = str.__str__(retry_after)
            self.retry_after = retry_after_of(text)
            if self.retry_after is None:
                self.add_note(f"Retry-After {text[:_SHOWN]!r} cannot be read: the next try is when Backoff says")
        elif isinstance(retry_after, datetime):
            self.retry_after = aware(retry_after, what="retry_after")
        else:
            self.retry_after = duration(retry_after, what="retry_after")


class StepError(DurableError):
    """A step that is out of tries, as the function sees it: live, on replay and after a crash.

    `name`, `message`, `stack` and `causes` are those of the error that the last try ended with (the class itself is not
    kept), `step_id` the key under which the step is recorded. `__cause__` is the first of `causes` as an exception, and
    so on. Catch it to go on; uncaught it fails the run. Source: rule R13.
    """

    name: str = ""
    message: str = ""
    stack: str = ""
    step_id: str = ""
    causes: tuple[RecordedError, ...] = ()

    def __init__(
        self, name: str, message: str, stack: str = "", step_id: str = "", causes: Sequence[RecordedError] = ()
    ) -> None:
        super().__init__(name, message, stack, step_id, *([tuple(causes)] if causes else []))
        self.name = name
        self.message = message
        self.stack = stack
        self.step_id = step_id
        self.causes = tuple(causes)
        self._chain()

    def _chain(self) -> None:
        if self.causes:
            first, *others = self.causes
            self.__cause__ = StepError(first.name, first.message, first.stack, first.step_id or "", others)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._chain()

    def __str__(self) -> str:
        if not self.name:  # a subclass that does not call this constructor
            return super().__str__()
        text = f"{self.name}: {self.message}" if self.message else self.name
        return f"step {self.step_id!r}: {text}" if self.step_id else text


class InvokeTimeoutError(StepError):
    """An invoked run did not end within the step's timeout; it goes on, only the waiting has ended. R24."""


class SignalConflictError(StepError):
    """Another run waits for this signal: use a name of its own, or `on_conflict="replace"`. R23."""


class DriftError(DurableError):
    """The code asks for something else than what is recorded: give the changed step a new id. Source: rule R6."""


class NestedStepError(DurableError):
    """A step was called inside a step's handler: call it from the function instead. Source: rule R7."""


class LimitError(DurableError):
    """A run, a step or an event is larger than `Limits` allows: the message names limit, size and remedy. R28."""


class CodecError(DurableError):
    """A value cannot be kept and come back as it was: the message names the path inside the value. R10."""


class ExpressionError(DurableError):
    """An expression that does not parse. `position` is the offset in the text; the message has line, column, caret."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class RunFailed(DurableError):
    """A run ended in failure; `error` is the `RecordedError`, `run_id` the run. `engine.retry(run_id)` reopens it."""

    def __init__(self, run_id: str, error: RecordedError) -> None:
        super().__init__(run_id, error)
        self.run_id = run_id
        self.error = error

    def __str__(self) -> str:
        return f"run {self.run_id!r} failed: {self.error}"


class RunCancelled(DurableError):
    """A run was cancelled: by an event, by hand or by a timeout, as `reason` says."""

    def __init__(self, run_id: str, reason: str = "") -> None:
        super().__init__(run_id, reason)
        self.run_id = run_id
        self.reason = reason

    def __str__(self) -> str:
        return f"run {self.run_id!r} was cancelled: {self.reason or 'no reason given'}"


class StoreError(DurableError):
    """The store failed: what was being written is not known to be recorded. Restart to go on from what is. R31."""


class StoreLockedError(StoreError):
    """Another process, or another engine of this one, has the store open to write: the message names its pid. R29."""


class StoreCorruptError(StoreError):
    """The store is damaged, cut short or not one at all: restore a copy; nothing of it was used. R30."""
