"""Check the record of a run that comes from another store, and make it this store's own.

Separate because a file may say anything, while the store's own record was decided by the rules.
Leaves to `entries` what a store keeps beside a record's text, to `engine` the file and the store.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from durable.errors import StoreCorruptError
from durable.events import Json
from durable.journal.codec.write import read
from durable.journal.entries import Entries
from durable.journal.ids import OWN
from durable.journal.records import ForChild, ForSignal, RunOpened, RunRecord, Wait
from durable.journal.rules.state import State
from durable.stores import Entry


def adopt(run: str, entries: Sequence[Entry], state: State) -> list[Entry]:
    """Fold the record of a run from another store into a state; return it as this store keeps it.

    Raises:
        ValueError: the entries are not the record of one run, from its opening on, or of a newer version.
    """
    if not run or run.startswith(OWN):
        raise ValueError(f"{run!r} is no run, but stands for facts that durable keeps for itself")
    making = Entries(state)
    made: list[Entry] = []
    for number, entry in enumerate(entries):
        where = f"line {number + 2}, a {entry.kind} of run {run!r},"
        try:
            record = read(entry.kind, entry.body)
            if not isinstance(record, RunRecord) or record.run != run or isinstance(record, RunOpened) != (not number):
                raise ValueError("it does not belong there")
            own = making.of(record)
            state.fold(record)
        except StoreCorruptError as error:
            raise ValueError(f"{where} cannot be read: {error}") from error
        except (KeyError, ValueError) as error:
            raise ValueError(f"{where} contradicts what stands before it: {error}") from error
        if own.ends_run != entry.ends_run:
            raise ValueError(f"{where} says otherwise than its record whether the run ends there")
        made.append(attrs.evolve(own, body=entry.body))
    if not made:
        raise ValueError(f"it has nothing of run {run!r} but its name")
    return made


@attrs.frozen
class Claims:
    """Claims are what the unfinished runs of a store hold and no other run may have: signals and singleton keys.

    `brought` are the runs among them that come from a file.
    """

    signals: dict[str, str]
    singletons: dict[tuple[str, Json], str]
    brought: set[str] = attrs.field(factory=set)

    def place_of(self, run: str) -> str:
        """Return in words where a run is that holds something."""
        return "of the same file" if run in self.brought else "of this store"


def claims_of(state: State) -> Claims:
    """Return what the runs of a state hold, as it is now."""
    return Claims({signal: place[0] for signal, place in state.signals.items()}, dict(state.singletons.runs))


def settle(run: str, state: State, claims: Claims) -> None:
    """Add to `claims` what an adopted run holds, if it can go on in its new store.

    Raises:
        ValueError: it waits for a run that is not unfinished there, or for a signal that another run waits for; or
            another run holds its singleton key.
    """
    known = state.known(run) if state.is_unfinished(run) else None
    if known is None:
        return
    claims.brought.add(run)
    if known.singleton is not None:
        holder = claims.singletons.setdefault((known.function, known.singleton), run)
        if holder != run:
            raise ValueError(
                f"run {run!r} holds a singleton key of function {known.function!r}, as run {holder!r} "
                f"{claims.place_of(holder)} does: only one run may; let that one end first"
            )
    for wait in _open_waits(run, state):
        if isinstance(wait, ForChild) and not state.is_unfinished(wait.child):
            raise ValueError(
                f"run {run!r} waits for the end of run {wait.child!r}, which would never come here: import both "
                "together, from one file with what export wrote of the one and of the other"
            )
        if isinstance(wait, ForSignal) and (holder := claims.signals.setdefault(wait.signal, run)) != run:
            raise ValueError(
                f"run {run!r} waits for signal {wait.signal!r}, as run {holder!r} {claims.place_of(holder)} does: "
                "only one run may; let that one end first"
            )


def _open_waits(run: str, state: State) -> list[Wait]:
    ledger = state.ledger(run)
    steps = ledger.steps.values() if ledger is not None else ()
    return [facts.wait for facts in steps if facts.outcome is None and facts.is_waiting and facts.wait is not None]
