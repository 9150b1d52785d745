"""Limits: what one run, step and event may be at the most, and what is said where it is more.

Separate because each limit's text stands once, whoever meets it (R28).
Leaves to who measures what is to become of it: an error at the call, or of the step.
"""

from __future__ import annotations

import attrs

from durable.errors import LimitError, RecordedError
from durable.events import checked_count


@attrs.frozen
class Limits:
    """What one run, step and event may be at the most. A larger one is a `LimitError`. Source: rule R28.

    Bytes are those that are recorded: JSON in ASCII, in which a character beyond it takes six, an emoji twelve.

    Attributes:
        steps: steps a run may call.
        step_bytes: bytes of JSON that a step's output may have.
        run_bytes: bytes of JSON of all the outputs of a run's steps together.
        event_bytes: bytes of JSON of an event's data.

    Raises:
        TypeError, ValueError: at the call, for one that is no int, or negative.
    """

    steps: int = 1_000
    step_bytes: int = 4 * 1024 * 1024
    run_bytes: int = 32 * 1024 * 1024
    event_bytes: int = 512 * 1024

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Limits):
            count = checked_count(getattr(self, field.name), f"Limits({field.name}=...)")
            object.__setattr__(self, field.name, count)


def too_many_steps(limits: Limits, run: str, step_id: str) -> LimitError:
    """Return the error of a call of one step more than a run may call."""
    return LimitError(
        f"run {run!r} calls more than {limits.steps:,} steps with {step_id!r}: let it invoke other functions for parts "
        "of the work, or pass Limits(steps=...) to the engine"
    )


def output_too_large(limits: Limits, size: int, what: str) -> LimitError:
    """Return the error of what a step or a function returned; `size` is its bytes of JSON, `what` names whose it is."""
    return LimitError(
        f"{what} is {size:,} bytes, the limit is {limits.step_bytes:,}: keep it elsewhere and return a reference to "
        "it, or pass Limits(step_bytes=...) to the engine"
    )


def data_too_large(limits: Limits, size: int, what: str) -> LimitError:
    """Return the error of the data of an event or a signal; `size` is their bytes of JSON, `what` names them."""
    return LimitError(
        f"{what} are {size:,} bytes, the limit is {limits.event_bytes:,}: keep them elsewhere and send a reference, or "
        "pass Limits(event_bytes=...) to the engine"
    )


def run_outgrown(limits: Limits, run: str, key: str, size: int) -> RecordedError:
    """Return the error of a step whose output is more than its run can hold; `size` is what all would be together."""
    message = (
        f"the state of run {run!r} would be {size:,} bytes with step {key!r}, the limit is {limits.run_bytes:,}: keep "
        "large values elsewhere and return a reference to them, or pass Limits(run_bytes=...) to the engine"
    )
    return RecordedError(LimitError.__name__, message, step_id=key)
