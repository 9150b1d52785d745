"""CEL as Inngest speaks it: `parse` a filter once, evaluate it against events.

Separate because filters are a language of their own, pure, and hostile text may arrive in them.
Leaves to `bus` which expressions an event is asked.
"""

from __future__ import annotations

from durable.expressions.expression import Equality, Expression, parse
from durable.expressions.faults import EvaluationError
from durable.expressions.scope import Budget
from durable.expressions.values import plain, truthy

__all__ = ["Budget", "Equality", "EvaluationError", "Expression", "parse", "plain", "truthy"]
