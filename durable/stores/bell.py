"""The bell beside a store: whoever has put something into its inbox rings it, and the engine looks there at once.

Separate because it must wake an event loop without polling, and nothing may depend on it.
Leaves to `intake` to look also where no bell is heard: it may be lost, and not every system or loop has one.

It is a named pipe, `<path>.bell`, which the engine that has the store open makes and reads. One that a killed process
left behind has no reader: to ring it does nothing, and the next engine takes it over.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable

_MANY = 65_536


class Bell:
    """The hearing side; only the engine that has the store's lock may open it."""

    def __init__(self, store: str, rung: Callable[[], None]) -> None:
        self.path = f"{store}.bell"
        self._store = store
        self._rung = rung
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends: list[int] = []
        self._pid = os.getpid()

    def open(self) -> None:
        """Hear from now on: `rung()` is called by the running loop.

        Raises:
            OSError, NotImplementedError: there are no named pipes here, or the loop cannot watch one.
        """
        if sys.platform == "win32":
            raise NotImplementedError("Windows has no named pipes that a loop can watch")
        try:
            os.mkfifo(self.path, 0o666)
            os.chmod(self.path, os.stat(self._store).st_mode & 0o666)  # who may write to the store may ring
        except FileExistsError:
            if not stat.S_ISFIFO(os.stat(self.path).st_mode):
                raise
        loop = asyncio.get_running_loop()
        try:
            self._ends.append(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
            # A writer of its own: after the last one closes, a pipe is readable for ever.
            self._ends.append(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            loop.add_reader(self._ends[0], self._hear)
        except BaseException:
            self.close()
            raise
        self._loop = loop

    def close(self) -> None:
        """Hear no more, and take the pipe away; one that is not open stays so, and in a forked child nothing is done:
        what the loop watches, and the pipe, are its parent's."""
        if os.getpid() != self._pid:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._ends[0])
            self._loop = None
        for end in self._ends:
            os.close(end)
        if self._ends:
            self._ends.clear()
            try:
                os.unlink(self.path)
            except OSError:  # gone already; left behind it does no harm either
                return

    def _hear(self) -> None:
        try:
            os.read(self._ends[0], _MANY)
        except BlockingIOError:
            return
        self._rung()


def ring(store: str) -> None:
    """Ring the bell of the store at a real path. Never blocks, and does nothing where nobody hears it."""
    if sys.platform == "win32":
        return
    try:
        pipe = os.open(f"{store}.bell", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            os.write(pipe, b"!")
    except OSError:  # full: it was rung often enough; or its reader has just closed
        return
    finally:
        os.close(pipe)
