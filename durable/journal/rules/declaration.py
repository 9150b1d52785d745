"""What the rules know of a function: everything but its code.

Separate because rules must not see code, and code changes while what is declared stays.
Leaves to `functions` how it is declared.
"""

from __future__ import annotations

from datetime import timedelta

import attrs

from durable.events import Expression, Trigger

WAIT_NAMES = ("event", "async")


@attrs.frozen(eq=False, repr=False)
class CancelRule:
    """An event that cancels runs of a function: see `durable.Cancel`."""

    event: str
    match: str | None = None
    expression: Expression | None = None
    timeout: timedelta | None = None


@attrs.frozen(eq=False, repr=False)
class Declaration:
    """What the rules know of a function: everything but its code."""

    id: str
    triggers: tuple[Trigger, ...] = ()
    cancels: tuple[CancelRule, ...] = ()
    idempotency: Expression | None = None
    on_failure: str | None = None
    start_timeout: timedelta | None = None
    finish_timeout: timedelta | None = None
