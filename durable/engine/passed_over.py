"""Tell which events opened no run because of a run: it took their place, or held the singleton key.

Separate because these records stand apart from the run's own, and are read only when somebody asks.
Leaves to `why` the text around them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from durable.journal import HELD, EventHeld, EventSkipped, Ledger, read, skipped_by
from durable.stores import Entry

_MOST = 10


async def passed_over(entries: Callable[[str], Awaitable[Sequence[Entry]]], ledger: Ledger) -> list[str]:
    """Return a line for each event that opened no run because of this one, the last ten; `entries` reads a run."""
    places = [skipped_by(ledger.run)]
    if ledger.group is not None:
        places += [ledger.group, skipped_by(ledger.group)]
    found = [line for place in places for entry in await entries(place) if (line := _told(entry)) is not None]
    more = [f"{len(found) - _MOST:,} earlier events opened no run because of this one"] if len(found) > _MOST else []
    return [*more, *found[-_MOST:]]


def _told(entry: Entry) -> str | None:
    match read(entry.kind, entry.body):
        case EventHeld(replaces=str(id), at=at, event=event):
            why = f"{event.id!r} took its place in the debounce"
        case EventSkipped(id=id, at=at, by=by) if by.startswith(HELD):
            why = "the debounce held an event with a later ts"
        case EventSkipped(id=id, at=at):
            why = "this run held the singleton key"
        case _:
            return None
    return f"event {id!r} opened no run at {at:%Y-%m-%d %H:%M:%S} UTC: {why}"
