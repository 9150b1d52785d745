"""Show other processes which steps an open engine runs.

Separate because nobody inside the process needs it, and nothing waits for it: whatever fails here harms no run.
Leaves to `stores` the live file, to `views` its text, to `scheduler` what runs.

While anything runs, the sessions are looked at in intervals, and what has changed is written in a thread. Once nothing
runs, that is written, and the looking ends. It begins again, by one timer, when a run or a try of a handler begins, or
something is recorded: nothing can begin to run in another way. So an idle engine does nothing for this, and a step that
ends within the interval costs nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial

from durable.errors import StoreError
from durable.functions import progress_of
from durable.scheduler import Parts, Scheduler, Session
from durable.stores import FileStore, LiveFile, StoreThread, perform_each
from durable.views import Live, LiveStep, live_text

EVERY = 0.75  # seconds: what is read is at most a second old, its writing included
LOOKED_AT_ONCE = 500  # sessions, in one turn of the loop


class Beacon:
    """A beacon writes the live file of an engine on a `FileStore`.

    On another store, or in a `Lab`, it does nothing.
    """

    def __init__(self, parts: Parts, scheduler: Scheduler) -> None:
        self._parts = parts
        self._scheduler = scheduler
        store = parts.store
        self._is_used = isinstance(store, FileStore) and parts.stand_in is None
        self._file = LiveFile(os.path.realpath(store.path)) if isinstance(store, FileStore) else None
        self._worker: StoreThread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_looking = self._rides = self._is_closed = self._has_complained = False
        self._shown = Live()

    def begin(self) -> None:
        """Tell of the runs that go on now, and of all that begin later."""
        if self._is_used:
            self._look_soon()

    async def close(self) -> None:
        """Take the live file away, and tell nothing more."""
        if not self._is_used or self._is_closed or self._file is None:
            return
        self._stop()
        if self._worker is not None or self._file.is_there:
            removed = self._ask().post(self._remove)
            self._ask().stop()
            await asyncio.wait([removed])

    def drop(self) -> None:
        """Tell nothing more, as if the process had died; without waiting."""
        if self._is_used and not self._is_closed:
            self._stop()
            if self._worker is not None and self._file is not None:
                self._worker.post(self._file.close)
                self._worker.stop()

    def _stop(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _remove(self) -> None:
        assert self._file is not None
        try:
            self._file.remove()
        except (StoreError, OSError):  # it was told when it could not be written
            self._file.close()

    def _ask(self) -> StoreThread:
        if self._worker is None:
            self._worker = StoreThread("durable-live", perform_each)
        return self._worker

    # Looking.

    def _rest(self) -> None:
        self._is_looking = False
        self._parts.changes.begun = self._look_soon
        if not self._rides:
            self._rides = True
            self._parts.journal.ride(self._ridden)

    def _ridden(self) -> None:
        self._rides = False
        self._look_soon()

    def _look_soon(self) -> None:
        self._parts.changes.begun = None
        if not self._is_looking and not self._is_closed:
            self._is_looking = True
            self._look_later()

    def _look_later(self) -> None:
        self._timer = self._parts.loop.call_later(EVERY, self._look)

    def _look(self) -> None:
        self._look_at(list(self._scheduler.sessions.values()), 0, {})

    def _look_at(self, sessions: Sequence[Session], at: int, found: dict[str, dict[str, LiveStep]]) -> None:
        for session in sessions[at : at + LOOKED_AT_ONCE]:
            if session.may_run:
                self._put(session, found)
        if (at := at + LOOKED_AT_ONCE) < len(sessions):
            self._parts.loop.call_soon(self._look_at, sessions, at, found)
        elif not self._is_closed:
            self._tell(Live(found))

    def _put(self, session: Session, found: dict[str, dict[str, LiveStep]]) -> None:
        ledger, engine = session.ledger, self._parts.settings.engine
        status, running = self._scheduler.status(ledger)
        if status == "running":
            found[ledger.run] = steps = {}
            for key, began in running.items():
                facts = ledger.steps.get(key)
                steps[key] = LiveStep(
                    0 if facts is None else facts.attempt, began, progress_of(engine, ledger.run, key)
                )

    # Telling.

    def _tell(self, live: Live) -> None:
        assert self._file is not None
        if live == self._shown and (not live.running or self._file.is_found):
            self._go_on(live)
        else:
            self._ask().post(partial(self._write, live)).add_done_callback(partial(self._written, live))

    def _write(self, live: Live) -> None:
        assert self._file is not None
        self._file.write(live_text(live))

    def _written(self, live: Live, written: asyncio.Future[None]) -> None:
        error = written.exception()
        self._shown = live  # what could not be written is not found, and so is written again
        if error is not None and not self._has_complained:
            self._has_complained = True
            self._parts.logger.warning(
                "other processes do not see which steps run, for the file that shows them cannot be written: %s; this "
                "is said once, and harms nothing else",
                error,
            )
        self._go_on(live)

    def _go_on(self, live: Live) -> None:
        if self._is_closed:
            return
        if live.running:
            self._look_later()
        else:
            self._rest()
