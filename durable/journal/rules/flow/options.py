"""Define the options of flow control as the rules know them: checked, with their expressions parsed.

Separate because the rules must not see how users write an option.
Leaves to `functions` the declaring and checking of options, to the other modules here what an option means.

Every `key` is an expression over the event that opens a run, or None: then all runs of the function have one key.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import attrs

from durable.events import Expression

Counts = Literal["steps", "runs"]


@attrs.frozen(eq=False, repr=False)
class Slots:
    """Slots bound what runs at the same time: see `durable.Concurrency`.

    With `is_shared` all functions of the engine that spell the same key share them.
    """

    limit: int
    key: Expression | None
    counts: Counts
    is_shared: bool = False


@attrs.frozen(eq=False, repr=False)
class Window:
    """A window bounds what begins in any `period`: see `durable.Throttle` and `durable.RateLimit`."""

    limit: int
    period: timedelta
    key: Expression | None
    burst: int | None = None
    counts: Counts = "runs"


@attrs.frozen(eq=False, repr=False)
class Debouncing:
    """Debouncing opens a run once no event has come for `period`: see `durable.Debounce`."""

    period: timedelta
    timeout: timedelta | None
    key: Expression | None


@attrs.frozen(eq=False, repr=False)
class Batching:
    """Batching opens one run for several events: see `durable.Batch`."""

    max_size: int
    timeout: timedelta
    key: Expression | None
    condition: Expression | None


@attrs.frozen(eq=False, repr=False)
class Sole:
    """Sole runs are those of which each key has one at a time: see `durable.Singleton`."""

    mode: Literal["skip", "cancel"]
    key: Expression | None


@attrs.frozen(eq=False, repr=False)
class Flow:
    """A flow is all that a function declares of when its runs open and begin."""

    concurrency: tuple[Slots, ...] = ()
    throttle: Window | None = None
    rate_limit: Window | None = None
    debounce: Debouncing | None = None
    batch: Batching | None = None
    priority: Expression | None = None
    singleton: Sole | None = None
