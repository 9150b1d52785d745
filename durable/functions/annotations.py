"""Find the return annotation of a handler.

Separate because it is needed at every step and must cost next to nothing.
Leaves to `classes` the meaning of the type for a value.
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
import inspect
import logging
import types
import typing
import weakref
from typing import Any

from durable.journal import ABSENT
from durable.stores import Log

_LOG = Log(logging.getLogger("durable"))
_LAYERS = 100  # of partials, methods and wrappers around a function; more are taken for a cycle
_AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine)

_known: weakref.WeakKeyDictionary[Any, object] = weakref.WeakKeyDictionary()
_warned: set[str] = set()


def return_type(handler: object) -> object:
    """Return the annotated type of a handler's value, or `ABSENT`.

    It is `ABSENT` if there is no annotation, or if it does not resolve.

    Partials, bound methods, callable objects, classes and decorated functions are looked through. `Awaitable[T]` and
    `Coroutine[Any, Any, T]` on a function that is not async mean T. One warning names a handler whose annotation
    does not resolve, and `output_type`. Source: rule R10.
    """
    # A bound method is made anew at every access, so its function is the key.
    key = handler.__func__ if type(handler) is types.MethodType else handler
    try:
        return _known[key]
    except KeyError:
        found = _known[key] = _found(key)
        return found
    except Exception:  # the object cannot be hashed, or has no weak references
        return _found(key)


def _found(handler: Any) -> object:
    # The real class decides, not `__class__`: a Mock(spec=function) claims to be a function.
    for _ in range(_LAYERS):
        kind = type(handler)
        if issubclass(kind, type):
            return handler
        if issubclass(kind, functools.partial):
            handler = handler.func
        elif kind is types.MethodType:
            handler = handler.__func__
        elif kind is types.FunctionType and "return" in handler.__annotations__:
            return _of_function(handler)
        elif (wrapped := _wrapped(handler)) is not None:
            handler = wrapped
        elif kind is types.FunctionType or (handler := _call_of(kind)) is None:
            return ABSENT
    return ABSENT


def _of_function(function: types.FunctionType) -> object:
    known = _known.get(function)
    if known is not None:
        return known
    resolved = _resolved(function, function.__annotations__["return"])
    found = resolved if inspect.iscoroutinefunction(_innermost(function)) else _awaited(resolved)
    _known[function] = found
    return found


def _call_of(kind: type) -> types.FunctionType | None:
    call = inspect.getattr_static(kind, "__call__", None)
    return call if type(call) is types.FunctionType else None


def _wrapped(handler: object) -> object:
    # Only real attributes count: a `__getattr__` may answer to any name.
    return inspect.getattr_static(handler, "__wrapped__", None)


def _innermost(function: types.FunctionType) -> Any:
    try:
        return inspect.unwrap(function)
    except ValueError:  # it wraps itself
        return function


def _resolved(function: types.FunctionType, annotation: object) -> object:
    if annotation is None:
        return type(None)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    origin: Any = _innermost(function)
    try:
        return _evaluated(origin, annotation)
    except Exception as error:  # the text of an annotation may raise anything
        _warn(function, annotation, error)
        return ABSENT


def _evaluated(function: types.FunctionType, annotation: object) -> object:
    local = _closure(function)
    if isinstance(annotation, str) and annotation.isidentifier():
        for scope in (local, function.__globals__, vars(builtins)):
            if isinstance(scope.get(annotation), type):
                return scope[annotation]
    holder = types.SimpleNamespace(__annotations__={"return": annotation})
    return typing.get_type_hints(holder, function.__globals__, local)["return"]


def _closure(function: types.FunctionType) -> dict[str, Any]:
    filled = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            filled[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return filled


def _awaited(annotation: object) -> object:
    if typing.get_origin(annotation) in _AWAITABLES:
        return typing.get_args(annotation)[-1]
    return annotation


def _warn(function: types.FunctionType, annotation: object, error: Exception) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in _warned:
        return
    _warned.add(name)
    _LOG.warning(
        "the return annotation %r of handler %s does not resolve (%s) and counts as absent: "
        "import what it names where the handler's module can see it, or pass StepOptions(output_type=...)",
        annotation,
        name,
        error,
    )
