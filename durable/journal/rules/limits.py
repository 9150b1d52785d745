"""Define the largest allowed sizes of runs, steps and events, and the errors beyond them.

Separate because several parts of the library meet the same limit, and its error must read alike (R28).
Leaves to the callers the measuring, and the choice to raise the error or to fail the step with it.
"""

from __future__ import annotations

import attrs

from durable.errors import LimitError, RecordedError, checked_calls
from durable.events import checked_count


@checked_calls
@attrs.frozen
class Limits:
    """Limits are the largest sizes that runs, steps and events may have.

    Exceeding one raises a `LimitError`. Bytes are counted in the recorded JSON, which is ASCII: a character beyond
    ASCII takes six bytes, an emoji twelve. Source: rule R28.

    Attributes:
        steps: the number of steps that a run may call.
        step_bytes: the bytes of JSON of a step's output.
        run_bytes: the bytes of JSON of all outputs of a run's steps together.
        event_bytes: the bytes of JSON of an event's data.

    Raises:
        TypeError, ValueError: at the call, for a limit that is not an int, or is negative.
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
    """Return the error for a step call beyond the number that a run may make."""
    return LimitError(
        f"run {run!r} calls more than {limits.steps:,} steps with {step_id!r}: let it invoke other functions for parts "
        "of the work, or pass Limits(steps=...) to the engine"
    )


def output_too_large(limits: Limits, size: int, what: str) -> LimitError:
    """Return the error for a too large output of a step or a function.

    `size` is the output's bytes of JSON, `what` names the output.
    """
    return LimitError(
        f"{what} is {size:,} bytes, the limit is {limits.step_bytes:,}: keep it elsewhere and return a reference to "
        "it, or pass Limits(step_bytes=...) to the engine"
    )


def data_too_large(limits: Limits, size: int, what: str) -> LimitError:
    """Return the error for too large data of an event or a signal.

    `size` is the data's bytes of JSON, `what` names the data.
    """
    return LimitError(
        f"{what} are {size:,} bytes, the limit is {limits.event_bytes:,}: keep them elsewhere and send a reference, or "
        "pass Limits(event_bytes=...) to the engine"
    )


def run_too_large(limits: Limits, size: int, run: str) -> LimitError:
    """Return the error for a run that would begin with too large outputs.

    `size` is the bytes of JSON that they have together.
    """
    return LimitError(
        f"the state of run {run!r} would be {size:,} bytes, the limit is {limits.run_bytes:,}: keep large values "
        "elsewhere and give references to them, or pass Limits(run_bytes=...) to the engine"
    )


def run_outgrown(limits: Limits, run: str, key: str, size: int) -> RecordedError:
    """Return the error of a step with which its run's outputs would be too large.

    `size` is the bytes of JSON that all outputs would have together.
    """
    message = (
        f"the state of run {run!r} would be {size:,} bytes with step {key!r}, the limit is {limits.run_bytes:,}: keep "
        "large values elsewhere and return a reference to them, or pass Limits(run_bytes=...) to the engine"
    )
    return RecordedError(LimitError.__name__, message, step_id=key)
