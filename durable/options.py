"""What a step is called with besides its work: its id, how its handler is tried, a signal's name.

Separate because the words of users are checked here once, for steps and for the engine's door alike.
Leaves to `step` what the steps do.
"""

from __future__ import annotations

from datetime import timedelta

import attrs

from durable.errors import checked_calls
from durable.ids import PREFIX_END
from durable.retries import Backoff, Choice, Policy, RetryOn, checked_retries, chosen_errors
from durable.spelling import shown
from durable.times import Duration, duration
from durable.words import NAME_BYTES, checked_name, is_str, plain


def _optional_timeout(value: Duration | None) -> timedelta | None:
    return None if value is None else duration(value, what="the timeout of a step")


def _optional_within(value: Duration | None) -> timedelta | None:
    return None if value is None else duration(value, what="StepOptions(within=...)")


@checked_calls
@attrs.frozen
class StepOptions:
    """A step's id and how its handler is tried. All but the id are for `step.run` only.

    Attributes:
        id: the step's id.
        retries: tries after the first; default: the function's.
        backoff: how long to wait before each further try; default: the function's.
        timeout: how long one try may take, in the engine's time, from the handler's beginning: not while it waits for a
            thread. Past it the try fails with TimeoutError and is retried like any error. A blocking handler cannot be
            stopped (`current_step().cancelled` tells it that it should): its next try waits until its thread has ended.
        within: how long all tries together may take, with the waits between, from the first one's beginning. Past it
            the last error is the step's; a crash does not reset it once a try has failed. A try that is running then
            ends with TimeoutError, the error before as its cause.
        output_type: the type of the value, where the handler has no return annotation that says it.
        retry_on: the errors after which it is tried again: an exception class, a sequence of them (alone or in a
            group), or a plain callable that takes the exception and says so; default: all. One that itself raises gives
            up, with that error as a note.
        give_up_on: the errors after which it is not tried again. Giving up wins where both match.
    """

    id: str
    retries: int | None = None
    backoff: Backoff | None = None
    timeout: timedelta | None = attrs.field(default=None, converter=_optional_timeout)
    within: timedelta | None = attrs.field(default=None, converter=_optional_within)
    output_type: object = None
    retry_on: RetryOn | None = None
    give_up_on: RetryOn | None = None

    def __attrs_post_init__(self) -> None:
        if is_str(self.id):
            object.__setattr__(self, "id", plain(self.id))
        if self.retries is not None:
            object.__setattr__(self, "retries", checked_retries(self.retries, what=f"step {shown(self.id)}"))
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff of step {shown(self.id)} must be a Backoff, not {shown(self.backoff)}")
        self._chosen()

    def policy(self, default: Policy) -> Policy:
        """Return how often and when the step is tried, where `default` is the function's own way."""
        return Policy(
            default.retries if self.retries is None else self.retries,
            default.backoff if self.backoff is None else self.backoff,
            *self._chosen(),
        )

    def _chosen(self) -> tuple[Choice | None, Choice | None]:
        return (
            chosen_errors(self.retry_on, what=f"retry_on of step {shown(self.id)}"),
            chosen_errors(self.give_up_on, what=f"give_up_on of step {shown(self.id)}"),
        )


StepId = str | StepOptions


def checked_id(step_id: object) -> str:
    """Return the id of a step that takes no other options.

    Raises:
        TypeError, ValueError: not a string, empty, spelled like a branch, or options that are for `step.run` only.
    """
    if isinstance(step_id, StepOptions):
        if step_id != StepOptions(step_id.id):
            raise TypeError(
                f"step {shown(step_id.id)}: retries, backoff, timeout, within, output_type, retry_on and give_up_on "
                "are options of step.run only; a wait has a timeout of its own"
            )
        step_id = step_id.id
    return checked_step_id(step_id)


def checked_step_id(step_id: object) -> str:
    """Return a step's id.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`; or spelled like a branch.
    """
    if type(step_id) is str and step_id.isascii() and 0 < len(step_id) <= NAME_BYTES:  # all but a few
        return step_id
    if not is_str(step_id):
        raise TypeError(f"a step's id must be a string or StepOptions, not {shown(step_id)} ({type(step_id).__name__})")
    found = plain(step_id)
    if not found or PREFIX_END in found:
        raise ValueError(f"a step's id must not be empty or hold {PREFIX_END!r}, not {shown(found)}")
    return checked_name(found, "a step's id")


def checked_signal(signal: object, *, what: str) -> str:
    """Return a signal's name.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`.
    """
    return checked_name(signal, f"the signal of {what}")
