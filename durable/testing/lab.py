"""Lab: one engine on a DictStore and a virtual clock, for tests of functions.

Separate because a test wants what a live engine must not do: stand still until told, replace handlers, crash.
Leaves to the engine everything that a function can see: there are no mocks in here.
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

from durable.engine import Engine, inside, set_up
from durable.errors import DurableError, StoreError
from durable.function import Function
from durable.requests import checked_events
from durable.run import Run
from durable.session import Session
from durable.stores.dict import DictStore
from durable.stores.store import Store
from durable.testing.places import awaited_line
from durable.testing.stubs import Stubs
from durable.testing.stuck import Sent, explain
from durable.testing.virtual import VirtualClock
from durable.times import Duration, after, duration
from durable.views import RunInfo

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
STUCK_SECONDS = 5.0
PATIENCE_SECONDS = 0.25
RECENT = 20


class StuckError(DurableError):
    """A run cannot go on in this test: the message says what it waits for."""


@attrs.frozen
class _Door:
    """What handles ask, passed on to the engine of the day: they go on working after a crash."""

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
    """One engine in a test: no real time, no files, no threads.

    Args:
        functions: as for `Engine`.
        stubs: by step id, what takes the place of a handler, a wait or an invoke: a value, an exception to raise, a
            callable to call instead, `Dies` for a process that dies in the handler, or a list with one of these for
            each call. Reported at exit, whatever the function made of it: a stub that no step used, and a list that was
            too short or too long. Not reported: a step without a stub. Its real handler is called, since most tests
            replace only what leaves the process; `calls` says which handlers were.
        store: default a DictStore of its own.
        start: the virtual clock's first instant, aware.
        threads: run blocking handlers in threads, as live; by default they run inline.

    Opening, `start`, `send`, `signal`, `advance` and `crash` return when nothing can move without time or input from
    outside; also when a handler has run for 0.25 s of real time whose step has a timeout, which the clock then ends. A
    run with no step pending that has not ended counts as running: after 5 s of real time a `StuckError` names it and
    the line it awaits.

    Attributes:
        engine: the engine; another one after `crash`.
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
        """Start a run, as `Engine.start`, and settle."""
        run = await self.ask(lambda engine: engine.start(function, data, id=id))
        await self.settle()
        return Run(self._door, run.id)

    async def send(
        self, name: Any, data: Mapping[str, Any] | None = None, *, id: str | None = None, ts: datetime | None = None
    ) -> list[Run[Any]]:
        """Send events, as `Engine.send`, settle, and return the runs that they opened at once."""
        events = checked_events(name, data, id=id, ts=ts)
        _, opened = await self.ask(lambda engine: inside(engine, "send").send(events))
        now = self.clock.now()
        self._recent += [Sent(event, max(event.ts or now, now)) for event in events]
        await self.settle()
        return [Run(self._door, run) for run in opened]

    async def signal(self, signal: str, data: Any = None) -> str | None:
        """Send a signal, as `Engine.send_signal`, and settle."""
        received = await self.ask(lambda engine: engine.send_signal(signal, data))
        await self.settle()
        return received

    async def advance(self, by: Duration) -> None:
        """Move the clock by a duration, from deadline to deadline, settling at each; deadlines at its end included."""
        end = after(self.clock.now(), duration(by))
        await self.settle()
        while (due := self.clock.next_due()) is not None and due <= end:
            self.clock.advance_to(due)
            await self.settle()
        self.clock.advance_to(end)
        await self.settle()

    async def result(self, run: Run[T], timeout: Duration | None = None) -> T:
        """Return what a run returns, skipping time as needed until it ends.

        Raises:
            StuckError: nothing is due: it waits for an event, a signal, or another run.
            RunFailed, RunCancelled: how it ended.
        """
        await self.settle()
        while inside(self.engine, "result").state.is_unfinished(run.id):
            due = self.clock.next_due()
            if due is None:
                raise StuckError(await self._stuck(run.id))
            self.clock.advance_to(due)
            await self.settle()
        value: T = await self.ask(lambda engine: engine.result(run.id, timeout))
        return value

    async def _stuck(self, run_id: str) -> str:
        runtime = inside(self.engine, "result")
        runs = [run.run for run in islice(runtime.state.unfinished(), RECENT)]
        others = [await self.engine.info(run) for run in runs if run != run_id]
        return explain(runtime, await self.engine.info(run_id), others, self._recent)

    async def ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Ask the engine of the day something."""
        return await question(self.engine)

    async def crash(self) -> None:
        """Let the process die and come again: tasks are cancelled, their steps refuse, what was not durable is gone.

        The same store is opened anew without having been closed. Handles go on working; `engine` is another one. An
        engine whose store has failed is restarted likewise.
        """
        await self.restart()
        await self.settle()

    async def restart(self) -> None:
        """Crash without settling."""
        try:
            runtime = inside(self.engine, "crash")
        except StoreError:
            await self.engine.close()
        else:
            await runtime.abandon()
        self.engine = self._new_engine()
        await self.engine.open()

    async def settle(self) -> None:
        """Wait until nothing can move without time or input from outside.

        Raises:
            StuckError: something still runs after 5 s of real time.
        """
        if await self._settled():
            await self.crash()

    async def _settled(self) -> bool:
        """Wait until nothing moves, or the process died in a handler, and return whether it did."""
        # Begun once, whatever real time it takes: begun again, it would fire timers and write in another round of the
        # loop, and a test would be another one on a slow machine. Not create_task: these are no tasks of a function.
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
            # A handler that hangs, and whose step has a timeout, moves when the clock does (R11a).
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
