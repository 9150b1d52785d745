"""What the runtime itself puts around users' values: events in events, answers, signals.

Separate because a user's limit is the user's: what is put around a value that was kept already must not break it.
Leaves to `values` how they are written.
"""

from __future__ import annotations

from durable.codec.values import encode
from durable.records import Json

ROOM = 16  # levels: the event of a failure handler's failure, as the answer of a wait, takes seven


def enclose(value: object) -> Json:
    """Return as JSON text what was put around users' values: `encode`, with room for that (R31).

    A user's data may be nested 200 levels deep, be told of in the event of a run's end, and that in another (R16).

    Raises:
        CodecError: as for `encode`; nested deeper than 216 levels, which is a user's value that nobody has checked.
    """
    return encode(value, room=ROOM)
