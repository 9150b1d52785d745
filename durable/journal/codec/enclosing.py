"""Write values that the runtime itself puts around users' values.

Examples are events in events, answers and signals.

Separate because limits are for users' values: what the runtime puts around a value must not exceed them.
Leaves to `values` the writing.
"""

from __future__ import annotations

from durable.events import Json
from durable.journal.codec.values import encode

ROOM = 16  # levels: the event of a failure handler's failure, as the answer of a wait, takes seven


def enclose(value: object) -> Json:
    """Return as JSON text what was put around users' values: `encode`, with room for that (R31).

    A user's data may be nested 200 levels deep, be told of in the event of a run's end, and that in another (R16).

    Raises:
        CodecError: as for `encode`; nested deeper than 216 levels, which is a user's value that nobody has checked.
    """
    return encode(value, room=ROOM)
