"""What one evaluation carries with it: the bindings, the macros' variables, and the fuel it may still burn.

Separate because every closure and every function takes it.
Leaves to those who spend it what a piece of work costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from durable.expressions.faults import EvaluationError

FUEL = 1_000_000


class Scope:
    """One evaluation. A plain class with slots: it is made for every event and every expression.

    `fuel` counts elementary steps of roughly 0.1 to 0.5 µs. Only what can repeat or grow costs any: a macro's
    elements, copies and searches of long strings, lists compared, characters matched. So a plain filter pays nothing,
    and a hostile one ends in well under a second.
    """

    __slots__ = ("fuel", "local", "now", "variables")

    def __init__(self, variables: Mapping[str, Any], macros: int = 0) -> None:
        self.variables = variables
        self.local: list[Any] = [None] * macros
        self.now: datetime | None = None
        self.fuel = FUEL

    def spend(self, cost: int) -> None:
        """Burn `cost` units.

        Raises:
            EvaluationError: nothing is left.
        """
        self.fuel -= cost
        if self.fuel < 0:
            raise EvaluationError(f"the expression takes more than {FUEL:,} steps: compare fewer or smaller values")
