"""Let a script that does not catch `Interrupted` end without a traceback.

Separate because Python decides what it prints of an error that nobody catches, and from 3.14 on it decides otherwise.
Leaves to `script` when a script was interrupted, and what it says of its run.

`Interrupted` is a `SystemExit`, so that Python prints nothing and exits with its code. It is a `KeyboardInterrupt` too.
From 3.14 on Python looks at that first: it would print a traceback and kill itself with SIGINT.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import NoReturn

from durable.errors import Interrupted

_LOOKS_AT_SIGNALS_FIRST = sys.version_info >= (3, 14)


class _Hook:
    """A hook takes the place of `sys.excepthook`, and calls it for all other errors."""

    def __init__(self) -> None:
        self._before = sys.excepthook

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, Interrupted):
            raise SystemExit(error.code)
        self._before(kind, error, traceback)


def interrupt(message: str, error: KeyboardInterrupt) -> NoReturn:
    """Raise an `Interrupted` that was caused by an error; nobody who does not catch it sees a traceback."""
    if _LOOKS_AT_SIGNALS_FIRST and not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook()
    raise Interrupted(message) from error
