"""Define `durable.run`, which takes one run of a script to its end.

Separate because it is the only call that blocks, and the only part that speaks to a person at a terminal.
Leaves to `foreground` the loop and the signals, to `engine` everything else.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from durable.engine.account import Account
from durable.engine.arguments import check_same, checked_progress, checked_run_id
from durable.engine.engine import Engine, set_up
from durable.engine.equipment import checked_logger
from durable.engine.fallback import Fallback
from durable.engine.foreground import Foreground
from durable.engine.live_line import LiveLine
from durable.engine.neighbours import IfOpen
from durable.engine.opened import inside
from durable.engine.run import Run
from durable.engine.runtime import Runtime
from durable.engine.standing import Look
from durable.engine.uncaught import interrupt
from durable.engine.unfinished import beside, unfinished_like
from durable.errors import DurableError, WithoutFrames
from durable.functions import Function, check_function, check_listed
from durable.journal import EngineClosed, Ledger, Limits, RunClosed, RunOpened, invoked, misplaced
from durable.scheduler import RESIDENT, running_loop
from durable.stores import FileStore, Store, say
from durable.timers import Clock, Duration, duration, shown

T = TypeVar("T")

_TOLD = WithoutFrames(DurableError, TimeoutError)


def run(
    function: Function[T],
    data: Mapping[str, Any] | None = None,
    *,
    store: Store | str | Path | None = None,
    id: str | None = None,
    functions: Iterable[Function[Any]] = (),
    timeout: Duration | None = None,
    progress: bool | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
    max_crashes: int = 10,
    resident: int = RESIDENT,
    threads: int = 40,
    retention: Duration | None = None,
    if_open: IfOpen | None = None,
    grace: Duration = 0,
    logger: logging.Logger | None = None,
) -> T:
    """Run a function to its end and return its value.

    For scripts: the call blocks, and uses an engine of its own. Run the script again with the same `store` and `id`,
    after Ctrl-C or `kill -9`, and the run goes on where it was. Without an `id`, an unfinished run of the same function
    and data goes on. After a failure, the failed steps are tried again (R32). What the call is about to do is told on
    the standard error stream before anything begins. A second Ctrl-C ends the script without waiting for handlers.

    On the main thread SIGTERM and SIGHUP park the run as Ctrl-C does, unless the script has handlers of its own.

    Args:
        function: the function to run.
        data: the data of the event that opens the run.
        store: a path keeps the run in a file; None keeps it in memory, and it ends with the process.
        id: the run's own id; None: that of an unfinished run with the same function and data, else a fresh one.
        functions: other functions that this one invokes, or whose unfinished runs are in the store.
        timeout: how long to wait, a duration in real time; afterwards the run is parked. None: without limit.
        progress: whether a line on the standard error stream shows how far the run is, what runs, and what is waited
            for, with the command that answers it. None: on a terminal, where the line changes in place. Elsewhere True
            writes a new line now and then, at most one a second. Give False if the script asks on the terminal itself.
        clock, limits, max_crashes, resident, threads, retention, if_open, grace, logger: as `Engine` takes them.

    Raises:
        RuntimeError: an event loop runs here already, as in a notebook.
        ValueError: the id belongs to another function, or was started with other data; nothing has begun.
        RunFailed, RunCancelled: the run ended so, now or before.
        TimeoutError: the run has not ended in time.
        Interrupted: Ctrl-C was pressed; a run that has not ended is parked. A script that does not catch it ends
            without a traceback, with status 130.
        SystemExit: a handler raised it, or SIGTERM (status 143) or SIGHUP (129) came; the run is parked likewise.
    """
    _check(function, functions)
    engine = Engine(
        [function, *functions],
        store=store,
        clock=clock,
        limits=limits,
        max_crashes=max_crashes,
        resident=resident,
        threads=threads,
        retention=retention,
        if_open=if_open,
        grace=grace,
        logger=logger,
    )
    if timeout is not None:
        duration(timeout, what="timeout")
    live = LiveLine(checked_progress(progress))
    script = _Script(engine, function, data, None if id is None else checked_run_id(id), timeout, _place(store), live)
    with _TOLD, Fallback(checked_logger(logger), lambda: script._name):
        return script.run()


def _place(store: Store | str | Path | None) -> str | None:
    """Return how a script names its store, None if nothing outlives the process."""
    if isinstance(store, FileStore):
        return str(store.path)
    return None if store is None else str(store) if isinstance(store, str | Path) else "its store"


def _check(function: object, functions: Iterable[Function[Any]]) -> None:
    if running_loop() is not None:
        name = function.id if isinstance(function, Function) else "function"
        raise misplaced(
            "durable.run blocks, and an event loop runs here already, as in a notebook: write "
            f"`engine = durable.Engine([{name}], store=...); await engine.open()` and "
            f"`await engine.invoke({name}, {{...}})` instead"
        )
    check_function(function, "durable.run")
    check_listed(functions, "durable.run", "functions=[function]")


class _Script(Generic[T]):
    """A script takes one run to its end and tells the terminal about it."""

    def __init__(
        self,
        engine: Engine,
        function: Function[T],
        data: Mapping[str, Any] | None,
        id: str | None,
        timeout: Duration | None,
        place: str | None,
        live: LiveLine,
    ) -> None:
        self._engine = engine
        self._function = function
        self._data = data
        self._id = id
        self._timeout = timeout
        self._account = Account(place, is_named=id is not None)
        self._foreground = Foreground()
        self._live = live
        self._runtime: Runtime | None = None
        self._known: Ledger | None = None
        self._run: Run[T] | None = None
        self._has_ended = False
        self._ends: tuple[RunOpened | None, RunClosed | None] | None = None  # None: not read
        # R14: an exit of a handler ends the process
        set_up(engine, exits=True, folded=self._folded, drained=self._drained)

    def run(self) -> T:
        try:
            with self._live:
                return self._foreground.run(self._main, self._left)
        except TimeoutError:
            self._say_left("not ended in time")
            raise
        except KeyboardInterrupt as error:
            interrupt(self._say_left("interrupted"), error)
        except SystemExit as error:
            came = self._foreground.signals
            self._say_left(
                f"ended by {signal.Signals(came[0]).name}" if came else f"ended by sys.exit({shown(error.code)})"
            )
            raise

    async def _main(self) -> T:
        try:
            await self._engine.open()
            self._runtime = inside(self._engine, "durable.run")
            self._run = await self._begun()
            look = self._look(self._runtime, self._run.id)
            await look.learn()
            self._live.begin(asyncio.get_running_loop(), look)
            value = await self._run.result(self._timeout)
            self._has_ended = True
            return value
        finally:
            self._live.end()
            await self._close_foreground()
            await self._engine.close()

    def _look(self, runtime: Runtime, run: str) -> Look:
        store = runtime.parts.settings.store
        place = self._account.place if isinstance(store, FileStore) else None
        return Look(runtime, run, self._function.id if self._id is None else run, place)

    async def _left(self) -> None:
        # R26: a second Ctrl-C is not a crash. A handler that is still running must not be blamed for one.
        if self._runtime is not None and self._runtime.journal.failure is None and not self._runtime.is_drained:
            self._runtime.scheduler.stop()
            self._runtime.journal.post(EngineClosed(self._runtime.clock.now()))
            await self._drained(self._runtime)

    async def _drained(self, runtime: Runtime) -> None:
        """Read what is recorded of the run's ends, once nothing more is recorded.

        A run may end after the script was interrupted: its function does not yield at once, or a deadline passes while
        handlers are waited for.
        """
        if self._name is not None and runtime.journal.failure is None:
            self._ends = await runtime.history.ends(self._name)

    async def _begun(self) -> Run[T]:
        if self._known is not None and self._known.status == "failed":
            return await self._engine.retry(self._known.run)
        run = await self._engine.start(self._function, self._data, id=self._name)
        if run.id != self._name and self._name is not None:
            raise ValueError(
                f"run {self._name!r} does not begin: function {self._function.id!r} is a singleton, and run {run.id!r} "
                "holds the same key until it ends; it goes on when the store is opened"
            )
        return run

    async def _folded(self, runtime: Runtime) -> None:
        """Tell what the store holds of the run, before anything begins.

        The engine calls this between reading the store and starting runs. Later, no time on a clock could tell what was
        recorded before from what this process has added.

        Raises:
            ValueError: the id belongs to another function, or was started with other data.
            TypeError, CodecError, LimitError: the data cannot be recorded.
            StoreError: the store has failed.
        """
        event = invoked(self._function.id, self._data, runtime.decisions.limits)
        id = self._id if self._id is not None else unfinished_like(runtime.state, self._function.id, event)
        if id is not None:
            known = self._known = runtime.state.whole(id) or await runtime.history.ledger(id)
            if known is not None:
                check_same(known, self._function.id, event)
                say(self._account.known(known))
        if self._id is None and (others := beside(runtime.state, id)):
            say(self._account.beside(others))

    @property
    def _name(self) -> str | None:
        if self._run is not None:
            return self._run.id
        return self._known.run if self._known is not None else self._id

    def _say_left(self, why: str) -> str:
        """Tell why the script ends, and what is recorded of its run; return what is told."""
        is_known = self._run is not None or self._known is not None
        text = self._account.left(why, self._name, self._ends, is_known=is_known)
        say(text)
        return text

    async def _close_foreground(self) -> None:
        """Tell which handlers the closing waits for, and how to end it at once."""
        handlers, seconds = ([], 0.0) if self._runtime is None else self._runtime.handlers_left()
        self._foreground.close(waits=bool(handlers))  # before a Ctrl-C can answer to what is told
        if handlers:
            key = "a second Ctrl-C" if signal.SIGINT in self._foreground.signals else "Ctrl-C"
            say(self._account.waiting(handlers, seconds, key))
            if self._runtime is not None and self._has_ended:
                await self._drained(self._runtime)  # a Ctrl-C may leave no time for it later
