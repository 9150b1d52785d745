"""The tries of one step's handler: call it, record what came of it, or when to try again.

Separate because a handler is the only place where user code does anything that is kept.
Leaves to `retries` the arithmetic, to `session` what the function receives, to `workers` the threads.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import FunctionType
from typing import Any

import attrs

from durable.claims import CURRENT, Claim, CurrentStep, Handler
from durable.codec import Whose, encode, recorded
from durable.eager import Spare
from durable.errors import LimitError, StoreError
from durable.records import Err, Json, Ok, Outcome, StepRetried
from durable.session import Session
from durable.times import after
from durable.workers import Call

_CO_ANY = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def checked_handler(step_id: str, handler: object) -> bool:
    """Return whether a callable is asynchronous.

    Raises:
        TypeError: not callable, or a generator function, whose value cannot be kept.
    """
    if not callable(handler):
        hint = ": pass the function itself, without calling it" if inspect.isawaitable(handler) else ""
        if inspect.iscoroutine(handler):
            handler.close()
        raise TypeError(f"the handler of step {step_id!r} must be callable, not {handler!r}{hint}")
    if isinstance(handler, FunctionType) and handler.__code__.co_flags & _CO_ANY == inspect.CO_COROUTINE:
        return True
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = type(function).__call__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"the handler of step {step_id!r} is a generator, whose value cannot be kept: return a list instead"
        )
    return inspect.iscoroutinefunction(function)


def without_loop(function: Callable[[], Any]) -> Any:
    """Call a blocking handler on the loop's own thread as if in a worker: it sees no running loop (R10a)."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function()
    except StopIteration as error:  # as in a coroutine: what runs here must not take it for the end of one
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        asyncio._set_running_loop(loop)


class Tries:
    """A claimed step's handler: its tries, one after the other. A `Work` for its session."""

    __slots__ = (
        "_attempt",
        "_calling",
        "_claim",
        "_context",
        "_handler",
        "_in_place",
        "_machine",
        "_recorded",
        "_session",
        "_stopped",
        "_task",
        "_thread",
        "_timed_out",
        "is_running",
    )

    def __init__(self, session: Session, claim: Claim, handler: Handler) -> None:
        self.is_running = False
        self._session = session
        self._machine = session.machine
        self._claim = claim
        self._handler = handler
        self._context = copy_context()
        self._attempt = 0
        self._recorded = 0
        self._in_place = False
        self._stopped = False
        self._timed_out = False
        self._task: asyncio.Task[None] | None = None
        self._calling: Awaitable[Any] | None = None
        self._thread: Call[Any] | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether a try is stopped when it has had its time."""
        return self._handler.timeout is not None

    @property
    def label(self) -> str:
        """The step and its run, for messages."""
        return f"step {self._claim.key!r} of run {self._session.ledger.run!r}"

    def begin(self) -> None:
        """Begin the next try, or wait for the instant that is recorded for it."""
        facts = self._session.facts(self._claim)
        if facts is not None:
            self._attempt = facts.attempt
            if facts.due is not None and (self._session.ledger.run, self._claim.key) in self._machine.timers:
                return  # R17: what the timers have given is due, whatever the clock says now
        self._in_place = facts is None and self._session.gate is None and self._handler.timeout is None
        self._session.admit(self._try)
        self._in_place = False

    def come_due(self) -> None:
        """The next try is due, or the running one has had its time."""
        if not self.is_running:
            # The wait before a try is recorded before the try begins: a crash must not give it back (R11).
            self._machine.journal.tell(self._recorded, lambda error: None if error else self._session.admit(self._try))
        elif self._task is not None and self._handler.timeout is not None:  # else: what was due has begun already
            self._timed_out = True
            self._cancel(self._task)

    def stop(self) -> None:
        """Cancel the try that is running, and try no more. A thread that a step still waits for is let run."""
        self._stopped = True
        in_thread = self._thread is not None and self._thread.running
        if self._task is not None and (self._claim.was_dropped or not in_thread):
            self._cancel(self._task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        if task.cancel():
            task.add_done_callback(self._withdraw)

    def _withdraw(self, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before it began does nothing at all: not even say that the try has ended.
        if task is self._task and self.is_running:
            if isinstance(self._calling, Coroutine):
                self._calling.close()
            self._end(asyncio.CancelledError(), None)

    async def ended(self) -> None:
        """Wait until no try is running."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def _try(self) -> None:
        if self._stopped or self.is_running:
            return
        self.is_running, self._timed_out = True, False
        run, key = self._session.ledger.run, self._claim.key
        context = self._context.copy()
        context.run(CURRENT.set, (CurrentStep(run, key, self._attempt), self._machine.engine))
        if self._handler.timeout is not None:
            self._machine.timers.set_span((run, key), after(self._machine.clock.now(), self._handler.timeout))
        if self._in_place and self._machine.spare.is_ready:
            self._try_in_place(self._machine.spare, context)
        else:
            self._start(self._call(context), context)

    def _start(self, calling: Awaitable[Any], context: Context) -> None:
        # Not loop.create_task: an eager task factory would run the handler before its task is known here.
        self._calling = calling
        self._task = asyncio.Task(self._run(calling), loop=self._machine.loop, context=context)

    def _try_in_place(self, spare: Spare, context: Context) -> None:
        try:
            handler = self._stood_in()
            if handler.is_async:
                suspended = spare.begin(handler.call(), context)
                self._task = spare.go_on(suspended, self._run)
                return
            if self._machine.workers is not None:
                self._start(self._call_in_thread(handler, context), context)
                return
            value = context.run(without_loop, handler.call)
            if inspect.isawaitable(value):
                self._start(value, context)
                return
        except StopIteration as stop:
            value = stop.value
        except (KeyboardInterrupt, SystemExit) as error:
            self._start(_raising(error), context)  # out of the loop, not into the function's code
            return
        except BaseException as error:
            self._end(error, None)
            return
        self._end(None, value, inline=self._is_inline())

    def _is_inline(self) -> bool:
        # Only in straight-line code: a coroutine that gather or as_completed wraps may begin in any order, and what
        # returns inline must come in the same order on replay (see `delivery`). And only when level:
        # else it could overtake an outcome that is recorded.
        immediate = self._machine.journal.immediate
        return immediate and self._session.is_level and self._claim.called_by is self._claim.awaited_by

    async def _run(self, calling: Awaitable[Any]) -> None:
        try:
            value = await calling
        except (KeyboardInterrupt, SystemExit):
            self.is_running = False
            raise  # R14: never recorded; the engine closes, the run is parked
        except BaseException as error:
            self._end(error, None)
        else:
            self._end(TimeoutError() if self._timed_out else None, value)

    def _end(self, error: BaseException | None, value: Any, *, inline: bool = False) -> None:
        self.is_running = False
        self._machine.changed()
        if self._handler.timeout is not None:
            self._machine.timers.drop((self._session.ledger.run, self._claim.key))
        try:
            if error is None:
                self._succeed(value, inline=inline)
            else:
                self._fail(error)
        except StoreError:
            self._machine.logger.error("%s ended, but the store has failed: it will run again", self.label)

    def _stood_in(self) -> Handler:
        if self._machine.stand_in is None:
            return self._handler
        return self._machine.stand_in.handler(self._claim.step_id, self._handler)

    async def _call(self, context: Context) -> Any:
        handler = self._stood_in()
        if handler.is_async:
            return await handler.call()
        if self._machine.workers is not None:
            return await self._call_in_thread(handler, context)
        value = without_loop(handler.call)
        return await value if inspect.isawaitable(value) else value

    async def _call_in_thread(self, handler: Handler, context: Context) -> Any:
        assert self._machine.workers is not None
        if self._thread is not None and self._thread.running:
            await self._thread.ended.wait()  # R11a: a thread cannot be stopped
        self._thread = self._machine.workers.submit(handler.call, context.copy(), self.label)
        value = await self._thread.result
        return await value if inspect.isawaitable(value) else value

    def _succeed(self, value: Any, *, inline: bool) -> None:
        try:
            text = self.written(value)
            outcome: Outcome = Ok(text, deep=text[0] in "[{")
        except Exception as error:  # CodecError, LimitError, or whatever a user's own hook raises
            self._fail(error)
            return
        self._close(outcome, inline=inline)

    def written(self, value: Any) -> Json:
        """Return the JSON of a value that the handler returned.

        Raises:
            CodecError: it cannot be kept.
            LimitError: it is too large.
        """
        text = encode(value, self._handler.type, whose=Whose.HANDLER)
        limit = self._machine.causes.limits.step_bytes
        if len(text) > limit:
            raise LimitError(
                f"the output of {self.label} is {len(text):,} bytes, the limit is {limit:,}: keep it elsewhere and "
                "return a reference to it, or pass Limits(step_bytes=...) to the engine"
            )
        return text

    def _fail(self, error: BaseException) -> None:
        was_cancelled = isinstance(error, asyncio.CancelledError)
        if self._timed_out:
            seconds = self._handler.timeout.total_seconds() if self._handler.timeout else 0.0
            error = TimeoutError(f"try {self._attempt + 1} of {self.label} took longer than {seconds:g} s")
        elif was_cancelled and (self._stopped or self._machine.is_ending()):
            return
        ledger, claim, now = self._session.ledger, self._claim, self._machine.clock.now()
        if ledger.status is not None or claim.was_dropped:
            return
        failure = recorded(error)
        seed = f"{ledger.run}/{claim.key}"
        due = self._handler.policy.next_try(error, attempt=self._attempt, now=now, seed=seed)
        if due is None:
            self._close(Err(attrs.evolve(failure, step_id=claim.key)))
            return
        self._attempt += 1
        self._recorded = self._machine.journal.post(
            StepRetried(ledger.run, claim.key, claim.kind, self._attempt, due, failure, now)
        )

    def _close(self, outcome: Outcome, *, inline: bool = False) -> None:
        self._session.works.pop(self, None)
        self._session.close_step(self._claim, outcome, tries=self._attempt + 1, inline=inline)


async def _raising(error: BaseException) -> None:
    raise error
