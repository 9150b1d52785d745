"""Define what a test may put in place of handlers.

Separate because the scheduler knows only this protocol, never the tools for tests.
Leaves to `durable.testing` the stubs themselves.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from durable.functions import Handler
from durable.journal import StepKind


@attrs.frozen(eq=False, repr=False)
class Call:
    """A call of a step method, as a test sees it.

    `turn` is the last turn that had been delivered. `was_quiet` says that no outcome was on its way to the run: then
    something outside its steps made the run call this step.
    """

    run: str
    key: str
    kind: StepKind
    attempt: int
    turn: int
    was_quiet: bool


class StandIn(Protocol):
    """A stand-in replaces handlers and watches calls, for the stubs of a test."""

    def asked(self, call: Call) -> None:
        """Note that a function has called a step method."""

    def replaces(self, step_id: str) -> bool:
        """Return whether the stand-in answers steps of this id, of any kind."""

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Return the handler that is to be called."""
