"""Who may be asked about an event: a trigger that opens runs, a listener that waits.

Separate because each decides for itself whether it hears an event; the bus only finds candidates.
Leaves to `bus` how candidates are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

import attrs

from durable.events.expressions.expression import Expression
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.expressions.values import truthy
from durable.events.matching import _ABSENT, Key, Path, at_path, index_key, same_value

Place = tuple[str, str]  # a run and a step's key; for a cancellation, see `ids.cancel_place`


Complaint = Callable[[str, str], None]  # about what, to be said once; and what there is to say


@attrs.frozen(eq=False, repr=False)
class Trigger:
    """One way in which an event opens a run of a function."""

    function: str
    event: str
    expression: Expression | None = None

    def hears(self, seen: Mapping[str, Any], budget: Budget | None = None) -> bool:
        """Say whether the trigger's expression, if any, holds for an event of its name. It may raise anything."""
        return self.expression is None or truthy(self.expression.evaluate({"event": seen}, budget))


@attrs.frozen(eq=False, repr=False)
class Listener:
    """Somebody who waits for an event: a step's wait, or the cancellation of a run.

    `own` is the view of the run's event, to which paths and expressions are bound; None where there are neither.
    `cancels`: it cancels its run, and is no step's wait.
    `number` says in which order they came: that is the order in which one event answers them.
    """

    place: Place
    event: str
    until: datetime | None
    path: Path | None = None
    expression: Expression | None = None
    own: Mapping[str, Any] | None = None
    cancels: bool = False
    number: int = attrs.field(factory=count().__next__, init=False)

    def hears(self, seen: Mapping[str, Any], now: datetime, budget: Budget | None = None) -> bool:
        """Say whether an event of the listener's name, seen at `now`, answers it. It may raise anything."""
        if self.until is not None and now >= self.until:
            return False
        return self._matches(seen) and self._holds(seen, budget)

    def _matches(self, seen: Mapping[str, Any]) -> bool:
        if self.path is None:
            return True
        mine, theirs = at_path(self.own, self.path), at_path(seen, self.path)
        return mine is not _ABSENT and theirs is not _ABSENT and same_value(mine, theirs)

    def _holds(self, seen: Mapping[str, Any], budget: Budget | None) -> bool:
        if self.expression is None:
            return True
        return truthy(self.expression.evaluate({"event": self.own, "async": seen}, budget))

    def equality(self) -> tuple[Path, Key] | None:
        """Return the one equality under which the listener is indexed: a bound value before a literal, then the
        first; None where no equality can be indexed."""
        if self.path is not None:
            key = index_key(at_path(self.own, self.path))
            if key is not None:
                return self.path, key
        if self.expression is None:
            return None
        for equality in sorted(self.expression.equalities(), key=lambda equality: equality.literal):
            try:
                key = index_key(equality.value({"event": self.own}))
            except EvaluationError:
                continue  # asked in full, it fails for every event, and says so then
            if key is not None:
                return equality.path, key
        return None
