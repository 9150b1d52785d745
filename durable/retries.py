"""When the next try is: given the attempt, the error and the time, an instant or nothing.

Separate because it is pure arithmetic that a step and a function share.
Leaves to `tries` to call the handler and to the journal to remember the answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

import attrs

from durable.errors import (
    CodecError,
    DriftError,
    LimitError,
    NestedStepError,
    NonRetriableError,
    RetryAfterError,
    StepError,
    checked_calls,
)
from durable.guests import all_in, brief_of, is_of
from durable.misuse import is_misuse
from durable.spelling import shown
from durable.times import after, aware, duration
from durable.words import checked_count, checked_number

FINAL = (NonRetriableError, NestedStepError, CodecError, LimitError, DriftError)
FINAL_FOR_RUN = (*FINAL, StepError)

RetryOn = type[BaseException] | Sequence[type[BaseException]] | Callable[[BaseException], object]


@checked_calls
@attrs.frozen
class Backoff:
    """How long to wait before the next try: `first`, then each time `factor` as long, up to `max`.

    Attributes:
        first: the wait after the first failure, a duration.
        factor: what each further wait is multiplied by.
        max: the longest wait, before jitter.
        jitter: each wait is longer by up to this share of it. It derives from run, key and attempt, so a replay
            computes what was recorded.

    A Backoff decides when to retry; `retries=` decides how often. Source: rule R11.
    """

    first: timedelta = attrs.field(default=timedelta(seconds=1), converter=duration)
    factor: float = 2.0
    max: timedelta = attrs.field(default=timedelta(hours=1), converter=duration)
    jitter: float = 0.1

    def __attrs_post_init__(self) -> None:
        for name in ("factor", "jitter"):
            object.__setattr__(self, name, checked_number(getattr(self, name), f"Backoff({name}=...)"))

    def wait(self, attempt: int, seed: str) -> timedelta:
        """Return the wait after the failure of try number `attempt`, counted from 0."""
        first, longest = self.first.total_seconds(), self.max.total_seconds()
        try:
            plain = min(first * self.factor**attempt, longest)
        except OverflowError:
            plain = min(first, longest) and longest  # nothing stays nothing, however often it is multiplied
        try:
            return timedelta(seconds=plain * (1 + self.jitter * Random(f"{seed}/{attempt}").random()))
        except OverflowError:
            return timedelta.max


@attrs.frozen(eq=False, repr=False)
class Choice:
    """Which errors are meant: those of some classes, alone or in a group, or those of which a callable says so."""

    classes: tuple[type[BaseException], ...] = ()
    says: Callable[[BaseException], object] | None = None

    def holds(self, error: BaseException) -> bool:
        """Say whether it means the error. What the callable raises comes out."""
        if self.says is None:
            return any(issubclass(type(one), self.classes) for one in all_in(error))
        answer = self.says(error)
        if inspect.isawaitable(answer):
            raise TypeError(f"{self.says!r} must be a plain callable, not an asynchronous one")
        return bool(answer)


def chosen_errors(value: object, *, what: str) -> Choice | None:
    """Return what `retry_on` or `give_up_on` means; `what` names it and whose it is.

    Raises:
        TypeError: neither an exception class, nor a sequence of them, nor a plain callable.
    """
    if value is None:
        return None
    if isinstance(value, type) and issubclass(value, BaseException):
        return Choice((value,))
    if isinstance(value, tuple | list | set | frozenset):
        for one in value:
            if not isinstance(one, type) or not issubclass(one, BaseException):
                raise TypeError(f"{what} must hold exception classes, not {shown(one)}")
        return Choice(tuple(value))
    if isinstance(value, type) or not callable(value) or inspect.iscoroutinefunction(value):
        raise TypeError(
            f"{what} must be an exception class, a sequence of them, or a plain callable that takes the exception, "
            f"not {shown(value)}"
        )
    return Choice(says=value)


@attrs.frozen(eq=False, repr=False)
class Verdict:
    """What follows from an error: when to try again, None for not at all, and what is to be noted with it."""

    due: datetime | None = None
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False, repr=False)
class Policy:
    """How often and when to try: `retries` tries after the first, waiting as `backoff` says.

    Only errors that `retry_on` means are tried again, those that `give_up_on` means are not.
    """

    retries: int = 4
    backoff: Backoff = attrs.field(factory=Backoff)
    retry_on: Choice | None = None
    give_up_on: Choice | None = None

    @property
    def for_steps(self) -> Policy:
        """What a function's policy is for its steps: `retry_on` and `give_up_on` are for its own attempts (R12)."""
        if self.retry_on is None and self.give_up_on is None:
            return self
        return Policy(self.retries, self.backoff)

    def verdict(
        self, error: BaseException, *, attempt: int, now: datetime, seed: str, final: tuple[type[BaseException], ...]
    ) -> Verdict:
        """Return what follows from the failure of try number `attempt`; `final` are the classes that give up."""
        if attempt >= self.retries or is_final(error, final):
            return Verdict()
        waits = next((one for one in all_in(error) if is_of(one, RetryAfterError)), None)
        try:
            if self._gives_up(error, was_asked=waits is not None):
                return Verdict()
        except KeyboardInterrupt:
            raise
        except BaseException as broken:  # a callable of the user's, or a metaclass: the note says so (R12)
            return Verdict(notes=(f"retry_on or give_up_on raised {brief_of(broken)}; so it is not tried again",))
        due = None if waits is None else retry_time(waits, now)
        return Verdict(after(now, self.backoff.wait(attempt, seed)) if due is None else due)

    def _gives_up(self, error: BaseException, *, was_asked: bool) -> bool:
        if self.give_up_on is not None and self.give_up_on.holds(error):
            return True
        # Who raises a RetryAfterError has said that it is to be tried again.
        return self.retry_on is not None and not was_asked and not self.retry_on.holds(error)


def is_final(error: BaseException, final: tuple[type[BaseException], ...]) -> bool:
    """Say whether an error cannot get better by trying again, alone or anywhere in a group (R13a, R14)."""
    return any(is_of(one, *final) or is_misuse(one) for one in all_in(error))


def retry_time(error: BaseException, now: datetime) -> datetime | None:
    """Return the instant that a `RetryAfterError` asks for, one in the past is now; None: as the back-off says.

    Raises:
        TypeError: a subclass has put something else into its attribute.
    """
    asked = getattr(error, "retry_after", None)
    if asked is None:
        return None
    if isinstance(asked, datetime):
        return max(now, aware(asked, what="retry_after"))
    return after(now, duration(asked, what="retry_after"))


def checked_retries(retries: object, *, what: str) -> int:
    """Return `retries` if it is a count; `what` names whose it is.

    Raises:
        TypeError, ValueError: not an int, or negative.
    """
    return checked_count(retries, f"retries of {what}")
