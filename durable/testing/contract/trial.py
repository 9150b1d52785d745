"""Make the stores and entries for the checks of a store's promises.

Separate because every promise needs the same few entries, under names that no other promise uses.
Leaves to `of_entries`, `of_runs`, `of_loss` and `of_text` the promises, to `contract` the running of the checks.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import attrs

from durable.journal import Ending
from durable.stores import Entry, RunQuery, RunRow, Store

MakeStore = Callable[[], Store]
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_trials = itertools.count()


class Trial:
    """A trial has a store, and names that no other trial uses."""

    def __init__(self, make_store: MakeStore) -> None:
        self.make_store = make_store
        self.store = make_store()
        self.name = f"{secrets.token_hex(4)}-{next(_trials)}"

    def over(self, store: Store) -> Trial:
        """Return a trial of another store with the same names."""
        other = Trial(lambda: store)
        other.name = self.name
        return other

    def run(self, which: object = "") -> str:
        return f"{self.name}-run{which}"

    def row(self, which: object = "", at: datetime = NOON, status: Ending | None = None) -> RunRow:
        ended_at = None if status is None else at + MINUTE
        error = "Boom: it broke" if status == "failed" else None
        return RunRow(self.run(which), f"{self.name}-f", f"{self.name}/e", at, ended_at, status, error)

    def opened(self, which: object = "", at: datetime = NOON) -> Entry:
        return Entry(self.run(which), "RunOpened", f"open {which}", row=self.row(which, at))

    def step(self, which: object = "", body: str = "step") -> Entry:
        return Entry(self.run(which), "StepClosed", body)

    def closed(self, which: object = "", status: Ending = "completed", at: datetime = NOON) -> Entry:
        return Entry(self.run(which), "RunClosed", f"end {which}", ends_run=True, row=self.row(which, at, status))

    def fact(self, keep_until: datetime | None, body: str = "fact") -> Entry:
        return Entry("", "EventSent", f"{self.name} {body}", keep_until=keep_until)

    async def history(self, which: object = "") -> list[Entry]:
        return [entry async for entry in self.store.history(self.run(which))]

    async def unfinished(self, now: datetime = NOON) -> list[Entry]:
        return [e async for e in self.store.unfinished(now) if f"{e.run} {e.body}".lstrip().startswith(self.name)]

    async def find(self, query: RunQuery | None = None) -> list[RunRow]:
        """Return the rows that a query finds among this trial's runs.

        All of these have a function that no other trial uses.
        """
        return await self.store.find(attrs.evolve(query or RunQuery(), function=f"{self.name}-f"))

    async def found(self, query: RunQuery | None = None) -> list[str]:
        return [row.id for row in await self.find(query)]

    async def reopen(self) -> None:
        await self.store.close()
        await self.store.open()


Promise = Callable[[Trial], Awaitable[None]]


def listed(promises: list[Promise]) -> Callable[[Promise], Promise]:
    """Return a decorator that adds a promise to the list."""

    def enter(body: Promise) -> Promise:
        promises.append(body)
        return body

    return enter
