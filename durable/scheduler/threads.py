"""Run blocking handlers in worker threads.

Separate because threads cannot be cancelled, and the consequences of that stay in this module.
Leaves to `attempts` the choice of handlers, the time at which waiting ends, and the meaning of an outcome.

Waiting and running are separate. A `Call` has a `result` to wait for, which may be cancelled at any time, and an
`ended` that is set once no thread runs it any more. Cancelling the result of a call that no thread has begun withdraws
the call. If a thread runs it, cancelling only ends the waiting: Python has no way to stop a thread.

The threads are daemons of our own, because a handler that hangs must never keep Ctrl-C from ending a script (R11a). The
threads of `concurrent.futures` (and so of `asyncio.to_thread`) and of `anyio.to_thread` are joined when the interpreter
exits, so one handler that hangs would hang the script.

Invariants:
- All bookkeeping is done on the loop's thread, without a lock. A thread only takes a call from its own inbox, runs it
  and posts the outcome back. So a thread is idle, busy or told to end exactly as the loop sees it.
- Calls wait only while `limit` threads are busy, and begin in the order in which they were submitted.
- A thread that was idle for 10 s asks the loop whether it may end. If the loop has meanwhile given it a call, it stays.
  A thread that finds the loop closed ends and drops its outcome, which no one could receive any more.
- The most recently used idle thread is taken first, so surplus threads become idle and end.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import attrs

from durable.journal import is_of, set_trace, trace_of

T = TypeVar("T")

_IDLE_SECONDS = 10.0


@attrs.define(eq=False, repr=False)
class Call(Generic[T]):
    """A call is one function that is handed to a thread.

    Attributes:
        label: the name of the call in the log.
        result: a future for what the function returns or raises. Cancelling it never stops a thread. To stop waiting
            and still have the outcome later, wait with `asyncio.wait([call.result])`, which does not cancel it.
        ended: set, together with `result`, when no thread runs the function any more, or ever will.
        running: whether a thread has been given the function and has not finished it.
        begun: called when a thread is given the function.
        over: called when the thread has ended the function.
    """

    label: str
    function: Callable[[], T]
    context: contextvars.Context
    result: asyncio.Future[T]
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    running: bool = False
    begun: Callable[[], None] | None = None
    over: Callable[[], None] | None = None


_Inbox = SimpleQueue[Call[Any] | None]


class HandlerThreads:
    """Workers run blocking functions in at most `limit` threads.

    Further functions wait in a queue. The object belongs to the loop on which it is first used: call all methods there.
    """

    def __init__(self, limit: int = 40) -> None:
        """Set the limit; threads are started when they are needed.

        Raises:
            ValueError: the limit is below 1.
        """
        if limit < 1:
            raise ValueError(f"the limit of worker threads must be at least 1, not {limit}")
        self._limit = limit
        self._threads = 0
        self._idle: list[_Inbox] = []
        self._queued: deque[Call[Any]] = deque()
        self._running: dict[Call[Any], None] = {}
        self._quiet = asyncio.Event()
        self._held = self._closed = False

    @property
    def running(self) -> list[str]:
        """The labels of the calls that threads run, in the order in which they began."""
        return [call.label for call in self._running]

    def submit(
        self,
        function: Callable[[], T],
        context: contextvars.Context,
        label: str,
        begun: Callable[[], None] | None = None,
    ) -> Call[T]:
        """Hand `context.run(function)` to a thread, and return its `Call` at once.

        `begun()` is called in the loop's thread when a thread is given the function. No event loop runs in the thread;
        the function may start one. An exception, KeyboardInterrupt and SystemExit included, becomes the exception of
        `result`, with a traceback that begins at the function. A StopIteration, which no future can hold, becomes the
        cause of a RuntimeError, as in a coroutine. `context` must not be in use.

        Raises:
            RuntimeError: the workers are closed, no event loop is running, or the system refuses another thread.
        """
        if self._closed:
            raise RuntimeError(f"the worker threads are closed: {label} cannot run")
        loop = asyncio.get_running_loop()
        call = Call(label, function, context, loop.create_future(), begun=begun)
        if self._held:
            call.result.cancel()
            call.ended.set()
        elif self._idle:
            self._begin(call, self._idle.pop())
        elif self._threads < self._limit:
            self._begin(call, self._started(loop))
        else:
            self._queued.append(call)
            call.result.add_done_callback(lambda _: self._withdraw(call))
        return call

    def hold(self) -> None:
        """Begin no more calls; cancel those that wait and those to come."""
        self._held = True
        while self._queued:
            self._queued.popleft().result.cancel()

    async def close(self, grace: float) -> list[str]:
        """Take no more calls; return the labels of calls that do not end in time.

        Calls that have not begun are cancelled, running ones get `grace` seconds. The labels are in the order in which
        the calls began. A thread that still runs ends with its call.
        """
        self._closed = True
        self.hold()
        while self._idle:
            self._end(self._idle.pop())
        try:
            async with asyncio.timeout(grace):
                while self._running:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            pass
        return self.running

    def _started(self, loop: asyncio.AbstractEventLoop) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        threading.Thread(target=self._serve, args=(loop, inbox), name="durable-worker", daemon=True).start()
        self._threads += 1
        return inbox

    def _begin(self, call: Call[Any], inbox: _Inbox) -> None:
        call.running = True
        self._running[call] = None
        inbox.put(call)
        if call.begun is not None:
            call.begun()

    def _withdraw(self, call: Call[Any]) -> None:
        if call.result.cancelled() and not call.running:
            call.ended.set()

    def _finish(self, call: Call[Any], inbox: _Inbox, value: Any, error: BaseException | None) -> None:
        call.running, call.begun = False, None
        del self._running[call], call.function, call.context  # which lead back to whoever has handed the call over
        call.ended.set()
        if not call.result.done():
            _settle(call.result, value, error)
        if call.over is not None:
            call.over()
        if not self._running:
            self._quiet.set()
        self._reuse(inbox)

    def _reuse(self, inbox: _Inbox) -> None:
        while self._queued:
            call = self._queued.popleft()
            if not call.result.cancelled():
                self._begin(call, inbox)
                return
        if self._closed:
            self._end(inbox)
        else:
            self._idle.append(inbox)

    def _retire(self, inbox: _Inbox) -> None:
        if inbox in self._idle:
            self._idle.remove(inbox)
            self._end(inbox)

    def _end(self, inbox: _Inbox) -> None:
        self._threads -= 1
        inbox.put(None)

    # In the thread.

    def _serve(self, loop: asyncio.AbstractEventLoop, inbox: _Inbox) -> None:
        try:
            while self._answered(loop, inbox):
                pass
        except RuntimeError:
            if not loop.is_closed():  # after that, no one could receive the outcome
                raise

    def _answered(self, loop: asyncio.AbstractEventLoop, inbox: _Inbox) -> bool:
        # A function of its own, so that an idle thread keeps no reference to the last call.
        try:
            call = inbox.get(timeout=_IDLE_SECONDS)
        except Empty:
            loop.call_soon_threadsafe(self._retire, inbox)
            return True
        if call is None:
            return False
        value, error = _outcome(call)
        loop.call_soon_threadsafe(self._finish, call, inbox, value, error)
        return True


def _outcome(call: Call[T]) -> tuple[T | None, BaseException | None]:
    try:
        return call.context.run(call.function), None
    except BaseException as error:
        # Without this frame the traceback begins with the user's code, and does not refer back to itself. Nothing done
        # with the error here can be overridden by its class: if that raised, the thread would end, and the run hang.
        trace = trace_of(error)
        if trace is not None:
            set_trace(error, trace.tb_next)
        return None, _carried(error)


def _carried(error: BaseException) -> BaseException:
    if not is_of(error, StopIteration):
        return error
    carried = RuntimeError("the function raised StopIteration")
    carried.__cause__ = error
    return carried


def _settle(result: asyncio.Future[T], value: Any, error: BaseException | None) -> None:
    if error is None:
        result.set_result(value)
        return
    try:
        result.set_exception(error)
    except Exception as refusal:  # some exceptions cannot be set on a future: this must not end the thread
        refusal.__cause__ = error
        result.set_exception(refusal)
