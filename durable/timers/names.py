"""Tell what to write for a name that an object lacks.

Separate because a name from memory, or from another library, is the first thing that goes wrong, in every room.
Leaves to each class the names that are looked for in vain, to `scheduler` those that functions ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")

_INSTEAD: dict[type, Mapping[str, str]] = {}


def explained(**instead: str) -> Callable[[type[T]], type[T]]:
    """Keep what to write for a name that a class lacks, for `lack_of`, as a class decorator.

    `instead` maps names to what to write; for others a public name that is spelled much alike is told.
    """

    def decorate(cls: type[T]) -> type[T]:
        _INSTEAD[cls] = instead
        return cls

    return decorate


def lack_of(cls: type, name: str) -> str | None:
    """Return what to say of a name that a class lacks, or None if the class is not `explained`, or the name private."""
    if cls not in _INSTEAD or name.startswith("_"):
        return None
    public = [one for one in dir(cls) if not one.startswith("_")]
    hint = _INSTEAD[cls].get(name) or "".join(get_close_matches(name, public, 1))
    told = f": write {hint}" if hint else f"; it has {', '.join(public)}"
    return f"{cls.__name__!r} object has no attribute {name!r}{told}"


def answering(**instead: str) -> Callable[[type[T]], type[T]]:
    """Let the objects of a class say themselves what is `explained`, which slows down every use of them a little."""

    def decorate(cls: type[T]) -> type[T]:
        def __getattr__(self: T, name: str) -> Any:
            raise AttributeError(lack_of(cls, name) or f"{cls.__name__!r} object has no attribute {name!r}")

        setattr(cls, "__getattr__", __getattr__)  # noqa: B010
        return explained(**instead)(cls)

    return decorate
