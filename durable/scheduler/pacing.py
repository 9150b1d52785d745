"""Spread large amounts of work over many turns of the event loop.

Separate because one event may open or cancel ten thousand runs, and the loop has other work meanwhile.
Leaves to `scheduler` the pieces of work. `timers`, `journal` and `rounds` pace their own work themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence, Sized
from typing import Generic, TypeVar

from durable.journal import Journal

ADMITTED_AT_ONCE = 200  # sends and starts, in one turn of the loop
BACKLOG = 2_000

T = TypeVar("T")


class Pace(Generic[T]):
    """A pace calls `act(piece)` for every piece that is added, in order.

    In each turn of the loop it acts on at most `at_once` pieces. A piece is acted on at once while there is room in
    this turn, else in one of the next turns. `waiting` are the pieces that must wait for that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[T], None], at_once: int) -> None:
        self._loop = loop
        self._act = act
        self._at_once = self._room = at_once
        self._is_counting = False
        self.waiting: deque[T] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether no piece is waiting."""
        return not self.waiting

    def add(self, piece: T) -> None:
        """Act on one more piece, now or soon."""
        if not self._is_counting:
            self._loop.call_soon(self._turn)  # first, since a full stack may have no room for it
            self._is_counting = True
        if self._room and not self.waiting:
            self._room -= 1
            self._act(piece)
        else:
            self.waiting.append(piece)

    def clear(self) -> list[T]:
        """Remove the waiting pieces and return them."""
        left = list(self.waiting)
        self.waiting.clear()
        return left

    def _turn(self) -> None:
        pieces = [self.waiting.popleft() for _ in range(min(len(self.waiting), self._at_once))]
        self._room = self._at_once - len(pieces)
        self._is_counting = bool(pieces)
        if pieces:
            self._loop.call_soon(self._turn)
        for piece in pieces:
            self._act(piece)


class Admission:
    """An admission holds back sends and starts while the engine is busy.

    It admits 200 in each turn of the loop. It admits none while the records that are not durable yet and the runs in
    `to_begin`, which are still to begin, are more than 2,000 together. The two are added up because a run that begins
    will soon end and write more records.

    A hundred thousand sends in one `asyncio.gather` wait here, before any of them becomes records.
    """

    def __init__(self, journal: Journal, to_begin: Sequence[Sized]) -> None:
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._to_begin = to_begin
        self._room = ADMITTED_AT_ONCE
        self._entered: asyncio.Future[None] = self._loop.create_future()
        self._entered.set_result(None)
        self._is_counting = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def enter(self) -> asyncio.Future[None]:
        """Return a future that is done once there is room.

        The futures are done in the order of the calls.
        """
        if not self._is_counting:
            self._is_counting = True
            self._turn_soon()
        if self._room and not self._waiting and not self._is_full():
            self._room -= 1
            return self._entered
        entering: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(entering)
        return entering

    def close(self, error: Callable[[], Exception]) -> None:
        """Refuse all that wait, each with an error of its own."""
        for entering in self._waiting:
            if not entering.done():
                entering.set_exception(error())
        self._waiting.clear()

    def _turn(self) -> None:
        self._room = ADMITTED_AT_ONCE
        while self._waiting and self._room and not self._is_full():
            entering = self._waiting.popleft()
            if not entering.done():
                entering.set_result(None)
                self._room -= 1
        self._is_counting = bool(self._waiting)
        if self._is_counting:
            self._turn_soon()

    def _turn_soon(self) -> None:
        if self._journal.posted - self._journal.durable > BACKLOG and self._journal.failure is None:
            self._journal.tell(self._journal.posted, lambda error: self._turn())  # until then there is no room
        else:
            self._loop.call_soon(self._turn)

    def _is_full(self) -> bool:
        # With a failed store nothing waits: each call gets the error.
        unwritten = self._journal.posted - self._journal.durable
        return unwritten + sum(map(len, self._to_begin)) > BACKLOG and self._journal.failure is None
