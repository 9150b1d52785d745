"""Spell texts for places that cannot hold every character.

Such places are a column of a store, a line of a log, the message of an error.

Separate because the message of an error must be safe to show even if the value it is about is not.
Leaves to `events.words` the choice of texts that are accepted at all.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

_SHOWN = 120
_HEAD, _TAIL = 80, 20


def shown(value: object) -> str:
    """Return a short `repr(value)` for a message.

    A long one is cut. If `repr` raises, the text names the type and the error.
    """
    kind = type(value)
    try:
        if issubclass(kind, str) and (text := str.__str__(value)) and len(text) > _SHOWN:
            return f"{text[:_HEAD]!r}... ({len(text):,} characters)"
        text = str.__str__(repr(value))
    except Exception as error:  # from a __repr__ of the user's, or for an int of more digits than Python spells
        return f"<{kind.__name__} whose repr() raises {type(error).__name__}>"
    return text if len(text) <= _SHOWN + _TAIL else f"{text[:_HEAD]}...{text[-_TAIL:]}"


def few(names: Collection[str], most: int = 5) -> str:
    """Return the first names for a message, as `repr` spells them, and the number of the others."""
    first = ", ".join(map(repr, islice(names, most)))
    return first if len(names) <= most else f"{first} and {len(names) - most:,} more"


def keepable(text: str) -> str:
    r"""Return the text with lone surrogates spelled as in `\ud83d`.

    Every store and every stream takes the result.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def on_a_line(text: str) -> str:
    r"""Return the text with unprintable characters spelled as in `repr`.

    A line break becomes `\n`. So an id or a message stays on its line and cannot move a terminal's cursor.
    """
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else one.encode("unicode_escape").decode() for one in text])
