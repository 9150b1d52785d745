"""Rounds of the event loop, counted for all runs by one chain of callbacks.

Separate because quiet (section 5 of the design) is a number of rounds, and a chain for each run would make a thousand
runs pay a thousand times for the same rounds.
Leaves to `delivery` what to do when a round has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Rounds:
    """Counts rounds while somebody waits for one; an idle engine has no chain."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, list[Callable[[], None]]] = {}
        self._running = False

    def call_at(self, number: int, callback: Callable[[], None]) -> None:
        """Call back when round `number` has come; the next one if it has passed."""
        self._due.setdefault(max(number, self.now + 1), []).append(callback)
        if not self._running:
            self._running = True
            self._loop.call_soon(self._round)

    async def passed(self, count: int) -> None:
        """Wait until `count` rounds have passed."""
        reached: asyncio.Future[None] = self._loop.create_future()
        self.call_at(self.now + count, lambda: None if reached.done() else reached.set_result(None))
        await reached

    def _round(self) -> None:
        self.now += 1
        try:
            for callback in self._due.pop(self.now, ()):
                callback()
        finally:
            self._running = bool(self._due)
            if self._running:
                self._loop.call_soon(self._round)
