"""Explain why a value cannot be recorded, and what to do about it.

Separate because the remedy depends on whose value it is: a handler can be annotated, the data of an event cannot.
Leaves to `to_tree` the finding of such a value.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Awaitable, Collection, Iterable, Iterator

import attrs

from durable.journal.codec.paths import brief, long_name, short_name

HOOKS = "register hooks for it on durable.converter and name it in the annotation"


class Whose(enum.Enum):
    """The owner of a refused value, who can do something about it."""

    DATA = "what is sent along: no type is known of it"
    HANDLER = "what a handler returned"
    FUNCTION = "what a function returned"


_UNTYPED = {
    Whose.HANDLER: (
        "and none is given: annotate what the handler returns, pass StepOptions(output_type=...), or convert it to "
        "plain values"
    ),
    Whose.FUNCTION: "and none is given: annotate what the function returns, or convert it to plain values",
}
_UNKNOWN = {
    Whose.DATA: "send plain values",
    Whose.HANDLER: f"return plain values, an attrs class or a dataclass, or {HOOKS}",
    Whose.FUNCTION: f"return plain values, an attrs class or a dataclass, or {HOOKS}",
}


def why_not(value: object, known: Collection[type], whose: Whose, *, can_be_kept: bool, is_typed: bool) -> str:
    """Return why an instance is refused, and the remedy.

    `known` are the classes that the annotation names. `is_typed` says whether there is an annotation, `can_be_kept`
    whether the instance could be kept under an annotation that names its class.
    """
    cls = type(value)
    name, short = long_name(cls), short_name(cls)
    if isinstance(value, Awaitable) and not can_be_kept:
        return f"{brief(value)} was not awaited, and so is no value: write `await` before it"
    verb = "send" if whose is Whose.DATA else "return"
    plain = _in_plain_values(value)
    if hasattr(cls, "model_dump"):
        model_validate = "" if whose is Whose.DATA else ", and model_validate() it where it is used"
        return f"a {name} (pydantic) is not kept: {verb} model.model_dump(){model_validate}"
    if whose is Whose.DATA and plain is not None:
        return f"a {name} comes back only through its type, which data have none of: {verb} {plain}"
    if not can_be_kept:
        return f"a {name} cannot be kept: {_instead(value, whose)}"
    if any(short == short_name(other) for other in known):
        return f"another class {short} is named by the annotation than this {name}: is it defined twice?"
    base = next((other for other in cls.__mro__ if other in known), None)
    if base is not None:
        named = short_name(base)
        return f"a {name} would lose its type, only {named} is named: annotate {named} | {short}"
    if is_typed:
        return f"a {name} comes back only through its type, and the annotation does not name it: add {short}"
    if whose is Whose.DATA:
        return f"a {name} comes back only through its type, which data have none of: send plain values"
    return f"a {name} comes back only through its type, {_UNTYPED[whose]}"


def _instead(value: object, whose: Whose) -> str:
    verb = "send" if whose is Whose.DATA else "return"
    if isinstance(value, BaseException):
        return f"raise it, or {verb} its text"
    if hasattr(type(value), "tolist"):
        return f"{verb} its tolist(), which are plain numbers and lists"
    if isinstance(value, bytearray | memoryview):
        return f"{verb} bytes(...) of it"
    if isinstance(value, Iterator) or (isinstance(value, Iterable) and type(value).__module__ == "builtins"):
        return f"{verb} a list of what it gives, list(...)"
    bare = next((kind for kind in _BARE if isinstance(value, kind)), None)
    return _UNKNOWN[whose] if bare is None else f"{verb} {bare.__name__}(...) of it"


_BARE: tuple[type, ...] = (str, int, float, bytes, list, dict, tuple, set, frozenset)


def _in_plain_values(value: object) -> str | None:
    """Return an expression that makes plain values of an instance, or None."""
    if isinstance(value, enum.Enum):
        return "its .name or its .value"
    if attrs.has(type(value)):
        return "attrs.asdict(...) of it"
    if dataclasses.is_dataclass(value):
        return "dataclasses.asdict(...) of it"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return "its _asdict()"
    bare = next((kind for kind in _BARE if isinstance(value, kind)), None)
    return None if bare is None else f"{bare.__name__}(...) of it"
