"""Tell callers that a step of a run may have ended, or the run itself.

Separate because nearly nobody waits for a step from outside, and what nobody waits for must cost nothing.
Leaves to `looking` the reading of what has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from durable.errors import StoreError
from durable.journal import Journal, Record, RunClosed, StepClosed


class Ends:
    """Ends are the steps and runs that callers wait for; the journal is followed from the first of them on."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._follows = False
        self._waiting: dict[str, list[asyncio.Event]] = {}

    @contextmanager
    def of(self, run: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the end of a step, or of the run, is durable."""
        if not self._follows:
            self._follows = True
            self._journal.follow(self)
        if not self._waiting:
            self._journal.watchers.append(self._moved)
        moved = asyncio.Event()
        self._waiting.setdefault(run, []).append(moved)
        try:
            yield moved
        finally:
            self._waiting[run].remove(moved)
            if not self._waiting[run]:
                del self._waiting[run]
            if not self._waiting:
                self._journal.watchers.remove(self._moved)

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records: they tell those who wait."""
        return {StepClosed: self._closed, RunClosed: self._closed}

    def _closed(self, record: StepClosed | RunClosed) -> None:
        self._moved(record.run)

    def _moved(self, run: str) -> None:
        if run in self._waiting:
            self._journal.tell(self._journal.posted, partial(self._tell, run))

    def _tell(self, run: str, error: StoreError | None) -> None:
        if error is None:  # else who waits for the run's end is told
            for moved in self._waiting.get(run, ()):
                moved.set()
