"""Keep a store in order: bring runs into it, and take old ones out of it.

Separate because these verbs change the store itself, and so need it for themselves: an engine must not have it open.
Leaves to `importing` what a file of runs must be, to `stores` the lock.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from durable.engine.command.arguments import past
from durable.engine.command.importing import imported
from durable.engine.command.verb import Answer, Verb
from durable.errors import StoreLockedError
from durable.stores import FileReader, FileStore


def _add_file(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what export wrote, of one run or of several; - reads the input")


async def _import(options: Namespace) -> Answer:
    runs = await imported(options.store, _text_of(options.file), what=options.file)
    return Answer("\n".join(runs), {"ids": runs})


def _text_of(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text: name a file that export wrote") from error


def _add_age(parser: ArgumentParser) -> None:
    told = "forget the runs that ended so long ago, such as 30d, or before an instant"
    parser.add_argument("--older", metavar="AGE", type=past, required=True, help=told)


async def _prune(options: Namespace) -> Answer:
    before = min(options.older, datetime.now(UTC))  # else keys would go that are still in force
    async with FileReader(options.store):
        pass  # a store is not made here
    store = FileStore(options.store)
    try:
        await store.open()
        count = await store.prune(before)
    except StoreLockedError as error:
        raise StoreLockedError(f"{error}; an engine prunes itself: Engine(retention=...), engine.prune") from error
    finally:
        await store.close()
    return Answer(f"{count:,} runs", {"pruned": count, "ended_before": before.isoformat()})


VERBS = (
    Verb(
        "import",
        "bring exported runs into a store that nobody has open, which is made if there is none",
        _add_file,
        _import,
    ),
    Verb("prune", "forget runs that ended long ago, in a store that nobody has open", _add_age, _prune),
)
