"""`durable.run`: one run, from a script, to its end.

Separate because it is the only blocking door, and the only part that speaks to a person at a terminal.
Leaves to `engine` everything else.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from durable.engine import Engine
from durable.function import Function
from durable.misuse import misplaced
from durable.run import Run
from durable.stores.store import Store
from durable.times import Duration

T = TypeVar("T")


def run(
    function: Function[T],
    data: Mapping[str, Any] | None = None,
    *,
    store: Store | str | Path | None = None,
    id: str | None = None,
    functions: Iterable[Function[Any]] = (),
    timeout: Duration | None = None,
) -> T:
    """Run a function to its end and return what it returns. For scripts: it blocks, in an engine of its own.

    Run the script again with the same `store` and `id`, after Ctrl-C or `kill -9`, and it goes on where it was; after
    a failure, its failed steps are tried again (R32). What it does then is said on the standard error stream.

    Args:
        function: what to run.
        data: the data of its event.
        store: a path keeps the run in a file; None keeps it in memory, which ends with the process.
        id: the run's own id; None: a fresh one.
        functions: other functions that it invokes or whose unfinished runs are in the store.
        timeout: real time after which to stop waiting; the run stays parked.

    Raises:
        RuntimeError: called where a loop runs already, as in a notebook.
        ValueError: the id belongs to another function, or was started with other data.
        RunFailed, RunCancelled: how the run ended.
        TimeoutError: it has not ended in time.
        KeyboardInterrupt: Ctrl-C; the run is parked.
    """
    if asyncio._get_running_loop() is not None:
        name = function.id if isinstance(function, Function) else "function"
        raise misplaced(
            "durable.run blocks, and an event loop runs here already, as in a notebook: write "
            f"`engine = durable.Engine([{name}], store=...); await engine.open()` and "
            f"`await engine.invoke({name}, {{...}})` instead"
        )
    engine = Engine([function, *functions], store=store)
    engine._end_with_exits()
    where = None if store is None else str(store) if isinstance(store, str | Path) else "its store"
    told: list[str] = []
    try:
        return asyncio.run(_run(engine, function, data, id, timeout, where, told))
    except KeyboardInterrupt:
        _say_parked(told, where, given=id)
        raise


async def _run(
    engine: Engine,
    function: Function[T],
    data: Mapping[str, Any] | None,
    id: str | None,
    timeout: Duration | None,
    where: str | None,
    told: list[str],
) -> T:
    since = datetime.now(UTC)
    with _woken_by_signals():
        async with engine:
            run: Run[T] = await engine.start(function, data, id=id)
            told.append(run.id)
            if id is not None:
                await _go_on(engine, run, where, since)
            return await run.result(timeout)


@contextmanager
def _woken_by_signals() -> Iterator[None]:
    # asyncio hears of a Ctrl-C only when its loop wakes. One that comes just before the loop begins to wait does not
    # wake it, and a loop that waits for a blocking handler may have nothing else to wake it for hours.
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, (hears, tells) = asyncio.get_running_loop(), socket.socketpair()
    with hears, tells:
        hears.setblocking(False)
        tells.setblocking(False)
        loop.add_reader(hears, hears.recv, 1_024)
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)  # a loop that hears of signals itself, as uvloop does
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(hears)


async def _go_on(engine: Engine, run: Run[Any], where: str | None, since: datetime) -> None:
    info = await run.info()
    place = where or "its store"
    ended = [step for step in info.steps.values() if step.ended_at is not None and step.ended_at < since]
    done = sum(step.status == "completed" for step in ended)
    source = f"{done} finished step{'' if done == 1 else 's'} answer{'s' if done == 1 else ''} from {place}"
    # It may have gone on, and even have ended, since the engine was opened.
    was_over = info.ended_at is not None and info.ended_at < since
    if was_over and info.status == "failed":
        _say(f"run {run.id!r} had failed ({info.error}); it is opened again, {source}")
        await engine.retry(run.id)
    elif was_over:
        _say(f"run {run.id!r} has ended already, its result is from {place}")
    elif info.opened_at < since:
        _say(f"run {run.id!r} goes on: {source}")


def _say_parked(told: list[str], where: str | None, *, given: str | None) -> None:
    if where is None or not told:
        _say("interrupted; nothing is kept: give store= and id= to be able to go on")
    elif given is None:
        _say(f"interrupted; run {told[0]!r} is parked in {where}: run it again with id={told[0]!r} to go on")
    else:
        _say(f"interrupted; run {told[0]!r} is parked in {where}: run the same again to go on")


def _say(text: str) -> None:
    print(f"durable: {text}", file=sys.stderr, flush=True)
