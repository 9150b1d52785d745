"""Evaluate the key by which events or runs share a limit, and the priority of a run.

Separate because every option of flow control must mean the same by a key.
Leaves to the other modules here what a key shares.

A key is kept with its JSON type: True is not 1, and 1 is 1.0. Events whose key is absent or null share one key of their
own; so do those for which the expression fails.
"""

from __future__ import annotations

from typing import Any

from durable.events import Complaint, Event, Expression, Json, seen_by_filters
from durable.journal.codec.values import encode

NO_KEY: Json = "null"
PRIORITY_MOST = 600


def key_of(expression: Expression | None, event: Event, complain: Complaint, *, what: str) -> Json:
    """Return the text of an event's key.

    `what` names the option in the complaint, of which there is one however many events have no key.
    """
    if expression is None:
        return NO_KEY
    try:
        return key_text(expression.evaluate({"event": seen_by_filters(event)}))
    except Exception as error:  # it fails, or comes to what cannot be kept, as type(event.data) does
        complain(what, f"the key of {what} has no value, so all such events count as having none: {error}")
        return NO_KEY


def priority_of(expression: Expression, event: Event, complain: Complaint, *, what: str) -> float:
    """Return a run's priority in seconds, at most 600 either way; 0 for what is no number.

    `what` names the function in the complaint, of which there is one however many events have no number.
    """
    try:
        value = expression.evaluate({"event": seen_by_filters(event)})
        if type(value) not in (int, float) or value != value:
            raise ValueError(f"it is {value!r}, which is no number")
    except Exception as error:
        complain(f"priority of {what}", f"the priority of {what} counts as 0 for events where it has none: {error}")
        return 0.0
    return float(max(-PRIORITY_MOST, min(PRIORITY_MOST, value)))


def key_text(value: object) -> Json:
    """Return the text of a key's value, the same for values that are equal in JSON.

    Raises:
        CodecError: it is no value that can be kept.
    """
    return encode(_plainly(value))


def _plainly(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is list:
        return [_plainly(one) for one in value]
    if type(value) is dict:
        return {name: _plainly(value[name]) for name in sorted(value)}
    return value
