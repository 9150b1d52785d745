"""Export and import: a run that comes into another store goes on there, whole or not at all."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine.opened import inside
from durable.stores import FileReader
from tests.proof.crashes import start
from tests.proof.crashes.senders import DIES
from tests.support.commands import ODD, Command, aside, opened, single, waits


def exported(command: Command, path: Path, *runs: str) -> Path:
    """Write what export says of some runs into one file."""
    file = path.with_name("runs.jsonl")
    file.write_text("".join(command("export", path, run).out for run in runs), encoding="utf-8")
    return file


def rows(path: Path) -> dict[str, tuple[Any, ...]]:
    async def story() -> dict[str, tuple[Any, ...]]:
        async with FileReader(path) as reader:
            found = await reader.find(durable.RunQuery())
            return {row.id: (row, tuple([entry async for entry in reader.history(row.id)])) for row in found}

    return asyncio.run(story())


@pytest.mark.parametrize("run", ["failed", ODD, "waiting", "gone"])
def test_a_run_is_in_its_new_store_what_it_was_in_the_old_one(path: Path, command: Command, run: str) -> None:
    other = path.with_name("other.db")
    said = command("import", other, exported(command, path, run))
    assert (said.status, said.err) == (0, "") and rows(other) == {run: rows(path)[run]}
    assert command("show", other, run, "--json").value == command("show", path, run, "--json").value
    assert command("import", path.with_name("third.db"), path.with_name("runs.jsonl"), "--json").value == {"ids": [run]}


def test_an_unfinished_run_goes_on_where_it_was(path: Path, command: Command) -> None:
    other = path.with_name("other.db")
    assert command("import", other, exported(command, path, "waiting")).status == 0

    async def story(engine: durable.Engine) -> None:
        before = await engine.info("waiting")
        assert await engine.send_signal("go", {"by": "ann"}) == "waiting"
        assert await (await engine.run("waiting")).result(5) == {"by": "ann"}
        assert (await engine.info("waiting")).steps["ask"] == before.steps["ask"]

    opened(other, story)


def test_a_run_that_was_opened_again_comes_as_it_is(path: Path, command: Command) -> None:
    async def again(engine: durable.Engine) -> None:
        await engine.retry("gone")
        await engine.settled()

    opened(path, again)
    other = path.with_name("other.db")
    assert command("import", other, exported(command, path, "gone")).status == 0
    assert rows(other)["gone"] == rows(path)["gone"]

    async def story(engine: durable.Engine) -> None:
        info = await engine.info("gone")
        assert info.status == "waiting" and "nap" in info.waiting_for

    opened(other, story)


@pytest.mark.parametrize("is_clean", [True, False])
def test_whether_the_store_was_closed_in_order_stays_as_it_was(path: Path, command: Command, is_clean: bool) -> None:
    """R26: else the import would count as a death of the runs that were there, or hide one."""
    other = path.with_name("other.db")

    async def life() -> None:
        engine = durable.Engine([waits], store=other)
        await engine.open()
        await engine.start(waits, id="there")
        await (engine.close() if is_clean else inside(engine, "death").abandon())

    def last() -> str:
        with closing(sqlite3.connect(other)) as connection:
            return str(connection.execute("SELECT kind FROM journal ORDER BY seq DESC LIMIT 1").fetchone()[0])

    asyncio.run(life())
    assert (last() == "EngineClosed") is is_clean
    assert command("import", other, exported(command, path, "waiting", "gone")).status == 0
    assert (last() == "EngineClosed") is is_clean


def test_a_parent_comes_with_the_child_that_it_waits_for_or_not_at_all(path: Path, command: Command) -> None:
    other = path.with_name("other.db")
    said = command("import", other, exported(command, path, "parent"))
    assert said.status == 2 and "waits for the end of run 'parent/child'" in said.err and rows(other) == {}
    file = exported(command, path, "parent", "parent/child")
    assert command("import", other, file).out == "parent\nparent/child\n"

    async def story(engine: durable.Engine) -> None:
        await engine.cancel("parent/child", "enough")
        with pytest.raises(durable.RunFailed, match="enough"):
            await (await engine.run("parent")).result(5)

    opened(other, story)


def test_a_child_may_come_without_the_parent_that_once_waited(path: Path, command: Command) -> None:
    other = path.with_name("other.db")
    assert command("import", other, exported(command, path, "parent/child")).status == 0

    async def story(engine: durable.Engine) -> None:
        assert await engine.cancel("parent/child")
        assert (await engine.info("parent/child")).status == "cancelled"

    opened(other, story)


def test_only_one_run_of_a_store_may_wait_for_a_signal(path: Path, command: Command) -> None:
    other = path.with_name("other.db")

    async def taken(engine: durable.Engine) -> None:
        await engine.start(waits, {}, id="first")
        await engine.settled()

    opened(other, taken)
    said = command("import", other, exported(command, path, "waiting"))
    assert said.status == 2 and "signal 'go', as run 'first' of this store does" in said.err
    assert set(rows(other)) == {"first"}


def test_only_one_run_of_a_store_may_hold_a_singleton_key(path: Path, command: Command) -> None:
    other = path.with_name("other.db")

    async def alone(run: str, engine: durable.Engine) -> None:
        await engine.start(single, {}, id=run)
        await engine.settled()

    opened(other, partial(alone, "first"))
    opened(path, partial(alone, "second"))
    said = command("import", other, exported(command, path, "second"))
    assert said.status == 2 and "as run 'first' of this store does" in said.err and set(rows(other)) == {"first"}


@pytest.mark.parametrize(("function", "held"), [(waits, "signal 'go'"), (single, "a singleton key")])
def test_two_runs_of_one_file_hold_no_more_than_two_runs_of_a_store(
    path: Path, command: Command, function: durable.Function[Any], held: str
) -> None:
    async def begun(run: str, engine: durable.Engine) -> None:
        await engine.start(function, {}, id=run)
        await engine.settled()

    texts = []
    for run in ("first", "second"):
        opened(path.with_name(f"{run}.db"), partial(begun, run))
        texts.append(command("export", path.with_name(f"{run}.db"), run).out)
    file, other = path.with_name("both.jsonl"), path.with_name("other.db")
    file.write_text("".join(texts), encoding="utf-8")
    said = command("import", other, file)
    assert said.status == 2 and held in said.err and "as run 'first' of the same file does" in said.err
    assert rows(other) == {}


def test_a_run_that_is_there_is_refused_and_changes_nothing(path: Path, command: Command) -> None:
    before = rows(path)
    said = command("import", path, exported(command, path, "gone"))
    assert said.status == 1 and "run 'gone' is in" in said.err and rows(path) == before
    other = path.with_name("other.db")
    assert command("import", other, exported(command, path, "gone")).status == 0
    said = command("import", other, exported(command, path, "failed", "gone"))  # all or nothing
    assert said.status == 1 and set(rows(other)) == {"gone"}


def test_a_store_that_an_engine_has_open_is_refused(path: Path, command: Command, tmp_path: Path) -> None:
    file, other = exported(command, path, "gone"), tmp_path / "live.db"

    async def story(engine: durable.Engine) -> None:
        said = await aside(command, "import", other, file)
        assert said.status == 3 and "open" in said.err and "pid" in said.err

    opened(other, story)
    assert rows(other) == {}


def test_a_file_may_come_through_a_pipe(path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(command("export", path, ODD).out))
    other = path.with_name("other.db")
    assert command("import", other, "-").status == 0 and set(rows(other)) == {ODD}


Change = Callable[[list[dict[str, Any]]], object]
# What is wrong with the file, and what is said of it. The lines of its entries are given without their checksum.
DAMAGES: dict[str, tuple[Change, str]] = {
    "its version is newer": (lambda lines: lines[0].update(version=2), "version 2, this is for version 1"),
    "its format is another": (lambda lines: lines[0].update(format="x"), "its format is 'x'"),
    "it has no first line": (lambda lines: lines.pop(0), "its first line does not say which format it has"),
    "it is empty": (lambda lines: lines.clear(), "its first line does not say which format it has"),
    "it has a first line alone": (lambda lines: lines.__delitem__(slice(1, None)), "nothing of run 'waiting'"),
    "its opening is gone": (lambda lines: lines.pop(1), "it does not belong there"),
    "it is opened twice": (lambda lines: lines.append(lines[1]), "it does not belong there"),
    "it has the end of a run marked": (lambda lines: lines[-1].update(ends_run=True), "whether the run ends there"),
    "a kind is newer": (
        lambda lines: lines[-1].update(kind="RunFlown"),
        "'RunFlown', which this version does not know",
    ),
    "a body is cut": (lambda lines: lines[-1].update(body=lines[-1]["body"][:20]), "cannot be read"),
    "it is of another run": (lambda lines: lines[0].update(run="other"), "it does not belong there"),
    "it is a fact of the store": (lambda lines: lines[0].update(run="durable/event/1"), "durable keeps for itself"),
    "its run has no name": (lambda lines: lines[0].update(run=""), "durable keeps for itself"),
    "a line is no entry": (lambda lines: lines.append({}), "KeyError"),
    "it holds the run twice": (lambda lines: lines.extend([*lines]), "holds a run twice"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_no_whole_run_is_refused(path: Path, command: Command, damage: str) -> None:
    change, words = DAMAGES[damage]
    file, other = exported(command, path, "waiting"), path.with_name("other.db")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    del lines[-1]["lines"]
    for line in lines:
        line.pop("crc", None)
    change(lines)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    said = command("import", other, file)
    assert said.status == 2 and words in said.err and said.err.count("\n") == 1, said
    assert not other.exists() or rows(other) == {}


def test_a_file_that_was_cut_or_changed_is_found_out_by_its_first_line(path: Path, command: Command) -> None:
    file, other = exported(command, path, "waiting"), path.with_name("other.db")
    whole = file.read_text(encoding="utf-8")
    for text, words in (
        ("".join(whole.splitlines(keepends=True)[:-1]), "it is cut short: lines of run 'waiting' are missing"),
        (whole[:-30], "JSONDecodeError"),
        (whole.replace("asked", "faked"), "does not match its checksum"),
        ("\udcff", "is not a run"),
    ):
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        said = command("import", other, file)
        assert said.status == 2 and (words in said.err or "is no text" in said.err), said
    spaced = "\r\n".join(
        json.dumps(json.loads(line), indent=None, separators=(" , ", ": ")) for line in whole.splitlines()
    )
    file.write_text(spaced, encoding="utf-8", newline="")  # other programs may write the same JSON otherwise
    assert command("import", other, file).status == 0


_IMPORT = """
from durable.engine.command import main
counts = True
sys.exit(main(["import", sys.argv[1], sys.argv[3]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_an_import_that_is_killed_at_any_statement_is_there_as_a_whole_or_not_at_all(
    path: Path, command: Command
) -> None:
    """R29, R30: the next one that opens the store finds it as it was, or with both runs."""
    file = exported(command, path, "parent", "parent/child")
    found = list[set[str]]()
    for number in (5, 10, 11, 12, 99):  # those around the commit, and one that it does not come to
        other = path.with_name(f"{number}.db")
        opened(other, alone)
        child = start(DIES + _IMPORT, other, number, file)
        said, _ = child.communicate()
        assert child.returncode == (0 if number == 99 else -9), said
        opened(other, quiet)
        found.append(set(rows(other)))
    assert {frozenset(one) for one in found} == {frozenset({"alone"}), frozenset({"alone", "parent", "parent/child"})}


async def alone(engine: durable.Engine) -> None:
    await engine.start(waits, {}, id="alone")


async def quiet(engine: durable.Engine) -> None:
    await engine.settled()


def test_wrong_files_are_told_in_a_line(path: Path, command: Command) -> None:
    for file in (path.with_name("none.jsonl"), path.parent, path):
        said = command("import", path, file)
        assert said.status == 2 and said.err.count("\n") == 1, said
    path.with_name("text.db").write_text("no store\n" * 500)
    assert command("import", path.with_name("text.db"), exported(command, path, "gone")).status == 3


def test_prune_forgets_old_runs_of_a_store_that_nobody_has_open(path: Path, command: Command) -> None:
    said = command("prune", path, "--older", "30d", "--json")
    assert said.status == 0 and said.value["pruned"] == 0 and said.value["ended_before"].endswith("+00:00")
    assert command("prune", path, "--older", "0").out == "3 runs\n"
    assert set(rows(path)) == {"waiting", "parent", "parent/child"}

    async def story(engine: durable.Engine) -> None:
        said = await aside(command, "prune", path, "--older", "0s")
        assert said.status == 3 and "pid" in said.err and "Engine(retention=...)" in said.err

    opened(path, story)
    assert command("prune", path, "--older", "2999-01-01", "--json").value["ended_before"] < "2999"
    assert command("prune", path.with_name("none.db"), "--older", "1d").status == 3
    assert not path.with_name("none.db").exists()
    assert command("prune", path).status == command("prune", path, "--older", "soon").status == 2
