"""Look into a store and send to it from the command line.

    durable runs app.db
    durable show app.db RUN
    durable send app.db EVENT '{"key": 1}'
    durable signal app.db SIGNAL

`python -m durable` is the same.

Separate because it takes no lock and so disturbs no engine that has the store open (R29).
Leaves to `views` the text about a run, to `sender` the sending.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from durable.engine.sender import Sender
from durable.errors import CodecError, LimitError, StoreError
from durable.events import checked_text
from durable.journal import ledger_of
from durable.stores import FileReader, RunQuery
from durable.timers import on_a_line
from durable.views import run_info


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="durable", description="Look into a durable store, or send to it.")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("store", help="the path of a file store")
    runs.add_argument("--status", choices=("open", "completed", "failed", "cancelled"))
    runs.add_argument("--function", help="the id of a function")
    runs.add_argument("--event", help="the name of an event")
    runs.add_argument("--limit", type=int, default=100)
    show = commands.add_parser("show", help="show one run as a timeline")
    show.add_argument("store", help="the path of a file store")
    show.add_argument("run", help="the run's id")
    send = commands.add_parser("send", help="send an event, now or when the store is opened next; print its id")
    send.add_argument("store", help="the path of a file store")
    send.add_argument("event", help="the event's name")
    send.add_argument("data", nargs="?", default="{}", help="a JSON object; - reads it from the standard input")
    send.add_argument("--id", help="the event's own id: one seen in the last 24 h is dropped")
    signal = commands.add_parser("signal", help="send a signal to the run that waits for it")
    signal.add_argument("store", help="the path of a file store")
    signal.add_argument("signal", help="the signal's name")
    signal.add_argument("data", nargs="?", default="null", help="JSON; - reads it from the standard input")
    return parser


async def _runs(options: argparse.Namespace) -> str:
    query = RunQuery(options.status, options.function, options.event, options.limit)
    async with FileReader(options.store) as reader:
        rows = await reader.find(query)
    lines = [
        f"{row.opened_at:%Y-%m-%d %H:%M:%S}  {row.status or 'open':<9}  {row.id}  {row.function}  {row.error or ''}"
        for row in rows
    ]
    return "\n".join(on_a_line(line.rstrip()) for line in lines) or "no runs"


async def _show(options: argparse.Namespace) -> str:
    async with FileReader(options.store) as reader:
        ledger = await ledger_of(reader.history(options.run))
    if ledger is None:
        raise StoreError(f"there is no run {options.run!r} in {options.store}: `durable runs` lists them")
    shown = str(run_info(ledger))
    return "\n".join(map(on_a_line, shown.split("\n")))


async def _send(options: argparse.Namespace) -> str:
    data = _parsed(options.data)
    async with Sender(options.store) as sender:
        return "\n".join(await sender.send(options.event, data, id=options.id))


async def _signal(options: argparse.Namespace) -> str:
    data = _parsed(options.data)
    async with Sender(options.store) as sender:
        await sender.send_signal(options.signal, data)
    return ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        example = """a text is written '"hello"', a mapping '{"key": 1}'"""
        raise ValueError(f"the data are not JSON: {error}: {text[:80]!r}; {example}") from error


_WORDS = frozenset({"run", "function", "event", "signal", "id"})  # a path may hold any bytes
_COMMANDS = {"runs": _runs, "show": _show, "send": _send, "signal": _signal}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: it is done. 1: the store refused it, or the output could not be written. 2: an argument was wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        for name in _WORDS & vars(options).keys():
            checked_text(getattr(options, name) or "", name)
        said = asyncio.run(_COMMANDS[options.command](options))
    except StoreError as error:
        _say(f"durable: {error}", sys.stderr)
        return 1
    except (TypeError, ValueError, CodecError, LimitError) as error:
        _say(f"durable: {error}", sys.stderr)
        return 2
    if not said or (failure := _say(said, sys.stdout)) is None or isinstance(failure, BrokenPipeError):
        return 0
    _say(f"durable: it was done, but cannot be told: {failure}", sys.stderr)
    return 1


def _say(text: str, stream: TextIO | None) -> OSError | None:
    """Write a line to a stream in its encoding; return the error if writing failed."""
    if stream is None:
        return None
    spelling = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(spelling, "backslashreplace").decode(spelling), file=stream, flush=True)
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
