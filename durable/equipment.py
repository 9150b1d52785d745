"""What an engine is equipped with: its store, clock, limits and logger, each checked when the engine is made.

Separate because what is wrong here must be told at the call, and not by whatever part stumbles over it first.
Leaves to `engine` its words and counts, to `runtime` what becomes of these.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from durable.clock import Clock, SystemClock, exact
from durable.limits import Limits
from durable.spelling import shown
from durable.stores.dict import DictStore
from durable.stores.file import FileStore
from durable.stores.store import Store

_OF_A_STORE = ("open", "append", "unfinished", "history", "find", "prune", "close")
_OF_A_CLOCK = ("now", "call_at")


def checked_store(store: object) -> Store:
    """Return the store: a `DictStore` for None, a `FileStore` for a path, or what has a store's methods.

    Raises:
        TypeError, ValueError: none of these, such as a mapping or a class.
    """
    if store is None:
        return DictStore()
    if issubclass(type(store), str | os.PathLike):
        return FileStore(store)  # type: ignore[arg-type]
    _check_methods(store, _OF_A_STORE, "store must be a path or a Store", "DictStore(mapping) keeps in a mapping")
    return store  # type: ignore[return-value]


def checked_clock(clock: object) -> Clock:
    """Return the clock, whose every `now` is a plain datetime in UTC; the wall clock for None.

    Raises:
        TypeError, ValueError: it lacks a clock's methods, such as `time.time`, or gives no aware datetime.
    """
    if clock is None:
        return SystemClock()
    _check_methods(clock, _OF_A_CLOCK, "clock must be a Clock", "None is the wall clock")
    return exact(clock)  # type: ignore[arg-type]


def checked_limits(limits: object) -> Limits:
    """Return the limits; the default ones for None.

    Raises:
        TypeError: not a Limits.
    """
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, not {shown(limits)} ({type(limits).__name__}): write Limits(...)")
    return limits


def checked_logger(logger: object) -> logging.Logger:
    """Return the logger; "durable" for None.

    Raises:
        TypeError: not one of the standard library's.
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
