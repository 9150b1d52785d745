"""The examples run alone, say nothing on the error stream, and tell the story that they are there to tell."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import durable
from durable.testing import Lab
from tests.crashing import ENVIRONMENT, ROOT

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
STORIES = {
    "approval.py": ["Grace said yes: booked train to Paris, seat 61", "nobody answered: the trip to Oslo is off"],
    "approval_by_id.py": ["200 runs wait", "invoice 42: paid", "approve invoice 42: Grace", "198 runs go on waiting"],
    "etl.py": ["killed (kill -9) when it has 1", "yes  the report equals the one of plain Python"],
    "fan_out.py": ["charge: charged 20", "check_fraud: looks fine", "count: failed, the statistics are down"],
    "map_reduce.py": ["{'the': 6, 'and': 3, 'of': 3, 'they': 2}", "/count:3"],
    "onboarding.py": ["04 January: the process crashes", "mails sent: {'welcome': 1, 'tip': 1, 'question': 1}"],
    "onboarding_with_events.py": [
        "ada: completed, active after 0 reminders",
        "bob: cancelled, by event 'user/left'",
        "eve: completed, gave up",
    ],
    "pages.py": ["page p2, try 2: 503 busy", "collected: ['ant', 'bee', 'cat', 'dog', 'eel']"],
    "two_answers.py": ["Dunes: rejected: too dry", "Tides: accepted: it flows", "Winds: no answer in a week"],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_tells_its_story(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    for part in STORIES[name]:
        assert part in ended.stdout


def test_a_short_example_has_one_idea_in_under_60_lines() -> None:
    lengths = {name: len((ROOT / "examples" / name).read_text().splitlines()) for name in EXAMPLES}
    del lengths["etl.py"]  # a whole job and the show around it
    assert {name: length for name, length in lengths.items() if length >= 60} == {}


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
