"""Check a step's id, its options and the names of signals.

Separate because steps and the engine's methods share these checks.
Leaves to `step` the steps themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import attrs

from durable.errors import CodecError, LimitError, checked_calls
from durable.events import NAME_BYTES, Json, checked_name, is_str, plain
from durable.journal import PREFIX_END, Backoff, Choice, Policy, RetryOn, checked_retries, chosen_errors, encode
from durable.timers import Duration, duration, shown

ASK_BYTES = 64 * 1_024


def _optional(value: Duration | None, option: str) -> timedelta | None:
    return None if value is None else duration(value, what=option)


def _start(value: Duration | None) -> timedelta | None:
    return _optional(value, "Timeouts(start=...)")


def _finish(value: Duration | None) -> timedelta | None:
    return _optional(value, "Timeouts(finish=...)")


def _timeout(value: Duration | None) -> timedelta | None:
    return _optional(value, "StepOptions(timeout=...)")


def _within(value: Duration | None) -> timedelta | None:
    return _optional(value, "StepOptions(within=...)")


@checked_calls
@attrs.frozen
class Timeouts:
    """Timeouts say how long a run may take before it is cancelled.

    Both are durations in the engine's time; None is without limit. After `engine.retry` they count anew.

    Attributes:
        start: from the run's opening to its first step, the time in which its function is paused left out.
        finish: from the run's first step to its end.
    """

    start: timedelta | None = attrs.field(default=None, converter=_start)
    finish: timedelta | None = attrs.field(default=None, converter=_finish)


@checked_calls
@attrs.frozen
class StepOptions:
    """Step options hold a step's id and say how its handler is tried.

    All but the id are for `step.run` only.

    Attributes:
        id: the step's id.
        retries: tries after the first; default: the function's.
        backoff: how long to wait before each further try; default: the function's.
        timeout: how long one try may take, in the engine's time; default: without limit. It counts from the beginning
            of the handler, not while the handler waits for a thread. A try that takes longer fails with TimeoutError,
            and is retried like any error. A blocking handler cannot be stopped: `current_step().cancelled` tells it
            that it should end, and the next try waits until its thread has ended.
        within: how long all tries and the waits between them may take together; default: without limit. It counts from
            the beginning of the first try. Once a try has failed, a crash does not reset it. When the time is over, the
            step fails with its last error; a try that is still running ends with TimeoutError, whose cause is the
            error before.
        output_type: the type of the value, for a handler without a return annotation; default: the annotation.
        retry_on: the errors after which the handler is tried again; default: all. An exception class, a sequence of
            classes, or a plain callable that takes the exception and returns a bool. The classes also match inside an
            exception group. If the callable raises, the step gives up, with that error as a note.
        give_up_on: the errors after which the handler is not tried again, in the same forms; default: no errors. Giving
            up wins where both match.
    """

    id: str
    retries: int | None = None
    backoff: Backoff | None = None
    timeout: timedelta | None = attrs.field(default=None, converter=_timeout)
    within: timedelta | None = attrs.field(default=None, converter=_within)
    output_type: object = None
    retry_on: RetryOn | None = None
    give_up_on: RetryOn | None = None

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "id", checked_step_id(self.id))
        for name in ("timeout", "within"):
            if getattr(self, name) == timedelta(0):
                raise ValueError(f"{name} of step {self.id!r} must be more than zero, in which nothing can be done")
        if self.retries is not None:
            object.__setattr__(self, "retries", checked_retries(self.retries, what=f"step {shown(self.id)}"))
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff of step {shown(self.id)} must be a Backoff, not {shown(self.backoff)}")
        _chosen(self)


def tried_by(options: StepOptions, default: Policy) -> Policy:
    """Return the policy by which a step is tried; `default` is its function's."""
    return Policy(
        default.retries if options.retries is None else options.retries,
        default.backoff if options.backoff is None else options.backoff,
        *_chosen(options),
    )


def _chosen(options: StepOptions) -> tuple[Choice | None, Choice | None]:
    return (
        chosen_errors(options.retry_on, what=f"retry_on of step {shown(options.id)}"),
        chosen_errors(options.give_up_on, what=f"give_up_on of step {shown(options.id)}"),
    )


StepId = str | StepOptions
OPTIONS = frozenset(field.name for field in attrs.fields(StepOptions)) - {"id"}


def check_options(step_id: object, handler: Callable[..., Any], arguments: Iterable[str]) -> None:
    """Refuse an option of a step that is given to `step.run` itself, whose keywords are those of the handler.

    Raises:
        TypeError: the handler takes no keyword of that name.
    """
    try:
        taken = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):  # written in C, or no callable: its call tells
        return
    names = {one.name for one in taken}
    if any(one.kind is one.VAR_KEYWORD for one in taken):
        return
    for name in OPTIONS.intersection(arguments) - names:
        raise TypeError(
            f"{name} is an option of the step, and its handler has no argument of that name: write "
            f"step.run(StepOptions({shown(step_id)}, {name}=...), handler)"
        )


def checked_id(step_id: object) -> str:
    """Return the checked id of a step that takes no other options.

    Raises:
        TypeError: not a string, or it has options that are for `step.run` only.
        ValueError: empty, or it holds the mark that ends a branch's name.
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
    """Return a checked step id.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`; also if it holds the mark that ends a branch's
            name.
    """
    if type(step_id) is str and step_id.isascii() and 0 < len(step_id) <= NAME_BYTES:  # the quick way, for nearly all
        return step_id
    if not is_str(step_id):
        instead = ": the id comes first, step.run('a', function, argument)" if callable(step_id) else ""
        given = f"{shown(step_id)} ({type(step_id).__name__})"
        raise TypeError(f"a step's id must be a string or StepOptions, not {given}{instead}")
    found = plain(step_id)
    if not found or PREFIX_END in found:
        raise ValueError(f"a step's id must not be empty or hold {PREFIX_END!r}, not {shown(found)}")
    return checked_name(found, "a step's id")


def checked_ask(ask: object, *, what: str) -> Json | None:
    """Return the text of a value that is kept with a wait, or None for None.

    Raises:
        CodecError: the value cannot be kept.
        LimitError: its text is more than 64 KiB.
    """
    if ask is None:
        return None
    try:
        text = encode(ask)
    except CodecError as error:
        raise CodecError(f"ask of {what}: {error}") from None
    if len(text) > ASK_BYTES:
        raise LimitError(
            f"ask of {what} is {len(text):,} bytes, the limit is {ASK_BYTES:,}: keep it elsewhere and ask with a "
            "reference to it"
        )
    return text


def checked_signal(signal: object, *, what: str) -> str:
    """Return the checked name of a signal.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_name`.
    """
    return checked_name(signal, f"the signal of {what}")
