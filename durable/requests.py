"""What is asked at the door, checked: events in all their spellings, ids of runs, the same start twice.

Separate because a wrong argument must be refused before anything is recorded, in words that say what to write instead.
Leaves to `engine` to do what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from durable.codec import encode
from durable.ledger import Ledger
from durable.records import Event

STATUSES = ("queued", "running", "waiting", "completed", "failed", "cancelled")


def checked_events(name: object, data: Mapping[str, Any] | None, *, id: str | None, ts: datetime | None) -> list[Event]:
    """Return the events that a `send` names.

    Raises:
        TypeError, ValueError: neither a name with data, nor an Event, nor a sequence of them.
    """
    if isinstance(name, str):
        return [Event(name, {} if data is None else data, id, ts)]
    if data is not None or id is not None or ts is not None:
        raise TypeError("send(Event) and send([Event, ...]) take nothing else: put data, id and ts into the Event")
    if isinstance(name, Event):
        return [name]
    if not isinstance(name, Sequence):
        raise TypeError(f"send takes a name and data, an Event or a sequence of them, not {name!r}")
    for one in name:
        if not isinstance(one, Event):
            raise TypeError(f"a sequence for send must hold Events, not {one!r}")
    return list(name)


def checked_run_id(id: object) -> str:
    """Return the id that a user gives a run.

    Raises:
        TypeError, ValueError: not a string, empty, or with the "/" that derived ids have.
    """
    if not isinstance(id, str):
        raise TypeError(f"the id of a run must be a string, not {id!r} ({type(id).__name__})")
    if not id or "/" in id:
        raise ValueError(f"the id of a run must not be empty or hold '/', which is for derived ids: {id!r}")
    return id


def check_crashes(max_crashes: object) -> None:
    """Refuse a number of crashes that is none.

    Raises:
        ValueError
    """
    if isinstance(max_crashes, bool) or not isinstance(max_crashes, int) or max_crashes < 1:
        raise ValueError(f"max_crashes must be an int of at least 1, not {max_crashes!r}")


def check_resident(resident: object) -> None:
    """Refuse a number of runs that is none.

    Raises:
        ValueError
    """
    if isinstance(resident, bool) or not isinstance(resident, int) or resident < 0:
        raise ValueError(f"resident must be an int of at least 0, not {resident!r}")


def check_listing(status: object, limit: object) -> None:
    """Refuse to list runs of a status that is none, or fewer than none.

    Raises:
        ValueError
    """
    if status is not None and status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r}")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValueError(f"limit must be an int, zero or more, not {limit!r}")


def check_same(known: Ledger, function: str, event: Event) -> None:
    """Refuse to take a run for another.

    Raises:
        ValueError: the run belongs to another function, or was started with other data.
    """
    if known.function != function:
        raise ValueError(
            f"run {known.run!r} belongs to function {known.function!r}, not to {function!r}: give the new run an id of "
            "its own"
        )
    if _in_order(known.event) != _in_order(event):
        raise ValueError(
            f"run {known.run!r} was started with other data: give the new run another id, or start it with the same "
            "data"
        )


def _in_order(event: Event) -> str:
    # The same mapping in another order is the same data: dicts are equal so. As text, since True == 1 in Python.
    return json.dumps(json.loads(encode(event.data)), sort_keys=True)
