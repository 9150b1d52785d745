"""Test functions with one engine on a DictStore and a virtual clock.

Separate because a test needs what a live engine must not do: stand still until told, replace handlers, crash.
Leaves to the engine everything that a function can see: there are no mocks here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import attrs

from durable.engine import OF_A_RUN, AsyncWith, Engine, Run, checked_events, inside, set_up
from durable.errors import DurableError, StoreError, checked_making
from durable.events import checked_choice
from durable.functions import Function, check_listed
from durable.journal import RunOpened, misplaced
from durable.scheduler import Session
from durable.stores import DictStore, Store
from durable.testing.clock import VirtualClock
from durable.testing.patience import PART_SECONDS, ended, parts, within
from durable.testing.source_lines import awaited_line
from durable.testing.stubs import Stubs
from durable.testing.stuck import Sent, explain, unheard
from durable.timers import Duration, after, answering, duration
from durable.views import RunInfo

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
STUCK_SECONDS = 5.0
RECENT = 20
TICKS_IN_VAIN = 5_000  # that come while nothing else is due: more than in two weeks of every five minutes


class StuckError(DurableError):
    """A run cannot go on in this test.

    The message names what the run waits for, with the step and the line that awaits it, and what nearly answered it.
    """


class _Restarted(DurableError):
    """The Lab has crashed its engine while a result was awaited."""


@attrs.frozen
class _Door:
    """A door passes calls of handles to the Lab's current engine.

    So handles go on working after a crash.
    """

    lab: Lab

    async def result(self, run_id: str, timeout: Duration | None) -> Any:
        return await self._awaited(lambda engine: engine.result(run_id, timeout))

    async def step(self, run_id: str, key: str, timeout: Duration | None = None) -> Any:
        return await self._awaited(lambda engine: engine.step(run_id, key, timeout))

    async def _awaited(self, question: Callable[[Engine], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await self.lab._ask(question)
            except _Restarted:
                pass  # the run goes on in another engine

    async def info(self, run_id: str) -> RunInfo:
        return await self.lab._ask(lambda engine: engine.info(run_id))

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        cancelled = await self.lab._move(lambda engine: engine.cancel(run_id, reason))
        await self.lab.settle()
        return cancelled


@answering(invoke="start, and lab.result(run)", trigger="send", sleep="advance", run="start", send_signal="signal")
@checked_making
class Lab(AsyncWith):
    """A lab runs one engine in a test, without real time or files.

    Args:
        functions: as for `Engine`.
        stubs: replacements for handlers, waits and invokes, by step id: a value, an exception to raise, a callable to
            call instead, `Dies` for a process that dies in the handler, or a list with one of these for each call.
            `calls` says which handlers were called.
        unused: "error": at the end of the Lab an AssertionError names stubs that no step used, and lists that were too
            short or too long, even if the function caught the error. If the test has failed by then, a note on its
            error names them. "allow": stubs may remain.
        unstubbed: "call": a step without a stub calls its real handler, since most tests replace only what leaves the
            process. "error": it fails without a call, and the test with it; waits, sleeps and invokes need no stub.
        store: default: a DictStore of its own.
        start: the virtual clock's first instant, an aware datetime; default: 2030-01-01 UTC.
        threads: whether blocking handlers run in threads, as they do live; default: they run inline.

    Opening, `start`, `send`, `signal`, `advance` and `crash` return when nothing can move without time or input. They
    also return when a handler has run for 0.25 s of real time and its step has a timeout: moving the clock then ends
    it. A run that has not ended and has no step pending counts as running: after 5 s of real time a `StuckError` names
    the run and the line that it awaits. So it does at once if a run's result is awaited while nothing can move.

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
        unused: Literal["error", "allow"] = "error",
        unstubbed: Literal["call", "error"] = "call",
        store: Store | None = None,
        start: datetime = START,
        threads: bool = False,
    ) -> None:
        check_listed(functions, "Lab", "Lab([function])")
        self._functions = list(functions)
        self._threads = threads
        self._store: Store = DictStore() if store is None else store
        all_stubbed = checked_choice(unstubbed, ("call", "error"), "unstubbed") == "error"
        self._stubs = Stubs({} if stubs is None else stubs, all_stubbed=all_stubbed)
        self._checks_used = checked_choice(unused, ("error", "allow"), "unused") == "error"
        self.clock = VirtualClock(start)
        self.calls: Counter[str] = self._stubs.calls
        self.engine = self._new_engine()
        self._is_open = False
        self._recent: deque[Sent] = deque(maxlen=RECENT)
        self._unheard = ""
        self._acts = self._acting = 0  # calls of the test that move the engine: all of them, and those under way
        self._is_up = asyncio.Event()
        self._is_up.set()
        self._door = _Door(self)

    def _new_engine(self) -> Engine:
        engine = Engine(self._functions, store=self._store, clock=self.clock)
        set_up(engine, stand_in=self._stubs, is_inline=not self._threads, watched=self._watched)
        return engine

    async def __aenter__(self) -> Self:
        await self.engine.open()
        self._is_open = True
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        await self.engine.close()
        if error is not None:
            for note in (self._stubs.unused() if self._checks_used else "", self._unheard):
                if note:
                    error.add_note(note)
        elif self._checks_used:
            self._stubs.check_used()
        else:
            self._stubs.check_refused()

    async def start(
        self, function: Function[T], data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Run[T]:
        """Start a run as `Engine.start` does, and settle."""
        run = await self._move(lambda engine: engine.start(function, data, id=id))
        await self.settle()
        return Run(self._door, run.id)

    async def send(
        self, name: Any, data: Mapping[str, Any] | None = None, *, id: str | None = None, ts: datetime | None = None
    ) -> list[Run[Any]]:
        """Send events as `Engine.send` does; settle; return the runs that they opened at once."""
        events = checked_events(name, data, id=id, ts=ts)
        now = self.clock.now()
        sent = [Sent(event, max(event.ts or now, now)) for event in events]
        opened = await self._move(lambda engine: self._send(engine, sent, now))
        self._recent += sent
        await self.settle()
        return [Run(self._door, run) for run in opened]

    async def _send(self, engine: Engine, sent: list[Sent], now: datetime) -> list[str]:
        runtime = inside(engine, "send")
        told = [unheard(self._functions, runtime.state.bus, one, now) for one in sent]
        self._unheard = "\n".join(filter(None, told))
        _, records = await runtime.send([one.event for one in sent])
        return [record.run for record in records if isinstance(record, RunOpened)]

    async def signal(self, signal: str, data: Any = None) -> str | None:
        """Send a signal as `Engine.send_signal` does, and settle."""
        received = await self._move(lambda engine: engine.send_signal(signal, data))
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
            StuckError: no deadline is left but ticks: the run waits for an event, a signal, or another run.
            RunFailed, RunCancelled: the run ended so.
        """
        await self.settle()
        ticks = 0
        while (runtime := inside(self.engine, "result")).state.is_unfinished(run.id):
            ticks = ticks + 1 if runtime.scheduler.ticker.is_alone else 0
            due = self.clock.next_due() if ticks <= TICKS_IN_VAIN else None
            if due is None:
                raise StuckError(await self._stuck(run.id))
            self.clock.advance_to(due)
            await self.settle()
        with OF_A_RUN:
            value: T = await self._ask(lambda engine: engine.result(run.id, timeout))
            return value

    async def _stuck(self, run_id: str) -> str:
        runtime = inside(self.engine, "result")
        runs = [run.run for run in islice(runtime.state.unfinished(), RECENT)]
        others = [await self.engine.info(run) for run in runs if run != run_id]
        return explain(runtime, await self.engine.info(run_id), others, self._recent, self.clock.next_due())

    async def _ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Return what `question(engine)` returns for the current engine."""
        self._check_open()
        return await question(self.engine)

    async def _move(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Ask as `_ask` does, for what moves the engine."""
        with self._moving():
            return await self._ask(question)

    def _check_open(self) -> None:
        if not self._is_open:
            raise misplaced("the Lab is not open: write `async with Lab(...) as lab:`, and use it inside that block")

    @contextmanager
    def _moving(self) -> Iterator[None]:
        self._check_open()
        self._acts += 1
        self._acting += 1
        try:
            yield
        finally:
            self._acting -= 1

    async def crash(self) -> None:
        """Let the process die and start again, and settle.

        Tasks are cancelled, their steps are refused, and what was not durable is lost. The same store is opened again
        without having been closed. Handles go on working; `engine` is a new one. An engine whose store has failed is
        restarted likewise.
        """
        await self._restart()
        await self.settle()

    async def _restart(self) -> None:
        """Crash as `crash` does, but do not settle."""
        with self._moving():
            self._is_up.clear()
            try:
                runtime = inside(self.engine, "crash")
            except StoreError:
                await self.engine.close()
            else:
                await runtime.abandon()
            self.engine = self._new_engine()
            await self.engine.open()
            self._is_up.set()

    async def settle(self) -> None:
        """Wait until nothing can move without time or input.

        Raises:
            StuckError: something still runs after 5 s of real time.
        """
        with self._moving():
            died = await self._settled()
        if died:
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
        sessions = list[Session]()
        for part in parts(STUCK_SECONDS):
            if await ended(tasks, part):
                return
            # A handler that hangs, but whose step has a timeout, ends when the clock moves (R11a).
            sessions = list(inside(self.engine, "settled").scheduler.unsettled())
            if sessions and all(session.waits_for_timeouts for session in sessions):
                return
        raise _still_running(sessions)

    # What awaits the end of a run.

    async def _watched(self, run_id: str, ending: asyncio.Future[Any], seconds: float | None) -> Any:
        """Await the end of a run in real time, as long as something can move."""
        watching = asyncio.Task(self._come_to_rest(patient=seconds is not None), loop=asyncio.get_running_loop())
        engine = self.engine
        try:
            await asyncio.wait([ending, watching], return_when=asyncio.FIRST_COMPLETED)
            await self._is_up.wait()
            if self.engine is engine and not ending.done() and self._waits_outside():
                await ended([ending], PART_SECONDS)
                await self._is_up.wait()
            if self.engine is not engine:
                raise _Restarted("the Lab has crashed while this was awaited: ask the new engine")
            if ending.done():
                return ending.result()
            watching.result()
            raise StuckError(
                "nothing moves in a Lab without time or input, so that this result would be awaited for ever: send "
                "what is waited for with lab.send or lab.signal, move the clock with lab.advance, or await "
                f"lab.result(run), which skips time.\n{await self._stuck(run_id)}"
            )
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled():
                watching.exception()  # read it, or asyncio complains where the end came first

    def _waits_outside(self) -> bool:
        """Return whether a function may wait for something beside its steps, such as a clock of its own."""
        sessions = inside(self.engine, "result").scheduler.sessions.values()
        return any(
            all(call is None or call.awaited_by is not session.main for call in session.calls.values())
            for session in sessions
        )

    async def _come_to_rest(self, *, patient: bool) -> None:
        """Wait until nothing moves, and the test does not move anything meanwhile either.

        Raises:
            StuckError: something still runs after 5 s of real time, unless `patient`.
        """
        while True:
            acts = self._acts
            try:
                async with within(None if patient else STUCK_SECONDS):
                    await self.engine.settled()
            except TimeoutError:
                if not self._acting and acts == self._acts:
                    raise _still_running(list(inside(self.engine, "result").scheduler.unsettled())) from None
            if not self._acting and acts == self._acts:
                return


def _still_running(sessions: Iterable[Session]) -> StuckError:
    running = [text for session in sessions for text in _running(session)]
    return StuckError(
        f"after {STUCK_SECONDS:g} s of real time something still runs: {'; '.join(running) or 'the engine'}. A "
        "handler is slow, or a function awaits something outside its steps"
    )


def _running(session: Session) -> list[str]:
    handlers = [f"the handler of {work.step.label}" for work in session.working]
    return handlers or [f"run {session.ledger.run!r} at {awaited_line(session.main)}"]
