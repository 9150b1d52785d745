"""Leave out of a log what would flood it, and say how much that was.

Separate because only the engine's own lines are rationed: what a user's code logs is not.
Leaves to `log` the writing of a line, and the errors of logging.

If a service is down, ten thousand runs a minute may fail alike, and say so line by line. Of warnings and errors of one
kind 100 are logged in a minute, and 1,000 of all kinds together, but always the first of each kind. The others are
counted. At the end of the minute, or when the engine closes, one line for each kind says how many there were, and what
the last of them said. Lines are of one kind if they have one format, tell of one function, and of errors of one class.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import attrs

from durable.stores.log import Log

MOST = 100
MOST_IN_ALL = 1_000
SECONDS = 60.0
_KINDS = 1_000
_OTHERS = ("others",)
_SHOWN = 500  # characters


@attrs.define(eq=False)
class _Ration:
    """The lines of one kind since `began`: how many were logged, how many left out, and the last of these."""

    began: float
    logged: int = 0
    left_out: int = 0
    level: int = 0
    line: object = ""
    args: tuple[Any, ...] = ()
    extra: Any = None


class RationedLog(Log):
    """A rationed log shows a bounded number of warnings and errors in a minute.

    `plain` is the same log without rations.
    """

    def __init__(self, logger: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.plain = Log(logger)
        super().__init__(self.plain)
        self._loop = loop
        self._rations: dict[tuple[object, ...], _Ration] = {}
        self._of_all = _Ration(loop.time())
        self._timer: asyncio.TimerHandle | None = None

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a line, or count it."""
        if level < logging.WARNING or self._is_within(level, msg, args, kwargs.get("extra")):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)

    def warn_sparingly(self, function: str, msg: str, *args: object) -> None:
        """Warn of a mistake in a function's code: once a minute, since each of its runs may show it."""
        extra = {"function_id": function, "markup": False}
        if self._is_within(logging.WARNING, msg, args, extra, most=1):
            super().log(logging.WARNING, msg, *args, extra=extra, stacklevel=2)

    def tell_left_out(self) -> None:
        """Say how many lines were left out, and begin anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rations, self._rations = self._rations, {}
        for ration in rations.values():
            if ration.left_out:
                self._tell(ration)

    def _is_within(self, level: int, msg: object, args: tuple[Any, ...], extra: Any, most: int = MOST) -> bool:
        now = self._loop.time()
        if now - self._of_all.began >= SECONDS:
            self._of_all = _Ration(now)
        ration = self._ration(msg, extra or {}, now)
        if ration.logged == 0 or (ration.logged < most and self._of_all.logged < MOST_IN_ALL):
            ration.logged += 1
            self._of_all.logged += 1
            return True
        ration.left_out += 1
        ration.level, ration.line, ration.args, ration.extra = level, msg, args, extra
        if ration.left_out == 1 and self._timer is None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(
                partial(self._tell_at, ration.began + SECONDS)
            )  # a handler's thread may log
        return False

    def _ration(self, msg: object, extra: dict[str, Any], now: float) -> _Ration:
        kind: tuple[object, ...] = (msg, extra.get("function_id"), extra.get("error"))
        ration = self._rations.get(kind)
        if ration is None and len(self._rations) >= _KINDS:
            rations = self._rations.items()
            self._rations = {old: one for old, one in rations if one.left_out or now - one.began < SECONDS}
            if len(self._rations) >= _KINDS:
                kind = _OTHERS
                ration = self._rations.get(kind)
        if ration is None or (now - ration.began >= SECONDS and not ration.left_out):
            ration = self._rations[kind] = _Ration(now)
        return ration

    def _tell_at(self, when: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_at(when, self.tell_left_out)

    def _tell(self, ration: _Ration) -> None:
        try:
            last = (str(ration.line) % ration.args if ration.args else str(ration.line)).partition("\n")[0][:_SHOWN]
        except Exception:  # from an argument's own text
            last = str(ration.line)
        self.plain.log(
            ration.level,
            "%d more lines of this kind were left out in %.0f s; the last of them: %s",
            ration.left_out,
            self._loop.time() - ration.began,
            last,
            extra=ration.extra,
        )
