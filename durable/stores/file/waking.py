"""Wake an event loop from another thread.

Separate because each commit of a file store wakes its loop, and a loop's own way of being woken takes twice as long: it
makes a handle, copies a context, and sends itself a byte through a socket.
Leaves to `thread` what is called on the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any


class Waker:
    """A waker has the loop in which it was made call functions, as `loop.call_soon_threadsafe` does.

    Where the system has eventfds and the loop can watch one, a call takes one write and one read. Elsewhere it is
    the loop's own.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: deque[tuple[Callable[[Any], object], Any]] = deque()
        self._lock = Lock()  # else a thread might write to a number that is closed by then, and is another file's
        self._number: int | None = None
        try:
            number = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except (AttributeError, OSError):  # not on every system; or this process may open no more files
            return
        try:
            self._loop.add_reader(number, self._rung)
        except NotImplementedError:
            os.close(number)
        else:
            self._number = number

    def call(self, function: Callable[[Any], object], argument: Any) -> None:
        """Have the loop call `function(argument)` soon; may be called in any thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        with self._lock:
            if self._number is None:
                self._loop.call_soon_threadsafe(function, argument)
            else:
                self._calls.append((function, argument))
                os.eventfd_write(self._number, 1)

    def close(self) -> None:
        """Make the calls that are left, and later ones by the loop's own way; a loop that is closed makes none."""
        with self._lock:
            number, self._number = self._number, None
        if number is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(number)
            self._call_all()
        os.close(number)

    def _rung(self) -> None:
        assert self._number is not None
        try:
            os.eventfd_read(self._number)
            self._call_all()
        finally:
            if self._calls:  # one of them has raised, and the others are still to be made
                os.eventfd_write(self._number, 1)

    def _call_all(self) -> None:
        while self._calls:
            function, argument = self._calls.popleft()
            function(argument)
