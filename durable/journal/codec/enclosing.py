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
    """Return the JSON text of a value that the runtime has put around users' values.

    It is `encode` with 16 further levels (R31): a user's data may be nested 200 levels deep, and the event of a run's
    end holds these data, and the event of its failure handler's end holds that event (R16).

    Raises:
        CodecError: as for `encode`; or the value is nested deeper than 216 levels, and so holds an unchecked one.
    """
    return encode(value, room=ROOM)
