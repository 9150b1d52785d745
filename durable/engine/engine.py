"""Define the engine, whose methods are the way in for all callers outside.

Separate because an engine checks arguments and answers; it decides nothing, and can be made without being open.
Leaves to `decisions` the decisions, to `runtime` everything that lives while the engine is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import attrs

from durable.engine import condition, forking, holding, looking, scheduling, steering
from durable.engine.arguments import (
    check_same,
    checked_events,
    checked_run_id,
)
from durable.engine.equipment import checked_clock, checked_limits, checked_logger, checked_retention, checked_store
from durable.engine.neighbours import IfOpen, checked_if_open, make_way, move_in, place_of, usual
from durable.engine.opened import asked, inside, known
from durable.engine.owner import AsyncWith, Owner
from durable.engine.run import OF_A_RUN, Run
from durable.errors import checked_making
from durable.events import Event, checked_count
from durable.functions import Function, Registry, check_not_in_function, check_outside, checked_signal
from durable.journal import Limits, check_signal, invoked
from durable.scheduler import RESIDENT, Settings
from durable.stores import Store
from durable.timers import Clock, Duration, answering, duration

T = TypeVar("T")


@answering(trigger="send", emit="send", publish="send", submit="start", register="Engine([function, ...])")
@checked_making
class Engine(AsyncWith):
    """An engine runs functions in this process and records them in a store.

    Args:
        functions: what `@durable.function` returned. Two different functions with one id are a ValueError; the same
            function defined again replaces the older definition.
        store: None for a `DictStore`, a path for a `FileStore`, or any `Store`.
        clock: None for the wall clock.
        limits: how large a run, a step and an event may be; None for the default `Limits()`.
        max_crashes: a run fails after so many crashes in a row, if it was calling a handler at each (R26).
        resident: how many waiting runs keep their coroutine. When more wait, runs that only wait in one step are
            parked, the first begun first: the coroutine is cancelled without a record, and the function is called
            again when the wait is over. Clocks outside the steps stand still meanwhile.
        threads: how many blocking handlers run at once; others wait for a thread.
        if_open: what to do if another engine of this process and loop has the same file open: "error", or "replace",
            which closes that engine first. Default: "replace" in IPython, where cells are run again, else "error".
        retention: how long runs are kept after their end, a duration; None for ever. Older ones are forgotten in the
            background, at the opening and once an hour, as `prune` does it.
        grace: how long `close` waits for running handlers, a duration.
        logger: default: the logger "durable".

    Open it with `async with engine`, or `open` and `close`, which may be called from different tasks. Opening recovers
    every unfinished run; closing parks them. An engine belongs to the process and the loop that opened it.
    """

    def __init__(
        self,
        functions: Iterable[Function[Any]] = (),
        *,
        store: Store | str | Path | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        max_crashes: int = 10,
        resident: int = RESIDENT,
        threads: int = 40,
        retention: Duration | None = None,
        if_open: IfOpen | None = None,
        grace: Duration = 0,
        logger: logging.Logger | None = None,
    ) -> None:
        self._registry = Registry(functions)
        self._settings = Settings(
            engine=self,
            store=checked_store(store),
            clock=checked_clock(clock),
            limits=checked_limits(limits),
            logger=checked_logger(logger),
            max_crashes=checked_count(max_crashes, "max_crashes", least=1),
            resident=checked_count(resident, "resident"),
            threads=checked_count(threads, "threads", least=1),
            retention=checked_retention(retention),
            grace=duration(grace, what="grace").total_seconds(),
        )
        self._if_open = checked_if_open(if_open)
        self._place = place_of(self._settings.store)
        self._owner: Owner | None = None

    async def open(self) -> None:
        """Open the store, recover unfinished runs and let them go on.

        Raises:
            RuntimeError: the engine is open already, or was closed meanwhile.
            StoreLockedError, StoreCorruptError, StoreError: the store cannot be opened.
        """
        await self._closed()
        await make_way(self._place, self._if_open or usual())
        await self._closed()
        owner = self._owner = Owner(self._settings, self._registry)
        move_in(self._place, owner)
        await owner.open()
        move_in(self._place, owner, is_open=True)

    async def _closed(self) -> None:
        """Wait until this engine is closed; a cancelled call of `close` goes on by itself."""
        while (owner := self._owner) is not None and not owner.has_ended:
            owner.check_process("open")
            if not owner.is_closing:
                raise RuntimeError("the engine is open already: use it, or close it before")
            await owner.ended()

    async def close(self, *, grace: Duration | None = None) -> None:
        """Stop every run where it is, write the last records and close the store.

        Closing twice does nothing. Functions are cancelled. Running handlers go on for `grace`, a duration, by default
        the engine's own; those that end in that time are recorded, and no new try begins. Then async handlers are
        cancelled. Blocking ones cannot be stopped: they get at least 5 s in all, then the log names them. If two close,
        both wait, and the shorter time counts. A cancelled call goes on closing; `close` and `open` wait for that.

        Raises:
            RuntimeError: called from another loop, a forked child, or a handler of this engine.
            StoreError: the store could not be closed.
        """
        seconds = self._settings.grace if grace is None else duration(grace, what="grace").total_seconds()
        if (owner := self._owner) is None or owner.has_ended:
            return
        owner.check_place("close")
        check_outside(self, "close", "tell what opened the engine to close it")
        await owner.close(seconds)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def send(
        self,
        name: str | Event | Sequence[Event],
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        ts: datetime | None = None,
    ) -> list[str]:
        """Send events; return the ids that the runtime gives them.

        Give a name and data, an `Event`, or a sequence of Events. On return the events and all that follows from them
        (runs opened, waits answered, runs cancelled) are durable, in one write. An event whose `id` was sent in the
        last 24 h is dropped, and the first one's id returned. One with a `ts` in the future is delivered then.

        Raises:
            TypeError, ValueError, CodecError, LimitError: nothing was sent.
            StoreError: it is not known whether the events are recorded.
        """
        runtime = asked(self, "send", "ctx.step.send_event")
        if type(name) is str and id is None and ts is None and name:
            await runtime.admission.enter()
            return [await runtime.send_plainly(name, {} if data is None else data)]
        events = checked_events(name, data, id=id, ts=ts)
        await runtime.admission.enter()
        return (await runtime.send(events))[0]

    async def send_signal(self, signal: str, data: Any = None) -> str | None:
        """Send a signal to the run that waits for it; return that run's id, or None.

        Raises:
            TypeError, ValueError, CodecError, LimitError, StoreError: as for `send`.
        """
        runtime = asked(self, "send_signal", "ctx.step.send_signal")
        signal = checked_signal(signal, what="send_signal")
        check_signal(signal, data, runtime.decisions.limits)
        now = runtime.clock.now()
        place = runtime.decisions.waiter(signal, now)
        runtime.journal.post_all(runtime.decisions.signal_sent(signal, data, now))
        await runtime.journal.synced()
        return None if place is None else place[0]

    @overload
    async def start(
        self, function: Function[T], data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Run[T]: ...
    @overload
    async def start(
        self, function: str, data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Run[Any]: ...
    async def start(
        self, function: Function[Any] | str, data: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Run[Any]:
        """Open a run and return its handle once it is durable.

        The same `id` again returns the same run, ended or not; None is a fresh id. The run's event is
        "durable/function.invoked" with the data. A `Function` that the engine lacks is added. If another run holds the
        key of the function's `singleton`, that run is returned, or with mode "cancel" it is cancelled.

        Raises:
            TypeError, ValueError: an id with "/", or one that belongs to another function or other data.
            LookupError: the engine has no function with this id.
            CodecError, LimitError, StoreError: as for `send`.
        """
        runtime = asked(self, "start", "ctx.step.invoke")
        name = self._registry.found(function, "start")
        event = invoked(name, data, runtime.decisions.limits)
        await runtime.admission.enter()
        if id is None:
            fresh = runtime.ids.fresh(runtime.clock.now())
            return Run(self, await runtime.start(name, event, fresh, is_named=False))
        id = checked_run_id(id)
        async with runtime.starting.setdefault(id, asyncio.Lock()):  # one may open while another reads
            found = await known(self, id)
            if found is None:
                return Run(self, await runtime.start(name, event, id, is_named=True))
            await runtime.journal.synced()
            check_same(found, name, event)
            return Run(self, id)

    @overload
    async def invoke(
        self,
        function: Function[T],
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @overload
    async def invoke(
        self,
        function: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any: ...
    async def invoke(
        self,
        function: Any,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Start a run and wait for its result: see `start` and `Run.result`."""
        check_not_in_function("invoke", "ctx.step.invoke")
        check_outside(self, "invoke")
        with OF_A_RUN:
            run = await self.start(function, data, id=id)
            return await looking.value(self, inside(self, "result"), run.id, timeout)

    # The methods that look at runs and steer them stand, each with its contract, in modules of their own.
    run, runs, result = looking.run, looking.runs, looking.result
    info, why, step, health = looking.info, looking.why, looking.step, condition.health
    cancel, retry, fork = steering.cancel, steering.retry, forking.fork
    unsend, prune, settled = steering.unsend, steering.prune, steering.settled
    pause, resume, backfill = scheduling.pause, scheduling.resume, scheduling.backfill
    schedule, unschedule, schedules = scheduling.schedule, scheduling.unschedule, scheduling.schedules
    held, flush = holding.held, holding.flush


def set_up(engine: Engine, **settings: Any) -> None:
    """Change what an engine was told once: for `durable.testing` and `durable.run`, before it is opened."""
    engine._settings = attrs.evolve(engine._settings, **settings)
