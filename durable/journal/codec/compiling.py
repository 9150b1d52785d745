"""Compile an annotation to the checks that it requires of a value.

Separate because it knows the many ways in which Python spells a type, and nothing about values.
Leaves to `hints` the annotations of a class's fields, to `fitting` the checks.

An annotation that cannot be checked, or does not resolve, allows anything. But an instance must fit its own class's
annotations wherever it stands. So even "anything" looks for instances of the classes that the whole annotation names.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin

from durable.journal.codec.atoms import ATOMS, CONTAINERS, DEPTH, is_plain
from durable.journal.codec.fitting import (
    ANYTHING,
    MISSING,
    NOTHING,
    Fit,
    Look,
    Part,
    all_fields,
    all_items,
    all_keys,
    all_pairs,
    any_of,
    fits,
    leaf,
    proven_items,
    proven_keys,
    proven_pairs,
)
from durable.journal.codec.hints import field_names, filled, given_by, hints, keys, unmarked

_DEEPEST = 50  # levels of an annotation; deeper parts allow anything
_ALIAS: Any = getattr(typing, "TypeAliasType", ())  # `type X = ...`, from Python 3.12 on
_TEXTS = (str, bytes)
_COLLECTIONS = (list, tuple, set, frozenset, dict)
# The value's own level is not known here. One that ends within a hundred levels stays within two hundred on any level
# at which this check is used.
_PLAIN = Look(lambda value: type(value) in CONTAINERS and is_plain(value, DEPTH // 2), ATOMS)


def compiled(annotation: object, known: Iterable[type]) -> Fit:
    """Return the fit of an annotation; `known` are all classes that it names."""
    try:
        return _Compiling(known).fit(annotation)
    except Exception:  # an object in the place of an annotation, which raises when it is read
        return Fit("anything")


def said(annotation: Any) -> str:
    """Return an annotation as text."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    return repr(annotation).replace("typing.", "")


class _Compiling:
    """Compiles one annotation and its parts, each of them once."""

    def __init__(self, known: Iterable[type]) -> None:
        self._known = dict.fromkeys(known)
        self._made: dict[Any, Fit | None] = {}  # None while a fit is being made
        self._kept: list[Any] = []
        self._depth = 0
        self._open = Fit("anything", proof=_PLAIN)
        if any(field_names(cls) for cls in self._known):
            self._open = Fit("anything", deep=Look(self._holds, ATOMS), proof=_PLAIN, parts=self._held)

    def fit(self, annotation: Any) -> Fit:
        """Return the fit of a part of the annotation."""
        annotation = unmarked(annotation)[1]
        key = self._key(annotation)
        if key in self._made:
            made = self._made[key]
            return self._unfinished(annotation, key) if made is None else made
        if self._depth > _DEEPEST:
            return self._open
        self._made[key] = None
        self._depth += 1
        made = self._made[key] = self._new(annotation)
        self._depth -= 1
        return made

    def _key(self, annotation: Any) -> Any:
        try:
            hash(annotation)
        except TypeError:  # such as list[Annotated[int, []]]
            self._kept.append(annotation)  # kept alive, so that no other object gets its id
            return id(annotation)
        return annotation

    def _unfinished(self, annotation: Any, key: Any) -> Fit:
        def finished() -> Fit:
            made = self._made[key]
            assert made is not None
            return made

        return Fit(
            said(annotation),
            Look(lambda value: finished().outer.check(value)),
            Look(lambda value: finished().deep.check(value)),
            Look(lambda value: finished().plain.check(value)),
            finished=finished,
        )

    def _new(self, annotation: Any) -> Fit:
        if annotation is Any or annotation is object:
            return self._open
        if annotation is None or annotation is type(None):
            return leaf("None", lambda value: value is None, type(None))
        if annotation is float:  # an int stands for a float, as for type checkers
            return leaf("float", lambda value: isinstance(value, float | int) and type(value) is not bool, float, int)
        if annotation is int:
            return leaf("int", lambda value: isinstance(value, int) and type(value) is not bool, int)
        if isinstance(annotation, NewType):
            return self.fit(annotation.__supertype__)
        if isinstance(annotation, _ALIAS):
            return self.fit(annotation.__value__)
        if isinstance(annotation, TypeVar):
            return self._variable(annotation)
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Union or origin is types.UnionType:
            return self._union(annotation, args)
        if origin is Literal:
            return _literal(annotation)
        if isinstance(origin, _ALIAS):
            return self.fit(filled(origin.__value__, dict(zip(origin.__type_params__, args, strict=False))))
        cls = annotation if origin is None else origin
        if typing.is_typeddict(cls):
            return self._typed_dict(annotation, cls, args)
        if not isinstance(cls, type) or getattr(cls, "_is_protocol", False):
            return self._open
        return self._class(annotation, cls, args)

    def _variable(self, variable: TypeVar) -> Fit:
        if variable.__constraints__:
            return self._union(variable, variable.__constraints__)
        return self._open if variable.__bound__ is None else self.fit(variable.__bound__)

    def _union(self, annotation: Any, args: tuple[Any, ...]) -> Fit:
        members = tuple(self.fit(one) for one in args)
        if any(one is self._open for one in members):
            return self._open
        outer, deep, plain, proof = (
            any_of([getattr(one, which) for one in members]) for which in ("outer", "deep", "plain", "proof")
        )
        return Fit(said(annotation), outer, deep, plain, proof, members=members)

    def _class(self, annotation: Any, cls: type, args: tuple[Any, ...]) -> Fit:
        if field_names(cls):
            return self._fields(annotation, cls, args)
        if issubclass(cls, _COLLECTIONS) or cls.__module__ == "collections.abc":
            base = _collection_base(cls, args)
            if base is not None:
                return _narrowed(annotation, cls, self.fit(base))
            if issubclass(cls, tuple):
                return self._tuple(annotation, cls, args)
            if issubclass(cls, collections.abc.Mapping):
                return self._mapping(annotation, cls, args)
            if issubclass(cls, collections.abc.Iterable):
                return self._items(annotation, cls, args[0] if len(args) == 1 else Any)
        return leaf(said(annotation), lambda value: isinstance(value, cls), cls)

    # Types that hold others.

    def _holds(self, value: Any) -> bool:
        return all(
            type(part.value) in part.asked.deep.kinds or fits(part.value, part.asked.deep) for part in self._held(value)
        )

    def _held(self, value: Any) -> Iterator[Part]:
        kind = type(value)
        if kind in self._known and field_names(kind):
            yield from self.fit(kind).parts(value)
        elif isinstance(value, dict):
            for key, item in dict.items(value):
                yield Part("{key}", key, key, self._open)
                yield Part("{}", key, item, self._open)
        elif isinstance(value, _COLLECTIONS):
            for index, item in enumerate(value):
                yield Part("[]", index, item, self._open)

    def _fields(self, annotation: Any, cls: type, args: tuple[Any, ...]) -> Fit:
        found, given = hints(cls, self._known), given_by(cls, args)
        fields = [(name, self.fit(filled(found[name], given))) for name in field_names(cls) or () if name in found]

        def parts(value: Any) -> Iterator[Part]:
            if type(value) is not cls and type(value) in self._known:  # a subclass may have further fields
                yield from self.fit(type(value)).parts(value)
                return
            for name, asked in fields:
                if hasattr(value, name):
                    yield Part(f".{name}", name, getattr(value, name), asked)

        def other(value: Any) -> bool:
            return isinstance(value, cls) and all(fits(part.value, part.asked.deep) for part in parts(value))

        outer = Look(lambda value: isinstance(value, cls))
        deep = all_fields(cls, [(name, asked.deep) for name, asked in fields], other)
        return Fit(said(annotation), outer, deep, outer, parts=parts)

    def _items(self, annotation: Any, cls: type, asked: Any) -> Fit:
        item = self.fit(asked)
        texts = _texts_of(asked)

        def parts(value: Any) -> Iterator[Part]:
            if isinstance(value, _COLLECTIONS):
                for index, one in enumerate(value):
                    yield Part("[]", index, one, item)

        def check(value: Any) -> bool:
            return isinstance(value, cls) and (not isinstance(value, _TEXTS) or isinstance(value, texts))

        outer = Look(check, _kinds(cls, (list, tuple, set, frozenset)))
        deep, plain = all_items(outer, item.deep), all_items(outer, item.plain)
        proof = proven_items(item.proof) if issubclass(list, cls) else NOTHING
        return Fit(said(annotation), outer, deep, plain, proof, parts)

    def _mapping(self, annotation: Any, cls: type, args: tuple[Any, ...]) -> Fit:
        key, value = (self.fit(one) for one in (*args[:2], Any, Any)[:2])

        def parts(mapping: Any) -> Iterator[Part]:
            if isinstance(mapping, dict):
                for name, one in dict.items(mapping):
                    yield Part("{key}", name, name, key)
                    yield Part("{}", name, one, value)

        outer = Look(lambda mapping: isinstance(mapping, cls), _kinds(cls, (dict,)))
        plain_key = ANYTHING if str in key.plain.kinds else key.plain
        deep, plain = all_pairs(outer, key.deep, value.deep), all_pairs(outer, plain_key, value.plain)
        proof = proven_pairs(value.proof) if issubclass(dict, cls) and str in key.proof.kinds else NOTHING
        return Fit(said(annotation), outer, deep, plain, proof, parts)

    def _tuple(self, annotation: Any, cls: type[tuple[Any, ...]], args: tuple[Any, ...]) -> Fit:
        is_bare = not args and annotation not in (tuple[()], typing.Tuple[()])  # noqa: UP006
        if is_bare or any(get_origin(one) is typing.Unpack for one in args):
            args = (Any, ...)
        if len(args) == 2 and args[1] is ...:
            return self._items(annotation, cls, args[0])
        asked = [self.fit(one) for one in args]

        def parts(value: Any) -> Iterator[Part]:
            for index, (one, fit) in enumerate(zip(value, asked, strict=False)):
                yield Part(f"[{index}]", index, one, fit)

        def check(value: Any) -> bool:
            return isinstance(value, cls) and tuple.__len__(value) == len(asked)

        def deep(value: Any) -> bool:
            return check(value) and all(fit.deep.check(one) for one, fit in zip(value, asked, strict=True))

        return Fit(said(annotation), Look(check), Look(deep), Look(check), parts=parts)

    def _typed_dict(self, annotation: Any, cls: type, args: tuple[Any, ...]) -> Fit:
        given = given_by(cls, args)
        fields = {
            name: (self.fit(filled(asked, given)), is_required)
            for name, (asked, is_required) in keys(cls, self._known).items()
        }

        def parts(value: Any) -> Iterator[Part]:
            for name, (asked, is_required) in fields.items():
                if is_required or name in value:
                    yield Part(f".{name}", name, value.get(name, MISSING), asked)

        def look(which: str) -> Look:
            musts = [(name, getattr(fit, which)) for name, (fit, is_required) in fields.items() if is_required]
            mays = [(name, getattr(fit, which)) for name, (fit, is_required) in fields.items() if not is_required]
            return all_keys(musts, mays)

        outer = Look(lambda value: isinstance(value, dict), frozenset({dict}))
        proof = proven_keys([(name, asked.proof) for name, (asked, _) in fields.items()])
        return Fit(said(annotation), outer, look("deep"), look("plain"), proof, parts)


def _literal(annotation: Any) -> Fit:
    members = get_args(annotation)
    return leaf(said(annotation), lambda value: any(type(value) is type(one) and value == one for one in members))


def _kinds(cls: type, usual: Iterable[type]) -> frozenset[type]:
    return frozenset({cls, *(kind for kind in usual if issubclass(kind, cls))})


def _texts_of(item: Any) -> tuple[type, ...]:
    """Return the text types that are sequences of such items for type checkers."""
    members = get_args(item) if get_origin(item) in (Union, types.UnionType) else (item,)
    if any(one is Any or one is object or isinstance(one, TypeVar) for one in members):
        return _TEXTS
    return tuple(kind for kind, of in ((str, str), (bytes, int)) if of in members)


def _collection_base(cls: type, args: tuple[Any, ...]) -> Any:
    """Return the collection type, with its items, that a user's class derives from."""
    given = given_by(cls, args)
    for base in cls.__dict__.get("__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, _COLLECTIONS):
            return filled(base, given)
    return None


def _narrowed(annotation: Any, cls: type, base: Fit) -> Fit:
    def both(look: Look, value: Any) -> bool:
        return isinstance(value, cls) and look.check(value)

    outer, deep, plain = (Look(partial(both, look)) for look in (base.outer, base.deep, base.plain))
    return Fit(said(annotation), outer, deep, plain, parts=base.parts)
