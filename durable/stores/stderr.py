"""Write lines for a person to the standard error stream.

Separate because a stream may be closed, full, a broken pipe or missing, and a line that cannot be written must not stop
the work.
Leaves to `log` everything that can go through a logger.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from durable.timers import on_a_line

TURN = threading.RLock()  # who holds it writes to the terminal
# Called before a line is said: what stands on the last line of the terminal makes room.
MAKE_ROOM: list[Callable[[], None]] = []


def say(text: str, *more: str) -> None:
    """Write one line to the standard error stream, and more lines below it as they are.

    Each stays on its line, whatever it holds. If there is no stream, or it cannot be written to, nothing happens.
    """
    if sys.stderr is None:
        return
    lines = "".join(f"{on_a_line(one)}\n" for one in (f"durable: {text}", *more))
    with TURN:
        for make_room in MAKE_ROOM:
            make_room()
        write(sys.stderr, lines)


def spelled(stream: TextIO, text: str) -> str:
    """Return a text with what the stream's encoding cannot spell shown by its number."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def write(stream: TextIO, text: str) -> bool:
    """Write a text to a stream at once; return whether that was possible."""
    try:
        spelled_text = spelled(stream, text)
        stream.flush()
        if stream is sys.__stderr__ and (raw := _raw(stream)) is not None:
            _write_all(raw, spelled_text.encode(getattr(stream, "encoding", None) or "utf-8"))
        else:
            stream.write(spelled_text)
            stream.flush()
    except Exception:  # a stream may raise anything, and there is nowhere left to tell it
        return False
    return True


def _raw(stream: object) -> io.RawIOBase | None:
    # Write below the buffer: Python tries to flush a buffer again when it exits, and exits with 120 if that fails.
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_all(raw: io.RawIOBase, line: bytes) -> None:
    while line and (written := raw.write(line)):
        line = line[written:]
