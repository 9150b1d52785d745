"""The registry: which functions an engine knows, by id.

Separate because functions are known before an engine opens, after it closes, and may come while it is open.
Leaves to `runtime` what a newly known function sets off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durable.function import Function


class Registry:
    """Functions by id. `declared(function)` is called for each one that is new, or defined anew."""

    def __init__(self, functions: Iterable[Function[Any]]) -> None:
        self.functions: dict[str, Function[Any]] = {}
        self.declared: Callable[[Function[Any]], None] | None = None
        if isinstance(functions, Function) or not isinstance(functions, Iterable):
            raise TypeError(f"Engine takes a list of functions, not {functions!r}: write Engine([function])")
        for function in functions:
            self.add(function)

    def add(self, function: Function[Any]) -> None:
        """Take a function in; a newer definition of the same one replaces it.

        Raises:
            TypeError: not a Function.
            ValueError: another function has the id.
        """
        if not isinstance(function, Function):
            raise TypeError(f"Engine takes functions, not {function!r}: decorate it with @durable.function")
        known = self.functions.get(function.id)
        if known is function:
            return
        if known is not None and known.origin != function.origin:
            raise ValueError(
                f"two functions have the id {function.id!r}: {'.'.join(known.origin)} and {'.'.join(function.origin)}; "
                "give one of them another id"
            )
        self.functions[function.id] = function
        if function.on_failure is not None:
            self.add(function.on_failure)
        if self.declared is not None:
            self.declared(function)

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id and the output type of a function that is given as itself, and then added, or by its id.

        Raises:
            TypeError: neither.
            ValueError: another function has the id.
        """
        if isinstance(function, Function):
            self.add(function)
            return function.id, function.output_type
        if not isinstance(function, str):
            raise TypeError(
                f"{what} takes a Function or a function's id, not {function!r}: decorate it with @durable.function"
            )
        return function, self.output_type(function)

    def output_type(self, id: str) -> object:
        """Return the type of what a function returns; anything, for one that is not known."""
        known = self.functions.get(id)
        return object if known is None else known.output_type
