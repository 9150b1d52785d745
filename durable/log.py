"""The log, as a guest in the house: what is said goes out, and what that raises goes no further.

Separate because a log's filters and handlers are code of somebody else's, called in the middle of our own decisions.
Leaves to `logging` where a line goes, to `context` what a run's own lines look like.
"""

from __future__ import annotations

import logging
from typing import Any

from durable.stderr import say

REMEMBERED = 1_000


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that never raises. The first error of a log is said on the standard error stream, once.

    All of the engine's own lines and those of `ctx.logger` go through one of these. What it logs to may be any object
    with `log` and `isEnabledFor`.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__(logger, {})
        self._has_failed = False
        self._said: dict[str, None] = {}

    def isEnabledFor(self, level: int) -> bool:
        """Say whether a line of this level goes anywhere; it does not where the logger cannot tell."""
        try:
            return bool(self.logger.isEnabledFor(level))
        except Exception as error:
            self._tell_failure(error, "whether a line is to be shown")
            return False

    def passed_on(self, msg: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[object, dict[str, Any]]:
        """Return a line that is still to be formatted with `args` as it is to be passed on: here, as it was said."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Pass a line on."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the line is our caller's, not this one's
        try:
            if self.isEnabledFor(level):
                line, given = self.passed_on(msg, args, kwargs)
                self.logger.log(level, line, *args, **given)
        except Exception as error:  # a filter, a handler, a formatter, an argument's __str__: anything whatever
            self._tell_failure(error, msg)

    def warn_once(self, about: str, msg: str, *args: object) -> None:
        """Warn, unless that has been done for `about`; of that, as many as 1,000 are remembered."""
        if about in self._said:
            return
        if len(self._said) >= REMEMBERED:
            del self._said[next(iter(self._said))]
        self._said[about] = None
        self.warning(msg, *args, stacklevel=2)

    def _tell_failure(self, error: Exception, line: object) -> None:
        if isinstance(self.logger, Log):
            self.logger._tell_failure(error, line)  # once for all that log through it
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
    except Exception:  # the error of a guest: its text may raise, too
        return f"<a {name}>"
    return (f"{name}: {text}" if isinstance(value, Exception) else text)[:500]
