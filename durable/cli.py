"""Look into a store from another process: `python -m durable runs app.db`, `python -m durable show app.db RUN`.

Separate because it only reads, takes no lock and disturbs no writer (R29).
Leaves to `views` what a run looks like.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from durable.errors import StoreError
from durable.history import ledger_of
from durable.stores.file import FileReader
from durable.stores.store import RunQuery
from durable.views import run_info


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m durable", description="Look into a durable store; it only reads.")
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
    return parser


async def _runs(options: argparse.Namespace) -> str:
    query = RunQuery(options.status, options.function, options.event, options.limit)
    async with FileReader(options.store) as reader:
        rows = await reader.find(query)
    lines = [
        f"{row.opened_at:%Y-%m-%d %H:%M:%S}  {row.status or 'open':<9}  {row.id}  {row.function}  {row.error or ''}"
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines) or "no runs"


async def _show(options: argparse.Namespace) -> str:
    async with FileReader(options.store) as reader:
        ledger = await ledger_of(reader.history(options.run))
    if ledger is None:
        raise StoreError(f"there is no run {options.run!r} in {options.store}: `python -m durable runs` lists them")
    return str(run_info(ledger, ledger.status or "waiting", {}, object, ()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, or 1 for a store that cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        print(asyncio.run(_runs(options) if options.command == "runs" else _show(options)))
    except StoreError as error:
        print(f"durable: {error}", file=sys.stderr)
        return 1
    return 0
