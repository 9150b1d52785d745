"""Build a value from the tree of JSON's own types that `to_tree` made.

Separate because it must work for any text that a store may hold, also for damaged text.
Leaves to `tags` the plain values beyond JSON, to `classes` the building of an instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from durable.errors import CodecError
from durable.journal.codec.classes import Form, Vocabulary, form
from durable.journal.codec.paths import brief, short_name, shown_path, why
from durable.journal.codec.remedies import HOOKS
from durable.journal.codec.tags import FROM_PAYLOAD

LOOSE, PLACES = "~loose", "~at"  # a value that did not fit its annotation when it was written, and the places inside
_CROWDED = 1_000_000  # comparisons, which take a tenth of a second and more


class Reading:
    """A reading is one walk over a tree that was just read.

    Its lists and dicts are filled in place. With `is_outline` instances, and values that cannot be read, are replaced
    by the plain values that they are made of.
    """

    __slots__ = ("is_outline", "path", "words")

    def __init__(self, words: Vocabulary, path: Sequence[Any] = (), *, is_outline: bool = False) -> None:
        self.words = words
        self.path = list(path)
        self.is_outline = is_outline

    def value(self, tree: Any) -> Any:
        """Return the value of a tree.

        Raises:
            CodecError: the tree is malformed, or the classes that it names are not known or refuse it.
        """
        kind = type(tree)
        if kind is list:
            return self._fill(tree, enumerate(tree))
        if kind is not dict:
            return tree
        tag = next(iter(tree), "")
        if not tag.startswith("~"):
            return self._fill(tree, tree.items())
        if tag == LOOSE and tree.keys() <= {LOOSE, PLACES}:
            return self.value(tree[LOOSE])
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
        except (CodecError, RecursionError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a malformed value, or a time zone or path that this machine does not have
            if self.is_outline:
                return payload
            reason = why(error).removeprefix("ValueError: ")
            raise self._refusal(f"{tag[1:]} {brief(payload)} cannot be read: {reason}") from error

    def built(self, cls: type, how: Form | None, payload: Any) -> Any:
        """Return an instance of a class, built from its payload."""
        if how is None:
            raise self._refusal(f"a {short_name(cls)} is recorded, which cannot be kept any more: {HOOKS}")
        try:
            parts = self._fill(payload, payload.items()) if how.is_named else self.value(payload)
            return how.built(parts)
        except (CodecError, RecursionError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the user's own constructor, validators or hooks
            reason = f"a {short_name(cls)} cannot be built again: {why(error)}: mend it, or {HOOKS}"
            raise self._refusal(reason) from error

    def _refusal(self, reason: str) -> CodecError:
        return CodecError(f"{shown_path(self.path)}: {reason}")


def crowd(members: Collection[Any]) -> str | None:
    """Return why a set's members would take too long to tell apart, or None."""
    if len(members) ** 2 <= _CROWDED:
        return None
    if sum(same * (same - 1) for same in Counter(map(hash, members)).values()) <= _CROWDED:
        return None
    return "so many of its members have the same hash that it takes long to tell them apart: keep a list instead"


def _gathered(kind: Any, members: list[Any]) -> Any:
    reason = crowd(members)
    if reason is not None:
        raise ValueError(reason)
    return kind(members)


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    reason = crowd(flat[::2])
    if reason is not None:
        raise ValueError(reason)
    return dict(zip(flat[::2], flat[1::2], strict=True))


_GATHERED: dict[str, Any] = {
    "~tuple": tuple,
    "~set": lambda members: _gathered(set, members),
    "~frozenset": lambda members: _gathered(frozenset, members),
    "~dict": _pairs,
}
