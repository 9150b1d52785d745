"""Count the rounds of the event loop for all runs.

Separate because a run is quiet (see `delivery`) after a number of rounds. One chain of callbacks counts for all runs: a
chain for each would make a thousand runs pay a thousand times for the same rounds.
Leaves to `delivery` and `parking` the callbacks that are called when a round has come.

In a round in which the loop has nothing else to call, nothing changes, nor in the rounds after it, until time passes or
a thread or a socket reports. Asyncio's own loops show what they have still to call; there such rounds are counted all
at once. On a loop that does not show it, such as uvloop's, each of them is waited for.

In one round at most 200 callbacks are called, the others in the next rounds: each may go on with a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from durable.scheduler.undocumented import has_due_timer, ready

AT_ONCE = 200


class Rounds:
    """Rounds count while a callback waits for one, or somebody has asked to `keep` counting.

    An idle engine has no chain of callbacks. `until` is the round up to which they are counted. `moving` are the
    executions that have moved since they were last found to be still, the latest last: see `session.unsettled`.
    """

    def __init__(self) -> None:
        self.now = 0
        self.moving: dict[Any, None] = {}
        self._loop = asyncio.get_running_loop()
        self._ready = ready(self._loop)
        self._due: dict[int, list[Callable[[], None]]] = {}
        self.until = 0
        self._running = False

    def call_at(self, number: int, callback: Callable[[], None]) -> None:
        """Call `callback` in round `number`, or in the next round if that has passed."""
        self._run()  # first, since a full stack may have no room for it
        self._due.setdefault(max(number, self.now + 1), []).append(callback)

    def keep(self, number: int) -> None:
        """Count on until round `number`, though no callback waits for it."""
        if number > self.until:
            self._run()
            self.until = number

    def _run(self) -> None:
        if not self._running:
            self._loop.call_soon(self._round)
            self._running = True

    async def passed(self, count: int) -> None:
        """Wait until `count` rounds have passed."""
        reached: asyncio.Future[None] = self._loop.create_future()
        self.call_at(self.now + count, lambda: None if reached.done() else reached.set_result(None))
        await reached

    def _round(self) -> None:
        self.now = self.now + 1 if self._is_busy() else min(self._due, default=max(self.until, self.now + 1))
        due = self._due.pop(self.now, [])
        if len(due) > AT_ONCE:
            self._due[self.now + 1] = due[AT_ONCE:] + self._due.pop(self.now + 1, [])
            del due[AT_ONCE:]
        try:
            for callback in due:
                callback()
        finally:
            self._running = bool(self._due) or self.now < self.until
            if self._running:
                self._loop.call_soon(self._round)

    def _is_busy(self) -> bool:
        if self._ready is None or self._ready:
            return True
        return has_due_timer(self._loop)  # it is work for the next round
