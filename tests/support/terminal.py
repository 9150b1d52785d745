"""A terminal of the test's own: what a script writes there, as text and as a person sees it."""

from __future__ import annotations

import _thread
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.proof.crashes import ENVIRONMENT

PATIENCE = 15.0  # seconds


class Terminal:
    """A terminal hears what is written to it, in a thread of its own."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.text = ""
        self.errors: list[BaseException] = []
        self._heard = threading.Condition()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.stream = open(slave, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while data := self._received():
            with self._heard:
                self.text += data.decode("utf-8", "replace")
                self._heard.notify_all()

    def _received(self) -> bytes:
        try:
            return os.read(self._master, 65_536)
        except OSError:  # nobody has it open any more
            return b""

    def hear(self, pattern: str) -> re.Match[str]:
        """Wait until a pattern was written, and return its last match."""
        with self._heard:
            found = self._heard.wait_for(lambda: list(re.finditer(pattern, self.text)), PATIENCE)
        assert found, f"not written: {pattern}\n{self.screen()}"
        return found[-1]

    def close(self) -> None:
        self.stream.close()
        self._reader.join()
        os.close(self._master)

    def screen(self) -> list[str]:
        """Return the lines that a person sees."""
        return seen(self.text, self.columns)


def seen(text: str, columns: int) -> list[str]:
    """Return what a terminal shows of a text: `\\r` goes back, other characters replace what is there."""
    lines, column = [""], 0
    for one in text:
        if one == "\r":
            column = 0
        elif one == "\n":
            lines.append("")
        else:
            if column == columns:
                lines.append("")
                column = 0
            lines[-1] = f"{lines[-1][:column]:<{column}}{one}{lines[-1][column + 1 :]}"
            column += 1
    return [line.rstrip() for line in lines]


@contextmanager
def terminal(
    monkeypatch: pytest.MonkeyPatch, person: Callable[[Terminal], Any] | None = None, *, columns: int = 300
) -> Iterator[Terminal]:
    """Give this process a terminal, and let a person watch it and answer."""
    one = Terminal(columns)

    def watch() -> None:
        try:
            if person is not None:
                person(one)
        except BaseException as error:
            one.errors.append(error)
            _thread.interrupt_main()

    with monkeypatch.context() as patch:
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            patch.setattr(sys, name, one.stream)
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield one
        except KeyboardInterrupt:
            if not one.errors:
                raise
        finally:
            watching.join(PATIENCE)
            one.close()
    if one.errors:
        raise one.errors[0]


def answered(line: str, **options: Any) -> str:
    """Run a command as it was printed, in a shell; return what it says."""
    done = subprocess.run(["bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, check=True, **options)
    return done.stdout
