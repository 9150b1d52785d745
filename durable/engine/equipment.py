"""Check the store, clock, limits and logger that an engine is made with.

Separate because a wrong object must be refused when the engine is made, not by the part that first uses it.
Leaves to `engine` the checks of its other arguments, to `runtime` the use of these parts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import timedelta

from durable.journal import Limits
from durable.stores import DictStore, FileStore, Store
from durable.timers import Clock, Duration, SystemClock, duration, exact, shown

_OF_A_STORE = ("open", "append", "unfinished", "history", "find", "prune", "close")
_OF_A_CLOCK = ("now", "call_at")


def checked_store(store: object) -> Store:
    """Return a `DictStore` for None, a `FileStore` for a path, or the store itself.

    Raises:
        TypeError, ValueError: anything else, such as a mapping or a class.
    """
    if store is None:
        return DictStore()
    if issubclass(type(store), str | os.PathLike):
        return FileStore(store)  # type: ignore[arg-type]
    _check_methods(store, _OF_A_STORE, "store must be a path or a Store", "DictStore(mapping) keeps in a mapping")
    return store  # type: ignore[return-value]


def checked_clock(clock: object) -> Clock:
    """Return a clock whose `now` is always a plain datetime in UTC.

    For None it is the wall clock.

    Raises:
        TypeError, ValueError: the object lacks a clock's methods, as `time.time` does, or its `now` is not an aware
            datetime.
    """
    if clock is None:
        return SystemClock()
    _check_methods(clock, _OF_A_CLOCK, "clock must be a Clock", "None is the wall clock")
    return exact(clock)  # type: ignore[arg-type]


def checked_limits(limits: object) -> Limits:
    """Return the limits, or the default limits for None.

    Raises:
        TypeError: not a Limits.
    """
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, not {shown(limits)} ({type(limits).__name__}): write Limits(...)")
    return limits


def checked_retention(retention: Duration | None) -> timedelta | None:
    """Return how long ended runs are kept, or None.

    Raises:
        TypeError, ValueError: not a duration, or none at all, which would forget a result before it is asked for.
    """
    if retention is None:
        return None
    span = duration(retention, what="retention")
    if not span:
        raise ValueError("retention must be longer than 0, or nobody could ask for a result: None keeps runs for ever")
    return span


def checked_logger(logger: object) -> logging.Logger:
    """Return the logger, or the logger "durable" for None.

    Raises:
        TypeError: not a `logging.Logger`.
    """
    if logger is None:
        return logging.getLogger("durable")
    if not isinstance(logger, logging.Logger):
        raise TypeError(
            f"logger must be a logging.Logger, not {shown(logger)} ({type(logger).__name__}): pass "
            'logging.getLogger("..."), whose records structlog, loguru and others can take over'
        )
    return logger


def _check_methods(given: object, names: Iterable[str], what: str, hint: str) -> None:
    if isinstance(given, type):
        raise TypeError(f"{what}, not the class {given.__name__}: pass an instance of it")
    missing = [name for name in names if not callable(getattr(given, name, None))]
    if missing:
        raise TypeError(
            f"{what}, not {shown(given)} ({type(given).__name__}), which has no {', '.join(missing)}: {hint}"
        )
