"""Test functions with one engine on a DictStore and a virtual clock.

Separate because a test needs what a live engine must not do: stand still until told, replace handlers, crash.
Leaves to the engine everything that a function can see: there are no mocks here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs

from durable.engine import OF_A_RUN, Engine, Run, checked_events, inside, set_up
from durable.errors import DurableError, StoreError
from durable.functions import Function
from durable.scheduler import Session
from durable.stores import DictStore, Store
from durable.testing.clock import VirtualClock
from durable.testing.source_lines import awaited_line
from durable.testing.stubs import Stubs
from durable.testing.stuck import Sent, explain
from durable.timers import Duration, after, duration
from durable.views import RunInfo

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
STUCK_SECONDS = 5.0
PATIENCE_SECONDS = 0.25
RECENT = 20


class StuckError(DurableError):
    """A run cannot go on in this test.

    The message says what it waits for.
    """


@attrs.frozen
class _Door:
    """A door passes calls of handles to the Lab's current engine.

    So handles go on working after a crash.
    """

    lab: Lab

    async def result(self, run_id: str, timeout: Duration | None) -> Any:
        return await self.lab.ask(lambda engine: engine.result(run_id, timeout))

    async def info(self, run_id: str) -> RunInfo:
        return await self.lab.ask(lambda engine: engine.info(run_id))

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        cancelled = await self.lab.ask(lambda engine: engine.cancel(run_id, reason))
        await self.lab.settle()
        return cancelled


class Lab:
    """A lab runs one engine in a test, without real time or files.

    Args:
        functions: as for `Engine`.
        stubs: replacements for handlers, waits and invokes, by step id: a value, an exception to raise, a callable to
            call instead, `Dies` for a process that dies in the handler, or a list with one of these for each call. The
            end of the Lab reports stubs that no step used, and lists that were too short or too long, even if the
            function caught the error. A step without a stub calls its real handler, since most tests replace only what
            leaves the process; `calls` says which handlers were called.
        store: default: a DictStore of its own.
        start: the virtual clock's first instant, an aware datetime; default: 2030-01-01 UTC.
        threads: whether blocking handlers run in threads, as they do live; default: they run inline.

    Opening, `start`, `send`, `signal`, `advance` and `crash` return when nothing can move without time or input. They
    also return when a handler has run for 0.25 s of real time and its step has a timeout: moving the clock then ends
    it. A run that has not ended and has no step pending counts as running: after 5 s of real time a `StuckError` names
    the run and the line that it awaits.

    Attributes:
        engine: the engine; a new one after `crash`.
        clock: the virtual clock.
        calls: how often handlers were called, by step id.
    """

    def __init__(
        self,
        functions: Iterable[Function[Any]],
        *,
        stubs: Mapping[str, Any] | None = None,
        store: Store | None = None,
        start: datetime = START,
        threads: bool = False,
    ) -> None:
        self._functions = list(functions)
        self._threads = threads
        self._store: Store = DictStore() if store is None else store
        self._stubs = Stubs(stubs or {})
        self.clock = VirtualClock(start)
        self.calls: Counter[str] = self._stubs.calls
        self.engine = self._new_engine()
        self._recent: deque[Sent] = deque(maxlen=RECENT)
        self._door = _Door(self)

    def _new_engine(self) -> Engine:
        engine = Engine(self._functions, store=self._store, clock=self.clock)
        set_up(engine, stand_in=self._stubs, is_inline=not self._threads)
        return engine

    async def __aenter__(self) -> Self:
        await self.engine.open()
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.engine.close()
        if error is None:
            self._stubs.check_used()

    async def start(
        self, function: Function[T], data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Run[T]:
        """Start a run as `Engine.start` does, and settle."""
        run = await self.ask(lambda engine: engine.start(function, data, id=id))
        await self.settle()
        return Run(self._door, run.id)

    async def send(
        self, name: Any, data: Mapping[str, Any] | None = None, *, id: str | None = None, ts: datetime | None = None
    ) -> list[Run[Any]]:
        """Send events as `Engine.send` does; settle; return the runs that they opened at once."""
        events = checked_events(name, data, id=id, ts=ts)
        _, opened = await self.ask(lambda engine: inside(engine, "send").send(events))
        now = self.clock.now()
        self._recent += [Sent(event, max(event.ts or now, now)) for event in events]
        await self.settle()
        return [Run(self._door, run) for run in opened]

    async def signal(self, signal: str, data: Any = None) -> str | None:
        """Send a signal as `Engine.send_signal` does, and settle."""
        received = await self.ask(lambda engine: engine.send_signal(signal, data))
        await self.settle()
        return received

    async def advance(self, by: Duration) -> None:
        """Move the clock by a duration, settling at each deadline on the way.

        Deadlines at the end of the duration are included.
        """
        end = after(self.clock.now(), duration(by))
        await self.settle()
        while (due := self.clock.next_due()) is not None and due <= end:
            self.clock.advance_to(due)
            await self.settle()
        self.clock.advance_to(end)
        await self.settle()

    async def result(self, run: Run[T], timeout: Duration | None = None) -> T:
        """Return a run's result, moving the clock until the run ends.

        Raises:
            StuckError: no deadline is left: the run waits for an event, a signal, or another run.
            RunFailed, RunCancelled: the run ended so.
        """
        await self.settle()
        while inside(self.engine, "result").state.is_unfinished(run.id):
            due = self.clock.next_due()
            if due is None:
                raise StuckError(await self._stuck(run.id))
            self.clock.advance_to(due)
            await self.settle()
        with OF_A_RUN:
            value: T = await self.ask(lambda engine: engine.result(run.id, timeout))
            return value

    async def _stuck(self, run_id: str) -> str:
        runtime = inside(self.engine, "result")
        runs = [run.run for run in islice(runtime.state.unfinished(), RECENT)]
        others = [await self.engine.info(run) for run in runs if run != run_id]
        return explain(runtime, await self.engine.info(run_id), others, self._recent)

    async def ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Return what `question(engine)` returns for the current engine."""
        return await question(self.engine)

    async def crash(self) -> None:
        """Let the process die and start again, and settle.

        Tasks are cancelled, their steps are refused, and what was not durable is lost. The same store is opened again
        without having been closed. Handles go on working; `engine` is a new one. An engine whose store has failed is
        restarted likewise.
        """
        await self.restart()
        await self.settle()

    async def restart(self) -> None:
        """Crash as `crash` does, but do not settle."""
        try:
            runtime = inside(self.engine, "crash")
        except StoreError:
            await self.engine.close()
        else:
            await runtime.abandon()
        self.engine = self._new_engine()
        await self.engine.open()

    async def settle(self) -> None:
        """Wait until nothing can move without time or input.

        Raises:
            StuckError: something still runs after 5 s of real time.
        """
        if await self._settled():
            await self.crash()

    async def _settled(self) -> bool:
        """Wait until nothing moves, or until the process died in a handler; return whether it died."""
        # Settling is begun only once, even if it takes long. Begun again, it would fire timers and write in another
        # round of the loop, and a test would go differently on a slow machine. It does not use create_task, since a
        # task factory may take these for tasks of a function.
        loop = asyncio.get_running_loop()
        settling = asyncio.Task(self.engine.settled(), loop=loop)
        waiting: list[asyncio.Task[Any]] = [settling]
        if self._stubs.may_die:
            waiting.append(asyncio.Task(self._stubs.died.wait(), loop=loop))
        try:
            await self._first_of(waiting)
            if self._stubs.died.is_set():
                return True
            if settling.done():
                settling.result()
            return False
        finally:
            self._stubs.died.clear()
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

    async def _first_of(self, tasks: list[asyncio.Task[Any]]) -> None:
        clock, sessions = asyncio.get_running_loop().time, list[Session]()
        end = clock() + STUCK_SECONDS
        while (left := end - clock()) > 0:
            patience = min(PATIENCE_SECONDS, left)
            done, _ = await asyncio.wait(tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            # A handler that hangs, but whose step has a timeout, ends when the clock moves (R11a).
            sessions = inside(self.engine, "settled").scheduler.unsettled()
            if sessions and all(session.waits_for_timeouts for session in sessions):
                return
        running = [text for session in sessions for text in _running(session)]
        raise StuckError(
            f"after {STUCK_SECONDS:g} s of real time something still runs: {'; '.join(running) or 'the engine'}. A "
            "handler is slow, or a function awaits something outside its steps"
        )


def _running(session: Session) -> list[str]:
    handlers = [f"the handler of {work.label}" for work in session.working]
    return handlers or [f"run {session.ledger.run!r} at {awaited_line(session.main)}"]
