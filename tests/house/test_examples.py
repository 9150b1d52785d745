"""The examples run alone, say nothing on the error stream, and tell the story that they are there to tell."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import durable
from durable.testing import Lab
from tests.proof.crashes import ENVIRONMENT, ROOT
from tests.support.at_once import AtOnce
from tests.support.cells import cell

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
STORIES = {
    "approval.py": ["100 trips wait", "Grace said yes: booked trip 42, seat 61", "99 trips wait", "trip 7 is off"],
    "bulk_insert.py": [
        "260 readings came, 100 are written",
        "run at 4 s, hub south: 1 rows\n    run at 10 s, hub south: 87 rows\n    run at 10 s, hub north: 73 rows\n261",
    ],
    "daemon.py": [
        "the first daemon\n    mail: welcome, Ada! Is this address yours?\n    closed, in order\n",
        "the second daemon\n    mail: thank you, Ada\n    closed, in order\n",
    ],
    "drip_campaign.py": [
        "ada: completed, active after 0 reminders",
        "bob: cancelled, by event 'user/left'",
        "eve: completed, gave up",
    ],
    "etl.py": ["measure files 0 to 49\n", "{'lines': "],
    "etl_killed.py": ["killed (kill -9) when it had begun ", "yes  the result is the one of plain Python"],
    "fan_out.py": ["charge: charged 20", "check_fraud: looks fine", "count: failed, the statistics are down"],
    "map_reduce.py": ["{'the': 6, 'and': 3, 'of': 3, 'they': 2}", "/count:3"],
    "my_store.py": ["kept: a_batch_is_in_order", "kept: ten_thousand_runs_are_kept"],
    "nightly.py": [
        "30 March 02:00 UTC: the process dies in the middle of the work",
        "cron/report/2030-03-30T01:30:00Z: 30 March: 100 orders\n    cron/report/2030-03-31T01:00:00Z: 31 March",
        "after six nights there are 3 runs; the last: 04 April: 100 orders",
    ],
    "onboarding.py": ["04 January: the process crashes", "mails sent: {'welcome': 1, 'tip': 1, 'question': 1}"],
    "pages.py": ["page p2, try 2: 503 busy", "collected: ['ant', 'bee', 'cat', 'dog', 'eel']"],
    "race.py": ["Dunes: rejected: too dry", "Tides: accepted: it flows", "Winds: no answer in a week"],
    "rate_limited_api.py": [
        "calls for ada at 00:00, 00:00, 00:00, 00:10, 00:10, 00:10, 00:20, 00:20",
        "calls for bob at 00:00, 00:30, 00:30\n5 runs are in sync",
    ],
    "reminders.py": [
        "reminder-bo: 30 7 * * MON-FRI in Asia/Tokyo, next at Tue 01 22:30 UTC",
        "    Thu 03 22:30 UTC: a mail to bo\n    Fri 04 23:00 UTC: a mail to cleo\nmails sent: 6",
    ],
    "saga.py": [
        "Rome: booked flight, hotel, car",
        "    cancel the hotel in Oslo\n    cancel the flight in Oslo\nOslo: no trip, there are no cars left",
        "the process died before the hotel was cancelled: 2 calls, one cancellation",
    ],
    "search_index.py": [
        "held: {'doc': 'note', 'text': 'dune'}, opens at 70 s\n    indexed: {'note': 'dune'}",
        "run at 190 s: book: 'chapter 6'\n    run at 250 s: book: 'chapter 9'\n    that one stands for 2 edits",
    ],
    "sender.py": ["order 7 is sent, twice", "please pack order 7", "order 7 is shipped: Ann packed it"],
    "test_my_function.py": ["4 passed"],
    "workers.py": [
        "    a has the engine\n    b answers: order 7 is packed by a\n"
        "    b has the engine\n    b answers: order 8 is packed by b\n"
    ],
    "wsgi.py": ["the engine is open\norder 7 is packed\n"],
}
FAILED_TRIES = {"fan_out.py": 4, "pages.py": 2, "rate_limited_api.py": 1, "saga.py": 2}  # R33: each is a warning


def _run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)


_ended = AtOnce(_run, EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_tells_its_story(name: str) -> None:
    ended = _ended(name)
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stderr.splitlines() if " has failed in try " in line]
    assert len(told) == FAILED_TRIES.get(name, 0)
    assert ended.stderr.splitlines() == told or name == "fan_out.py", ended.stderr  # there runs fail, with their stacks
    for part in STORIES[name]:
        assert part in ended.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_one_idea_in_under_60_lines(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()) < 60


def test_the_job_goes_on_where_it_was(tmp_path: Path) -> None:
    """What `etl_killed.py` shows, by hand: run again when it has ended, the job does nothing, and says so."""
    command = [sys.executable, str(ROOT / "examples" / "etl.py")]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT) for _ in range(2)
    )
    assert second.stdout == first.stdout.splitlines(keepends=True)[-1]
    assert "has ended already" in second.stderr


# The notebook.

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_the_notebook_is_one() -> None:
    """What nbformat 4.5 asks for, and nothing that an execution has left."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert book.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({one["id"] for one in book["cells"]}) == len(book["cells"])
    for one in book["cells"]:
        lines = "".join(one["source"]).splitlines(keepends=True)
        plain = {"cell_type": "markdown", "id": one["id"], "metadata": {}, "source": lines}
        assert one in (plain, {**plain, "cell_type": "code", "execution_count": None, "outputs": []})


def test_the_notebook_runs_and_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Run all", twice in one kernel: cells with top-level await, each in a task of its own, in one namespace."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(one["source"]) for one in cells if one["cell_type"] == "code"]

    async def story() -> None:
        names: dict[str, Any] = {"__name__": "__main__"}
        for count in (2, 3):
            shown = [str(await cell(text, names)) for text in code]
            assert shown[3] == "monday: 3 rows, 38 in all"
            assert shown[4] == "tuesday: 3 rows, 39 in all"
            assert "ConnectionError, 2 tries" in shown[5] and "sleep completed" in shown[5]
            assert (shown[6].count("completed"), shown[6].count("report-monday")) == (count, 1)
        await names["engine"].close()

    asyncio.run(story())


# What writing the examples has found.


class Measure(NamedTuple):
    lines: int
    words: int


def measure() -> dict[str, Measure]:
    return {"a.py": Measure(3, 7)}


@durable.function
async def measuring(ctx: durable.Context) -> dict[str, Measure]:
    return await ctx.step.run("measure", measure)


def test_a_step_whose_class_is_not_known_here_is_shown_as_plain_values() -> None:
    """R10: only what the annotation names comes back as its class; looking at a run must not fail for it."""

    async def story() -> None:
        async with Lab([measuring]) as lab:
            run = await lab.start(measuring)
            info = await run.info()
            assert info.output == {"a.py": Measure(3, 7)}
            assert info.steps["measure"].output == {"a.py": {"lines": 3, "words": 7}}

    asyncio.run(story())


@durable.function("doc/written")
async def two_waits(ctx: durable.Context) -> None:
    waits = [
        asyncio.create_task(ctx.step.wait_for_event(name, event=f"doc/{name}", timeout="1d")) for name in ("yes", "no")
    ]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


def test_tasks_that_only_await_a_step_end_with_their_run(caplog: pytest.LogCaptureFixture) -> None:
    """R8: a step's coroutine given to create_task was called in another task, and is cancelled all the same."""

    async def story() -> None:
        async with Lab([two_waits]) as lab:
            await lab.send("doc/written")
            before = len(asyncio.all_tasks())
            await lab.crash()
            assert len(asyncio.all_tasks()) == before
            assert caplog.text == ""  # it was the crash that ended them, not the function
            await lab.send("doc/yes")
            assert "still waited in steps: 'no'; they are cancelled" in caplog.text
        gc.collect()

    asyncio.run(story())
