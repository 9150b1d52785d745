"""Write a user's value as one line of JSON text, and read it back equal.

Separate because every step depends on this promise, and goes through this module: a value comes back with the same
types, or is refused.
Leaves to `to_tree` and `from_tree` values beyond JSON, to `fitting` the comparison with an annotation, to `write` the
library's own records.

Values of JSON's own types are checked and written by C code, without a copy. All others are walked. Nothing is
converted to fit an annotation. A value is refused when it is written if it would not come back equal; to find out, the
text is read once and written again. A value that does not fit its annotation is marked with the places inside at which
it does not. Only at these places it need not fit when it is read (R6).
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import attrs

from durable.errors import CodecError, RecordedError
from durable.events import Event, Json, Signal
from durable.journal.codec.atoms import ATOMS, CONTAINERS, DEPTH, is_plain
from durable.journal.codec.classes import Vocabulary, vocabulary
from durable.journal.codec.compiling import compiled
from durable.journal.codec.events import event_text, plain_event
from durable.journal.codec.fitting import ABSENT, ANYTHING, MISSING, NOTHING, Check, Fit, Look, Misfit, fits, misfits
from durable.journal.codec.from_tree import LOOSE, PLACES, Reading
from durable.journal.codec.paths import brief, shown_path, why
from durable.journal.codec.remedies import HOOKS, Whose
from durable.journal.codec.tags import LONG, MARK, SCAN, WRITE, dumps, is_long, loads
from durable.journal.codec.to_tree import Writing

_OWN = frozenset({Event, Signal, RecordedError})
_CACHED = 512
_digits = sys.get_int_max_str_digits
_LOOSE = f'{{"{LOOSE}":'
# With more text or more misfits than this, single misfits are not searched for: the whole value is exempt.
_MOST_TEXT, _MOST_MISFITS = 64 * 1024, 1_000
_NO_ROOM = "$: the value is nested deeper than what is left of the stack: keep it flatter"


@attrs.frozen(eq=False, repr=False)
class _Type:
    """A type is an annotation that was read once: its classes, and what it requires."""

    annotation: object
    words: Vocabulary
    fit: Fit
    plain: Look
    proof: Check | None  # None if there is no proof, or if the outermost level decides about a plain value


_types: dict[int, _Type] = {}  # by identity, since the same object comes again and again, and hashing it takes longer
_equal: dict[object, _Type] = {}


def _typed(annotation: object) -> _Type:
    known = _types.get(id(annotation))
    if known is not None:
        return known
    found = _looked_up(annotation)
    if len(_types) >= _CACHED:
        _types.clear()
    # The value keeps the annotation alive, so that no other object gets its id.
    _types[id(annotation)] = made = attrs.evolve(found, annotation=annotation)
    return made


def _looked_up(annotation: object) -> _Type:
    try:
        known = _equal.get(annotation)
        if known is None:
            if len(_equal) >= _CACHED:
                _equal.clear()
            known = _equal[annotation] = _read_type(annotation)
        return known
    except Exception:  # an annotation that cannot be hashed, such as Annotated[int, []]
        return _read_type(annotation)


def _read_type(annotation: object) -> _Type:
    try:
        words = vocabulary(annotation)
    except Exception:  # an object in the place of an annotation, which raises when it is read: it names no classes
        return attrs.evolve(_UNTYPED, annotation=annotation)
    fit = compiled(annotation, [cls for cls in words.names if cls not in _OWN])
    is_outermost = fit.plain is ANYTHING or CONTAINERS & fit.plain.kinds
    return _Type(annotation, words, fit, fit.plain, None if is_outermost or fit.proof is NOTHING else fit.proof.check)


_UNTYPED = _Type(ABSENT, vocabulary(ABSENT), Fit("anything"), ANYTHING, None)

# What was written last: its text, its type, which it fits, and an equal value. A live run reads it next. An atom, or a
# dict of atoms, need not be read for that: a copy made when it was written is all that reading could give (R3).
_UNREAD: Any = object()
_latest: tuple[Json, _Type, Any] = ("", _UNTYPED, _UNREAD)


def encode(value: object, type_: object = ABSENT, *, whose: Whose | None = None, room: int = 0) -> Json:
    """Return a value as JSON text in one line of ASCII.

    So the length of the text is its size in bytes. `type_` is an annotation. Instances of the classes that it names
    come back, other instances are refused. Values that need no class are kept even if they do not fit the annotation.
    They are then marked, and come back when they are read under the same annotation. `whose` names the owner of the
    value, for the remedy in an error; by default a handler if there is a type, else the sender of data. `room`: see
    `enclose`. Equal values of the same types give the same text; the members of sets are sorted by their text.

    Raises:
        CodecError: the value could not come back equal and of the same types, holds itself, is nested deeper than 200
            levels, or a user's class raises. The message names the path and the remedy. Source: rule R10.
    """
    global _latest
    kind = type(value)
    known = _UNTYPED if type_ is ABSENT else _types.get(id(type_)) or _typed(type_)
    try:
        is_simple = kind in ATOMS or (type(value) is dict and _is_flat(value))
        is_proven = not is_simple and known.proof is not None and kind in CONTAINERS and known.proof(value)
        if is_simple or is_proven or (kind in CONTAINERS and is_plain(value, 1 - room)):
            # Very long ints are written under a tag, since their digits take long to write and to read.
            is_short = kind is str or 0 < _digits() <= LONG or not _holds_long(value)
            written = "".join(WRITE(value, 0)) if is_short else MARK
            # Two halves of a surrogate pair side by side are written like one character, and would be read as that.
            if MARK not in written and ("\\ud" not in written or loads(written) == value):
                if not (known.plain is ANYTHING or kind in known.plain.kinds or is_proven or known.plain.check(value)):
                    return _loosely(written, value, known.fit)
                _latest = written, known, (dict(value) if type(value) is dict else value) if is_simple else _UNREAD
                return written
    except Exception:  # NaN, an infinity, a very long int, a nearly full stack, or a class that refuses a check
        pass
    return _encode_tagged(value, known, whose or (Whose.DATA if type_ is ABSENT else Whose.HANDLER), DEPTH + room)


def decode(written: Json, type_: object = ABSENT, *, deep: bool = True) -> Any:
    """Return the value that `encode` wrote.

    `type_` must still name the classes that it named then. With `deep` all parts of the value must fit the type. Texts
    of earlier releases are read without it: these checked only the outermost level, and did not mark misfits inside.

    Raises:
        CodecError: the value does not fit the type any more: it is of another kind, or a class, a field or a member was
            removed or renamed, or refuses the values. Or `encode` did not write the text.
    """
    latest, latest_type, kept = _latest
    is_latest = written is latest and latest_type.annotation is type_
    if is_latest and kept is not _UNREAD:
        return kept.copy() if type(kept) is dict else kept
    known = _UNTYPED if type_ is ABSENT else _types.get(id(type_)) or _typed(type_)
    look = known.plain
    try:
        try:
            value, end = SCAN(written) if len(written) <= LONG else (None, -1)  # in place: each outcome comes here
        except ValueError:
            end = -1
        if end != len(written):  # the text is long, is not JSON, or holds an int that the interpreter refuses
            value = loads(written)
        if MARK in written:
            look, value = known.fit.deep, plain_event(written, value) or Reading(known.words).value(value)
    except ValueError as error:
        raise CodecError(f"$: the text is not what the codec writes: {error}") from error
    except RecursionError:
        raise CodecError(_NO_ROOM) from None
    if is_latest or look is ANYTHING or type(value) in look.kinds:
        return value
    _check_fit(written, value, known.fit, look if deep else known.fit.outer)
    return value


def outline(written: Json) -> Any:
    """Return the value that `encode` wrote, for readers that do not know its classes.

    Instances, and values that cannot be read, are replaced by the plain values that they are made of. Text that the
    codec did not write is returned as it is.
    """
    for read in (Reading(_UNTYPED.words, is_outline=True).value, _as_it_is):
        try:
            return read(loads(written))
        except Exception:  # damaged text may raise anything: it is shown as far as it can be read
            continue
    return written


def _as_it_is(tree: Any) -> Any:
    return tree


def _is_flat(mapping: dict[Any, Any]) -> bool:
    """Return whether a dict holds nothing but atoms under strings."""
    if len(mapping) > 8:  # C code, but slower than a short loop
        return ATOMS.issuperset(map(type, mapping.values())) and {str}.issuperset(map(type, mapping))
    for key, value in mapping.items():  # noqa: SIM110 (a generator takes twice as long)
        if type(key) is not str or type(value) not in ATOMS:
            return False
    return True


def _holds_long(value: Any) -> bool:
    if type(value) is int:
        return is_long(value)
    return type(value) in CONTAINERS and any(map(_holds_long, value.values() if type(value) is dict else value))


def _encode_tagged(value: object, known: _Type, whose: Whose, depth: int) -> Json:
    writing = Writing(known.words, is_typed=known is not _UNTYPED, whose=whose, depth=depth)
    try:
        written = _event(value, depth) if type(value) is Event else None
        if written is None:
            written = _walked(writing, value)
        return written if fits(value, known.fit.deep) else _loosely(written, value, known.fit)
    except RecursionError:
        raise CodecError(_NO_ROOM) from None
    except (CodecError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # from a user's class: its metaclass, a comparison or an attribute
        raise writing.refusal(f"the value cannot be kept, since its own class raises {why(error)}") from error


def _event(event: Event, depth: int) -> Json | None:
    try:
        data = encode(event.data, room=depth - DEPTH - 1)
    except CodecError:  # the walk finds it, too, and names its path in the event
        return None
    return event_text(event, data)


def _walked(writing: Writing, value: object) -> Json:
    tree = writing.tree(value)
    written = dumps(tree)
    if writing.has_instances:
        _check_same(written, tree, writing.words, writing.depth)
    return written


def _check_same(written: Json, tree: object, words: Vocabulary, depth: int) -> None:
    """Refuse a value that would not come back as it was.

    Its text is read and written again.
    """
    again = Writing(words, is_typed=True, whose=Whose.DATA, depth=depth).tree(Reading(words).value(loads(written)))
    if dumps(again) != written:
        path = shown_path([step for step in _difference(tree, again) if not step.startswith("~")])
        raise CodecError(f"{path}: the instance would come back with another value here: {HOOKS}")


def _difference(tree: Any, again: Any) -> list[str]:
    if isinstance(tree, dict) and isinstance(again, dict) and tree.keys() == again.keys():
        pairs = [(key, tree[key], again[key]) for key in tree]
    elif isinstance(tree, list) and isinstance(again, list) and len(tree) == len(again):
        pairs = [(f"[{index}]", *pair) for index, pair in enumerate(zip(tree, again, strict=True))]
    else:
        return []
    for key, one, other in pairs:
        if dumps(one) != dumps(other):
            return [key, *_difference(one, other)]
    return []


# Values that do not fit their annotation.


def _loosely(written: Json, value: object, fit: Fit) -> Json:
    """Mark a value with the places in it that do not fit."""
    found = list(islice(misfits(value, fit), _MOST_MISFITS)) if len(written) <= _MOST_TEXT else []
    places = list({misfit.place: None for misfit in found})
    if () in places or not 0 < len(found) < _MOST_MISFITS:
        return f"{_LOOSE}{written}}}"
    return f'{_LOOSE}{written},"{PLACES}":{dumps(places)}}}'


def _check_fit(written: Json, value: object, fit: Fit, look: Look) -> None:
    try:
        if fits(value, look):
            return
        exempt = _exempt(written)
        if exempt == [[]] or (exempt and look is fit.outer):
            return
        for misfit in misfits(value, fit):
            if not any(list(misfit.place[: len(place)]) == place for place in exempt):
                raise CodecError(_told(misfit))
    except RecursionError:
        raise CodecError(_NO_ROOM) from None


def _exempt(written: Json) -> list[list[str]]:
    """Return the places that did not fit when the value was written.

    A place without steps is the whole value.
    """
    if not written.startswith(_LOOSE):
        return []
    places = loads(written).get(PLACES, [[]])
    return places if isinstance(places, list) else [[]]


def _told(misfit: Misfit) -> str:
    path = shown_path(misfit.path)
    if misfit.value is MISSING:
        return f"{path}: nothing is recorded, which is not of the type {misfit.said}"
    return f"{path}: {brief(misfit.value)} is recorded, which is not of the type {misfit.said}"
