"""Run one coroutine of a script to its end, and handle signals.

Separate because `asyncio.run` waits for ever for tasks that do not end, and knows no signal but Ctrl-C. It also cancels
every task as soon as one raises SystemExit, even those that close a store in order.
Leaves to `script` the coroutine, and the report of its end.

SIGINT, SIGTERM and SIGHUP cancel the coroutine once; it then closes in order. A second Ctrl-C does not wait for that,
nor does a first one while the coroutine closes already and waits. A third one has the system's usual effect. A second
SIGTERM or SIGHUP changes nothing: supervisors and shells send both.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE = 1.0  # seconds, for the tasks that are left when the coroutine has ended
_SYNCS = 2.0  # seconds, for what is called in its place: a busy disk takes its time to keep the last record
_SIGNALS = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}


class Foreground:
    """A foreground is an event loop for one coroutine and its signals.

    Signals are handled on the main thread only. A signal for which the user has a handler is left alone.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._is_closing = self._waits = False
        self._is_abandoned = False

    def run(self, main: Callable[[], Coroutine[Any, Any, T]], last: Callable[[], Coroutine[Any, Any, None]]) -> T:
        """Run a coroutine to its end and return its value.

        If a second Ctrl-C cuts the coroutine short, `last` is called in its place and runs for 2 s at the most.

        Raises:
            KeyboardInterrupt, SystemExit: a signal came, or a task raised it. SIGTERM is a SystemExit with status 143,
                SIGHUP with 129.
        """
        loop = self._loop = asyncio.new_event_loop()
        exited: BaseException | None = None
        try:
            asyncio.set_event_loop(loop)
            with self._heard():
                task = self._main = loop.create_task(self._woken(main()), name="durable script")
                exited = self._drive(task)
                later = self._clear_up(last if self._is_abandoned else None)
                exited = exited or later
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        if task.done() and not task.cancelled() and isinstance(error := task.exception(), Exception):
            raise error
        if self.signals:
            raise _exit_of(self.signals[0])
        if exited is not None:
            raise exited
        value: T = task.result()
        return value

    def close(self, *, waits: bool) -> None:
        """Shield the coroutine: signals that come from now on do not cancel it.

        With `waits` it may take its time to end, so that the next Ctrl-C does not wait for it.
        """
        self._is_closing, self._waits = True, waits

    def _drive(self, task: asyncio.Task[Any]) -> BaseException | None:
        """Run the loop until a task is done, and return the first exit that the loop raised."""
        loop, exited = self._opened(), None
        task.add_done_callback(lambda _: loop.stop())
        while not task.done() and not self._is_abandoned:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                exited = exited or error
                self._cut()
        return exited

    def _cut(self) -> None:
        if self._main is not None and not self._is_closing:
            self._is_closing = True
            self._main.cancel()

    def _opened(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    # Signals.

    @contextmanager
    def _heard(self) -> Iterator[None]:
        taken = {}
        if threading.current_thread() is threading.main_thread():
            for name, usual in _SIGNALS.items():
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) == usual:
                    taken[number] = usual
                    signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, usual in taken.items():
                if signal.getsignal(number) in (self._on_signal, signal.SIG_DFL):
                    signal.signal(number, usual)

    def _on_signal(self, number: int, frame: object) -> None:
        self.signals.append(number)
        loop = self._opened()
        is_late = self._main is not None and self._main.done()
        if len(self.signals) == 1 and not is_late and not (self._waits and number == signal.SIGINT):
            loop.call_soon_threadsafe(self._cut)
        elif number == signal.SIGINT or is_late:
            self._is_abandoned = True
            signal.signal(number, signal.SIG_DFL)
            loop.stop()  # some code may swallow the exception that is raised here
            raise _exit_of(number)

    async def _woken(self, main: Coroutine[Any, Any, T]) -> T:
        # asyncio hears of a signal only when its loop wakes. One that comes just before the loop begins to wait does
        # not wake it, and a loop that waits for a blocking handler may have nothing else to wake it for hours.
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return await main
        loop, (hears, tells) = asyncio.get_running_loop(), socket.socketpair()
        with hears, tells:
            hears.setblocking(False)
            tells.setblocking(False)
            loop.add_reader(hears, hears.recv, 1_024)
            before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
            if before != -1:
                signal.set_wakeup_fd(before)  # a loop that hears of signals itself, as uvloop does
            try:
                return await main
            finally:
                signal.set_wakeup_fd(before)
                loop.remove_reader(hears)

    # The end.

    def _clear_up(self, last: Callable[[], Coroutine[Any, Any, None]] | None) -> BaseException | None:
        """Cancel all tasks that are left and close the loop's generators, within 4 s.

        Returns the first exit that one of them raised. Threads of the loop's default executor are left to end by
        themselves: Python waits for them when it exits.
        """
        loop = self._opened()
        self._is_abandoned = False
        exited = self._drive(loop.create_task(_clear(last)))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if left:
            threading.Thread(target=_hold, args=(left,), name="durable-left", daemon=True).start()
        return exited


async def _clear(last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    if last is not None:
        await _ended([loop.create_task(last())], _SYNCS)
    rest = [task for task in asyncio.all_tasks() if task is not own]
    for task in rest:
        task.cancel()
    await _ended(rest)
    await _ended([loop.create_task(loop.shutdown_asyncgens())])


async def _ended(tasks: list[asyncio.Task[Any]], seconds: float = _PATIENCE) -> None:
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, timeout=seconds)
    for task in done:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a task that was left has ended with an error", "exception": error, "task": task}
            )


def _hold(left: list[asyncio.Task[Any]]) -> None:
    # Wait for ever, also while Python exits. A task that is garbage-collected is closed where it stands, and code that
    # swallows this closing may never give control back.
    threading.Event().wait()


def _exit_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
