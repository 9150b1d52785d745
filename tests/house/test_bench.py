"""The benchmark: trees in turns, medians with their spread, one place in the README, and what grows is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bench import queued
from tests.bench.figures import Size
from tests.bench.soak import Minute, verdicts
from tests.bench.table import ROWS, Row, measured, put_into, table
from tests.proof.crashes import ROOT


def test_trees_are_measured_in_turns_and_a_row_that_fails_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def measure(tree: Path) -> float:
        asked.append(tree.name)
        if tree == other and asked.count("other") > 1:
            raise OSError("no room")
        return float(len(asked))

    other = Path("other").resolve()
    rows = {"one": Row("work", "units", 1.8, measure), "two": Row("more", "µs", None, lambda tree: 1_234.0)}
    report = measured(rows, 3, other, {})
    assert asked == [ROOT.name, "other"] * 3
    assert report["rows"]["one"]["figures"] == {"durable": [1.0, 3.0, 5.0], "against other": [2.0]}
    lines = table(report).splitlines()
    assert lines[0].startswith("Measured on ") and "Python 3." in lines[0] and "3 rounds" in lines[0]
    assert lines[2] == "| work | in | must reach | durable | against other |"
    assert lines[4] == "| work | units | at most 1.8 | 3.00 (1.00-5.00) | 2.00 |"
    assert lines[5] == "| more | µs | - | 1,234 (1,234-1,234) | 1,234 (1,234-1,234) |"
    assert table({**report, "peers": {"dbos": "3.4.0"}}).splitlines()[0].endswith("; other libraries once.")
    assert "not measured: no room" in capsys.readouterr().err


def test_the_readme_has_a_place_for_the_table(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_bytes((ROOT / "README.md").read_bytes())
    put_into(page, "| a |\n")
    once = page.read_text(encoding="utf-8")
    put_into(page, "| b |\n")
    assert page.read_text(encoding="utf-8") == once.replace("\n| a |\n", "\n| b |\n")
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        put_into(page, "| c |\n")


def test_the_goals_of_the_table_are_those_that_were_set() -> None:
    goals = {name: row.goal for name, row in ROWS.items() if row.goal is not None}
    assert goals == {
        "sequential": 1.8, "concurrent": 2.3, "concurrent on disk": 4.5, "cpu": 50, "commits": 0.7, "events": 12,
        "answers": 15, "matching": 18, "live": 3_000, "parked": 700, "opening": 2, "recovering": 0.3, "import": 1.6,
    }  # fmt: skip


def test_what_grows_under_constant_load_is_told() -> None:
    """Of the half after the prune, which takes room once; what a machine does beside it may slow steps down by half."""
    first, calm = [Minute(10e6, 0, 0.001)] * 4, [Minute(50e6, 4e6, 0.002)] * 2
    assert verdicts([*first, *calm, Minute(54e6, 4.2e6, 0.0025)])[0].startswith("too short to say")
    flat = verdicts([*first, *calm, *calm[:1], Minute(54e6, 4.2e6, 0.0025)])
    assert [one.split(",")[0] for one in flat] == ["memory: flat", "wal: flat", "step: flat"]
    grown = verdicts([*first, *calm, *calm[:1], Minute(60e6, 9e6, 0.004)])
    assert grown == ["memory: GROWS, 47.7 -> 57.2 MB", "wal: GROWS, 3.8 -> 8.6 MB", "step: GROWS, 2.0 -> 4.0 ms"]


def test_a_key_with_one_run_waits_for_one_slot_beside_a_crowd() -> None:
    _, _, wait = asyncio.run(queued.queued(Size(rounds=1, scale=0.01)))
    assert wait.ratio is not None and 0.9 < wait.ratio <= 1.0
