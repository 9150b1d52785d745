"""What may be the handler of a step, and how it is called: read by what it does, not by what it claims to be.

Separate because a test's double claims a function's type and has none of its insides.
Leaves to `tries` when a handler is called, to `codec` the type that it says it returns.

A handler is asynchronous if what its call runs is an `async def`: then the call is made on the loop. Anything else is
called as a blocking one, in a thread, and what it returns is awaited if it can be: mocks of asynchronous functions,
wrappers around them and compiled coroutines so work as they are.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from durable.spelling import shown

_LAYERS = 100  # of partials, methods and callable objects around a function; more go round in a circle
_func_of: Any = functools.partial.__dict__["func"].__get__
_mro_of: Any = type.__dict__["__mro__"].__get__
_dict_of: Any = type.__dict__["__dict__"].__get__


def checked_handler(step_id: str, handler: object) -> bool:
    """Return whether a callable is asynchronous.

    Raises:
        TypeError: not callable, or a generator function, whose value cannot be kept.
    """
    if type(handler) is FunctionType:
        function: FunctionType | None = handler
    elif callable(handler):
        function = _function(handler)
    else:
        if inspect.iscoroutine(handler):
            handler.close()
        raise TypeError(
            f"the handler of step {step_id!r} must be callable, not {shown(handler)}: pass the function itself, "
            f"without calling it, and its arguments after it: step.run({step_id!r}, function, argument)"
        )
    if function is None:
        return False
    flags = function.__code__.co_flags
    if flags & inspect.CO_ASYNC_GENERATOR or (
        flags & inspect.CO_GENERATOR and not flags & inspect.CO_ITERABLE_COROUTINE
    ):
        raise TypeError(
            f"the handler of step {step_id!r} is a generator, whose value cannot be kept: return a list instead"
        )
    return bool(flags & inspect.CO_COROUTINE)


def _function(handler: object) -> FunctionType | None:
    """Return the function whose code a call of the handler runs first; None if that is not written in Python."""
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
    # By the class alone, as the interpreter does: an instance may answer to any name.
    return next((_dict_of(base)["__call__"] for base in _mro_of(kind) if "__call__" in _dict_of(base)), None)


def without_loop(function: Callable[[], Any]) -> Any:
    """Call a blocking handler on the loop's own thread as if in a worker: it sees no running loop (R10a)."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function()
    except StopIteration as error:  # as in a coroutine: what runs here must not take it for the end of one
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        asyncio._set_running_loop(loop)
