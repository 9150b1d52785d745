"""Check a value against an annotation, down to its innermost part.

For `list[int]` it must be a list, and each item an int.

Separate because the promise of `values` does not depend on it: a value that does not fit comes back all the same. But a
value that was recorded under one annotation must not pass for what another annotation now expects (R6).
Leaves to `compiling` the requirements of an annotation, to `values` the consequences of a misfit.

Each part of an annotation is a `Fit` with four checks: of the outermost alone; of everything; of everything in a value
of JSON's own types, whose keys are texts anyway; and a proof that a value fits and is of these types. The last two are
for the hot path. Where a value does not fit, `misfits` says at which places. A place is the list of the steps to it,
written in the same way for all values of the annotation: "[]" is any item, "{}" the value of any key, ".price" a field.
So the annotation alone bounds the number of places.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from durable.journal.codec.atoms import ATOMS

Check = Callable[[Any], bool]
_FEW = 8
_WALKED = (list, tuple, set, frozenset, dict)


class _Absent(enum.Enum):
    ABSENT = "no annotation"


ABSENT: Final = _Absent.ABSENT
"""Stands for a missing type, since None is a type of its own."""


class _Missing(enum.Enum):
    MISSING = "no value"


MISSING: Final = _Missing.MISSING
"""Stands for the value of a missing key."""


def _anything(_value: Any) -> bool:
    return True


@attrs.frozen(eq=False, repr=False)
class Look:
    """A look is a check, with the classes whose instances always pass it.

    These are instances of exactly these classes, not of subclasses.
    """

    check: Check = _anything
    kinds: frozenset[type] = frozenset()


ANYTHING, NOTHING = Look(), Look(lambda _: False)
_KEYS, _VALUES = Look(kinds=frozenset({type({}.keys())})), Look(kinds=frozenset({type({}.values())}))


@attrs.frozen(eq=False, repr=False)
class Part:
    """A part is a value inside another, with the fit that is required of it.

    `step` is the step to it in a place, `name` the step to it in a path.
    """

    step: str
    name: Any
    value: Any
    asked: Fit


def _no_parts(_value: Any) -> Iterator[Part]:
    return iter(())


@attrs.frozen(eq=False, repr=False)
class Fit:
    """A fit is what a part of an annotation requires; `said` is that part as text.

    `outer`, `deep`, `plain` and `proof` are the four checks. `parts` yields the parts of a value that passes `outer`.
    `members` are the members of a union, which has no parts. `finished` returns the complete fit of an annotation that
    holds itself.
    """

    said: str
    outer: Look = ANYTHING
    deep: Look = ANYTHING
    plain: Look = ANYTHING
    proof: Look = NOTHING
    parts: Callable[[Any], Iterator[Part]] = _no_parts
    members: tuple[Fit, ...] = ()
    finished: Callable[[], Fit] | None = None


@attrs.frozen(eq=False, repr=False)
class Misfit:
    """A misfit is a value that does not fit, with its place and its path.

    `said` is the part of the annotation that it does not fit.
    """

    place: tuple[str, ...]
    path: tuple[Any, ...]
    value: Any
    said: str


def fits(value: Any, look: Look) -> bool:
    """Return whether a value passes a check.

    A value that cannot be checked, because a user's class raises, passes.
    """
    try:
        return look.check(value)
    except RecursionError:
        raise
    except Exception:  # __instancecheck__, a property, an iterator
        return True


def misfits(value: Any, fit: Fit) -> Iterator[Misfit]:
    """Yield the outermost values that do not fit."""
    return _misfits(value, fit, (), ())


def _misfits(value: Any, fit: Fit, place: tuple[str, ...], path: tuple[Any, ...]) -> Iterator[Misfit]:
    said = fit.said
    while fit.members or fit.finished is not None:
        if fit.finished is not None:
            fit = fit.finished()
            continue
        fitting = [one for one in fit.members if value is not MISSING and fits(value, one.outer)]
        if len(fitting) != 1:
            yield Misfit(place, path, value, said)
            return
        [fit] = fitting
    if value is MISSING or not fits(value, fit.outer):
        yield Misfit(place, path, value, said)
        return
    for part in fit.parts(value):
        if part.value is MISSING or not fits(part.value, part.asked.deep):
            yield from _misfits(part.value, part.asked, (*place, part.step), (*path, part.name))


# The checks that an annotation is made of.


def leaf(said: str, check: Check, *kinds: type) -> Fit:
    """Return the fit of an annotation that requires nothing of a value's parts."""
    look = Look(check, frozenset(kinds))
    return Fit(said, look, look, look, Look(NOTHING.check, ATOMS & look.kinds))


def any_of(looks: Sequence[Look]) -> Look:
    """Return a check that a value passes if it passes one of these."""
    if ANYTHING in looks:
        return ANYTHING
    kinds = frozenset().union(*(look.kinds for look in looks))
    checks = [look.check for look in looks]

    def check(value: Any) -> bool:
        return type(value) in kinds or any(one(value) for one in checks)

    return Look(check, kinds)


def all_items(outer: Look, item: Look) -> Look:
    """Return the check of a collection whose items pass another."""
    if item is ANYTHING:
        return outer
    kinds, check = item.kinds, item.check

    def check_items(value: Any) -> bool:
        if type(value) not in outer.kinds:
            if not outer.check(value):
                return False
            if not isinstance(value, _WALKED):
                return True
        if len(value) > _FEW and kinds.issuperset(map(type, value)):  # C code, but slower than a short loop
            return True
        for one in value:  # noqa: SIM110 (a generator takes twice as long)
            if type(one) not in kinds and not check(one):
                return False
        return True

    return Look(check_items)


def all_pairs(outer: Look, key: Look, value: Look) -> Look:
    """Return the check of a mapping whose keys and values pass others."""
    if key is ANYTHING and value is ANYTHING:
        return outer
    keys, values = all_items(_KEYS, key).check, all_items(_VALUES, value).check

    def check(mapping: Any) -> bool:
        if type(mapping) not in outer.kinds:
            if not outer.check(mapping):
                return False
            if not isinstance(mapping, dict):
                return True
        return (key is ANYTHING or keys(dict.keys(mapping))) and (value is ANYTHING or values(dict.values(mapping)))

    return Look(check)


def all_keys(required: Iterable[tuple[str, Look]], optional: Iterable[tuple[str, Look]]) -> Look:
    """Return the check of a dict by the names of its keys; further keys are allowed."""
    musts = [(name, look.kinds, look.check) for name, look in required]
    mays = [(name, look.kinds, look.check) for name, look in optional if look is not ANYTHING]

    def check(value: Any) -> bool:
        if type(value) is not dict and not isinstance(value, dict):
            return False
        try:
            for name, kinds, fit in musts:
                one = value[name]
                if type(one) not in kinds and not fit(one):
                    return False
        except KeyError:
            return False
        for name, kinds, fit in mays:
            if name in value and type(value[name]) not in kinds and not fit(value[name]):
                return False
        return True

    return Look(check)


# The proofs for these checks; `NOTHING` if there is no proof.


def proven_items(item: Look) -> Look:
    """Return the proof of a list."""
    kinds, check = item.kinds, item.check
    if item is NOTHING:
        return NOTHING

    def proof(value: Any) -> bool:
        if type(value) is not list:
            return False
        if len(value) > _FEW and kinds.issuperset(map(type, value)):
            return True
        for one in value:  # noqa: SIM110 (a generator takes twice as long)
            if type(one) not in kinds and not check(one):
                return False
        return True

    return Look(proof)


def proven_pairs(value: Look) -> Look:
    """Return the proof of a dict whose keys are texts."""
    kinds, check = value.kinds, value.check
    if value is NOTHING:
        return NOTHING

    def proof(mapping: Any) -> bool:
        if type(mapping) is not dict:
            return False
        for name, one in mapping.items():
            if type(name) is not str or (type(one) not in kinds and not check(one)):
                return False
        return True

    return Look(proof)


def proven_keys(fields: Iterable[tuple[str, Look]]) -> Look:
    """Return the proof of a dict that has these keys and no others."""
    asked = [(name, look.kinds, look.check) for name, look in fields]
    if any(look is NOTHING for _, look in fields):
        return NOTHING

    def proof(value: Any) -> bool:
        if type(value) is not dict or len(value) != len(asked):
            return False
        for name in value:
            if type(name) is not str:  # an object of another class may be equal to a name
                return False
        try:
            for name, kinds, check in asked:
                one = value[name]
                if type(one) not in kinds and not check(one):
                    return False
        except KeyError:
            return False
        return True

    return Look(proof)


def all_fields(cls: type, fields: Iterable[tuple[str, Look]], other: Check) -> Look:
    """Return the check of an instance by its fields.

    `other` checks values that are not of exactly this class.
    """
    asked = [(name, look.kinds, look.check) for name, look in fields if look is not ANYTHING]
    if not asked:
        return Look(other, frozenset({cls}))

    def check(value: Any) -> bool:
        if type(value) is not cls:
            return other(value)
        for name, kinds, fit in asked:
            one = getattr(value, name, MISSING)  # one that `__init__` leaves out may not be set yet
            if type(one) not in kinds and one is not MISSING and not fit(one):
                return False
        return True

    return Look(check)
