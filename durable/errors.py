"""Define every exception of the library, and the record that is kept of one.

Separate because nearly every other module raises these exceptions, and this one imports hardly any of them.
Leaves to `journal.codec` the making of a `RecordedError` from an exception.

    DurableError
        NonRetriableError, RetryAfterError      raised by your code to steer retries
        StepError                               a step has failed
            InvokeTimeoutError, SignalConflictError
        RunFailed, RunCancelled                 a run has ended so
        DriftError, NestedStepError             the code and its steps do not fit
        RateLimitedError                        too many runs have opened in a period
        LimitError, CodecError                  a value is too large, or cannot be recorded
        ExpressionError                         an expression does not parse
        StoreError                              the store has failed
            StoreLockedError, StoreCorruptError
    Interrupted                                 a script was ended by Ctrl-C
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

import attrs

from durable.timers import Duration, aware, duration, retry_after_of

T = TypeVar("T")

HOME = os.path.dirname(os.path.abspath(__file__)) + os.sep
"""The folder of the library's own code: code in it is not the user's."""

_SHOWN = 60


def checked_calls(cls: type[T]) -> type[T]:
    """Wrap public methods so that a call with wrong arguments counts as misuse.

    Python raises the TypeError of a call that does not fit a signature in the caller's line, as if the caller's code
    had raised it. With the wrapper, the error's innermost line is in this module, and so known as the library's own.
    """
    return checked_methods(cls, "__init__")


def checked_methods(cls: type[T], *others: str, but: str = "") -> type[T]:
    """Wrap the public methods of a class that users do not make themselves.

    `others` are further methods to wrap, `but` is one to leave as it is.
    """
    for name, method in list(vars(cls).items()):
        is_meant = name in others or not (name == but or name.startswith("_"))
        if is_meant and callable(method) and not isinstance(method, type):
            setattr(cls, name, _checked(method))
    return cls


def _checked(method: Callable[..., T]) -> Callable[..., T]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> T:
        try:
            return method(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # not a line of it has run
                raise TypeError(f"{error}: it is {_spelled(method)}") from None
            raise

    return call


def _spelled(method: Callable[..., Any]) -> str:
    """Return how a method is called, without types, with `...` for every default."""
    _, *others = inspect.signature(method).parameters.values()
    brief = [
        one.replace(annotation=one.empty, default=one.empty if one.default is one.empty else ...) for one in others
    ]
    return f"{method.__qualname__.removesuffix('.__init__')}{inspect.Signature(brief)}".replace("Ellipsis", "...")


def checked_making(cls: type[T]) -> type[T]:
    """Wrap only how objects of a class are made; a wrapped async method would be no coroutine function any more."""
    setattr(cls, "__init__", _checked(cls.__init__))  # noqa: B010
    return cls


class WithoutFrames:
    """Let errors leave a `with` block without the library's frames in their traceback.

    So the traceback goes straight from the caller's line to the error (R13b). It counts for the classes given.
    """

    __slots__ = ("_classes",)

    def __init__(self, *classes: type[BaseException]) -> None:
        self._classes = classes

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and issubclass(kind, self._classes):
            error.__traceback__ = None  # type: ignore[union-attr]


@attrs.frozen
class RecordedError:
    """A recorded error is what is kept of an exception: texts, never the live object.

    `name` is the name of its class. `message` is its text, at most 16 KiB. `stack` is the formatted traceback without
    locals, at most 32 KiB. `causes` is the chain of `__cause__` and `__context__`, outermost first, at most five deep.
    `step_id` names the step if a step ended with the error.
    """

    name: str
    message: str
    stack: str = ""
    step_id: str | None = None
    causes: tuple[RecordedError, ...] = ()

    def __str__(self) -> str:
        text = _summary(self.name, self.message)
        return text if self.step_id is None else f"StepError: step {self.step_id!r}: {text}"


def whole_stack(error: RecordedError) -> str:
    """Return the stacks of an error's causes and of the error itself, as Python prints a traceback.

    The first cause comes first, the error last. It is "" if nothing is known beyond name and message.
    """
    own = error.stack.strip("\n")
    if not error.causes and own in ("", _summary(error.name, error.message)):
        return ""
    # asyncio makes each TimeoutError from a CancelledError, whose stack is asyncio's alone.
    shown = [one for one in reversed(error.causes) if one.name != "CancelledError"]
    told = [one.stack.strip("\n") or _summary(one.name, one.message) for one in (*shown, error)]
    return "\n\nThis led to:\n\n".join(told)


def _summary(name: str, message: str) -> str:
    return f"{name}: {message}" if message else name


class DurableError(Exception):
    """The base class of every error that the library defines.

    These errors, and your own subclasses, survive pickle and copy with their attributes. The constructor, which may
    take other arguments than `args` holds, is not called again.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), dict(self.__dict__)


def _rebuilt(cls: type[DurableError], args: tuple[Any, ...]) -> DurableError:
    return cls.__new__(cls, *args)


class NonRetriableError(DurableError):
    """Raise this error in a step or function to end its tries.

    Raised in a step, it is recorded and reaches the function as a `StepError` whose `name` is this class's name. Raised
    by the function, it fails the run. Source: rule R12; Inngest's `NonRetriableError`.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


@checked_calls
class RetryAfterError(DurableError):
    """Raise this error in a step or function to set its next try.

    `retry_after` is a duration (a bare number is seconds), an aware datetime, the text of a Retry-After header as it
    came ("7", "0.5", an HTTP date), or None. With None the back-off decides. A text that cannot be read counts as None
    and adds a note, since a bad header must not hide the error that it came with. The attribute is a timedelta, a
    datetime in UTC, or None. The failed try counts; after the last one the step fails. Source: rule R12.

    Raises:
        TypeError, ValueError: a number or a timedelta that is not a valid duration, or a naive datetime.
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
    """A step has failed and is not tried again.

    The function gets the same error live, on replay and after a crash. `name`, `message`, `stack` and `causes` describe
    the error that the last try ended with; the class itself is not kept. `step_id` is the key under which the step is
    recorded. The stack, with the lines of your code, is a note of the error, so that it is printed with it. `__cause__`
    is the first of `causes` as an exception, whose `__cause__` is the second, and so on. Catch the error to go on;
    uncaught it fails the run. Source: rules R13, R13b.
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
        if told := whole_stack(RecordedError(name, message, stack)):
            self.add_note(told)

    def _chain(self) -> None:
        if self.causes:
            first, *others = self.causes
            self.__cause__ = StepError(first.name, first.message, first.stack, first.step_id or "", others)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._chain()

    def __str__(self) -> str:
        if not self.name:  # a subclass has not called this constructor
            return super().__str__()
        text = _summary(self.name, self.message)
        return f"step {self.step_id!r}: {text}" if self.step_id else text


class InvokeTimeoutError(StepError):
    """An invoked run did not end within the step's timeout.

    The invoked run goes on; only the wait for it has ended. Source: rule R24.
    """


class SignalConflictError(StepError):
    """Another run waits for this signal already.

    Use a signal name of its own, or `on_conflict="replace"`. Source: rule R23.
    """


class RateLimitedError(DurableError):
    """No run was opened, because of the function's `rate_limit`.

    Try again when the message says. In a function it is the name of a `StepError`, which is not retried.
    """


class DriftError(DurableError):
    """The code asks for something else than what is recorded.

    Give the changed step a new id. Source: rule R6.
    """


class NestedStepError(DurableError):
    """A step was called inside a step's handler.

    Call it from the function instead. Source: rule R7.
    """


class LimitError(DurableError):
    """A run, a step or an event is larger than `Limits` allows.

    The message names the limit, the size and the remedy. Source: rule R28.
    """


class CodecError(DurableError):
    """A value cannot be recorded so that it comes back as it was.

    The message names the path inside the value. Source: rule R10.
    """


class ExpressionError(DurableError):
    """An expression does not parse.

    `position` is the offset in its text, from 0. The message shows line, column and a caret.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class RunFailed(DurableError):
    """A run has failed.

    `run_id` is the run, `error` the `RecordedError` that it ended with. A note has the recorded stack of the error that
    began it (R13b): the lines of your code, also those of its causes. `engine.retry(run_id)` opens the run again.
    """

    def __init__(self, run_id: str, error: RecordedError) -> None:
        super().__init__(run_id, error)
        self.run_id = run_id
        self.error = error
        if isinstance(error, RecordedError) and (told := whole_stack(error)):
            self.add_note(told)

    def __str__(self) -> str:
        return f"run {self.run_id!r} failed: {self.error}"


class RunCancelled(DurableError):
    """A run was cancelled.

    `run_id` is the run. `reason` says whether an event, a timeout or a caller cancelled it.
    """

    def __init__(self, run_id: str, reason: str = "") -> None:
        super().__init__(run_id, reason)
        self.run_id = run_id
        self.reason = reason

    def __str__(self) -> str:
        return f"run {self.run_id!r} was cancelled: {self.reason or 'no reason given'}"


class StoreError(DurableError):
    """The store has failed.

    It is not known whether what was being written is recorded. Open the engine again to go on from what is recorded.
    Source: rule R31.
    """


class StoreLockedError(StoreError):
    """Another engine has the store open to write.

    It is an engine of another process, whose pid the message names, or another engine of this one. Source: rule R29.
    """


class StoreCorruptError(StoreError):
    """The store is damaged, cut short, or not a store at all.

    Nothing of it was used. Restore a copy. Source: rule R30.
    """


class Interrupted(KeyboardInterrupt, SystemExit):
    """A script was interrupted by Ctrl-C.

    `durable.run` raises it. It is a `KeyboardInterrupt`, and a `SystemExit` whose `code` is 130: a script that does not
    catch it ends without a traceback. The message says how the run is left, and how to go on. Source: rule R14.
    """

    def __init__(self, message: str = "interrupted") -> None:
        SystemExit.__init__(self, message)
        self.code = 130
