"""What one evaluation carries with it: the bindings, the macros' variables, and the fuel it may still burn.

Separate because every closure and every function takes it.
Leaves to those who spend it what a piece of work costs.

Expressions are evaluated in the event loop, while everybody waits, and by the thousand for one event. So there are two
limits: what one evaluation may burn, and what all that are asked about one event may burn together. Of the second each
is sure of a small share, whoever else is asked, so that a hostile filter cannot use up what an honest one needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from durable.expressions.faults import EvaluationError

FUEL = 100_000
SURE = 2_000
SHARED = 200_000


class Budget:
    """What the evaluations for one event may still burn together, beyond what each of them is sure of."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = SHARED

    def share(self) -> int:
        """Return what the next evaluation may burn."""
        return min(FUEL, SURE + self.left)

    def take(self, burnt: int) -> None:
        """Take off what an evaluation has burnt."""
        self.left -= min(self.left, max(0, burnt - SURE))


class Scope:
    """One evaluation. A plain class with slots: it is made for every event and every expression.

    `fuel` counts elementary steps of at most 0.4 µs, most of them a tenth of that. What can repeat or grow costs some:
    a macro's elements, copies and searches of long strings, lists compared, characters matched; so does each node of
    the text, an eighth of a step. A plain filter pays next to nothing, and a hostile one ends within some 40 ms.
    """

    __slots__ = ("fuel", "given", "local", "now", "variables")

    def __init__(self, variables: Mapping[str, Any], macros: int = 0, fuel: int = FUEL) -> None:
        self.variables = variables
        self.local: list[Any] = [None] * macros
        self.now: datetime | None = None
        self.fuel = self.given = fuel

    def spend(self, cost: int) -> None:
        """Burn `cost` units.

        Raises:
            EvaluationError: nothing is left.
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
