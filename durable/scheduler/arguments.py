"""Show a handler's arguments as text, and detect changes to them.

The text is compared with that of another execution, or with that after the call.

Separate because tests and an engine in debug mode both look. A change that a handler makes to its arguments is not part
of its result, so the function sees the change live, but not after a crash (R3).
Leaves to `attempts` the time of the look, to `testing.torture.handlers` the use in tests.

Only data are compared, however they are nested: containers, plain values, attrs classes, dataclasses. Any other object,
such as a client or a lock, is shown as the name of its class: its state may change.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator
from typing import Any

import attrs

from durable.functions import Handler
from durable.journal import encode
from durable.stores import Log

_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), dict: ("{", "}"), set: ("{", "}"), tuple: ("(", ")")}
_MOST = 10_000  # parts of one argument; further parts are not looked at


def given(handler: Handler) -> tuple[str, ...]:
    """Return a handler's arguments as texts; keyword arguments begin with their names."""
    named = [(f"{name}=", value) for name, value in handler.kwargs.items()]
    return tuple(name + shown(value) for name, value in [*[("", value) for value in handler.args], *named])


def shown(value: object) -> str:
    """Return a value as text that is the same for equal data.

    It never raises because of the value.
    """
    try:
        return encode(value)
    except Exception:
        return _Looking().text(value)


def changes(handler: Handler, before: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield the changed arguments: the name of each, its text before and its text now."""
    names = [(f"argument {number}", "") for number in range(1, len(handler.args) + 1)]
    names += [(f"argument {name!r}", f"{name}=") for name in handler.kwargs]
    for (name, prefix), was, now in zip(names, before, given(handler), strict=True):
        if was != now:
            yield name, was.removeprefix(prefix), now.removeprefix(prefix)


def watched(handler: Handler, logger: Log, label: str) -> Handler:
    """Return the handler wrapped so that changes to its arguments are logged.

    There is one WARNING for each changed argument. `label` names the step in it.
    """

    def blocking(*args: Any, **kwargs: Any) -> Any:
        before = given(handler)
        try:
            value = handler.function(*args, **kwargs)
        except BaseException:
            tell(before)
            raise
        if inspect.isawaitable(value):
            return awaited(value, before)
        tell(before)
        return value

    async def awaited(value: Awaitable[Any], before: tuple[str, ...]) -> Any:
        try:
            return await value
        finally:
            tell(before)

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        return await awaited(handler.function(*args, **kwargs), given(handler))

    def tell(before: tuple[str, ...]) -> None:
        for argument, was, now in changes(handler, before):
            logger.warning(
                "%s changed its %s while its handler ran, from %.200s to %.200s: the function sees that only until a "
                "restart (R3): give the handler a copy, and return what is to be kept",
                label,
                argument,
                was,
                now,
            )

    return attrs.evolve(handler, function=asynchronous if handler.is_async else blocking)


class _Looking:
    """A look turns one value into text, part by part.

    `_left` is the number of parts that may still be looked at.
    """

    def __init__(self) -> None:
        self._left = _MOST
        self._inside: set[int] = set()

    def text(self, value: Any) -> str:
        self._left -= 1
        if self._left < 0 or id(value) in self._inside:
            return "..."
        self._inside.add(id(value))
        try:
            return self._text(value)
        except Exception:  # from a class of the user's that cannot be looked at
            return f"<{type(value).__qualname__}>"
        finally:
            self._inside.discard(id(value))

    def _text(self, value: Any) -> str:
        kind = type(value)
        if issubclass(kind, dict):
            return self._joined(kind, (f"{self.text(key)}: {self.text(one)}" for key, one in dict.items(value)))
        if issubclass(kind, set | frozenset):
            return self._joined(kind, sorted(map(self.text, kind.__iter__(value))))
        if issubclass(kind, list | tuple | deque):
            return self._joined(kind, map(self.text, kind.__iter__(value)))
        if issubclass(kind, bytearray):
            return f"bytearray({bytes(value)!r})"
        fields: Any = attrs.fields(kind) if attrs.has(kind) else ()
        if dataclasses.is_dataclass(kind):
            fields = dataclasses.fields(kind)
        if fields:
            names = [field.name for field in fields if hasattr(value, field.name)]
            return self._joined(kind, (f"{name}={self.text(getattr(value, name))}" for name in names))
        return encode(value, kind)

    def _joined(self, kind: type, parts: Iterable[str]) -> str:
        first, last = _BRACKETS.get(kind, (f"{kind.__qualname__}(", ")"))
        return f"{first}{', '.join(parts)}{last}"
