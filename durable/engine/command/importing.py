"""Bring runs that were exported into a file store.

Separate because a run must fit into the store that it comes to, all of it or nothing.
Leaves to `stores` the file's lines and the store's lock, to `journal` the check of a run's record.
"""

from __future__ import annotations

from datetime import UTC, datetime

from durable.engine.command.verb import Nothing
from durable.errors import StoreCorruptError
from durable.journal import EngineClosed, Entries, State, adopt, claims_of, read, settle
from durable.stores import Entry, FileStore, read_runs


async def imported(path: str, text: str, *, what: str) -> list[str]:
    """Bring the runs of an exported text into the store at a path; return their ids.

    All are written together, or none. The store is made if there is none. An unfinished run goes on when an engine
    opens the store. What stands beside a run is not in its export and does not come along: the ids of events and the
    idempotency keys that its old store has seen.

    Raises:
        Nothing: the store has one of the runs already.
        ValueError: the text is not an export, is damaged or of a newer version, or a run cannot go on in this store.
        StoreLockedError: an engine has the store open.
        StoreError: the store cannot be used.
    """
    runs = read_runs(text, what=what)
    store = FileStore(path)
    await store.open()
    try:
        for run in runs:
            async for _ in store.history(run):
                raise Nothing(f"run {run!r} is in {path} already: nothing was imported")
        await store.append(await _entries(store, runs, what))
    finally:
        await store.close()
    return list(runs)


async def _entries(store: FileStore, runs: dict[str, list[Entry]], what: str) -> list[Entry]:
    state, now = State(lambda *_: None), datetime.now(UTC)
    was_clean = True
    async for entry in store.unfinished(now):
        record = read(entry.kind, entry.body)
        try:
            state.fold(record)
        except (KeyError, ValueError) as error:
            raise StoreCorruptError(f"the records of run {entry.run!r} contradict each other: {error}") from error
        was_clean = isinstance(record, EngineClosed)
    state.told_all()
    claims = claims_of(state)
    try:
        entries = [entry for run, lines in runs.items() for entry in adopt(run, lines, state)]
        for run in runs:
            settle(run, state, claims)
    except ValueError as error:
        raise ValueError(f"{what} cannot be imported: {error}") from error
    if was_clean:  # the last word of a store that was closed in order must stay that: R26
        entries.append(Entries(state).of(EngineClosed(now)))
    return entries
