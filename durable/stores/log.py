"""Write log lines, and keep the errors of logging away from the engine.

Separate because a log's filters and handlers are users' code, called in the middle of the engine's own decisions.
Leaves to Python's `logging` the output, to `context` the form of a run's own lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from durable.stores.stderr import say

REMEMBERED = 1_000


class Log(logging.LoggerAdapter[logging.Logger]):
    """A log is a logger that never raises.

    The first error of logging is told on the standard error stream, later ones are not. All lines of the engine and of
    `ctx.logger` go through such a log. It may log to any object that has `log` and `isEnabledFor`.

    `heeds(level)` is `isEnabledFor`, for whom each call counts: it asks a logger of Python's own without a guard.
    """

    heeds: Callable[[int], bool]

    def __init__(self, logger: Any) -> None:
        super().__init__(logger, {})
        inner = logger.logger if isinstance(logger, Log) else logger
        is_plain = type(inner) is logging.Logger and "isEnabledFor" not in vars(inner)
        self.heeds = inner.isEnabledFor if is_plain else self.isEnabledFor
        self._has_failed = False
        self._said: dict[str, None] = {}

    def isEnabledFor(self, level: int) -> bool:
        """Return whether a line of this level is shown, False if the logger raises."""
        try:
            return bool(self.logger.isEnabledFor(level))
        except Exception as error:
            self._tell_failure(error, "whether a line is to be shown")
            return False

    def passed_on(self, msg: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[object, dict[str, Any]]:
        """Return a line and its keywords as they are to be logged: here, unchanged.

        The line is formatted with `args` later.
        """
        return msg, kwargs

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a line."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the log names the caller's line, not this one
        try:
            if self.isEnabledFor(level):
                line, given = self.passed_on(msg, args, kwargs)
                self.logger.log(level, line, *args, **given)
        except Exception as error:  # a filter, a handler, a formatter, an argument's __str__ may raise anything
            self._tell_failure(error, msg)

    def warn_once(self, about: str, msg: str, *args: object) -> None:
        """Warn once per `about`."""
        if self.is_new(about):
            self.warning(msg, *args, stacklevel=2)

    def is_new(self, about: str) -> bool:
        """Return whether this is the first time that `about` is to be told.

        The latest 1,000 of these are remembered.
        """
        if about in self._said:
            return False
        if len(self._said) >= REMEMBERED:
            del self._said[next(iter(self._said))]
        self._said[about] = None
        return True

    def _tell_failure(self, error: Exception, line: object) -> None:
        if isinstance(self.logger, Log):
            self.logger._tell_failure(error, line)  # told once for all logs that go through that one
            return
        if self._has_failed:
            return
        self._has_failed = True
        say(
            f"the log fails, which harms nothing else; this is said once: {_shown(error)}; what could not be logged: "
            f"{_shown(line)}"
        )


def _shown(value: object) -> str:
    name = type(value).__name__
    try:
        text = str.__str__(str(value))
    except Exception:  # the error is of a user's class, whose __str__ may raise, too
        return f"<a {name}>"
    return (f"{name}: {text}" if isinstance(value, Exception) else text)[:500]
