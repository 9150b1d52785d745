"""Define the part of a function that the rules know: everything except its code.

Separate because the rules must not see code.
Leaves to `functions` the declaring of a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches

import attrs

from durable.events import Expression, Trigger
from durable.journal.rules.flow.options import Flow
from durable.journal.rules.schedules.timetable import CronRule

WAIT_NAMES = ("event", "async")


@attrs.frozen(eq=False, repr=False)
class CancelRule:
    """A cancel rule names the event that cancels runs of a function: see `durable.Cancel`."""

    event: str
    match: str | None = None
    expression: Expression | None = None
    timeout: timedelta | None = None


@attrs.frozen(eq=False, repr=False)
class Declaration:
    """A declaration is a function without its code.

    Attributes:
        flow: how the function bounds its runs, or None.
        opens_freely: whether nothing is asked before one of its runs opens.
        is_timed: whether its runs have a time by which to start or to finish.
    """

    id: str
    triggers: tuple[Trigger, ...] = ()
    cancels: tuple[CancelRule, ...] = ()
    idempotency: Expression | None = None
    on_failure: str | None = None
    start_timeout: timedelta | None = None
    finish_timeout: timedelta | None = None
    flow: Flow | None = None
    crons: tuple[CronRule, ...] = ()
    opens_freely: bool = attrs.field(init=False)
    is_timed: bool = attrs.field(init=False)

    @opens_freely.default
    def _nothing_is_asked(self) -> bool:
        return self.idempotency is None and self.flow is None and not self.cancels

    @is_timed.default
    def _has_a_time(self) -> bool:
        return self.start_timeout is not None or self.finish_timeout is not None


def no_such_function(id: str, known: Iterable[str]) -> str:
    """Return the message for a function that an engine lacks; it names one that is spelled much alike."""
    like = get_close_matches(id, list(known), 1)
    hint = f"is {like[0]!r} meant?" if like else "pass it in Engine(functions=[...])"
    return f"there is no function {id!r} in this engine: {hint}"
