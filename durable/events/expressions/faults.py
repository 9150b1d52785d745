"""Define the error of an expression that parses but gives no value.

Separate because the values, the functions and the compiled closures all raise it.
Leaves to `durable.errors` the error of an expression that does not parse.
"""

from __future__ import annotations

from durable.errors import DurableError


class EvaluationError(DurableError):
    """An expression has no value for its bindings.

    In a filter it means "no match".
    """
