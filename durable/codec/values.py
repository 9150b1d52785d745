"""A user's value to one line of JSON text and back: what comes back equals what went in, with the same types.

Separate because this promise is one thing, and the hot path of every step.
Leaves to `tags` the plain values beyond JSON, to `classes` what an annotation allows, to `bodies` our own records.

Values of JSON's own types are checked and written by C code, without a copy. Everything else is walked: containers
here, plain values by their tag, instances by their class's form. Nothing is converted to fit an annotation: a value
comes back as what it was or is refused when it is written, by reading the text once and writing that again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from durable.codec.classes import Form, Vocabulary, beyond_fields, form, is_lost, vocabulary
from durable.codec.fitting import ABSENT, fits
from durable.codec.tags import FROM_PAYLOAD, MARK, TO_PAYLOAD, dumps, integer, loads, real, text
from durable.errors import CodecError, RecordedError
from durable.records import Event, Json, Signal

DEPTH = 200

_ATOMS = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = frozenset({dict, list})
_OWN = frozenset({Event, Signal, RecordedError})
_HOOKS = "register hooks for it on durable.codec.converter and name it in the annotation"
_SHOWN = 60
_LOOSE = '{"~loose":'  # a value that was not what its annotation said when it was written


def encode(value: object, type_: object = ABSENT) -> Json:
    """Return `value` as JSON text in one line of ASCII characters, so its length is its size in bytes.

    `type_` is an annotation: instances of the classes that it names come back, others are refused. Values that need
    no class are kept whatever it says; one that is not what it says is marked, so that reading it under the same
    annotation gives it back. The same value gives the same text; sets are sorted by theirs.

    Raises:
        CodecError: the value could not come back equal and of the same types, holds itself, or is nested deeper than
            200 levels. The message names the path and the remedy. Source: rule R10.
    """
    written = _written(value, type_)
    return written if fits(value, type_) else f"{_LOOSE}{written}}}"


def _written(value: object, type_: object) -> Json:
    kind = type(value)
    try:
        if kind in _ATOMS or (kind in _CONTAINERS and _is_plain(value, 1)):
            written = dumps(value)
            # Halves of a surrogate pair side by side are read as one character, and are spelled as that character is.
            if MARK not in written and ("\\ud" not in written or loads(written) == value):
                return written
    except (ValueError, RecursionError):  # NaN, infinities and very long ints; a stack that is nearly full
        pass
    try:
        return _encode_tagged(value, type_)
    except RecursionError:
        raise CodecError("$: the value is nested deeper than what is left of the stack: keep it flatter") from None


def decode(written: Json, type_: object = ABSENT) -> Any:
    """Return the value that `encode` wrote; `type_` must name the classes that it named then.

    Raises:
        CodecError: the value does not fit the type any more: it is of another kind, or a class, a field or a member was
            removed or renamed, or refuses the values. Also for text that `encode` did not write.
    """
    value = _read(written, type_)
    if not fits(value, type_) and not written.startswith(_LOOSE):
        raise CodecError(f"$: {written[:_SHOWN]} is recorded, which is not of the type {type_!r}")
    return value


def _read(written: Json, type_: object) -> Any:
    try:
        tree = loads(written)
        return _Reading(vocabulary(type_)).value(tree) if MARK in written else tree
    except ValueError as error:
        raise CodecError(f"$: the text is not what the codec writes: {error}") from error
    except RecursionError:
        raise CodecError("$: the value is nested deeper than what is left of the stack") from None


def outline(written: Json) -> Any:
    """Return the value that `encode` wrote, to be looked at where its classes are not known.

    An instance stands as what it is made of, in plain values; so does whatever cannot be read here.
    """
    return _Reading(vocabulary(ABSENT), is_outline=True).value(loads(written))


def _is_plain(container: Any, depth: int) -> bool:
    if type(container) is dict:
        for key in container:
            if type(key) is not str:
                return False
        container = container.values()
    # In C for a long one; the call costs more than a short one takes.
    if len(container) > 8 and _ATOMS.issuperset(map(type, container)):
        return True
    for child in container:
        kind = type(child)
        if kind in _ATOMS:
            continue
        if kind not in _CONTAINERS or depth >= DEPTH or not _is_plain(child, depth + 1):
            return False
    return True


def _encode_tagged(value: object, type_: object) -> Json:
    words = vocabulary(type_)
    writing = _Writing(words, is_typed=type_ is not ABSENT)
    tree = writing.tree(value)
    written = dumps(tree)
    if writing.has_instances:
        _check(written, tree, words)
    return written


def _check(written: Json, tree: object, words: Vocabulary) -> None:
    """Read what was written and write it again: an instance that does not come back as it was must be refused now."""
    again = _Writing(words, is_typed=True).tree(_Reading(words).value(loads(written)))
    if dumps(again) != written:
        path = _shown([step for step in _difference(tree, again) if not step.startswith("~")])
        raise CodecError(f"{path}: the instance would come back with another value here: {_HOOKS}")


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


# Paths.


def _shown(path: list[Any]) -> str:
    steps = path if len(path) <= 12 else [*path[:8], "...", *path[-3:]]
    return "$" + "".join(_step(step) for step in steps)


def _step(step: Any) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if isinstance(step, tuple):  # a key that is no string, or an element of a set
        return f"[{_brief(step[0])}]"
    if step.isidentifier():
        return f".{step}"
    return step if step == "..." or step.startswith("[") else f"[{_brief(step)}]"


def _brief(value: object) -> str:
    try:
        shown = repr(value)
    except Exception:  # a __repr__ of the user's must not hide the error that is being told
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."


# Writing.


class _Writing:
    """One walk from a value to a tree of JSON's own types; `path` is where it stands."""

    __slots__ = ("has_instances", "is_typed", "path", "words")

    def __init__(self, words: Vocabulary, *, is_typed: bool) -> None:
        self.words = words
        self.is_typed = is_typed
        self.path: list[Any] = []
        self.has_instances = False

    def tree(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return integer(value)
        if kind is float:
            return real(value)
        tagged = TO_PAYLOAD.get(kind)
        if tagged is not None:
            return self._tagged(value, *tagged)
        if len(self.path) >= DEPTH:
            raise CodecError(f"{_shown(self.path)}: the value is nested deeper than {DEPTH} levels, or holds itself")
        written = _WRITERS.get(kind, _instance_tree)
        return written(self, value)

    def child(self, step: Any, value: Any) -> Any:
        self.path.append(step)
        tree = self.tree(value)
        self.path.pop()
        return tree

    def _tagged(self, value: Any, tag: str, payload: Any) -> Any:
        try:
            return {tag: payload(value)}
        except RecursionError:
            raise
        except Exception as error:  # a key of ZoneInfo, a tzinfo of the user's: whatever it raises, it cannot be kept
            raise self.refusal(str(error)) from error

    def refusal(self, why: str) -> CodecError:
        return CodecError(f"{_shown(self.path)}: {why}")


def _items(writing: _Writing, items: Iterable[Any]) -> list[Any]:
    trees, path, tree = [], writing.path, writing.tree
    for index, item in enumerate(items):
        path.append(index)
        trees.append(tree(item))
        path.pop()
    return trees


def _tuple_tree(writing: _Writing, value: tuple[Any, ...]) -> Any:
    return {"~tuple": _items(writing, value)}


def _dict_tree(writing: _Writing, value: dict[Any, Any]) -> Any:
    keys_fit = all(type(key) is str and text(key) is key for key in value)
    if keys_fit and not next(iter(value), "").startswith("~"):
        return _named_trees(writing, value)
    flat = []
    for key, item in value.items():
        flat.append(writing.child((key,), key))
        flat.append(writing.child(key if type(key) is str else (key,), item))
    return {"~dict": flat}


def _named_trees(writing: _Writing, fields: dict[str, Any]) -> dict[str, Any]:
    trees, path, tree = {}, writing.path, writing.tree
    for name, item in fields.items():
        path.append(name)
        trees[name] = tree(item)
        path.pop()
    return trees


def _set_tree(writing: _Writing, value: set[Any] | frozenset[Any]) -> Any:
    trees = [writing.child((item,), item) for item in value]
    return {f"~{type(value).__name__}": sorted(trees, key=dumps)}


def _instance_tree(writing: _Writing, value: Any) -> Any:
    cls = type(value)
    name = writing.words.names.get(cls)
    how = None if name is None else form(cls)
    if name is None or how is None:
        raise writing.refusal(_why_not(cls, writing))
    writing.has_instances = writing.has_instances or cls not in _OWN
    try:
        parts = how.taken(value)
    except RecursionError:
        raise
    except Exception as error:  # a property, a hook or an overridden method of the user's
        raise writing.refusal(f"a {cls.__name__} cannot be taken apart: {error!r}") from error
    if type(parts) is cls:
        raise writing.refusal(f"the unstructure hook of {cls.__name__} returned a {cls.__name__}: return plain values")
    payload = _named_trees(writing, parts) if how.is_named else writing.tree(parts)
    extra = beyond_fields(value, how)
    if extra:
        _check_extra(writing, value, extra, how, payload)
    return {name: payload}


def _check_extra(writing: _Writing, value: object, extra: Iterable[str], how: Form, payload: Any) -> None:
    made = _Reading(writing.words, writing.path).built(type(value), how, loads(dumps(payload)))
    for name in sorted(extra):
        if is_lost(name, value, made):
            raise writing.refusal(
                f"the attribute {name!r} of this {type(value).__name__} is not a field and would be lost: "
                f"make it one, or {_HOOKS}"
            )


_WRITERS: dict[type, Any] = {
    list: _items,
    dict: _dict_tree,
    tuple: _tuple_tree,
    set: _set_tree,
    frozenset: _set_tree,
}


def _why_not(cls: type, writing: _Writing) -> str:
    name = f"{cls.__module__}.{cls.__qualname__}"
    words = writing.words.names
    if hasattr(cls, "model_dump"):
        return f"a {name} (pydantic) is not kept: return model.model_dump(), and model_validate() it where it is used"
    if form(cls) is None:
        return f"a {name} cannot be kept: return plain values, an attrs class or a dataclass, or {_HOOKS}"
    if any(cls.__name__ == other.__name__ for other in words):
        return f"another class {cls.__name__} is named by the annotation than this {name}: is it defined twice?"
    base = next((other for other in cls.__mro__ if other in words), None)
    if base is not None:
        return f"a {name} would lose its type, only {base.__name__} is named: annotate {base.__name__} | {cls.__name__}"
    if writing.is_typed:
        return f"a {name} comes back only through its type, and the annotation does not name it: add {cls.__name__}"
    return (
        f"a {name} comes back only through its type, and none is given: annotate what the handler returns, "
        "pass StepOptions(output_type=...), or convert it to plain values"
    )


# Reading.


class _Reading:
    """One walk over a tree that was just read; lists and dicts of it are filled anew in place."""

    __slots__ = ("is_outline", "path", "words")

    def __init__(self, words: Vocabulary, path: Sequence[Any] = (), *, is_outline: bool = False) -> None:
        self.words = words
        self.path = list(path)
        self.is_outline = is_outline

    def value(self, tree: Any) -> Any:
        kind = type(tree)
        if kind is list:
            return self._fill(tree, enumerate(tree))
        if kind is not dict:
            return tree
        tag = next(iter(tree), "")
        if not tag.startswith("~"):
            return self._fill(tree, tree.items())
        if len(tree) != 1:
            raise self._refusal(f"a tag {tag!r} stands alone in what the codec writes")
        return self._untagged(tag, tree[tag])

    def _fill(self, tree: Any, children: Iterable[tuple[Any, Any]]) -> Any:
        path = self.path
        for step, item in children:
            if type(item) is dict or type(item) is list:
                path.append(step)
                tree[step] = self.value(item)
                path.pop()
        return tree

    def _untagged(self, tag: str, payload: Any) -> Any:
        if tag == "~loose":
            return self.value(payload)
        cls = self.words.classes.get(tag)
        if cls is not None:
            return self.built(cls, form(cls), payload)
        if tag.startswith("~=") and self.is_outline:
            return self.value(payload)
        if tag.startswith("~="):
            raise self._refusal(f"a {tag[2:]} is recorded, which the annotation does not name (any more)")
        gathered = _GATHERED.get(tag)
        read = gathered or FROM_PAYLOAD.get(tag)
        if read is None:
            raise self._refusal(f"the tag {tag!r} is not known: was it written by a newer version?")
        try:
            return read(payload if gathered is None else self._fill(payload, enumerate(payload)))
        except (CodecError, RecursionError):
            raise
        except Exception as error:  # malformed, or a time zone or path that this machine does not have
            if self.is_outline:
                return payload
            raise self._refusal(f"{tag[1:]} {_brief(payload)} cannot be read: {error}") from error

    def built(self, cls: type, how: Form | None, payload: Any) -> Any:
        """Return the instance of the class that the payload was taken from."""
        if how is None:
            raise self._refusal(f"a {cls.__name__} is recorded, which cannot be kept any more: {_HOOKS}")
        parts = self._fill(payload, payload.items()) if how.is_named else self.value(payload)
        try:
            return how.built(parts)
        except RecursionError:
            raise
        except Exception as error:  # the user's own constructor, validators or hooks
            raise self._refusal(f"a {cls.__name__} cannot be built again: {error}: mend it, or {_HOOKS}") from error

    def _refusal(self, why: str) -> CodecError:
        return CodecError(f"{_shown(self.path)}: {why}")


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


_GATHERED: dict[str, Any] = {"~tuple": tuple, "~set": set, "~frozenset": frozenset, "~dict": _pairs}
