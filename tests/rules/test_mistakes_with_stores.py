"""What people write wrongly about stores, and at a terminal, and what they are told; nothing on disk is changed."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, Event, FileStore, RunQuery, Sender
from durable.engine.command import main
from durable.stores import FileReader
from tests.support.mistakes import Mistake, at_the_call


@durable.function
async def etl(ctx: Context) -> str:
    return await ctx.step.run("extract", str, "extracted")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which things stand that are no stores."""
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("no store\n" * 500)
    Path("folder.db").mkdir()
    with sqlite3.connect("other.db") as other:
        other.execute("create table notes (text)")
    other.close()
    return tmp_path


async def opened(store: Any, **options: Any) -> None:
    async with Engine([etl], store=store, **options):
        pass


async def twice() -> None:
    async with Engine([etl], store="x.db"):
        await opened("x.db")


async def reading(path: Any) -> None:
    async with FileReader(path) as reader:
        await reader.find(RunQuery())


async def sending(path: Any, *args: Any) -> None:
    await opened("x.db")
    async with Sender(path) as sender:
        await sender.send(*args)


async def unopened_sender() -> None:
    await Sender("x.db").send("e")


async def pruned(before: Any) -> None:
    store = FileStore("x.db")
    async with Engine([etl], store=store):
        await store.prune(before)


MISTAKES: dict[str, Mistake] = {
    "a text file": Mistake(lambda: opened("text.db"), "StoreCorruptError", "is not a store", "was left as it is"),
    "another program's database": Mistake(
        lambda: opened("other.db"), "is a SQLite database of something else", "choose another path"
    ),
    "a folder": Mistake(lambda: opened("folder.db"), "is a directory: name a file"),
    "a folder that there is not": Mistake(lambda: opened("no/x.db"), "folder does not exist: create the folder first"),
    "a store in memory": Mistake(lambda: Engine(store=":memory:"), "use DictStore() to keep nothing"),
    "the address of a database": Mistake(lambda: Engine(store="sqlite:///x.db"), "'sqlite:///x.db': name a file"),
    "the address of a server": Mistake(lambda: FileStore("postgresql://host/x"), "a store cannot be at", "name a file"),
    "a dict": Mistake(lambda: Engine(store={}), "not {} (dict)", "DictStore(mapping) keeps in a mapping"),  # type: ignore[arg-type]
    "a class": Mistake(lambda: Engine(store=FileStore), "not the class FileStore: pass an instance of it"),  # type: ignore[arg-type]
    "a path that is bytes": Mistake(lambda: Engine(store=b"x.db"), "store must be a path or a Store, not b'x.db'"),  # type: ignore[arg-type]
    "no path": Mistake(lambda: FileStore(None), "the path of a store must be a string, not None"),  # type: ignore[arg-type]
    "a durability that there is not": Mistake(
        lambda: FileStore("x.db", durability="full"),
        '"power", "process" or "none", not \'full\'',  # type: ignore[arg-type]
    ),
    "a durability by position": Mistake(lambda: FileStore("x.db", "none"), "it is FileStore(path, *, durability=...)"),  # type: ignore[misc]
    "a DictStore of a path": Mistake(lambda: DictStore("x.db"), "not in 'x.db' (str): pass a dict or a shelve"),  # type: ignore[arg-type]
    "a store that is open already": Mistake(twice, "StoreLockedError", "is open in this process already", "if_open="),
    "a reader of no store": Mistake(
        lambda: reading("nope.db"), "there is no store at", "name one that has been written"
    ),
    "a sender to no store": Mistake(
        lambda: sending("nope.db", "e"), "no store at", "name one that an engine has opened"
    ),
    "a sender to a store object": Mistake(
        lambda: sending(FileStore("x.db"), "e"), "the path of a store must be a stri"
    ),
    "a sender that is not open, to no store": Mistake(unopened_sender, "no store at", "that an engine has opened"),
    "a sender without a path": Mistake(lambda: Sender(), "it is Sender(path, *, limits=...)"),  # type: ignore[call-arg]
    "a sender asked to start": Mistake(
        lambda: Sender("x.db").emit("e"),
        "'Sender' object has no attribute 'emit': write send",  # type: ignore[attr-defined]
    ),
    "an event of the runtime's own, sent": Mistake(
        lambda: sending("x.db", Event("durable/x")), "names under 'durable/' are the runtime's own"
    ),
    "pruning before a naive instant": Mistake(lambda: pruned(datetime(2030, 1, 1)), "must say its time zone"),
    "pruning by a duration": Mistake(lambda: pruned("30d"), "must be an aware datetime, such as datetime(2030"),
    "a script's function without a decorator": Mistake(
        lambda: durable.run(opened),
        "durable.run takes functions",
        "decorate it with @durable.function",  # type: ignore[arg-type]
    ),
    "a script's function by its name": Mistake(lambda: durable.run("etl"), "durable.run takes functions, not 'etl'"),  # type: ignore[arg-type]
    "a script's data as text": Mistake(lambda: durable.run(etl, "x"), "data for function 'etl' must be a mapping"),  # type: ignore[arg-type]
    "a script's data by keywords": Mistake(lambda: durable.run(etl, day=3), "unexpected keyword argument 'day'"),  # type: ignore[call-arg]
    "a script's other function alone": Mistake(lambda: durable.run(etl, functions=etl), "write functions=[function]"),  # type: ignore[arg-type]
    "a script's id with a slash": Mistake(lambda: durable.run(etl, id="a/b"), "must not be empty or hold '/'"),
    "a script's timeout in words": Mistake(lambda: durable.run(etl, timeout="soon"), "timeout cannot be 'soon': write"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_a_store_is_told_and_changes_no_file(mistake: str, place: Path) -> None:
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    at_the_call(MISTAKES[mistake])
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("call", [lambda: durable.run(etl), lambda: asyncio.run(opened("x.db"))])
def test_the_right_use_is_as_short(call: Any) -> None:
    call()


# At a terminal: the status, and what is said.
COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "": (2, ("the following arguments are required: VERB", "`durable --help`")),
    "show": (2, ("the following arguments are required: STORE, RUN", "`durable show --help`")),
    "show x.db": (2, ("the following arguments are required: RUN",)),
    "show nope.db r": (3, ("durable: there is no store at", "name one that has been written to")),
    "show text.db r": (3, ("is not a store, or a damaged one", "choose another path, or restore a copy")),
    "runs x.db --status done": (2, ("invalid choice: 'done'", "completed")),
    "runs x.db --stat failed": (2, ("unrecognized arguments: --stat failed: see `durable runs --help`",)),
    "held x.db opened": (2, ("unrecognized arguments: opened: see `durable held --help`",)),
    "start x.db f --id i {}": (2, ("unrecognized arguments: {}; options stand last: see `durable start --help`",)),
    "--quiet runs x.db": (2, ("unrecognized arguments: --quiet: see `durable --help`",)),
    "prune x.db --older soon": (
        2,
        ("'soon' is no instant, which is written 2030", "and no duration, which is written 30d"),
    ),
    "backfill x.db f --after 2030-01-02 --before 2030-01-01": (
        2,
        ("--before must be later than --after, which is 2030-01-02",),
    ),
    "import x.db text.db": (
        2,
        ("is not a run that RunInfo.export wrote", "name a file that it, or `durable export`, wrote"),
    ),
    "unsend x.db e": (1, ("no event 'e' is still to come", "`durable runs --event-id`")),
    "list x.db": (2, ("invalid choice: 'list'", "runs")),
    "send x.db e {x:1}": (2, ("the data are not JSON", "{x:1}")),
    "signal x.db approve hello": (2, ("the data are not JSON", "'hello'; a text is written '\"hello\"'")),
    "signal x.db": (2, ("the following arguments are required: SIGNAL",)),
    "runs": (2, ("the following arguments are required: STORE",)),
    "send x.db e [1]": (2, ("the data of event 'e' must be a mapping, not [1]",)),
}

if sys.version_info >= (3, 14):  # whose argparse reads what stands behind the options: it is no mistake any more
    del COMMANDS["start x.db f --id i {}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_at_a_terminal_is_told_without_a_traceback(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, words = COMMANDS[command]
    asyncio.run(opened("x.db"))
    try:
        ended = main(command.split())
    except SystemExit as stopped:  # what argparse does
        ended = int(str(stopped.code))
    said = capsys.readouterr().err
    assert ended == status, said
    for one in words:
        assert one in said, said
    assert said.startswith("durable: ") and said.count("\n") == 1
