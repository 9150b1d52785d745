"""Write what the command line has to say, whatever it writes to.

Separate because a stream may be closed, full, or unable to spell a character, and no text of a store may move a cursor.
Leaves to the verbs the words, to `watching` the terminal that is written over.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from durable.timers import on_a_line


def tell(text: str) -> OSError | None:
    """Write lines to the standard output; return the error if that failed."""
    return _write(on_lines(text), sys.stdout)


def tell_value(value: Any, *, is_brief: bool = False) -> OSError | None:
    """Write a value as JSON to the standard output, on one line with `is_brief`; return the error if that failed."""
    return _write(_spelled(json_of(value, is_brief=is_brief), sys.stdout), sys.stdout)


def draw(text: str) -> OSError | None:
    """Write a text that moves the cursor to the terminal; return the error if that failed."""
    return _write(text, sys.stdout, end="")


def complain(text: str) -> None:
    """Write a line to the standard error stream."""
    _write(on_a_line(f"durable: {text}"), sys.stderr)


def on_lines(text: str) -> str:
    """Return lines of text with unprintable characters escaped."""
    return "\n".join(map(on_a_line, text.split("\n")))


def json_of(value: Any, *, is_brief: bool = False) -> str:
    """Return a value as JSON in which every character that is not printable is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=None if is_brief else 2)
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() or one == "\n" else _escape(one) for one in text])


def _spelled(text: str, stream: TextIO | None) -> str:
    """Return JSON with the characters escaped that a stream cannot spell."""
    spelling = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(spelling)
    except UnicodeEncodeError:
        return "".join([one if one.isascii() else _escape(one) for one in text])
    return text


def _escape(one: str) -> str:
    return json.dumps(one)[1:-1]


def _write(text: str, stream: TextIO | None, end: str = "\n") -> OSError | None:
    """Write a text to a stream in its encoding; return the error if writing failed."""
    if stream is None:
        return None
    spelling = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(spelling, "backslashreplace").decode(spelling), file=stream, end=end, flush=True)
    except OSError as error:
        _silence(stream)
        return error
    return None


def _silence(stream: TextIO) -> None:
    """Send what a stream still holds to the null device.

    Python flushes the stream when it exits, and would print another error if that failed.
    """
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file at all
        return
