"""Call a function's code, in the context of whoever began its run.

Separate because these contexts are the memory of one process: no record and no restart knows them (R35).
Leaves to `scheduler` when a function is called, to `branches` which variables are durable's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context as Variables
from typing import Any

from durable.functions import Context, Function
from durable.journal import misuse
from durable.scheduler.branches import outside


class Callers:
    """Callers are the contexts in which runs were begun by a call, until these runs end.

    A run that was begun otherwise has the engine's. Runs that were begun in like contexts share one.
    """

    def __init__(self, engine: Variables) -> None:
        self._engine = engine
        self._latest = engine
        self._calling: tuple[Variables, list[str]] | None = None
        self._of: dict[str, Variables] = {}

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Let runs that are opened in this block have the caller's context.

        A block that raises has opened none (R31).
        """
        opened: list[str] = []
        before, self._calling = self._calling, (self._shared(outside()), opened)
        try:
            yield
        except BaseException:
            for run in opened:
                self.ended(run)
            raise
        finally:
            self._calling = before

    def _shared(self, variables: Variables) -> Variables:
        for known in (self._engine, self._latest):
            if _is_like(variables, known):
                return known
        self._latest = variables
        return variables

    def opened(self, run: str) -> None:
        """Keep the caller's context for a run that was just opened, if it is not the engine's."""
        if self._calling is not None and self._calling[0] is not self._engine:
            self._of[run], _ = self._calling
            self._calling[1].append(run)

    def ended(self, run: str) -> None:
        """Forget the context of a run."""
        if self._of.pop(run, None) is not None and not self._of:
            self._latest = self._engine

    def variables_of(self, run: str) -> Variables:
        """Return a copy of the context in which a run's function is called."""
        return self._of.get(run, self._engine).copy()


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
    if asyncio.iscoroutine(coroutine):
        return coroutine
    return _failed(misuse(TypeError(f"function {function.id!r} returned {coroutine!r} instead of a coroutine")))
