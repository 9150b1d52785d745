"""Parse CEL filters in Inngest's dialect, and evaluate them against events.

Separate because filters are a language of their own, pure, and their text may be hostile.
Leaves to `bus` the choice of expressions that are evaluated for an event.
"""

from __future__ import annotations

from durable.events.expressions.expression import Equality, Expression, parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.expressions.values import plain, truthy

__all__ = ["Budget", "Equality", "EvaluationError", "Expression", "parse", "plain", "truthy"]
