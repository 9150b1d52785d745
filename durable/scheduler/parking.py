"""Take the coroutines from waiting runs, and give these runs new ones later.

Separate because parking saves memory and changes nothing else: no record says whether a run was parked.
Leaves to `scheduler` the beginning of runs, to `parked` the facts that are kept of a parked run, to `resting` the
record that such a run rests.

If more than `resident` runs have a coroutine, the surplus is parked, those first that began first. A run can be parked
if it has one task, which awaits one step, and the wait of that step is recorded. Its task is cancelled, which records
nothing, as when the engine closes (R8). When the step gets its outcome, the function is called again, as after a
restart. If the run has recorded more than that wait, its records are read from the store first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from durable.errors import StoreCorruptError
from durable.journal import ParkedRun, Record, RunRetried, StepOpened, StepRetried
from durable.scheduler.delivery import QUIET
from durable.scheduler.parts import Parts
from durable.scheduler.session import Session
from durable.scheduler.stopping import has_left
from durable.scheduler.strays import Strays

_LOOKED_AT_ONCE = 100
_SHARE = 8  # a look goes through all coroutines, so it is made only after an eighth as many records and deliveries


class Parking:
    """Parking keeps the number of runs with a coroutine to about `resident`.

    `sessions` are these runs. `leaving` are parked runs whose execution has not ended yet. `begin(run)` is called for a
    run whose whole ledger has been read again, `parked` for each run that was parked. `spawn` runs a coroutine in the
    background.
    """

    def __init__(
        self,
        parts: Parts,
        sessions: dict[str, Session],
        begin: Callable[[str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        strays: Strays,
        parked: Callable[[ParkedRun], None],
    ) -> None:
        self._parts = parts
        self._state = parts.decisions.state
        self._sessions = sessions
        self._begin = begin
        self._spawn = spawn
        self._strays = strays
        self._parked = parked
        self._stirs = 0
        self._is_looking = False
        self.leaving: dict[str, asyncio.Future[None]] = {}
        self._reading: set[str] = set()
        parts.changes.stirred = self._stirred

    @property
    def is_settled(self) -> bool:
        """Whether no run is just being parked or read again."""
        return not (self._is_looking or self.leaving or self._reading)

    def _stirred(self) -> None:
        # Each record or delivery of a run may have left it waiting, so every few of them are a reason for a look.
        changes = self._parts.changes
        changes.set()
        changes.is_crowded = len(self._sessions) > self._parts.settings.resident
        if changes.is_crowded:
            self._stirs += 1
            self._consider()

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records after which a run may only wait."""
        return dict.fromkeys((StepOpened, StepRetried, RunRetried), self._recorded)

    def _recorded(self, record: Any) -> None:
        if self._parts.changes.is_crowded:
            self._stirred()

    def _consider(self) -> None:
        if self._stirs * _SHARE >= len(self._sessions) > self._parts.settings.resident and not self._is_looking:
            self._stirs = 0
            self._is_looking = True
            self._parts.rounds.call_at(self._parts.rounds.now + 2 * QUIET, self._look)

    def _look(self) -> None:
        self._spawn(self._park_some())

    async def _park_some(self) -> None:
        try:
            busy = await self._strays.busy()
            for number, session in enumerate(list(self._sessions.values()), 1):
                if len(self._sessions) <= self._parts.settings.resident or self._parts.life.is_ending:
                    break
                key = session.waits_only_in
                if key is not None and session not in busy and self._sessions.get(session.ledger.run) is session:
                    self._park(session, key)
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._is_looking = False
            self._consider()

    def _park(self, session: Session, key: str) -> None:
        run = session.ledger.run
        del self._sessions[run]
        self._state.park(run, key)
        self._parked(self._state.parked[run])
        gone = self.leaving[run] = self._parts.loop.create_future()
        session.is_stopped = True
        session.stop()
        self._spawn(self._leave(run, session, gone))

    async def _leave(self, run: str, session: Session, gone: asyncio.Future[None]) -> None:
        try:
            await has_left(session)
        finally:
            del self.leaving[run]
            gone.set_result(None)

    def fetch(self, run: str) -> None:
        """Read the ledger of a parked run, then let the run begin."""
        if run not in self._reading:
            self._reading.add(run)
            self._spawn(self._fetch(run))

    async def _fetch(self, run: str) -> None:
        try:
            leaving = self.leaving.get(run)
            if leaving is not None:
                await leaving
            if await self._read(run):
                self._begin(run)
        except Exception as error:  # a user's own store may raise anything
            self._parts.journal.fail(error)  # R31: a run that cannot be read must not wait for ever
        finally:
            self._reading.discard(run)
            self._parts.changes.set()

    async def _read(self, run: str) -> bool:
        while (known := self._state.ledgers.get(run)) is not None and not known.is_whole:
            count = known.count
            whole = await self._parts.history.ledger(run)
            known = self._state.ledgers.get(run)
            if known is None:
                break
            if whole is None or not count <= whole.count <= known.count:
                raise StoreCorruptError(
                    f"run {run!r} has {known.count} records, but the store gives back "
                    f"{whole.count if whole else 'none'}: it has lost some, or made some up; restore a copy"
                )
            if known.count == whole.count:
                self._state.unpark(whole)
                return True
        return known is not None
