"""When the next try is: given the attempt, the error and the time, an instant or nothing.

Separate because it is pure arithmetic that a step and a function share.
Leaves to `tries` to call the handler and to the journal to remember the answer.
"""

from __future__ import annotations

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
)
from durable.times import after, duration
from durable.words import checked_count, checked_number

FINAL = (NonRetriableError, NestedStepError, CodecError, LimitError, DriftError)
FINAL_FOR_RUN = (*FINAL, StepError)


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
            plain = longest
        return timedelta(seconds=plain * (1 + self.jitter * Random(f"{seed}/{attempt}").random()))


@attrs.frozen(eq=False, repr=False)
class Policy:
    """How often and when to try: `retries` tries after the first, waiting as `backoff` says."""

    retries: int = 4
    backoff: Backoff = attrs.field(factory=Backoff)

    def next_try(self, error: BaseException, *, attempt: int, now: datetime, seed: str) -> datetime | None:
        """Return when to try again after try number `attempt` failed with `error`, or None to give up."""
        if isinstance(error, FINAL) or attempt >= self.retries:
            return None
        if isinstance(error, RetryAfterError):
            return retry_time(error, now)
        return after(now, self.backoff.wait(attempt, seed))


def retry_time(error: RetryAfterError, now: datetime) -> datetime:
    """Return the instant that `error` asks for; one in the past is now."""
    if isinstance(error.retry_after, datetime):
        return max(now, error.retry_after)
    return after(now, error.retry_after)


def checked_retries(retries: object, *, what: str) -> int:
    """Return `retries` if it is a count; `what` names whose it is.

    Raises:
        TypeError, ValueError: not an int, or negative.
    """
    return checked_count(retries, f"retries of {what}")


def final_error(error: BaseException) -> BaseException | None:
    """Return the error that fails a run at once, alone or anywhere in an exception group (R14)."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := final_error(one)) is not None), None)
    return error if isinstance(error, FINAL_FOR_RUN) else None


def retry_after(error: BaseException) -> RetryAfterError | None:
    """Return the error that says when the next attempt is, alone or anywhere in an exception group (R14)."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := retry_after(one)) is not None), None)
    return error if isinstance(error, RetryAfterError) else None
