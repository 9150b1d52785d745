"""Turn a value into a tree of JSON's own types, part by part.

Separate because the hot path never comes here: only values that hold something beyond JSON are walked.
Leaves to `tags` the plain values beyond JSON, to `classes` the form of an instance, to `from_tree` the way back.

The walk may call code of a user's classes. If that code raises, the value is refused. If it changes a container that is
being walked, the walk goes on as if it had not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from durable.errors import CodecError, RecordedError
from durable.events import Event, Signal
from durable.journal.codec.atoms import DEPTH
from durable.journal.codec.classes import Form, Vocabulary, beyond_fields, form, is_lost
from durable.journal.codec.from_tree import Reading, crowd
from durable.journal.codec.paths import short_name, shown_path, why
from durable.journal.codec.remedies import HOOKS, Whose, why_not
from durable.journal.codec.tags import TO_PAYLOAD, dumps, integer, loads, real, text

_OWN = frozenset({Event, Signal, RecordedError})


class Writing:
    """A writing is one walk over a value, which makes a tree of JSON's own types.

    `path` is the place where the walk stands, at most `depth` levels down.
    """

    __slots__ = ("depth", "has_instances", "is_typed", "path", "whose", "words")

    def __init__(self, words: Vocabulary, *, is_typed: bool, whose: Whose, depth: int = DEPTH) -> None:
        self.words = words
        self.is_typed = is_typed
        self.whose = whose
        self.depth = depth
        self.path: list[Any] = []
        self.has_instances = False

    def tree(self, value: Any) -> Any:
        """Return the tree of a value.

        Raises:
            CodecError: a part of the value cannot be kept.
        """
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
        if len(self.path) >= self.depth:
            raise self.refusal(f"the value is nested deeper than {self.depth} levels, or holds itself")
        written = _WRITERS.get(kind, _instance_tree)
        return written(self, value)

    def child(self, step: Any, value: Any) -> Any:
        """Return the tree of a value inside, one step further."""
        self.path.append(step)
        tree = self.tree(value)
        self.path.pop()
        return tree

    def _tagged(self, value: Any, tag: str, payload: Any) -> Any:
        try:
            return {tag: payload(value)}
        except (RecursionError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # from a user's tzinfo, or a ZoneInfo without a key
            raise self.refusal(why(error).removeprefix("ValueError: ")) from error

    def refusal(self, reason: str) -> CodecError:
        """Return the error for the value at which the walk stands."""
        return CodecError(f"{shown_path(self.path)}: {reason}")


def _items(writing: Writing, items: Sequence[Any]) -> list[Any]:
    trees, path, tree = [], writing.path, writing.tree
    for index, item in enumerate(tuple(items)):  # a copy, since a user's hook may change the items
        path.append(index)
        trees.append(tree(item))
        path.pop()
    return trees


def _tuple_tree(writing: Writing, value: tuple[Any, ...]) -> Any:
    return {"~tuple": _items(writing, value)}


def _dict_tree(writing: Writing, value: dict[Any, Any]) -> Any:
    keys_fit = all(type(key) is str and text(key) is key for key in value)
    if keys_fit and not next(iter(value), "").startswith("~"):
        return _named_trees(writing, value)
    flat = []
    for key, item in list(value.items()):
        flat.append(writing.child((key,), key))
        flat.append(writing.child(key if type(key) is str else (key,), item))
    _refuse_crowd(writing, value)
    return {"~dict": flat}


def _named_trees(writing: Writing, fields: dict[str, Any]) -> dict[str, Any]:
    trees, path, tree = {}, writing.path, writing.tree
    for name, item in list(fields.items()):
        path.append(name)
        trees[name] = tree(item)
        path.pop()
    return trees


def _set_tree(writing: Writing, value: set[Any] | frozenset[Any]) -> Any:
    trees = [writing.child((item,), item) for item in tuple(value)]
    _refuse_crowd(writing, value)
    return {f"~{type(value).__name__}": sorted(trees, key=dumps)}


def _refuse_crowd(writing: Writing, members: Collection[Any]) -> None:
    reason = crowd(members)
    if reason is not None:
        raise writing.refusal(reason)


def _instance_tree(writing: Writing, value: Any) -> Any:
    cls = type(value)
    tag = writing.words.names.get(cls)
    how = None if tag is None else form(cls)
    if tag is None or how is None:
        known = writing.words.names
        can_be_kept = form(cls) is not None
        raise writing.refusal(why_not(value, known, writing.whose, can_be_kept=can_be_kept, is_typed=writing.is_typed))
    is_own = cls in _OWN
    writing.has_instances = writing.has_instances or not is_own
    try:
        parts = how.taken(value)
    except (RecursionError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # from a user's property, hook or overridden method
        raise writing.refusal(f"a {short_name(cls)} cannot be taken apart: {why(error)}") from error
    if type(parts) is cls:
        name = short_name(cls)
        raise writing.refusal(f"the unstructure hook of {name} returned a {name}: return plain values")
    payload = _named_trees(writing, parts) if how.is_named else writing.tree(parts)
    extra = () if is_own else beyond_fields(value, how)
    if extra:
        _check_extra(writing, value, extra, how, payload)
    return {tag: payload}


def _check_extra(writing: Writing, value: object, extra: Iterable[str], how: Form, payload: Any) -> None:
    made = Reading(writing.words, writing.path).built(type(value), how, loads(dumps(payload)))
    for name in sorted(extra):
        if is_lost(name, value, made):
            raise writing.refusal(
                f"the attribute {name!r} of this {short_name(type(value))} is not a field and would be lost: "
                f"make it one, or {HOOKS}"
            )


_WRITERS: dict[type, Any] = {
    list: _items,
    dict: _dict_tree,
    tuple: _tuple_tree,
    set: _set_tree,
    frozenset: _set_tree,
}
