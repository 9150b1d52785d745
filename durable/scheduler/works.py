"""Define what others see of a step's running handler.

Separate because calls, sessions and the stopping of runs all end handlers, and none needs to know how they are tried.
Leaves to `attempts` the tries.
"""

from __future__ import annotations

from typing import Protocol

from durable.journal import StepKind
from durable.scheduler.turns import Turn


class Called(Protocol):
    """What was called is a step."""

    @property
    def kind(self) -> StepKind:
        """What the step does."""

    @property
    def label(self) -> str:
        """The step and its run, for messages."""


class Work(Protocol):
    """A work is the running handler of a step, as those see it who end it; `turn` is that of its try, if any."""

    is_running: bool
    turn: Turn | None

    @property
    def step(self) -> Called:
        """The step whose handler it is."""

    @property
    def is_in_thread(self) -> bool:
        """Whether the handler runs in a thread, which cannot be stopped."""

    @property
    def is_bounded(self) -> bool:
        """Whether a timeout will stop the handler."""

    def stop(self) -> None:
        """Cancel the running try, and begin no other."""

    def come_due(self) -> None:
        """Begin the next try, or stop the running one: the step's timer is due."""

    async def ended(self) -> None:
        """Wait until no try is running."""
