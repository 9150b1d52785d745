"""Check a step's handler and decide whether it is asynchronous or blocking.

Separate because objects lie about themselves: a test's double claims a function's type without having its code.
Leaves to `attempts` the calling of handlers, to `codec` the types of their values.

A handler is asynchronous if calling it runs an `async def`; then it is called on the loop. Any other handler is called
as a blocking one, in a thread. If that call returns an awaitable, it is awaited: so mocks of asynchronous functions,
wrappers around them and compiled coroutines work as they are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import ref

import attrs

from durable.functions.annotations import return_type
from durable.journal import Policy, misuse
from durable.timers import shown


@attrs.frozen(eq=False, repr=False)
class Handler:
    """A handler is a callable with its arguments and the options of its tries."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_async: bool
    policy: Policy
    timeout: timedelta | None
    type: object
    within: timedelta | None = None

    def call(self) -> Any:
        """Call the callable with its arguments."""
        return self.function(*self.args, **self.kwargs)


Spans = tuple[timedelta | None, timedelta | None]
"""The longest time of one try of a handler, and that of all its tries together."""

Handling = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], bool, Policy, Spans | None]
"""A handler in its parts: the callable, its arguments, whether it is asynchronous, its policy and spans.

Each step call has one, and most steps need no more."""


class Declared:
    """A function that is declared to be durable is no handler."""

    __slots__ = ()
    id: str


_LAYERS = 100  # of partials, methods and callable objects around a function; more than these are taken for a cycle
_ReadOff = tuple[CodeType | None, bool, object, object]
_known: dict[int, _ReadOff] = {}  # by the function's identity, with a reference: the function's end takes it out
_func_of: Any = functools.partial.__dict__["func"].__get__
_mro_of: Any = type.__dict__["__mro__"].__get__
_dict_of: Any = type.__dict__["__dict__"].__get__


def checked_handler(step_id: str, handler: object) -> bool:
    """Return whether a handler is asynchronous.

    Raises:
        TypeError: it is not callable, or it is a generator function, whose value cannot be recorded.
    """
    if type(handler) is FunctionType:
        function: FunctionType | None = handler
    elif callable(handler):
        function = _function(handler)
    else:
        if inspect.iscoroutine(handler):
            handler.close()
        raise misuse(
            TypeError(
                f"the handler of step {step_id!r} must be callable, not {shown(handler)}: pass the function itself, "
                f"without calling it, and its arguments after it: step.run({step_id!r}, function, argument)"
            )
        )
    if isinstance(handler, Declared):
        raise misuse(
            TypeError(
                f"the handler of step {step_id!r} is the durable function {handler.id!r}, which takes steps of its "
                f"own: write step.invoke({step_id!r}, function=...)"
            )
        )
    if function is None:
        return False
    flags = function.__code__.co_flags
    if flags & inspect.CO_ASYNC_GENERATOR or (
        flags & inspect.CO_GENERATOR and not flags & inspect.CO_ITERABLE_COROUTINE
    ):
        raise misuse(
            TypeError(
                f"the handler of step {step_id!r} is a generator, whose value cannot be kept: return a list instead"
            )
        )
    return bool(flags & inspect.CO_COROUTINE)


def read_off(step_id: str, handler: object) -> _ReadOff:
    """Return a callable's code, whether it is asynchronous, its return type (see `return_type`), and a reference to it.

    Raises:
        TypeError: see `checked_handler`.
    """
    if type(handler) is not FunctionType:
        return None, checked_handler(step_id, handler), return_type(handler), None
    known = _known.get(id(handler))
    if known is None or known[0] is not handler.__code__:
        is_async, end = checked_handler(step_id, handler), functools.partial(_forget, id(handler))
        known = _known[id(handler)] = handler.__code__, is_async, return_type(handler), ref(handler, end)
    return known


def _forget(function: int, _reference: object) -> None:
    del _known[function]


def _function(handler: object) -> FunctionType | None:
    """Return the function whose code runs first when the handler is called.

    None if that code is not written in Python.
    """
    for _ in range(_LAYERS):
        kind = type(handler)
        if kind is FunctionType:
            return handler  # type: ignore[return-value]
        if issubclass(kind, functools.partial):
            handler = _func_of(handler)
        elif kind is MethodType:
            handler = handler.__func__  # type: ignore[attr-defined]
        elif issubclass(kind, type):
            return None
        else:
            handler = _call_of(kind)
            if isinstance(handler, staticmethod | classmethod):
                handler = handler.__func__
    return None


def _call_of(kind: type) -> object:
    # Look at the class alone, as the interpreter does: an instance may answer to any name.
    return next((_dict_of(base)["__call__"] for base in _mro_of(kind) if "__call__" in _dict_of(base)), None)
