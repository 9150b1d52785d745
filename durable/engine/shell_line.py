"""Spell the command that answers a wait, so that a shell takes it as it stands.

Separate because names and paths may hold anything, and each of their characters must survive the shell.
Leaves to `command` what the command does, to `standing` when it is shown.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from subprocess import list2cmdline

from durable.events import Listener, fitting
from durable.journal import ForEvent, ForSignal, Wait

_FILES = ("durable", "durable.exe")


def answer(place: str, wait: Wait, listener: Listener | None, now: datetime) -> str | None:
    """Return the command that answers a wait in the store at `place`.

    None for a wait that is not answered from outside. `listener` is what hears the event that is waited for; where it
    is not known which data it takes, the command has the word DATA in their place.
    """
    match wait:
        case ForSignal():
            return command("signal", place, wait.signal)
        case ForEvent() if listener is not None:
            data = fitting(listener, now)
            if data is None:
                return f"{command('send', place, wait.event)} DATA"
            return command("send", place, wait.event, *([json.dumps(data, ensure_ascii=False)] if data else []))
    return None


def command(name: str, *words: str) -> str:
    """Return the line for a shell that runs a command of `durable`.

    It names this Python where the shell would not find the `durable` that belongs to it.
    """
    options = ["--"] if any(word.startswith("-") for word in words) else []
    return _line([*_durable(os.environ.get("PATH", ""), sys.executable), name, *options, *words])


def _line(words: Sequence[str]) -> str:
    return list2cmdline(words) if sys.platform == "win32" else " ".join(map(_word, words))


def _word(text: str) -> str:
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_character, text))}'"


def _character(one: str) -> str:
    if one in "'\\":
        return f"\\{one}"
    return one if one.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(one))


@cache
def _durable(path: str, python: str) -> Sequence[str]:
    here = os.path.realpath(os.path.dirname(python))
    for folder in path.split(os.pathsep):
        if any(os.access(os.path.join(folder, file), os.X_OK) for file in _FILES):
            return ("durable",) if os.path.realpath(folder) == here else (python, "-m", "durable")
    return (python, "-m", "durable")
