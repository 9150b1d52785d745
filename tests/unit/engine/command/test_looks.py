"""The verbs of the command line that look: what they say to people and to programs, of a store that is open or not."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

import durable
from durable.testing import replay
from tests.support.commands import ODD, Command, aside, counts, filled, opened


def test_runs_lists_steps_what_is_waited_for_and_how_it_ended(path: Path, command: Command) -> None:
    head, *lines = command("runs", path).out.splitlines()
    assert head.split() == "OPENED (UTC) STATUS STEPS TOOK RUN FUNCTION WAITING FOR, OR HOW IT ENDED".split()
    assert len(lines) == 6 and all(line.isprintable() for line in lines)
    rows = {line.partition("  ")[2]: line for line in lines}
    [waiting] = [line for line in rows if "  waits  " in line]
    assert waiting.startswith("waiting    1/2 ") and "  answer: signal 'go', until 20" in waiting
    [failed] = [line for line in rows if "  fails  " in line]
    assert failed.startswith("failed     2/2 ") and r"ValueError: no card \x07r\n\x1b[2J" in failed
    [gone] = [line for line in rows if "  gone  " in line]
    assert gone.startswith("cancelled ") and gone.endswith("  naps      not wanted")


def test_runs_are_an_array_for_programs(path: Path, command: Command) -> None:
    found = {run["id"]: run for run in command("runs", path, "--json").value}
    assert set(found) == {"failed", ODD, "waiting", "parent", "parent/child", "gone"}
    assert found[ODD]["output"] == {"count": 7, "text": ODD} and found[ODD]["status"] == "completed"
    assert found["parent/child"]["steps"]["nap"]["status"] == "waiting"
    assert found["failed"]["opened_at"].endswith("+00:00")
    assert command("runs", path, "--json", "--function", "none").value == []
    assert command("runs", path, "--function", "none").out == "no runs\n"


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--status", "waiting"], ["parent/child", "parent", "waiting"]),
        (["--status", "failed"], ["failed"]),
        (["--function", "naps"], ["gone", "parent/child"]),
        (["--event", "durable/function.invoked", "--limit", "1"], ["gone"]),
        (["--parent", "parent"], ["parent/child"]),
        (["--event-id", "none"], []),
        (["--opened-before", "1h"], []),
        (["--opened-after", "1h", "--status", "cancelled"], ["gone"]),
        (["--opened-before", "2020-01-01T12:00+01:00"], []),
        (["--opened-before", "0001-01-01T00:00+14:00"], []),
        (["--before", "waiting"], [ODD, "failed"]),
        (["--limit", "0"], []),
    ],
)
def test_runs_are_filtered(path: Path, command: Command, filters: list[str], ids: list[str]) -> None:
    found = [run["id"] for run in command("runs", path, "--json", *filters).value]
    assert sorted(found) == sorted(ids)


def test_wrong_filters_are_told_in_a_line(path: Path, command: Command) -> None:
    for filters in (
        ["--opened-after", "soon"],
        ["--limit", "-1"],
        ["--limit", "x"],
        ["--status", "open"],
    ):
        said = command("runs", path, *filters)
        assert (said.status, said.err.count("\n")) == (2, 1), said
    assert command("runs", path, "--before", "none").status == 1


def test_show_lists_the_runs_that_a_run_has_invoked(path: Path, command: Command) -> None:
    _, step, _, line, head, child = command("show", path, "parent").out.splitlines()
    assert "  child  |" in step and "waits for the end of run 'parent/child'" in step
    assert line == "the runs that it invoked:" and head.startswith("OPENED ") and "  parent/child  naps  " in child


def test_show_draws_a_run_with_its_errors(path: Path, command: Command) -> None:
    said = command("show", path, "failed")
    assert said.status == 0 and said.out.startswith("run failed of fails: failed, opened ")
    assert "charge" in said.out and "Traceback (most recent call last):" in said.out and "in charge" in said.out
    head, look, *others = said.out.splitlines()
    assert re.search(r", opened 20.* UTC, ended 20.* UTC, took [\d.]+ m?s$", head)
    assert re.search(r"^  look    \|[ =]{32}\|  \+[\d.]+ m?s: run completed, took [\d.]+ m?s$", look)
    assert all(line.isprintable() for line in others)
    value = command("show", path, "failed", "--json").value
    assert value["id"] == "failed" and value["steps"]["charge"]["error"]["name"] == "ValueError"


def test_result_prints_what_the_function_returned(path: Path, command: Command) -> None:
    said = command("result", path, ODD)
    assert (said.status, said.value) == (0, {"count": 7, "text": ODD})
    assert said.out.isascii() is False and all(line.isprintable() for line in said.out.splitlines())
    value = command("result", path, ODD, "--json").value
    assert value == {"id": ODD, "status": "completed", "output": said.value, "error": None, "reason": None}


def test_the_result_of_a_run_that_has_none_is_a_status_and_a_line(path: Path, command: Command) -> None:
    for run, words in (
        ("failed", "ValueError: no card"),
        ("gone", "not wanted"),
        ("waiting", "has not ended within 0"),
    ):
        said = command("result", path, run, "--timeout", "0")
        assert (said.status, said.out) == (1, "") and words in said.err and said.err.count("\n") == 1, said
    said = command("result", path, "failed", "--json")
    assert said.status == 1 and said.value["error"]["name"] == "ValueError" and said.value["status"] == "failed"


def test_what_export_writes_is_replayed(path: Path, command: Command, tmp_path: Path) -> None:
    said = command("export", path, ODD)
    (tmp_path / "run.jsonl").write_text(said.out, encoding="utf-8")
    info = asyncio.run(replay(counts, tmp_path / "run.jsonl"))
    assert info.output == {"count": 7, "text": ODD}
    value = command("export", path, ODD, "--json").value
    assert value == {"id": ODD, "function_id": "counts", "lines": said.out.splitlines()}


def test_all_of_it_works_beside_an_engine_that_has_the_store_open(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "x.db"

    async def story(engine: durable.Engine) -> None:
        await filled(engine)
        said = await aside(command, "runs", path, "--json")
        assert {run["id"]: run["status"] for run in said.value}["waiting"] == "waiting"
        assert "waits for signal 'go'" in (await aside(command, "show", path, "waiting")).out
        assert (await aside(command, "result", path, ODD)).value["count"] == 7
        assert json.loads((await aside(command, "export", path, "waiting")).out.splitlines()[0])["run"] == "waiting"

    opened(path, story)


@pytest.mark.parametrize("verb", ["show", "result", "export"])
def test_a_run_that_is_not_there_is_status_1(path: Path, command: Command, verb: str) -> None:
    said = command(verb, path, "no\x1b[2Jne")
    assert (said.status, said.out) == (1, "") and said.err.startswith(r"durable: there is no run 'no\x1b[2Jne'")
    assert said.err.endswith("`durable runs` lists those that there are\n") and said.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["runs", "show", "result", "export"])
@pytest.mark.parametrize("kind", ["missing", "text", "folder", "foreign"])
def test_a_store_that_is_none_is_status_3(tmp_path: Path, command: Command, verb: str, kind: str) -> None:
    place = tmp_path / kind
    if kind == "text":
        place.write_text("no store\n" * 500)
    elif kind == "folder":
        place.mkdir()
    elif kind == "foreign":
        place.write_bytes(b"SQLite format 3\0" + bytes(4_000))
    said = command(verb, place, *(["r"] if verb != "runs" else []))
    assert (said.status, said.out, said.err.count("\n")) == (3, "", 1) and said.err.startswith("durable: ")


def test_an_id_may_begin_with_a_dash_and_hold_spaces(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "-x y.db"

    async def story(engine: durable.Engine) -> None:
        await engine.start(counts, {}, id="--a run")
        await engine.start(counts, {}, id="--run")
        await engine.settled()

    opened(path, story)
    for run in ("--a run", "--run"):
        assert command("result", "--json", "--", path, run).value["id"] == run
        assert command("result", path, "--", run).value["count"] == 7
    said = command("show", path, "--run")
    assert (said.status, said.err.count("\n")) == (2, 1) and "see `durable show --help`" in said.err
