"""The type that a handler says it returns.

Separate because it is asked at every step and must cost next to nothing.
Leaves to `classes` what the type means for a value.
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

from durable.codec.fitting import ABSENT
from durable.log import Log

_LOG = Log(logging.getLogger("durable"))
_AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine)

_known: weakref.WeakKeyDictionary[Any, object] = weakref.WeakKeyDictionary()
_warned: set[str] = set()


def return_type(handler: object) -> object:
    """Return what calling the handler gives, as it is annotated; `ABSENT` if that is not said or does not resolve.

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
    except TypeError:  # cannot be hashed, or not referred to weakly
        return _found(key)


def _found(handler: Any) -> object:
    # By what they are, not by what they say they are: a Mock(spec=function) says that it is a function.
    kind = type(handler)
    if issubclass(kind, type):
        return handler
    if issubclass(kind, functools.partial):
        return return_type(handler.func)
    if kind is types.MethodType:
        return return_type(handler.__func__)
    if kind is not types.FunctionType:
        return _found_in_object(handler)
    annotation = handler.__annotations__.get("return", ABSENT)
    if annotation is ABSENT:
        wrapped = _wrapped(handler)
        return ABSENT if wrapped is None else return_type(wrapped)
    resolved = _resolved(handler, annotation)
    return resolved if inspect.iscoroutinefunction(inspect.unwrap(handler)) else _awaited(resolved)


def _found_in_object(handler: object) -> object:
    wrapped = _wrapped(handler)
    if wrapped is not None:
        return return_type(wrapped)
    call = inspect.getattr_static(type(handler), "__call__", None)
    return return_type(call) if type(call) is types.FunctionType else ABSENT


def _wrapped(handler: object) -> object:
    try:
        return getattr(handler, "__wrapped__", None)
    except Exception:  # a __getattr__ of the user's: the handler says nothing then, and is called all the same
        return None


def _resolved(function: types.FunctionType, annotation: object) -> object:
    if annotation is None:
        return type(None)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    origin: Any = inspect.unwrap(function)
    try:
        return _evaluated(origin, annotation)
    except Exception as error:  # whatever the text of the annotation raises
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
