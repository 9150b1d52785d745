"""Play a session at a terminal as a text shows it: lines that begin with "$ " are typed, the others are what is said.

Separate because the session of the README runs beside an engine, which no other block needs.
Leaves to `commands` the stores of the tests of single verbs.

The commands run in this process, beside an engine in a thread. Times, spans, bars and fresh ids differ from one day to
the next, and are compared as what they are; a line "..." stands for any lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import durable
from durable.engine.command import main

CHANGING = {
    *("backfill", "cancel", "export", "flush", "fork", "import", "pause", "prune", "resume", "retry", "schedule"),
    *("send", "signal", "start", "touch", "unschedule", "unsend"),
}
SECONDS = 20.0
_FRESH = r"\b[0-9A-HJKMNP-TV-Z]{26}\b"
_ALIKE = {
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z| UTC)?": "TIME",
    r"-?[\d.]+(e-?\d+)? (ms|s|m|h|d)\b": "SPAN",
    r"\|[=\- ]{32}\|": "|bar|",
    _FRESH: "ID",
    r'File "[^"]*", line \d+': "FILE",
    r"(?m)^\S*[/\\](\w+\.db): ": r"\1: ",
    r" +": " ",
    # What a doctor finds where nothing is bad: of the place and the machine the words, not the values.
    r"(?m)^(?:ok|note) (file system|room|commits): ([^:\n]*)(?:: .*)?$": r"fair \1: \2",
    r"(?m)(?<=^fair file system: )(?:the system does not tell|\S+ at \S+)$": "KIND at PLACE",
    r"\bPython [\d.]+\S* on \w+, SQLite [\d.]+": "VERSIONS",
    r"\b[\d,]+\.\d [GM]iB\b": "SIZE",
    r"\b[\d,]+ a second\b": "RATE",
    r"\bprocess \d+ on host '[^'\n]*'": "PROCESS",
    r"\bpages \d+": "PAGES",
}


def alike(text: str) -> str:
    """Return a text with everything that differs from one day to the next in one spelling."""
    for pattern, word in _ALIKE.items():
        text = re.sub(pattern, word, text)
    return text.strip()


def is_said(wanted: str, said: str) -> bool:
    """Return whether this is said, but for what differs from one day to the next."""
    parts = [re.escape(part) for part in re.split(r"(?:^|(?<=\n))\.\.\.(?:$|(?=\n))", alike(wanted))]
    return re.fullmatch(".*".join(parts), alike(said), re.DOTALL) is not None


@contextlib.contextmanager
def engine_beside(functions: list[durable.Function[Any]], store: Path) -> Iterator[None]:
    """Run an engine in a thread of its own."""
    opened, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with durable.Engine(functions, store=store):
            opened.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert opened.wait(SECONDS)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def played(session: str) -> None:
    """Type each command of a session in this folder, and compare what it says.

    A command that only looks is typed again for a while, until it says what is expected.
    """
    ids: dict[str, str] = {}
    for written, wanted in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        typed = " ".join(ids.get(word, word) for word in written.split(" "))
        verb = typed.split()[1] if typed.startswith("durable ") else "touch"
        deadline = time.monotonic() + (0 if verb in CHANGING else SECONDS)
        while not is_said(wanted, said := _said(typed)):
            assert time.monotonic() < deadline, f"$ {typed}\nwanted:\n{wanted}\nsaid:\n{said}"
            time.sleep(0.02)
        if re.fullmatch(_FRESH, wanted.strip()):
            ids[wanted.strip()] = said.strip()


def _said(typed: str) -> str:
    command, _, file = typed.partition(" > ")
    program, *arguments = shlex.split(command)
    if program == "touch":
        Path(*arguments).touch()
        return ""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(arguments)
    if file:
        Path(file).write_text(out.getvalue(), encoding="utf-8")
    return f"{'' if file else out.getvalue()}{err.getvalue()}{f'(status {status})' if status else ''}"
