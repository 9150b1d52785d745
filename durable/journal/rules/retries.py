"""Decide when to try again.

Given the attempt number, the error and the current time, return the time of the next attempt, or None to give up.

Separate because it is pure arithmetic that steps and functions share.
Leaves to `attempts` the calling of handlers, to `writer` the recording of the decision.
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
from durable.events import checked_count, checked_number
from durable.journal.codec.guests import all_in, brief_of, is_of
from durable.journal.rules.misuse import is_misuse
from durable.timers import Duration, after, aware, duration, shown

FINAL = (NonRetriableError, NestedStepError, CodecError, LimitError, DriftError)
FINAL_FOR_RUN = (*FINAL, StepError)

RetryOn = type[BaseException] | Sequence[type[BaseException]] | Callable[[BaseException], object]


def _first(value: Duration) -> timedelta:
    return duration(value, what="Backoff(first=...)")


def _longest(value: Duration) -> timedelta:
    return duration(value, what="Backoff(max=...)")


@checked_calls
@attrs.frozen
class Backoff:
    """A backoff says how long to wait before each further try.

    The first wait is `first`; each further wait is `factor` times as long as the one before, up to `max`.

    Attributes:
        first: the wait after the first failure, a duration; default 1 s.
        factor: the factor for each further wait, zero or more; default 2.
        max: the longest wait before jitter, a duration; default 1 h.
        jitter: each wait is longer by a random share of itself, at most this; default 0.1. The share derives from run,
            key and attempt, so that the same try always gets the same wait.

    A Backoff decides when to retry; `retries=` decides how often. Source: rule R11.
    """

    first: timedelta = attrs.field(default=timedelta(seconds=1), converter=_first)
    factor: float = 2.0
    max: timedelta = attrs.field(default=timedelta(hours=1), converter=_longest)
    jitter: float = 0.1

    def __attrs_post_init__(self) -> None:
        for name in ("factor", "jitter"):
            object.__setattr__(self, name, checked_number(getattr(self, name), f"Backoff({name}=...)"))


def wait_of(backoff: Backoff, attempt: int, seed: str) -> timedelta:
    """Return the wait after a failed try; `attempt` is its number from 0."""
    first, longest = backoff.first.total_seconds(), backoff.max.total_seconds()
    try:
        plain = min(first * backoff.factor**attempt, longest)
    except OverflowError:
        plain = min(first, longest) and longest  # zero stays zero, however often it is multiplied
    try:
        return timedelta(seconds=plain * (1 + backoff.jitter * Random(f"{seed}/{attempt}").random()))
    except OverflowError:
        return timedelta.max


@attrs.frozen(eq=False, repr=False)
class Choice:
    """A choice selects errors, by their classes or by a callable.

    Classes also match the members of an exception group.
    """

    classes: tuple[type[BaseException], ...] = ()
    says: Callable[[BaseException], object] | None = None

    def holds(self, error: BaseException) -> bool:
        """Return whether the error is selected.

        What the callable raises is passed on.
        """
        if self.says is None:
            return any(issubclass(type(one), self.classes) for one in all_in(error))
        answer = self.says(error)
        if inspect.isawaitable(answer):
            raise TypeError(f"{self.says!r} must be a plain callable, not an asynchronous one")
        return bool(answer)


def chosen_errors(value: object, *, what: str) -> Choice | None:
    """Return the checked choice of `retry_on` or `give_up_on`, or None for None.

    `what` names the option and its owner in errors.

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
    """A verdict says when to try again after an error.

    `due` is None to give up. `notes` are added to the recorded error.
    """

    due: datetime | None = None
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False, repr=False)
class Policy:
    """A policy decides whether and when to try again.

    There are at most `retries` tries after the first, with waits from `backoff`. With `retry_on`, only the errors it
    selects are tried again. The errors that `give_up_on` selects are not.
    """

    retries: int = 4
    backoff: Backoff = attrs.field(factory=Backoff)
    retry_on: Choice | None = None
    give_up_on: Choice | None = None

    @property
    def for_steps(self) -> Policy:
        """The policy that a function's steps inherit.

        It lacks `retry_on` and `give_up_on`, which count for the function's own attempts alone (R12).
        """
        if self.retry_on is None and self.give_up_on is None:
            return self
        return Policy(self.retries, self.backoff)

    def verdict(
        self, error: BaseException, *, attempt: int, now: datetime, seed: str, final: tuple[type[BaseException], ...]
    ) -> Verdict:
        """Return the verdict on a failed try.

        `attempt` is the number of the try, from 0. `seed` seeds the jitter. Errors of the classes `final` always give
        up.
        """
        if attempt >= self.retries or is_final(error, final):
            return Verdict()
        waits = next((one for one in all_in(error) if is_of(one, RetryAfterError)), None)
        try:
            if self._gives_up(error, was_asked=waits is not None):
                return Verdict()
        except KeyboardInterrupt:
            raise
        except BaseException as broken:  # from a callable or a metaclass of the user's: the note says so (R12)
            return Verdict(notes=(f"retry_on or give_up_on raised {brief_of(broken)}; so it is not tried again",))
        due = None if waits is None else retry_time(waits, now)
        return Verdict(after(now, wait_of(self.backoff, attempt, seed)) if due is None else due)

    def _gives_up(self, error: BaseException, *, was_asked: bool) -> bool:
        if self.give_up_on is not None and self.give_up_on.holds(error):
            return True
        # A RetryAfterError asks to be tried again, so `retry_on` need not name it.
        return self.retry_on is not None and not was_asked and not self.retry_on.holds(error)


def is_final(error: BaseException, final: tuple[type[BaseException], ...]) -> bool:
    """Return whether an error cannot get better by trying again (R13a, R14).

    A group cannot if one of its members, at any depth, cannot.
    """
    return any(is_of(one, *final) or is_misuse(one) for one in all_in(error))


def retry_time(error: BaseException, now: datetime) -> datetime | None:
    """Return the instant at which a `RetryAfterError` asks to be tried again.

    An instant in the past becomes `now`. None leaves the wait to the back-off.

    Raises:
        TypeError: a subclass has put something else into the attribute `retry_after`.
    """
    asked = getattr(error, "retry_after", None)
    if asked is None:
        return None
    if isinstance(asked, datetime):
        return max(now, aware(asked, what="retry_after"))
    return after(now, duration(asked, what="retry_after"))


def checked_retries(retries: object, *, what: str) -> int:
    """Return `retries` as a checked count; `what` names its owner in errors.

    Raises:
        TypeError, ValueError: not an int, or negative.
    """
    return checked_count(retries, f"retries of {what}")
