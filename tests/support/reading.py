"""Read a value as a live run gets it, and as a replay does: it must be the same (R3)."""

from __future__ import annotations

from typing import Any

from durable.journal.codec import values
from durable.journal.codec.atoms import ATOMS


def decode(written: str, *given: Any, **named: Any) -> Any:
    """Do what the codec's `decode` does, and check that the text alone gives the same flat value."""
    live, anew = (values.decode(text, *given, **named) for text in (written, written.encode().decode()))
    assert type(live) is type(anew)
    parts = list(live.values()) if type(live) is dict else [live]
    if ATOMS.issuperset(map(type, parts)):
        assert values.encode(live) == values.encode(anew)
    return live
