"""Show paths inside values, and values themselves, in messages.

Separate because every refusal names a path, even if a user's class cannot be shown.
Leaves to `values` the refusal itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SHOWN = 60


def shown_path(path: Iterable[Any]) -> str:
    """Return a path as text: "$" is the value itself, "$.items[3].price" is something inside."""
    steps = list(path)
    steps = steps if len(steps) <= 12 else [*steps[:8], "...", *steps[-3:]]
    return "$" + "".join(map(_step, steps))


def _step(step: Any) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if isinstance(step, tuple):  # a key that is no string, or an element of a set
        return f"[{brief(step[0])}]"
    if step.isidentifier():
        return f".{step}"
    return step if step == "..." or step.startswith("[") else f"[{brief(step)}]"


def brief(value: object) -> str:
    """Return a value as text of at most 60 characters.

    A value that cannot be shown is given by its class's name.
    """
    return _cut(value, repr)


def why(error: BaseException) -> str:
    """Return an error's class and message, or the class alone if the message cannot be shown."""
    said = _cut(error, str, 500)
    name = short_name(type(error))
    return said if said == f"<{name}>" else f"{name}: {said}" if said else name


def short_name(cls: type) -> str:
    """Return a class's name, without asking a metaclass, which may raise."""
    return str(type.__getattribute__(cls, "__name__"))


def long_name(cls: type) -> str:
    """Return a class's name with its module's, without asking a metaclass."""
    return f"{type.__getattribute__(cls, '__module__')}.{type.__getattribute__(cls, '__qualname__')}"


def _cut(value: object, text: Any, limit: int = SHOWN) -> str:
    try:
        shown = str.__str__(text(value))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a user's __repr__ must not hide the error that is being reported
        shown = f"<{short_name(type(value))}>"
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
