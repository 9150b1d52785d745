"""`check` and `doctor` at the command line: what they print, as text and as JSON, and their statuses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import durable
from tests.support.commands import Command, aside, opened


def test_a_whole_store_is_whole_also_while_an_engine_has_it_open(path: Path, command: Command) -> None:
    said = command("check", path)
    assert said.status == 0 and "every checksum is right" in said.out
    assert command("check", path, "--json").value["damages"] == []

    async def story(engine: durable.Engine) -> None:
        assert (await aside(command, "check", path)).status == 0
        assert (await aside(command, "doctor", path)).status == 0

    opened(path, story)


def test_a_damaged_row_is_told_with_its_run_and_status_3(path: Path, command: Command) -> None:
    with sqlite3.connect(path) as changed:
        changed.execute("UPDATE journal SET body = replace(body, 'asked', 'faked') WHERE body LIKE '%asked%'")
    changed.close()
    said = command("check", path)
    assert said.status == 3 and "run 'waiting': " in said.out and all(map(str.isprintable, said.out.splitlines()))
    [damage] = command("check", path, "--json").value["damages"]
    assert damage["run"] == "waiting"


def test_a_doctor_says_what_a_commit_costs_there(path: Path, command: Command) -> None:
    said = command("doctor", path)
    assert said.status == 0 and "commits: " in said.out and "file system: " in said.out
    value = command("doctor", path, "--json").value
    assert value["verdict"] in ("ok", "note") and {one["about"] for one in value["findings"]} >= {"room", "store"}


def test_where_no_store_is_the_status_is_3_and_none_is_made(tmp_path: Path, command: Command) -> None:
    for verb in ("check", "doctor"):
        assert command(verb, tmp_path / "none.db").status == 3
        assert list(tmp_path.iterdir()) == []
    assert command("check", "").status == command("doctor", "").status == 2
