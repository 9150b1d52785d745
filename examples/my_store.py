"""A store of your own: the seven methods of `durable.Store`, and the contract that says whether they are right."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from durable import Entry, RunQuery, RunRow, StoreError
from durable.testing import store_contract


class ListStore:
    def __init__(self, place: list[Entry], owners: list[object]) -> None:
        self.place, self.owners = place, owners  # a list, to show what there is to do: let it be a table, a log

    async def open(self) -> None:
        self.owners.append(self)  # the newcomer takes over; a store that has a lock refuses it

    async def append(self, entries: Sequence[Entry]) -> None:
        self.opened().extend(entries)  # in order, all or none, durable on return

    async def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        ended = {entry.run: entry.ends_run for entry in self.opened()}  # a run's last entry says
        for entry in [e for e in self.place if (e.run and not ended[e.run]) or (e.keep_until or now) > now]:
            yield entry

    async def history(self, run: str) -> AsyncIterator[Entry]:
        for entry in [entry for entry in self.opened() if entry.run == run]:
            yield entry

    async def find(self, query: RunQuery) -> list[RunRow]:
        rows: dict[str, RunRow] = {}
        for entry in self.opened():
            if entry.row is not None:
                rows[entry.run] = entry.row
            elif (row := rows.get(entry.run)) is not None and not entry.ends_run:  # if it had ended, it is open again
                rows[entry.run] = RunRow(row.id, row.function, row.event, row.opened_at, event_ids=row.event_ids)
        return query.choose(reversed(rows.values()))

    async def prune(self, ended_before: datetime) -> int:
        gone = {r.id for r in await self.find(RunQuery(limit=10**9)) if (r.ended_at or ended_before) < ended_before}
        left = [entry for entry in self.place if entry.run not in gone]
        self.place[:] = [entry for entry in left if entry.run or (entry.keep_until or ended_before) > ended_before]
        return len(gone)

    async def close(self) -> None:
        self.owners[:] = [owner for owner in self.owners if owner is not self]

    def opened(self) -> list[Entry]:
        if self.owners[-1:] != [self]:
            raise StoreError("the store is not open, or another has taken it over")
        return self.place


if __name__ == "__main__":
    place = list[Entry](), list[object]()
    for check in store_contract(lambda: ListStore(*place)):
        check()
        print("kept:", check)
