"""Show warnings and errors of a script on the standard error stream if nobody has set up logging.

Separate because only a script is without a setup of its own more often than not.
Leaves to `stores` the stream, to Python's `logging` everything once there is a handler of the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Self

from durable.stores import say


class Fallback(logging.Handler):
    """A fallback is the handler of a logger that has no other, while in its context.

    `own()` returns the id of the run whose error the script itself ends with, or None: its stack is told with that
    error, so here the line alone is shown. If several scripts run at once, the first one shows the lines of all.
    """

    def __init__(self, logger: logging.Logger, own: Callable[[], str | None]) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
        self._own = own

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line, unless another handler does."""
        handlers = list(_handlers(self._logger))
        fallbacks = [one for one in handlers if isinstance(one, Fallback)]
        if len(handlers) > len(fallbacks) or fallbacks[:1] != [self]:
            return
        try:
            lines = self.format(record).split("\n")
        except Exception as error:  # from an argument's own text
            lines = [f"{record.msg!s} (which cannot be formatted: {type(error).__name__})"]
        if self._is_end(record) and vars(record).get("run_id") in [one._own() for one in fallbacks]:
            del lines[1:]
        say(f"{record.levelname}: {lines[0]}", *lines[1:])

    @staticmethod
    def _is_end(record: logging.LogRecord) -> bool:
        """Return whether a line is the engine's own about a run that has failed."""
        return record.levelno == logging.ERROR and vars(record).get("error") is not None


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that a line of this logger reaches."""
    here: logging.Logger | None = logger
    while here is not None:
        yield from here.handlers
        here = here.parent if here.propagate else None
