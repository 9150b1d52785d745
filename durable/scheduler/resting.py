"""Record which runs rest, so that the next opening need not call their functions.

Separate because this is said behind all else: while the engine is open it causes no write of its own, and wakes nobody.
Leaves to `parking` the choice of runs, to `parked` the record, to `writer` the time.

A run rests if it has one task, which awaits one recorded wait: then it can be parked. This is recorded only where more
runs have begun than may have a coroutine, of fewer every one is called at an opening. A run that is still parked after
10 minutes has it recorded with a later write, 20 with one write. When an engine closes in order, it is recorded of all
that rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from durable.journal import ParkedRun, recorded_event, rest_of
from durable.scheduler.parts import Parts
from durable.scheduler.session import Session
from durable.scheduler.strays import Strays
from durable.timers import after

AT_ONCE = 200  # records in one turn of the loop, when the engine closes
_RIDING = 20  # records in one write that happens anyway: they take it half a millisecond
_TOGETHER = timedelta(seconds=1)  # runs that are parked within this share an instant: they may be a hundred thousand
_MOST_DATA = 4_096  # characters of an event's data: more would be worth more than the call that is saved


class _Found(NamedTuple):
    """A run that rests in a step, and how many records it had when that was found."""

    run: str
    key: str
    records: int


class Resting:
    """A resting records of runs that they rest.

    `sessions` are the runs that have a coroutine.
    """

    def __init__(self, parts: Parts, sessions: Mapping[str, Session], strays: Strays) -> None:
        self._parts = parts
        self._state = parts.decisions.state
        self._sessions = sessions
        self._strays = strays
        self._parked: deque[tuple[datetime, deque[str]]] = deque()  # since when, the oldest first
        self._found: deque[_Found] = deque()

    def note(self, parked: ParkedRun) -> None:
        """Take in a run that was just parked."""
        now = self._parts.clock.now()
        if not self._parked:
            self._parts.journal.ride(self._say_some)
        if not self._parked or now > after(self._parked[-1][0], _TOGETHER):
            self._parked.append((now, deque()))
        self._parked[-1][1].append(parked.run)

    def _say_some(self) -> None:
        now, since = self._parts.clock.now(), self._parts.settings.rests_after
        for _ in range(_RIDING):
            if not self._parked or now - self._parked[0][0] < since:
                break
            runs = self._parked[0][1]
            parked = self._state.parked.get(runs.popleft())  # if it goes on meanwhile, it is noted again
            if parked is not None and not parked.is_said:
                self._say(_Found(parked.run, parked.key, parked.count))
            if not runs:
                self._parked.popleft()
        if self._parked:
            self._parts.journal.ride(self._say_some)

    def _say(self, found: _Found) -> None:
        run = self._state.parked.get(found.run) or self._state.ledgers.get(found.run)
        if run is None or run.count != found.records:
            return  # something was recorded since, so the run may rest no more
        now = self._parts.clock.now()
        rest = run.rest(now) if isinstance(run, ParkedRun) else rest_of(run, found.key, now)
        if len(recorded_event(rest.event).text) <= _MOST_DATA:
            self._parts.journal.post(rest)

    # When the engine closes.

    def stop(self) -> None:
        """Find all runs that rest, before the closing engine refuses their steps."""
        self._parked.clear()
        if self._state.count <= self._parts.settings.resident:
            return
        parked = [run for run in self._state.parked.values() if not run.is_said]
        self._found.extend([_Found(run.run, run.key, run.count) for run in parked])
        busy = self._strays.busy_now()
        for run, session in self._sessions.items():
            key = session.waits_only_in
            if key is not None and session not in busy:
                self._found.append(_Found(run, key, session.ledger.count))

    async def say_all(self) -> None:
        """Record of all runs that still rest that they do."""
        while self._found and self._parts.journal.failure is None:
            for _ in range(min(len(self._found), AT_ONCE)):
                self._say(self._found.popleft())
            await asyncio.sleep(0)
