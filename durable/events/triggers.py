"""Define triggers, which open runs, and listeners, which wait in runs.

Separate because each of them decides for itself whether it hears an event.
Leaves to `bus` the finding of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

import attrs

from durable.events.event import Event
from durable.events.expressions.expression import Expression
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.expressions.values import truthy
from durable.events.matching import _ABSENT, Key, Path, at_path, index_key, same_value, seen_by_filters

Place = tuple[str, str]  # a run and a step's key; for a cancellation, see `ids.cancel_place`


_number = count().__next__


Complaint = Callable[[str, str], None]  # the subject, about which there is one complaint only, and the text


@attrs.frozen(eq=False, repr=False)
class Trigger:
    """A trigger lets an event open a run of a function."""

    function: str
    event: str
    expression: Expression | None = None

    def hears(self, seen: Mapping[str, Any], budget: Budget | None = None) -> bool:
        """Return whether the trigger's expression holds for an event of its name.

        Without an expression it always holds. The expression may raise anything.
        """
        return self.expression is None or truthy(self.expression.evaluate({"event": seen}, budget))


def is_one_equality(path: Path | None, expression: Expression | None) -> bool:
    """Return whether a path and an expression together ask for one equality and nothing else."""
    if expression is None:
        return path is not None
    return path is None and expression.is_equality


class Listener:
    """A listener waits for an event, for a step or to cancel a run.

    `own` is the run's own event, with which paths and expressions compare, as `seen_by_filters` shows it, or the event
    itself, of which that is made when it is asked for. It is None if there are neither.
    `cancels` says that the listener cancels its run. Otherwise it is the wait of a step. One event answers listeners in
    the order of their `number`, the oldest first. `is_exact` says that it hears all events in time for which the
    `equality` holds under which it is indexed. It is never changed: a plain class, since one is made for every wait.
    """

    __slots__ = ("_own", "cancels", "event", "expression", "is_exact", "number", "path", "place", "until")

    def __init__(
        self,
        place: Place,
        event: str,
        until: datetime | None,
        path: Path | None = None,
        expression: Expression | None = None,
        own: Mapping[str, Any] | Event | None = None,
        *,
        cancels: bool = False,
    ) -> None:
        self.place = place
        self.event = event
        self.until = until
        self.path = path
        self.expression = expression
        self._own = own
        self.cancels = cancels
        self.number = _number()
        self.is_exact = is_one_equality(path, expression)

    @property
    def own(self) -> Mapping[str, Any] | None:
        """The run's own event as filters see it."""
        own = self._own
        return seen_by_filters(own) if isinstance(own, Event) else own

    def hears(self, seen: Mapping[str, Any], now: datetime, budget: Budget | None = None) -> bool:
        """Return whether an event of the listener's name answers it at `now`.

        The listener's expression may raise anything.
        """
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
        """Return the equality under which the listener is indexed, or None.

        An equality with a value of the run's own event goes before one with a literal, then the first in the text.
        """
        if self.path is not None:
            key = index_key(at_path(self.own, self.path))
            if key is not None:
                return self.path, key
        if self.expression is None:
            return None
        equalities, own = self.expression.equalities(), self.own
        if len(equalities) > 1:
            equalities = tuple(sorted(equalities, key=lambda equality: equality.literal))
        for equality in equalities:
            try:
                key = index_key(equality.value({"event": own}))
            except EvaluationError:
                continue  # the whole expression will fail for every event too, and complain then
            if key is not None:
                return equality.path, key
        return None
