"""Refusals: what a step call gets whose run is not being executed any more.

Separate because user code may do anything with a cancelling, also take no notice of it, again and again.
Leaves to `session` when to refuse, to `ending` how long to wait for who was refused.

A refused call raises `asyncio.CancelledError`, so that `finally` blocks run and record nothing (R8). It does so after
one yield to the loop, so that code which swallows it does not stop the loop; and after the tenth it answers no more, so
that such code does not spin for ever: it waits for what nobody will tell it. Nobody waits for such a task either, which
would be for ever: it is taken out of asyncio's own list, by which `asyncio.run` cancels and awaits what is left.

A task that is none of the run's own, a request that was given the context, say, has nothing to clean up, and must not
be cancelled by what it calls: it gets a RuntimeError.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from durable.claims import is_own
from durable.log import Log
from durable.misuse import misplaced

ANSWERED = 10

Gone = Callable[[asyncio.Task[Any]], None]

_LEFT: set[asyncio.Task[Any]] = set()
_holding = threading.Lock()


def leave_behind(task: asyncio.Task[Any]) -> None:
    """Let nobody wait for a task that does not end."""
    _LEFT.add(task)
    task.add_done_callback(_LEFT.discard)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # the log names it
    asyncio._unregister_task(task)
    if _holding.acquire(blocking=False):
        threading.Thread(target=_hold, args=(_LEFT,), name="durable-left-behind", daemon=True).start()


def _hold(left: object) -> None:
    # Collected, a task is closed where it stands, and code that swallows that too goes on for ever: at the exit of the
    # interpreter, which collects everything but what the frame of a daemon thread holds. This thread waits for ever.
    _holding.acquire()


class Refused(Protocol):
    """An execution that is over."""

    ledger: Any
    main: asyncio.Task[Any]
    is_stopped: bool
    fault: Any


class Awaited(Protocol):
    """A step that somebody awaits."""

    key: str
    awaited_by: asyncio.Task[Any] | None
    future: asyncio.Future[Any] | None


class Refusals:
    """The refused calls of one execution. `ended()` is called where it has a fault, and its function is never done."""

    __slots__ = ("_count", "_ended", "_gone", "_is_counted", "_is_told", "_log", "_of", "silent")

    def __init__(self, of: Refused, log: Log, ended: Callable[[], None]) -> None:
        self._of = of
        self._log = log
        self._ended = ended
        self._count = 0
        self._is_counted = self._is_told = False
        self.silent: set[asyncio.Task[Any]] = set()  # those that wait for an answer which they do not get
        self._gone: list[Gone] = []

    def check_own(self, step: str) -> None:
        """Refuse a call of a task that is none of the run's own.

        Raises:
            RuntimeError
        """
        if not is_own(self._of):
            raise self._told_away(step)
        run = self._of.ledger.run
        if self._of.main.done() and not self._of.is_stopped and not self._is_told:
            self._is_told = True
            self._log.warning(
                "run %r: step %r is called after the function has ended, and does nothing: await what calls it, a "
                "generator too (contextlib.aclosing), before the function returns",
                run,
                step,
            )

    def _told_away(self, step: str) -> RuntimeError:
        run, state = self._of.ledger.run, self._of.ledger.status or "parked"
        return misplaced(
            f"step {step!r} of run {run!r} is called from a task that is none of the run's own, and the run is "
            f"{state}: steps can be called while its function runs; to begin another run use engine.start"
        )

    def turn_away(self, calls: Iterable[Awaited], strangers: Container[asyncio.Task[Any]]) -> None:
        """Tell tasks that are none of the run's own, and wait in its steps, that these will not be answered."""
        for call in calls:
            if call.awaited_by in strangers and call.future is not None and not call.future.done():
                call.future.set_exception(self._told_away(call.key))

    async def refuse(self) -> NoReturn:
        """Refuse one call: raise, or answer no more. Those of one turn of the loop count once: a fan-out that cleans up
        is refused as a whole."""
        loop = asyncio.get_running_loop()
        if not self._is_counted:
            self._count += 1
            self._is_counted = True
            loop.call_soon(self._turn)
        if self._count <= ANSWERED:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        if self._of.fault is not None:
            self._ended()  # R7: also where the function, which catches everything, is never done
        task = asyncio.current_task()
        assert task is not None
        self.silent.add(task)
        leave_behind(task)
        for gone in self._gone:
            gone(task)
        try:
            await loop.create_future()
        finally:
            self.silent.discard(task)
        raise asyncio.CancelledError

    def _turn(self) -> None:
        self._is_counted = False

    @contextmanager
    def watched(self, gone: Gone) -> Iterator[None]:
        """Call `gone(task)` meanwhile for each task that is answered no more."""
        self._gone.append(gone)
        try:
            yield
        finally:
            self._gone.remove(gone)
