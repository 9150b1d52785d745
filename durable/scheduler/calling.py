"""Call a function's code, in the context of whoever began its run.

Separate because these contexts are the memory of one process: no record and no restart knows them (R35).
Leaves to `scheduler` when a function is called, to `branches` which variables are durable's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from types import CoroutineType
from typing import Any

from durable.functions import Context, Function
from durable.journal import Record, misuse
from durable.scheduler.branches import OWN, outside


class Callers:
    """Callers are the contexts in which runs were begun by a call, until these runs end.

    A run that was begun otherwise has the engine's. Runs that were begun in like contexts share one.

    Attributes:
        call: of the call that is begun now, the context and the runs that it has opened; None if it is the engine's.
        of: the contexts that are not the engine's, by run.
    """

    def __init__(self, engine: Variables) -> None:
        self._engine = self._latest = engine
        self.call: tuple[Variables, list[str]] | None = None
        self.of: dict[str, Variables] = {}

    def begin(self, post: Callable[[Iterable[Record]], object], cause: Iterable[Record]) -> None:
        """Post a cause, and let runs that it opens have the caller's context.

        A post that raises has opened none (R31).
        """
        variables, opened, before = self._shared(), list[str](), self.call
        self.call = None if variables is self._engine else (variables, opened)
        try:
            post(cause)
        except BaseException:
            for run in opened:
                self.ended(run)
            raise
        finally:
            self.call = before

    def _shared(self) -> Variables:
        here = copy_context()
        theirs = [pair for pair in here.items() if pair[0] not in OWN]
        for known in (self._engine, self._latest):
            if _has(known, theirs, here):
                return known
        self._latest = outside()
        return self._latest

    def opened(self, run: str) -> None:
        """Keep the context of the call for a run that it has just opened."""
        if self.call is not None:
            self.of[run], opened = self.call
            opened.append(run)

    def ended(self, run: str) -> None:
        """Forget the context of a run."""
        if self.of.pop(run, None) is not None and not self.of:
            self._latest = self._engine


def _has(known: Variables, theirs: Iterable[tuple[ContextVar[Any], Any]], absent: object) -> bool:
    """Return whether a context that `outside` has made has these variables and values, besides durable's own."""
    left = len(known) - len(OWN)
    for variable, value in theirs:
        # By identity: values of users may compare in any way, or not at all.
        if known.get(variable, absent) is not value:
            return False
        left -= 1
    return not left


async def _failed(error: BaseException) -> Any:
    raise error


def called(function: Function[Any], ctx: Context) -> Coroutine[Any, Any, Any]:
    """Return the coroutine of a function's code.

    An error of the call itself is raised when the coroutine is awaited.
    """
    try:
        coroutine: Any = function.code(ctx)
    except Exception as error:  # from a user's decorator around the code
        return _failed(error)
    if type(coroutine) is CoroutineType or asyncio.iscoroutine(coroutine):
        return coroutine
    return _failed(misuse(TypeError(f"function {function.id!r} returned {coroutine!r} instead of a coroutine")))
