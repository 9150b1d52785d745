"""A run, seen from outside: a handle by which to wait for it, look at it and cancel it.

Separate because a handle holds nothing but an id: any number of them may stand for one run.
Leaves to `engine` everything it does.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from durable.errors import RunCancelled, RunFailed
from durable.records import RunClosed
from durable.times import Duration
from durable.views import RunInfo, shown

T = TypeVar("T")


class Door(Protocol):
    """What a handle asks of its engine."""

    async def result(self, run_id: str, timeout: Duration | None) -> Any:
        """Wait for the end of a run."""

    async def info(self, run_id: str) -> RunInfo:
        """Look at a run."""

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        """Cancel a run."""


def outcome(ended: RunClosed, type_: object) -> Any:
    """Return what a run returned, typed if it fits the type.

    Raises:
        RunFailed, RunCancelled: how else it ended.
    """
    if ended.status == "completed":
        return shown(ended.output, type_)
    if ended.status == "failed" and ended.error is not None:
        raise RunFailed(ended.run, ended.error)
    raise RunCancelled(ended.run, ended.reason or "")


class Run(Generic[T]):
    """A handle to a run. `id` is the run's id; handles with the same id are equal."""

    __slots__ = ("_door", "id")

    def __init__(self, door: Door, id: str) -> None:
        self._door = door
        self.id = id

    async def result(self, timeout: Duration | None = None) -> T:
        """Wait until the run has ended, and return what its function returned.

        `timeout` is the caller's real time; past it the run goes on.

        Raises:
            RunFailed: it failed; `error` says why.
            RunCancelled: it was cancelled; `reason` says why.
            TimeoutError: it has not ended in time.
            RuntimeError: awaited inside a handler of the same engine, which would wait for itself; or the engine was
                closed meanwhile: the run is parked.
            StoreError: the store failed.
        """
        value: T = await self._door.result(self.id, timeout)
        return value

    async def info(self) -> RunInfo:
        """Return what is known of the run, all of it durable."""
        return await self._door.info(self.id)

    async def cancel(self, reason: str | None = None) -> bool:
        """Cancel the run, for a reason that is recorded; return whether it had not ended. It is durable on return."""
        return await self._door.cancel(self.id, reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.id!r}>"
