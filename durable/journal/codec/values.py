"""A user's value to one line of JSON text and back: what comes back equals what went in, with the same types.

Separate because this promise is one thing, and the hot path of every step.
Leaves to `writing` and `reading` what is not JSON's own, to `fitting` whether a value is what its annotation says, to
`bodies` our own records.

Values of JSON's own types are checked and written by C code, without a copy. Everything else is walked. Nothing is
converted to fit an annotation: a value comes back as what it was or is refused when it is written, by reading the text
once and writing that again. A value that is not what its annotation says is marked with the places inside where it is
not: there, and only there, it is what was expected when it is read (R6).
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
from durable.journal.codec.fitting import ABSENT, ANYTHING, MISSING, NOTHING, Check, Fit, Look, Misfit, fits, misfits
from durable.journal.codec.from_tree import LOOSE, PLACES, Reading
from durable.journal.codec.paths import brief, shown_path, why
from durable.journal.codec.remedies import HOOKS, Whose
from durable.journal.codec.tags import LONG, MARK, SCAN, WRITE, dumps, is_long, loads
from durable.journal.codec.to_tree import Writing

_OWN = frozenset({Event, Signal, RecordedError})
_STR = frozenset({str})
_CACHED = 512
# The text that was written last and was found to fit, and its type: live, it is read next, and fits still.
_last_written: Json | None = None
_last_type: _Type | None = None
_digits = sys.get_int_max_str_digits
_LOOSE = f'{{"{LOOSE}":'
# In a value of more text, or with more of them, what does not fit is not looked for one by one: all of it is exempt.
_MOST_TEXT, _MOST_MISFITS = 64 * 1024, 1_000
_NO_ROOM = "$: the value is nested deeper than what is left of the stack: keep it flatter"


@attrs.frozen(eq=False, repr=False)
class _Type:
    """An annotation, read once: the classes that it names and what it asks for."""

    annotation: object
    words: Vocabulary
    fit: Fit
    plain: Look
    proof: Check | None  # None: where there is none, or where the outermost alone says all of a plain value


_types: dict[int, _Type] = {}  # by identity: the same annotation comes again and again, and hashing one takes longer
_equal: dict[object, _Type] = {}


def _typed(annotation: object) -> _Type:
    known = _types.get(id(annotation))
    if known is not None:
        return known
    found = _looked_up(annotation)
    if len(_types) >= _CACHED:
        _types.clear()
    # It holds the annotation, whose identity so stays its own.
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
    except Exception:  # an object that stands where an annotation belongs, and refuses to be looked at: it names none
        return attrs.evolve(_UNTYPED, annotation=annotation)
    fit = compiled(annotation, [cls for cls in words.names if cls not in _OWN])
    is_outermost = fit.plain is ANYTHING or CONTAINERS & fit.plain.kinds
    return _Type(annotation, words, fit, fit.plain, None if is_outermost or fit.proof is NOTHING else fit.proof.check)


_UNTYPED = _Type(ABSENT, vocabulary(ABSENT), Fit("anything"), ANYTHING, None)


def encode(value: object, type_: object = ABSENT, *, whose: Whose | None = None, room: int = 0) -> Json:
    """Return `value` as JSON text in one line of ASCII characters, so its length is its size in bytes.

    `type_` is an annotation: instances of the classes that it names come back, others are refused. Values that need
    no class are kept whatever it says; what is not what it says is marked, so that reading it under the same
    annotation gives it back. `whose` says for whom a refusal's remedy is: with a type a handler's value, else data.
    `room`: see `enclose`. The same value gives the same text; sets are sorted by theirs.

    Raises:
        CodecError: the value could not come back equal and of the same types, holds itself, is nested deeper than 200
            levels, or a class of the user's raises. The message names the path and the remedy. Source: rule R10.
    """
    global _last_written, _last_type
    kind = type(value)
    known = _UNTYPED if type_ is ABSENT else _types.get(id(type_)) or _typed(type_)
    try:
        is_proven = known.proof is not None and kind in CONTAINERS and known.proof(value)
        is_plainly = is_proven or kind in ATOMS
        if not is_plainly and type(value) is dict:  # one of atoms is told in C
            is_plainly = ATOMS.issuperset(map(type, value.values())) and _STR.issuperset(map(type, value))
        if is_plainly or (kind in CONTAINERS and is_plain(value, 1 - room)):
            # Ints of very many digits are not JSON's: one that is a text of these takes long to write and to read.
            is_short = kind is str or 0 < _digits() <= LONG or not _holds_long(value)
            written = "".join(WRITE(value, 0)) if is_short else MARK
            # Halves of a surrogate pair side by side are read as one character, and are spelled as that character is.
            if MARK not in written and ("\\ud" not in written or loads(written) == value):
                if known.plain is ANYTHING or kind in known.plain.kinds:
                    return written
                if is_proven or known.plain.check(value):
                    _last_written, _last_type = written, known
                    return written
                return _loosely(written, value, known.fit)
    except Exception:  # NaN, infinities and very long ints; a stack that is nearly full; a check that a class refuses
        pass
    return _encode_tagged(value, known, whose or (Whose.DATA if type_ is ABSENT else Whose.HANDLER), DEPTH + room)


def decode(written: Json, type_: object = ABSENT, *, deep: bool = True) -> Any:
    """Return the value that `encode` wrote; `type_` must name the classes that it named then.

    `deep`: what is inside must fit the type, too. Not so for texts of the releases that looked at the outermost alone
    when they wrote: what did not fit inside is not marked in these.

    Raises:
        CodecError: the value does not fit the type any more: it is of another kind, or a class, a field or a member was
            removed or renamed, or refuses the values. Also for text that `encode` did not write.
    """
    known = _UNTYPED if type_ is ABSENT else _types.get(id(type_)) or _typed(type_)
    look = known.plain
    try:
        try:
            value, end = SCAN(written) if len(written) <= LONG else (None, -1)  # in place: it is done for each outcome
        except ValueError:
            end = -1
        if end != len(written):  # it is long, or not JSON, or holds an int of more digits than the interpreter reads
            value = loads(written)
        if MARK in written:
            look, value = known.fit.deep, Reading(known.words).value(value)
    except ValueError as error:
        raise CodecError(f"$: the text is not what the codec writes: {error}") from error
    except RecursionError:
        raise CodecError(_NO_ROOM) from None
    if look is ANYTHING or type(value) in look.kinds or (_last_written is written and _last_type is known):
        return value
    _check_fit(written, value, known.fit, look if deep else known.fit.outer)
    return value


def copied(value: object) -> tuple[Json, Any]:
    """Return the text of a value that is sent along, and what it is read as: a copy that nobody else holds.

    Raises:
        CodecError: as for `encode`.
    """
    written = encode(value)
    return written, decode(written)


def outline(written: Json) -> Any:
    """Return the value that `encode` wrote, to be looked at where its classes are not known.

    An instance stands as what it is made of, in plain values; so does whatever cannot be read here. Text that is not
    the codec's at all stands as it is.
    """
    for read in (Reading(_UNTYPED.words, is_outline=True).value, _as_it_is):
        try:
            return read(loads(written))
        except Exception:  # whatever a text that nobody wrote may lead to: it is shown as far as it can be read
            continue
    return written


def _as_it_is(tree: Any) -> Any:
    return tree


def _holds_long(value: Any) -> bool:
    if type(value) is int:
        return is_long(value)
    return type(value) in CONTAINERS and any(map(_holds_long, value.values() if type(value) is dict else value))


def _encode_tagged(value: object, known: _Type, whose: Whose, depth: int) -> Json:
    writing = Writing(known.words, is_typed=known is not _UNTYPED, whose=whose, depth=depth)
    try:
        tree = writing.tree(value)
        written = dumps(tree)
        if writing.has_instances:
            _check_same(written, tree, known.words, depth)
        return written if fits(value, known.fit.deep) else _loosely(written, value, known.fit)
    except RecursionError:
        raise CodecError(_NO_ROOM) from None
    except (CodecError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a class of the user's: its metaclass, a comparison, an attribute
        raise writing.refusal(f"the value cannot be kept, since its own class raises {why(error)}") from error


def _check_same(written: Json, tree: object, words: Vocabulary, depth: int) -> None:
    """Read what was written and write it again: an instance that does not come back as it was must be refused now."""
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


# What is not what its annotation says.


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
    """Return the places that did not fit when the value was written; a place of no steps is all of it."""
    if not written.startswith(_LOOSE):
        return []
    places = loads(written).get(PLACES, [[]])
    return places if isinstance(places, list) else [[]]


def _told(misfit: Misfit) -> str:
    path = shown_path(misfit.path)
    if misfit.value is MISSING:
        return f"{path}: nothing is recorded, which is not of the type {misfit.said}"
    return f"{path}: {brief(misfit.value)} is recorded, which is not of the type {misfit.said}"
