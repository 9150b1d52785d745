"""Call a function's code, in the context of whoever began its run.

Separate because these contexts are the memory of one process: no record and no restart knows them (R35).
Leaves to `scheduler` when a function is called, to `branches` which variables are durable's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context as Variables
from types import CoroutineType
from typing import Any

from durable.functions import Context, Function
from durable.journal import misuse
from durable.scheduler.branches import outside


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

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Let runs that are opened in this block have the caller's context.

        A block that raises has opened none (R31).
        """
        variables, opened, before = self._shared(outside()), list[str](), self.call
        self.call = None if variables is self._engine else (variables, opened)
        try:
            yield
        except BaseException:
            for run in opened:
                self.ended(run)
            raise
        finally:
            self.call = before

    def _shared(self, variables: Variables) -> Variables:
        for known in (self._engine, self._latest):
            if _is_like(variables, known):
                return known
        self._latest = variables
        return variables

    def opened(self, run: str) -> None:
        """Keep the context of the call for a run that it has just opened."""
        if self.call is not None:
            self.of[run], opened = self.call
            opened.append(run)

    def ended(self, run: str) -> None:
        """Forget the context of a run."""
        if self.of.pop(run, None) is not None and not self.of:
            self._latest = self._engine


def _is_like(one: Variables, other: Variables) -> bool:
    # By identity: values of users may compare in any way, or not at all.
    return len(one) == len(other) and all(other.get(variable, one) is value for variable, value in one.items())


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
