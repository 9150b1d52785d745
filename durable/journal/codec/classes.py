"""Find the classes that an annotation names, and take their instances apart.

Separate because a type is needed for nothing else: the walk over a value does not look at annotations.
Leaves to `values` the walk, to `annotations` the finding of a handler's type.

An annotation is read as a *vocabulary*: the classes that occur anywhere in it, in the fields of those, and so on. An
instance is written with its class's name, and that name is looked up in the vocabulary when it is read. So a union
comes back as the member it was, a loose annotation (`-> None` on a handler that returns a dict) harms nothing, no
value is ever converted to its annotation, and nothing is imported by name. Only exact classes count: a subclass that
the annotation does not name would lose its type.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Annotated, Any, NewType, TypeVar, get_args, get_origin

import attrs
import cattrs

from durable.errors import RecordedError
from durable.events import Event, Signal
from durable.journal.codec.hints import arguments, field_names, hints
from durable.journal.codec.paths import long_name, short_name
from durable.journal.codec.tags import TO_PAYLOAD

_CACHED = 512
_ALIAS: Any = getattr(typing, "TypeAliasType", ())  # `type X = ...`, from Python 3.12 on
_OWN = (Event, Signal, RecordedError)
_NO_STATE = frozenset({"__dict__", "__weakref__", "__orig_class__", "_attrs_cached_hash"})
_BUILT_IN = frozenset({str, int, float, bool, type(None), object, list, dict, tuple, set, frozenset, *TO_PAYLOAD})
# These take the bare value out of a subclass, past all that the subclass overrides.
_BARE: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes(bytes.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}


@attrs.frozen(eq=False, repr=False)
class Form:
    """A form says how one class is taken apart and built again.

    With `is_named` an instance becomes a dict of fields, else a single value. `fields` are the attributes that the form
    takes, `slots` those that it does not. With `is_open` an instance may have others, in its `__dict__`.
    """

    is_named: bool
    taken: Callable[[Any], Any]
    built: Callable[[Any], Any]
    fields: frozenset[str] = frozenset()
    slots: tuple[str, ...] = ()
    is_open: bool = False


@attrs.frozen(eq=False, repr=False)
class Vocabulary:
    """A vocabulary maps names to the classes that may come back, and back."""

    classes: dict[str, type]
    names: dict[type, str]


# The hooks that users register.


def _as_it_is(value: object, _type: object = None) -> Any:
    return value


def _own_converter() -> cattrs.Converter:
    made = cattrs.Converter(
        unstructure_fallback_factory=lambda _: _as_it_is, structure_fallback_factory=lambda _: _as_it_is
    )
    # Inside a class with hooks, instances of other classes are left alone: the walk writes them.
    made.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and kind not in _BUILT_IN, _as_it_is)
    made.register_structure_hook_func(lambda kind: isinstance(kind, type) and kind not in _BUILT_IN, _as_it_is)
    return made


converter = _own_converter()
"""Holds the hooks for your own classes, in the way of cattrs.

Register both `register_unstructure_hook(cls, hook)` and `register_structure_hook(cls, hook)`. A class with hooks, named
by an annotation, is written and read by them; the first may return any value that can be kept. Nothing else uses this
converter, and cattrs' global one is not touched.
"""


@functools.cache
def _untouched() -> cattrs.Converter:
    return _own_converter()


def _hooked(cls: type) -> bool:
    bare = _untouched()
    pairs = (
        (converter.get_structure_hook(cls), bare.get_structure_hook(cls)),
        (converter.get_unstructure_hook(cls), bare.get_unstructure_hook(cls)),
    )
    return any(_function(mine) is not _function(other) for mine, other in pairs)


def _function(hook: Any) -> object:
    return getattr(hook, "__func__", hook)


# The forms.

_forms: dict[type, tuple[object, object, Form | None]] = {}


def form(cls: type) -> Form | None:
    """Return the form of instances of exactly this class, or None if they cannot be kept."""
    hooks = converter.get_structure_hook(cls), converter.get_unstructure_hook(cls)
    known = _forms.get(cls)
    # A known form counts only with the same hooks: in a notebook, hooks may be registered later.
    if known is not None and known[0] is hooks[0] and known[1] is hooks[1]:
        return known[2]
    found = _hooks_form(cls) if _hooked(cls) else _default_form(cls)
    if len(_forms) >= _CACHED:
        _forms.clear()
    _forms[cls] = (*hooks, found)
    return found


def _hooks_form(cls: type) -> Form:
    return Form(
        is_named=False,
        taken=lambda value: converter.unstructure(value, unstructure_as=cls),
        built=lambda tree: converter.structure(tree, cls),
    )


def _default_form(cls: type) -> Form | None:
    bare = next((kind for kind in _BARE if issubclass(cls, kind)), None)
    if issubclass(cls, Enum):
        return Form(is_named=False, taken=_member_name, built=functools.partial(_member, cls))
    if bare is tuple and hasattr(cls, "_fields"):
        return _closed(cls, cls._fields, _named_items, functools.partial(_named_tuple, cls))
    fields = arguments(cls)
    if fields is not None and bare is None:
        names = tuple(fields)
        return _closed(cls, names, functools.partial(_taken, names), functools.partial(_instance, cls, fields))
    if fields is None and bare is not None and not issubclass(cls, defaultdict):  # a defaultdict also holds a callable
        return _closed(cls, (), _BARE[bare], cls)
    return None


def _closed(cls: type, fields: tuple[str, ...], taken: Callable[[Any], Any], built: Callable[[Any], Any]) -> Form:
    slots = {name for base in cls.__mro__ for name in _slots(base)} - set(fields) - _NO_STATE
    return Form(
        is_named=bool(fields) or attrs.has(cls) or dataclasses.is_dataclass(cls) or hasattr(cls, "_fields"),
        taken=taken,
        built=built,
        fields=frozenset(fields) | _NO_STATE,
        slots=tuple(slots),
        is_open=cls.__dictoffset__ != 0,
    )


def _slots(base: type) -> Iterable[str]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def _member_name(member: Enum) -> object:
    name = member.name
    # A combination of flags has no name of its own in the class.
    return name if type(member).__members__.get(name) is member else [member.value]


def _member(cls: type[Enum], tree: Any) -> Enum:
    if isinstance(tree, list):
        return cls(tree[0])
    if not isinstance(tree, str) or tree not in cls.__members__:
        raise ValueError(f"it has no member {tree!r} any more")
    return cls.__members__[tree]


def _named_items(value: Any) -> dict[str, Any]:
    return dict(zip(value._fields, tuple.__iter__(value), strict=True))


def _taken(names: tuple[str, ...], value: object) -> dict[str, Any]:
    # A field that `__init__` leaves out may not be set yet.
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _named_tuple(cls: Any, fields: dict[str, Any]) -> object:
    _check_fields(fields, cls._fields)
    missing = [name for name in cls._fields if name not in fields and name not in cls._field_defaults]
    if missing:
        raise ValueError(f"nothing is recorded for its field {missing[0]!r}")
    return tuple.__new__(cls, [fields[name] if name in fields else cls._field_defaults[name] for name in cls._fields])


def _instance(cls: type, arguments: dict[str, str | None], fields: dict[str, Any]) -> object:
    """Build an instance by calling its class, then restore each field.

    The call runs validators and sets attributes beyond the fields. A converter or `__init__` may have changed a field
    again, so each is set to what it was.
    """
    if fields.keys() != arguments.keys():
        _check_fields(fields, arguments)
    made = cls(**{alias: fields[name] for name, alias in arguments.items() if alias is not None and name in fields})
    for name, value in fields.items():
        if getattr(made, name, made) is not value:
            object.__setattr__(made, name, value)
    return made


def _check_fields(fields: dict[str, Any], known: Iterable[str]) -> None:
    unknown = fields.keys() - set(known)
    if unknown:
        raise ValueError(f"it has no field {min(unknown)!r} any more")


def beyond_fields(value: object, how: Form) -> set[str]:
    """Return the names of the attributes that an instance's form does not take.

    Attributes that can be recomputed are left out.
    """
    extra = {name for name in how.slots if hasattr(value, name)}
    if how.is_open:
        extra |= value.__dict__.keys() - how.fields
    return {name for name in extra if not isinstance(getattr(type(value), name, None), functools.cached_property)}


def is_lost(name: str, value: object, made: object) -> bool:
    """Return whether building the instance again did not restore this attribute.

    For a value that compares by identity only, such as a lock, it is enough that the attribute exists.
    """
    if not hasattr(made, name):
        return True
    old = getattr(value, name)
    by_value = "__eq__" in {name for base in type(old).__mro__[:-1] for name in base.__dict__}
    return by_value and bool(old != getattr(made, name))


# The vocabulary of an annotation.


def vocabulary(annotation: object) -> Vocabulary:
    """Return the classes that an annotation names, in their fields too."""
    found: dict[type, None] = {}
    open_: list[object] = [annotation]
    seen: dict[int, object] = {}
    while open_:
        part = open_.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, type) and get_origin(part) is None and part not in _BUILT_IN:
            found[part] = None
        open_ += _parts(part, found)
    return _named(found)


def _parts(part: Any, found: Iterable[type]) -> list[object]:
    origin = get_origin(part)
    if origin is Annotated:
        return [part.__origin__]
    if origin is not None:
        return [origin, *(type(item) if isinstance(item, Enum) else item for item in get_args(part))]
    if isinstance(part, list | tuple):  # the arguments of a Callable
        return list(part)
    if isinstance(part, NewType):
        return [part.__supertype__]
    if isinstance(part, TypeVar):
        return [part.__bound__, *part.__constraints__]
    if isinstance(part, _ALIAS):
        return [part.__value__]
    return _field_types(part, found) if isinstance(part, type) else []


def _field_types(cls: type, found: Iterable[type]) -> list[object]:
    generic = [item for base in getattr(cls, "__orig_bases__", ()) for item in get_args(base)]
    if not (field_names(cls) or typing.is_typeddict(cls)):
        return generic
    raw = [item for base in cls.__mro__ for item in inspect.get_annotations(base).values()]
    return generic + [item for item in raw if not isinstance(item, str)] + list(hints(cls, found).values())


def _named(found: Iterable[type]) -> Vocabulary:
    names: dict[type, str] = {cls: f"~{short_name(cls)}" for cls in _OWN}
    users = [cls for cls in found if cls not in _OWN]
    short = Counter(short_name(cls) for cls in users)
    long = Counter(long_name(cls) for cls in users)
    for cls in users:
        if short[short_name(cls)] == 1:
            names[cls] = f"~={short_name(cls)}"
        elif long[long_name(cls)] == 1:
            names[cls] = f"~={long_name(cls)}"
    return Vocabulary(classes={name: cls for cls, name in names.items()}, names=names)
