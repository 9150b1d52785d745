"""How text is spelled where not every character can stand: in a column, on one line of a log, in an error's message.

Separate because an error must be told in words that are safe themselves, whatever is wrong with the value it is about.
Leaves to `words` what text may enter at all.
"""

from __future__ import annotations

_SHOWN = 120
_HEAD, _TAIL = 80, 20


def shown(value: object) -> str:
    """Return `repr(value)` for a message: cut where it is long, and told from its type where it cannot be had."""
    kind = type(value)
    try:
        if issubclass(kind, str) and (text := str.__str__(value)) and len(text) > _SHOWN:
            return f"{text[:_HEAD]!r}... ({len(text):,} characters)"
        text = str.__str__(repr(value))
    except Exception as error:  # a __repr__ of the user's; an int of more digits than Python spells
        return f"<{kind.__name__} whose repr() raises {type(error).__name__}>"
    return text if len(text) <= _SHOWN + _TAIL else f"{text[:_HEAD]}...{text[-_TAIL:]}"


def keepable(text: str) -> str:
    r"""Return the text with halves of surrogate pairs spelled as `\ud83d`: every store and every stream takes it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def on_a_line(text: str) -> str:
    r"""Return the text with every character that is not printable spelled as in `repr`: a line break is `\n`.

    It stays on its line and moves no cursor, whatever an id or a message holds.
    """
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else one.encode("unicode_escape").decode() for one in text])
