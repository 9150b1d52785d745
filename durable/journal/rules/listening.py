"""Make the listeners of a run: that of a step's wait, and those of what cancels the run.

Separate because what a listener hears follows from a run's event and a filter alone, whatever else is folded.
Leaves to `state` when they listen, to the bus of `events` which of them an event finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from durable.events import Listener, Place, is_one_equality, parse, path_of
from durable.journal.codec.recorded import recorded_event
from durable.journal.ids import cancel_place
from durable.journal.records import ForEvent
from durable.journal.rules.declaration import WAIT_NAMES, Declaration
from durable.journal.rules.ledger import Ledger
from durable.journal.rules.parked import ParkedRun
from durable.timers import after


def wait_listener(ledger: Ledger | ParkedRun, place: Place, wait: ForEvent) -> Listener:
    """Return the listener of a step that waits for an event."""
    path = None if wait.match is None else path_of(wait.match)
    expression = None if wait.expression is None else parse(wait.expression, names=WAIT_NAMES)
    event = recorded_event(ledger.event)
    own = (event if is_one_equality(path, expression) else event.seen()) if path or expression else None
    return Listener(place, wait.event, wait.until, path, expression, own)


def cancel_listeners(ledger: Ledger | ParkedRun, declaration: Declaration) -> Iterator[Listener]:
    """Yield the listeners for the events that cancel a run of this function."""
    own = recorded_event(ledger.event).seen()
    for number, rule in enumerate(declaration.cancels):
        until = None if rule.timeout is None else after(ledger.since, rule.timeout)
        path = None if rule.match is None else path_of(rule.match)
        place = cancel_place(ledger.run, number)
        yield Listener(place, rule.event, until, path, rule.expression, own, cancels=True)
