"""The standard error stream, for the few lines that are said to a person and belong in no log.

Separate because a stream may be closed, full, a broken pipe or missing, and what is said must not count for more than
what is done.
Leaves to `log` everything that can go through a logger.
"""

from __future__ import annotations

import io
import sys

from durable.spelling import on_a_line


def say(text: str) -> None:
    """Say one line on the standard error stream. Where there is none, or it takes nothing, nothing happens."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        spelling = getattr(stream, "encoding", None) or "utf-8"
        line = f"durable: {on_a_line(text)}\n".encode(spelling, "backslashreplace")
        stream.flush()
        if stream is sys.__stderr__ and (raw := _raw(stream)) is not None:
            _write_all(raw, line)
        else:
            stream.write(line.decode(spelling))
            stream.flush()
    except Exception:  # whatever a stream raises: there is nowhere left to say it
        return


def _raw(stream: object) -> io.RawIOBase | None:
    # Below its buffer: what a buffer could not write, Python tries again when it exits, and makes the status 120 of it.
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_all(raw: io.RawIOBase, line: bytes) -> None:
    while line and (written := raw.write(line)):
        line = line[written:]
