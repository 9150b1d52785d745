"""Keep the functions that an engine knows, by id.

Separate because functions are known before an engine opens and after it closes, and more may be added while it is open.
Leaves to `runtime` the effects of a new function, such as parked runs that can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durable.events import is_str, plain
from durable.functions.annotations import return_type
from durable.functions.function import Function, origin_of
from durable.functions.origins import is_same, is_twin
from durable.journal import no_such_function
from durable.timers import shown


class Registry:
    """The registry maps ids to functions.

    `declared(function)` is called for each function that is new or defined anew.
    """

    def __init__(self, functions: Iterable[Function[Any]]) -> None:
        self.functions: dict[str, Function[Any]] = {}
        self.declared: Callable[[Function[Any]], None] | None = None
        check_listed(functions, "Engine", "Engine([function])")
        listed: dict[str, Function[Any]] = {}
        for function in functions:
            for one in _with_its_failure(function):
                known = listed.setdefault(one.id, one)
                if known is not one and not is_twin(known, one):
                    raise ValueError(_conflict(known, one))
        for function in listed.values():
            self.add(function)

    def add(self, function: Function[Any]) -> None:
        """Add a function; a newer definition of the same function replaces the older.

        Raises:
            TypeError: not a Function.
            ValueError: another function has the id. Then nothing was added.
        """
        new = [one for one in _with_its_failure(function) if self.functions.get(one.id) is not one]
        for one in new:
            known = self.functions.get(one.id)
            if known is not None and not is_same(known, one):
                raise ValueError(_conflict(known, one))
        for one in new:
            self.functions[one.id] = one
            if self.declared is not None:
                self.declared(one)

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id and the output type of a function.

        The function is given as a Function, which is added if it is not known yet, or by its id.

        Raises:
            TypeError: neither a Function nor a string.
            ValueError: another function has the id.
        """
        id = self._id_of(function, what)
        return id, return_type(function.code) if isinstance(function, Function) else self.output_type(id)

    def _id_of(self, function: object, what: str) -> str:
        if isinstance(function, Function):
            self.add(function)
            return function.id
        if not is_str(function):
            raise TypeError(
                f"{what} takes a Function or a function's id, not {shown(function)}: decorate it with @durable.function"
            )
        return plain(function)

    def found(self, function: object, what: str) -> str:
        """Return the id of a function as `resolve` does.

        Raises:
            TypeError, ValueError: see `resolve`.
            LookupError: no function has this id.
        """
        id = self._id_of(function, what)
        if id not in self.functions:
            raise LookupError(no_such_function(id, self.functions))
        return id

    def output_type(self, id: str) -> object:
        """Return a function's output type, `object` if the function is not known."""
        known = self.functions.get(id)
        return object if known is None else return_type(known.code)


def check_listed(functions: object, what: str, instead: str) -> None:
    """Check that functions are given as a list, or another iterable.

    `what` names the call in the error, `instead` is what to write.

    Raises:
        TypeError: a function alone, or nothing to iterate over.
    """
    if isinstance(functions, Function) or not isinstance(functions, Iterable):
        raise TypeError(f"{what} takes a list of functions, not {shown(functions)}: write {instead}")


def check_function(function: object, what: str) -> None:
    """Check that something is a declared function; `what` names the call in the error.

    Raises:
        TypeError: it is not, such as a coroutine function without a decorator.
    """
    if not isinstance(function, Function):
        raise TypeError(f"{what} takes functions, not {shown(function)}: decorate it with @durable.function")


def _with_its_failure(function: Any) -> list[Function[Any]]:
    check_function(function, "Engine")
    return [function] if function.on_failure is None else [function.on_failure, function]


def _conflict(known: Function[Any], other: Function[Any]) -> str:
    origins = [".".join(origin_of(one)) for one in (known, other)]
    where = " and ".join(origins) if origins[0] != origins[1] else f"both are {origins[0]}"
    return f"two functions have the id {known.id!r}: {where}; give one of them another id, @durable.function(id=...)"
