"""Define `durable.run`, which takes one run of a script to its end.

Separate because it is the only call that blocks, and the only part that speaks to a person at a terminal.
Leaves to `foreground` the loop and the signals, to `engine` everything else.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from durable.engine.arguments import check_same, checked_run_id
from durable.engine.engine import Engine, inside, set_up
from durable.engine.foreground import Foreground
from durable.engine.neighbours import IfOpen
from durable.engine.run import Run
from durable.engine.runtime import Runtime
from durable.errors import DurableError, WithoutFrames
from durable.functions import Function, check_listed
from durable.journal import EngineClosed, Ledger, Limits, Ok, RunClosed, RunOpened, invoked, misplaced
from durable.scheduler import RESIDENT, running_loop
from durable.stores import Store, say
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
    clock: Clock | None = None,
    limits: Limits | None = None,
    max_crashes: int = 10,
    resident: int = RESIDENT,
    threads: int = 40,
    if_open: IfOpen | None = None,
    grace: Duration = 0,
    logger: logging.Logger | None = None,
) -> T:
    """Run a function to its end and return its value.

    For scripts: the call blocks, and uses an engine of its own. Run the script again with the same `store` and `id`,
    after Ctrl-C or `kill -9`, and the run goes on where it was. After a failure, the failed steps are tried again
    (R32). What the call is about to do is told on the standard error stream before anything begins. A second Ctrl-C
    ends the script without waiting for handlers.

    On the main thread SIGTERM and SIGHUP park the run as Ctrl-C does, unless the script has handlers of its own.

    Args:
        function: the function to run.
        data: the data of the event that opens the run.
        store: a path keeps the run in a file; None keeps it in memory, and it ends with the process.
        id: the run's own id; None: a fresh one.
        functions: other functions that this one invokes, or whose unfinished runs are in the store.
        timeout: how long to wait, a duration in real time; afterwards the run is parked. None: without limit.
        clock, limits, max_crashes, resident, threads, if_open, grace, logger: as `Engine` takes them.

    Raises:
        RuntimeError: an event loop runs here already, as in a notebook.
        ValueError: the id belongs to another function, or was started with other data; nothing has begun.
        RunFailed, RunCancelled: the run ended so, now or before.
        TimeoutError: the run has not ended in time.
        KeyboardInterrupt: Ctrl-C was pressed; a run that has not ended is parked.
        SystemExit: a handler raised it, or SIGTERM (status 143) or SIGHUP (129) came; the run is parked likewise.
    """
    _check_no_loop(function)
    check_listed(functions, "durable.run", "functions=[function]")
    engine = Engine(
        [function, *functions],
        store=store,
        clock=clock,
        limits=limits,
        max_crashes=max_crashes,
        resident=resident,
        threads=threads,
        if_open=if_open,
        grace=grace,
        logger=logger,
    )
    if timeout is not None:
        duration(timeout, what="timeout")
    where = None if store is None else str(store) if isinstance(store, str | Path) else "its store"
    script = _Script(engine, function, data, None if id is None else checked_run_id(id), timeout, where)
    with _TOLD:
        return script.run()


def _check_no_loop(function: object) -> None:
    if running_loop() is not None:
        name = function.id if isinstance(function, Function) else "function"
        raise misplaced(
            "durable.run blocks, and an event loop runs here already, as in a notebook: write "
            f"`engine = durable.Engine([{name}], store=...); await engine.open()` and "
            f"`await engine.invoke({name}, {{...}})` instead"
        )


class _Script(Generic[T]):
    """A script takes one run to its end and tells the terminal about it."""

    def __init__(
        self,
        engine: Engine,
        function: Function[T],
        data: Mapping[str, Any] | None,
        id: str | None,
        timeout: Duration | None,
        where: str | None,
    ) -> None:
        self._engine = engine
        self._function = function
        self._data = data
        self._id = id
        self._timeout = timeout
        self._where = where
        self._foreground = Foreground()
        self._runtime: Runtime | None = None
        self._known: Ledger | None = None
        self._run: Run[T] | None = None
        self._ends: tuple[RunOpened | None, RunClosed | None] | None = None  # None: not read
        # R14: an exit of a handler ends the process
        set_up(engine, exits=True, folded=self._folded, drained=self._drained)

    def run(self) -> T:
        try:
            return self._foreground.run(self._main, self._left)
        except TimeoutError:
            self._say_left("not ended in time")
            raise
        except KeyboardInterrupt:
            self._say_left("interrupted")
            raise
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
            return await self._run.result(self._timeout)
        finally:
            self._foreground.close()
            await self._engine.close()

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
        return await self._engine.start(self._function, self._data, id=self._id)

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
        if self._id is None:
            return
        known = self._known = runtime.state.whole(self._id) or await runtime.history.ledger(self._id)
        if known is not None:
            check_same(known, self._function.id, event)
            self._say_known(known)

    def _say_known(self, known: Ledger) -> None:
        done = sum(isinstance(facts.outcome, Ok) for facts in known.steps.values())
        source = f"{done} finished step{'' if done == 1 else 's'} answer{'s' if done == 1 else ''} from {self._place}"
        match known.status:
            case None:
                say(f"run {known.run!r} goes on: {source}")
            case "failed":
                say(f"run {known.run!r} had failed ({known.error}); it is opened again, {source}")
            case "cancelled":
                say(f"run {known.run!r} was cancelled: {self._anew}")
            case "completed":
                say(f"run {known.run!r} has ended already, its result is from {self._place}")

    @property
    def _place(self) -> str:
        return self._where or "its store"

    @property
    def _name(self) -> str | None:
        return self._run.id if self._run is not None else self._id

    @property
    def _again(self) -> str:
        return "run the same again" if self._id is not None else f"run it again with id={self._name!r}"

    @property
    def _anew(self) -> str:
        another = "give another id=" if self._id is not None else "run it again"
        return f"{another} to begin anew, or engine.retry opens it again"

    def _say_left(self, why: str) -> None:
        """Tell why the script ends, and what is recorded of its run."""
        if self._where is None:
            say(f"{why}; nothing is kept: give store= and id= to be able to go on")
        elif self._name is None:
            say(f"{why}; nothing is recorded yet in {self._where}")
        else:
            say(f"{why}; run {self._name!r} {self._left_as()}")

    def _left_as(self) -> str:
        if self._ends is None:  # it ended before the store was read, or the last moment had no time for that
            is_kept = self._run is not None or self._known is not None
            return f"is kept in {self._where}: {self._again}" if is_kept else f"has not begun here: {self._again}"
        opened, closed = self._ends
        if opened is None:
            return f"is not recorded yet in {self._where}: {self._again} to begin it"
        if closed is None:
            return f"is parked in {self._where}: {self._again} to go on"
        match closed.status:
            case "completed":
                return f"has ended, its result is in {self._where}: {self._again} to have it"
            case "failed":
                return f"has failed ({closed.error}): {self._again} to try its failed steps again"
            case "cancelled":
                return f"was cancelled ({closed.reason}): {self._anew}"
