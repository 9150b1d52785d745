"""Let tries of handlers begin in their turn, where their function bounds how many run (F1, F2).

Separate because a try that waits is no fact: no record says so, and replay and delivery are as without.
Leaves to `turnstile` the waiting, to `attempts` the tries.

A slot is free when the handler has really ended: a thread that goes on after its try was given up still holds it, and
so does a task that swallows its cancelling. Of a limit of tries in a period each try is counted by a record, durable
before its handler is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from durable.errors import StoreError
from durable.journal import Ledger, PeriodRoom, Room, SlotRoom
from durable.scheduler.parts import Parts
from durable.scheduler.starts import order_of
from durable.scheduler.threads import Call
from durable.scheduler.turnstile import Turnstile


class Turn:
    """A turn is one try's: it waits, then holds what it waited for until it ends."""

    __slots__ = ("_turnstile", "begin", "rooms")

    def __init__(self, turnstile: Turnstile[Turn], rooms: tuple[Room, ...], begin: Callable[[], None]) -> None:
        self._turnstile = turnstile
        self.rooms = rooms
        self.begin = begin

    def change(self, order: tuple[float, float], rooms: tuple[Room, ...]) -> None:
        """Wait in the same place for other rooms, or hold what is in these."""
        number = self._turnstile.leave(self, self.rooms)
        self.rooms = rooms
        if number is not None:
            self._turnstile.join(self, order, rooms, number)
            return
        for room in rooms:
            if isinstance(room, SlotRoom):
                room.enter(self)

    def end(self, thread: Call[Any] | None = None, task: asyncio.Task[Any] | None = None) -> None:
        """Give back what is held, at once or when the thread or the task has ended."""
        if thread is not None and thread.running:
            self._turnstile.lingering += 1
            thread.over = self._end_late
        elif task is not None and not task.done():
            self._turnstile.lingering += 1
            task.add_done_callback(lambda _: self._end_late())
        else:
            self._end()

    def _end_late(self) -> None:
        self._turnstile.lingering -= 1
        self._end()
        self._turnstile.changed()

    def _end(self) -> None:
        self._turnstile.leave(self, self.rooms)
        self._turnstile.admit()


class Turns:
    """Turns are those of one run's tries."""

    __slots__ = ("_order", "_rooms", "_turnstile")

    def __init__(self, turnstile: Turnstile[Turn], rooms: tuple[Room, ...], order: tuple[float, float]) -> None:
        self._turnstile = turnstile
        self._rooms = rooms
        self._order = order

    def ask(self, begin: Callable[[], None]) -> Turn:
        """Return the turn of a try; `begin` is called when it has come, never at once."""
        turn = Turn(self._turnstile, self._rooms, begin)
        self._turnstile.join(turn, self._order, self._rooms)
        return turn

    def admit(self) -> None:
        """Let in the tries whose turn has come."""
        self._turnstile.admit()

    def waits_for(self, turn: Turn) -> tuple[Room, int] | None:
        """Return what a try waits for, and its place there, from 1."""
        return self._turnstile.waits_for(turn)


class Tries:
    """Tries are all those of an engine's handlers that are bounded."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.turnstile: Turnstile[Turn] = Turnstile(parts, "steps", self._let_in)

    def of(self, ledger: Ledger) -> Turns | None:
        """Return the turns of a run's tries, or None if nothing bounds them."""
        rooms = self.turnstile.wanted(ledger.function, ledger.event)
        return Turns(self.turnstile, rooms, order_of(ledger)) if rooms else None

    def begun(self) -> Turn:
        """Return the turn of a try that has begun while nothing bounded it, and holds nothing yet."""
        return Turn(self.turnstile, (), lambda: None)

    def declared(self, ledger: Ledger, turns: Iterable[Turn]) -> Turns | None:
        """Let the tries of a run wait for, or hold, what its function's new definition asks; `admit` lets them in.

        It returns the turns of later tries.
        """
        rooms, order = self.turnstile.wanted(ledger.function, ledger.event), order_of(ledger)
        for turn in turns:
            turn.change(order, rooms)
        return Turns(self.turnstile, rooms, order) if rooms else None

    def _let_in(self, turn: Turn, now: datetime) -> None:
        counted = [room.counted(now) for room in turn.rooms if isinstance(room, PeriodRoom)]
        if not counted:
            turn.begin()
            return

        def begin(error: StoreError | None) -> None:
            if error is None:
                turn.begin()

        self._parts.journal.post_all(counted)
        self._parts.journal.tell(self._parts.journal.posted, begin)
