"""Find the fields of a class and their annotations.

Separate because `classes` and `compiling` both need them, and because annotations are often texts that must be
resolved, or cannot be.
Leaves to `classes` the form of an instance, to `fitting` the comparison of a value with an annotation.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import attrs

UNKNOWN = typing.Any
"""Stands for an annotation that does not resolve; any value fits."""
_MARKS: frozenset[Any] = frozenset(
    {typing.Final, typing.ClassVar, typing.Required, typing.NotRequired, getattr(typing, "ReadOnly", typing.Required)}
)


def arguments(cls: type) -> dict[str, str | None] | None:
    """Return the name of each field's argument, by the field's name.

    It is None for a field without an argument. For a class that is neither attrs nor a dataclass, return None.
    """
    if attrs.has(cls):
        return {field.name: (field.alias or field.name) if field.init else None for field in attrs.fields(cls)}
    if dataclasses.is_dataclass(cls):
        return {field.name: field.name if field.init else None for field in dataclasses.fields(cls)}
    return None


def field_names(cls: type) -> tuple[str, ...] | None:
    """Return the names of a class's fields, or None.

    Attrs classes, dataclasses and named tuples have fields.
    """
    named = arguments(cls)
    if named is not None:
        return tuple(named)
    return tuple(cls._fields) if issubclass(cls, tuple) and hasattr(cls, "_fields") else None


def hints(cls: type, known: Iterable[type]) -> dict[str, Any]:
    """Return the annotation of each field, in the order of the fields.

    It is `UNKNOWN` for an annotation that does not resolve. `known` are classes that the text of an annotation may
    name, although no module holds them, such as classes defined in a function.
    """
    local = {other.__name__: other for other in known}
    local |= {one.__name__: one for one in getattr(cls, "__type_params__", ())}
    declared = {field.name: field.type for field in attrs.fields(cls)} if attrs.has(cls) else {}
    raw: dict[str, Any] = {name: type_ for name, type_ in declared.items() if type_ is not None}
    homes: dict[str, type] = {}
    for base in reversed(cls.__mro__):
        for name, annotation in inspect.get_annotations(base).items():
            raw[name], homes[name] = annotation, base
    return {name: _resolved(homes.get(name, cls), annotation, local) for name, annotation in raw.items()}


def _resolved(home: type, annotation: Any, local: Mapping[str, type]) -> Any:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"field": annotation})
    module = vars(sys.modules[home.__module__]) if home.__module__ in sys.modules else {}
    try:
        return typing.get_type_hints(holder, module, {**local, home.__name__: home}, include_extras=True)["field"]
    except Exception:  # the text of an annotation may raise anything
        return UNKNOWN


def keys(cls: Any, known: Iterable[type]) -> dict[str, tuple[Any, bool]]:
    """Return each key of a TypedDict with its annotation and whether it is required."""
    found = {}
    for name, annotation in hints(cls, known).items():
        marks, bare = unmarked(annotation)
        is_required = name in cls.__required_keys__
        found[name] = bare, typing.Required in marks or (is_required and typing.NotRequired not in marks)
    return found


def unmarked(annotation: Any) -> tuple[set[Any], Any]:
    """Return the marks around an annotation, and the annotation without them.

    Marks are `Annotated`, `Final`, `Required` and the like, which say nothing about the value.
    """
    marks = set()
    while (origin := get_origin(annotation)) is Annotated or origin in _MARKS:
        marks.add(origin)
        annotation = annotation.__origin__ if origin is Annotated else get_args(annotation)[0]
    return marks, annotation


def filled(annotation: Any, given: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type variables replaced by what is given."""
    if isinstance(annotation, TypeVar):
        return given.get(annotation, annotation)
    open_ = getattr(annotation, "__parameters__", ())
    if not given or isinstance(annotation, type) or not any(one in given for one in open_):
        return annotation
    try:
        return annotation[tuple(given.get(one, one) for one in open_)]
    except TypeError:  # a ParamSpec or a TypeVarTuple, which says nothing about a field's value
        return annotation


def given_by(cls: type, values: Iterable[Any]) -> dict[Any, Any]:
    """Return what the type variables of a class and its bases stand for.

    `values` are given for the class's own variables.
    """
    values = tuple(values)
    given = dict(zip(getattr(cls, "__parameters__", ()), values, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            given = {**given_by(origin, (filled(one, given) for one in get_args(base))), **given}
    return given
