"""Check whether a value consists of JSON's own types alone.

Separate because the writing of values and their comparison with annotations both need it, for every value.
Leaves to `tags` the plain values beyond JSON.
"""

from __future__ import annotations

from typing import Any

DEPTH = 200
ATOMS: frozenset[type] = frozenset({str, int, float, bool, type(None)})
CONTAINERS: frozenset[type] = frozenset({dict, list})


def is_plain(container: Any, depth: int) -> bool:
    """Return whether a list or dict holds JSON's own types alone.

    Its keys must be strings, and it must end within 200 levels. `depth` is the level of the container itself, from 1.
    """
    if type(container) is dict:
        for key in container:
            if type(key) is not str:
                return False
        container = container.values()
    # C code checks a long container; for a short one the call would cost more than the loop below.
    if len(container) > 8 and ATOMS.issuperset(map(type, container)):
        return True
    for child in container:
        kind = type(child)
        if kind in ATOMS:
            continue
        if kind not in CONTAINERS or depth >= DEPTH or not is_plain(child, depth + 1):
            return False
    return True
