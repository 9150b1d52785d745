"""Keep one line at the bottom of a terminal, below everything that a process writes there.

Separate because the line must make room for each line of others: of `say`, of a log, of a user's own `print`.
Leaves to `stderr` the writing, to its users the words.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Self, TextIO
from unicodedata import category, east_asian_width

from durable.stores.stderr import MAKE_ROOM, TURN, spelled, write

_COLUMNS = 80  # of a terminal that does not tell


class BottomLine:
    """A bottom line is rewritten in place on the terminal of the standard error stream.

    In its context whatever is written to `sys.stdout` or `sys.stderr` stands above it. It is shown again once what was
    written ends with its line. Any thread may write meanwhile.
    """

    def __init__(self) -> None:
        self._stream: TextIO | None = sys.stderr if is_terminal(sys.stderr) else None
        self._shown = ""
        self._is_at_start = True
        self._taken: list[Any] = []

    def __enter__(self) -> Self:
        if self._stream is not None:
            MAKE_ROOM.append(self.clear)
            for stream in dict.fromkeys((sys.stdout, sys.stderr)):
                if is_terminal(stream) and "write" not in vars(stream):
                    self._take(stream)
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self.clear()
            MAKE_ROOM.remove(self.clear)
            for stream in self._taken:
                vars(stream).pop("write", None)
            self._taken.clear()
            self._stream = None

    def show(self, text: str) -> None:
        """Show a line in place of the last one, cut to the terminal's width."""
        with TURN:
            stream = self._stream
            if stream is None or not self._is_at_start or not _is_in_front(stream):
                return
            line = fitted(spelled(stream, text), columns(stream) - 1)
            if line != self._shown:
                rest = " " * (cells(self._shown) - cells(line))
                self._write(f"\r{line}{rest}")
                self._shown = line

    def has_room(self, text: str) -> bool:
        """Return whether the terminal shows a line as a whole."""
        stream = self._stream
        return stream is None or cells(spelled(stream, text)) < columns(stream)

    def clear(self) -> None:
        """Leave the line empty, for others to write there."""
        with TURN:
            if self._shown and self._stream is not None:
                self._write(f"\r{' ' * (columns(self._stream) - 1)}\r")  # a terminal shows ^C behind the line
                self._shown = ""

    def _write(self, text: str) -> None:
        if self._stream is not None and not write(self._stream, text):
            self._stream = None

    def _take(self, stream: TextIO) -> None:
        original: Callable[[str], int] = stream.write

        def written(text: str, /) -> int:
            with TURN:
                self.clear()
                count = original(text)
                if text:
                    self._is_at_start = text.endswith("\n")
                return count

        stream.write = written  # type: ignore[method-assign]
        self._taken.append(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is one of Python's own, and writes to a terminal."""
    try:
        return stream is not None and any(stream is own for own in (sys.__stdout__, sys.__stderr__)) and stream.isatty()
    except (OSError, ValueError):  # it is closed
        return False


def columns(stream: TextIO) -> int:
    """Return the width of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if category(one) in ("Mn", "Me", "Cf") else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def fitted(text: str, room: int) -> str:
    """Return a text, cut if it takes more than `room` columns."""
    if cells(text) <= room:
        return text
    while text and cells(text) > room - 3:
        text = text[: min(len(text) - 1, max(room - 3, 0))]
    return f"{text}..."[: max(room, 0)]


def _is_in_front(stream: TextIO) -> bool:
    """Return whether the process has the terminal, and was not sent to the background."""
    try:
        return not hasattr(os, "tcgetpgrp") or os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # it is not this process's controlling terminal, or is closed
        return True
