"""Let in those who wait for room, in their order, as others leave and time passes.

Separate because runs and tries pass the same turnstile, one of each.
Leaves to `queue` the order, to `rooms` what is waited for, to `starts` and `turns` who waits, and what they do then.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Generic, TypeVar

from durable.errors import StoreError
from durable.events import Event
from durable.journal import Counts, Queue, Room, Rooms, SlotRoom
from durable.scheduler.deadlines import LookDue
from durable.scheduler.parts import Parts

ADMITTED_AT_ONCE = 200  # in one turn of the loop

K = TypeVar("K", bound=Hashable)


class Turnstile(Generic[K]):
    """A turnstile calls `let_in(who, now)` for each whose turn has come; by then they are inside."""

    def __init__(self, parts: Parts, counts: Counts, let_in: Callable[[K, datetime], None]) -> None:
        self._parts = parts
        self._state = parts.decisions.state
        self._counts = counts
        self._let_in = let_in
        self._queue: Queue[K] = Queue()
        self._rooms = Rooms(self._state.windows, self._state.bus.complain)
        self._look = LookDue(self.admit)
        self._is_looking = self._is_admitting = self._is_stopped = False
        self.lingering = 0  # who has left, but still holds something until a thread or a task has ended

    @property
    def is_idle(self) -> bool:
        """Whether nobody can be let in without time, or before another leaves who has not begun to."""
        return not self._is_looking and not (self.lingering and len(self._queue))

    def is_held_back(self, who: K) -> bool:
        """Return whether somebody still waits."""
        return who in self._queue

    def waits_for(self, who: K, room: Room | None = None) -> tuple[Room, int] | None:
        """Return what somebody waits for, that room if it is given, and their place there, from 1."""
        return self._queue.waits_for(who, room)

    def wanted(self, function: str, event: Event) -> tuple[Room, ...]:
        """Return what a run of a function, or its tries, must find free."""
        declaration = self._state.functions.get(function)
        if declaration is None or declaration.flow is None:
            return ()
        return self._rooms.of(function, declaration.flow, event, self._counts)

    def join(
        self, who: K, order: tuple[float, float], rooms: tuple[Room, ...], number: int | None = None
    ) -> tuple[Room, ...]:
        """Let somebody wait; `admit` lets them in. It returns the rooms, as all who wait for them share them.

        Who has left to wait for other rooms does not lose their place: `number` is what `leave` returned.
        """
        return self._queue.join(who, order, rooms, number)

    def leave(self, who: K, rooms: tuple[Room, ...]) -> int | None:
        """Let somebody wait no more, or give back what they hold; `admit` lets others in."""
        number = self._queue.leave(who)
        for room in rooms:
            if isinstance(room, SlotRoom):
                for freed in self._rooms.left(room, who):
                    self._queue.freed(freed)
        return number

    def freed(self, room: Room) -> None:
        """Let in those for whom a room is free that nobody has left."""
        self._queue.freed(room)
        self.admit()

    def changed(self) -> None:
        """Wake those that wait until nothing moves any more."""
        self._parts.changes.set()

    def stop(self) -> None:
        """Let nobody in any more."""
        self._is_stopped = True

    def admit(self) -> None:
        """Let in all whose turn has come, 200 in one turn of the loop."""
        if self._is_admitting or self._is_stopped or self._parts.journal.failure is not None:
            return
        self._is_admitting, self._is_looking = True, False
        try:
            now = self._parts.clock.now()
            for _ in range(ADMITTED_AT_ONCE):
                if (who := self._queue.next(now)) is None:
                    self._wait(self._queue.due())
                    return
                self._let_in(who, now)
            self._is_looking = True
            self._parts.loop.call_soon(self._go_on)
        finally:
            self._is_admitting = False

    def _wait(self, due: datetime | None) -> None:
        if due is not None:
            self._parts.timers.set(self._look, due)
        elif self._look in self._parts.timers:
            self._parts.timers.drop(self._look)

    def _go_on(self) -> None:
        try:
            self.admit()
        except StoreError:  # the engine stops, and has told all who wait
            self._is_looking = False
        self._parts.changes.set()
