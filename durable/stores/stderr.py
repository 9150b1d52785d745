"""Write lines for a person to the standard error stream.

Separate because a stream may be closed, full, a broken pipe or missing, and a line that cannot be written must not stop
the work.
Leaves to `log` everything that can go through a logger.
"""

from __future__ import annotations

import io
import sys

from durable.timers import on_a_line


def say(text: str, *more: str) -> None:
    """Write one line to the standard error stream, and more lines below it as they are.

    Each stays on its line, whatever it holds. If there is no stream, or it cannot be written to, nothing happens.
    """
    stream = sys.stderr
    if stream is None:
        return
    try:
        spelling = getattr(stream, "encoding", None) or "utf-8"
        lines = [f"durable: {on_a_line(text)}\n", *(f"{on_a_line(one)}\n" for one in more)]
        line = "".join(lines).encode(spelling, "backslashreplace")
        stream.flush()
        if stream is sys.__stderr__ and (raw := _raw(stream)) is not None:
            _write_all(raw, line)
        else:
            stream.write(line.decode(spelling))
            stream.flush()
    except Exception:  # a stream may raise anything, and there is nowhere left to tell it
        return


def _raw(stream: object) -> io.RawIOBase | None:
    # Write below the buffer: Python tries to flush a buffer again when it exits, and exits with 120 if that fails.
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_all(raw: io.RawIOBase, line: bytes) -> None:
    while line and (written := raw.write(line)):
        line = line[written:]
