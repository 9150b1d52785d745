"""Limit the work of evaluations, and carry their variables.

Separate because every closure and every function takes a scope.
Leaves to the caller of `spend` the cost of a piece of work.

Fuel is a number that pays for the work of an evaluation. Expressions are evaluated in the event loop, while everything
else waits, and by the thousand for one event. So there are two limits: one for each evaluation, and one for all
evaluations of one event together. From the second one, each evaluation gets at least a small share, so that a hostile
filter cannot use up what an honest one needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from durable.events.expressions.faults import EvaluationError

FUEL = 100_000
SURE = 2_000
SHARED = 200_000


class Budget:
    """A budget holds the fuel that evaluations for one event share.

    Each evaluation has a small share of its own besides.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = SHARED

    def share(self) -> int:
        """Return the fuel for the next evaluation."""
        return min(FUEL, SURE + self.left)

    def take(self, burnt: int) -> None:
        """Subtract the fuel that an evaluation has burnt beyond its own share."""
        self.left -= min(self.left, max(0, burnt - SURE))


class Scope:
    """A scope holds the variables and the fuel of one evaluation.

    It is a plain class with slots, since one is made for every event and every expression. `fuel` counts elementary
    steps of at most 0.4 µs; most take a tenth of that. Everything that can repeat or grow costs fuel: a macro's
    elements, copies and searches of long strings, comparisons of lists, matched characters. Each node of the text costs
    an eighth of a step. A plain filter costs next to nothing, and a hostile one ends within some 40 ms.
    """

    __slots__ = ("fuel", "given", "local", "now", "variables")

    def __init__(self, variables: Mapping[str, Any], macros: int = 0, fuel: int = FUEL) -> None:
        self.variables = variables
        self.local: list[Any] = [None] * macros
        self.now: datetime | None = None
        self.fuel = self.given = fuel

    def spend(self, cost: int) -> None:
        """Subtract `cost` from the fuel.

        Raises:
            EvaluationError: no fuel is left.
        """
        self.fuel -= cost
        if self.fuel < 0:
            self._refuse()

    def _refuse(self) -> NoReturn:
        if self.given == FUEL:
            raise EvaluationError(f"the expression takes more than {FUEL:,} steps: compare fewer or smaller values")
        raise EvaluationError(
            f"the expressions that were asked about this event have taken {SHARED:,} steps together, and this takes "
            f"more than the {self.given:,} left to it, {SURE:,} in any case: compare fewer or smaller values"
        )
