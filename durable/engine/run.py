"""Define the handle by which callers await, inspect and cancel a run.

Separate because a handle holds only an id: any number of handles may stand for one run.
Leaves to `engine` the work behind each method.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from durable.errors import DurableError, RunCancelled, RunFailed, WithoutFrames
from durable.journal import RunClosed
from durable.timers import Duration, answering
from durable.views import RunInfo, readable

T = TypeVar("T")

OF_A_RUN = WithoutFrames(DurableError, TimeoutError)
"""For what tells how a run stands: its message or the recorded stack shows where, frames from here would not."""


class Door(Protocol):
    """A door is the part of an engine that a handle calls."""

    async def result(self, run_id: str, timeout: Duration | None) -> Any:
        """Wait for the end of a run."""

    async def info(self, run_id: str) -> RunInfo:
        """Return a picture of a run."""

    async def step(self, run_id: str, key: str, timeout: Duration | None = None) -> Any:
        """Wait for the end of a run's step."""

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        """Cancel a run; return False if it had ended already."""


def outcome(ended: RunClosed, type_: object) -> Any:
    """Return the output of an ended run.

    It has the given type if it fits, else it is in plain values.

    Raises:
        RunFailed, RunCancelled: the run ended so.
    """
    if ended.status == "completed":
        return readable(ended.output, type_)
    if ended.status == "failed" and ended.error is not None:
        raise RunFailed(ended.run, ended.error)
    raise RunCancelled(ended.run, ended.reason or "")


_SHOWN = ("status", "event", "output", "error", "reason", "attempt", "steps", "waiting_for", "opened_at", "ended_at")


@answering(
    value="await run.result()", wait="await run.result()", **{one: f"(await run.info()).{one}" for one in _SHOWN}
)
class Run(Generic[T]):
    """A handle stands for a run and asks its engine about it.

    `id` is the run's id. Handles with the same id are equal.
    """

    __slots__ = ("_door", "id")

    def __init__(self, door: Door, id: str) -> None:
        self._door = door
        self.id = id

    async def result(self, timeout: Duration | None = None) -> T:
        """Wait until the run has ended, and return its function's value.

        `timeout`, a duration in real time, bounds the wait; the run itself goes on. None: wait without limit.

        Raises:
            RunFailed: the run failed; `error` says why.
            RunCancelled: the run was cancelled; `reason` says why.
            TimeoutError: the run has not ended in time.
            RuntimeError: awaited inside a handler of the same engine, which would wait for itself; or the engine was
                closed meanwhile, and the run is parked.
            StoreError: the store has failed.
        """
        with OF_A_RUN:
            value: T = await self._door.result(self.id, timeout)
            return value

    async def info(self) -> RunInfo:
        """Return a picture of the run, made of durable records alone."""
        return await self._door.info(self.id)

    async def step(self, key: str, timeout: Duration | None = None) -> Any:
        """Wait until a step has finished, and return its value, in plain values where its type is not known here.

        `key` is the step's key, as in `RunInfo.steps`; the step may be one that the run has yet to come to. `timeout`,
        a duration in real time, bounds the wait; the run itself goes on. None: wait without limit. A step that the
        code has cancelled has not finished.

        Raises:
            StepError: the step failed.
            LookupError: the run has ended and never finished this step.
            TimeoutError: the step has not finished in time.
            KeyError: there is no such run.
            RuntimeError, StoreError: as for `result`.
        """
        with OF_A_RUN:
            return await self._door.step(self.id, key, timeout)

    async def cancel(self, reason: str | None = None) -> bool:
        """Cancel the run; return False if it had ended already.

        `reason` is recorded. On return the cancelling is durable.
        """
        return await self._door.cancel(self.id, reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.id!r}>"
