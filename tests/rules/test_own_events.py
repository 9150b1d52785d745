"""Rule R22 where what a step sends ends its own run: it is sent once, however often the run is opened again (R32)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durable import Cancel, Context, DictStore, Event, FileStore, RunInfo, function
from durable.journal.records import StepClosed
from durable.testing import Lab
from tests.support.retold import outcomes, record, store_of

GIVEN = Event("stop", id="given")
# What is sent, which of it is heard, and the number of the event whose id each has got.
WAYS = {
    "directly": ([Event("stop")], ["stop"], [0]),
    "among others": (
        [Event("heard", {"n": 1}), GIVEN, Event("heard", {"n": 2}), GIVEN],
        ["heard", "heard", "stop"],
        [0, 1, 2, 1],
    ),
    "by another run's end": ([Event("heard"), Event("stop other")], ["heard", "stop other"], [0, 1]),
}


@function(id="sender", retries=0, cancel=[Cancel("stop"), Cancel("durable/function.cancelled")])
async def sender(ctx: Context) -> Any:
    answered = asyncio.ensure_future(ctx.step.wait_for_event("own", event="heard", timeout="100d"))
    ids = await ctx.step.send_event("send", WAYS[ctx.event.data["how"]][0])
    answered.cancel()
    return [ids, await ctx.step.run("after", lambda: "went on")]


@function(["stop", "stop other", "heard"], id="hearer", retries=0)
async def hearer(ctx: Context) -> str:
    return ctx.event.name


@function(id="other", retries=0, cancel=[Cancel("stop other")])
async def other(ctx: Context) -> None:
    await ctx.step.sleep("s", "1000d")


ALL = [sender, hearer, other]


async def heard(lab: Lab) -> list[RunInfo]:
    return await lab.engine.runs(function="hearer")


@pytest.mark.parametrize("kind", [DictStore, FileStore])
@pytest.mark.parametrize("crashing", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_a_step_whose_event_ends_its_own_run_has_ended_and_sends_once(
    how: str, crashing: bool, kind: Any, tmp_path: Path
) -> None:
    """R22, R32: two days later, when no id of an event is known any more, too."""

    async def story() -> None:
        async with Lab(ALL, store=DictStore() if kind is DictStore else FileStore(tmp_path / "x.db")) as lab:
            await lab.start(other)
            run = await lab.start(sender, {"how": how}, id="r")
            info, before = await run.info(), await heard(lab)
            assert (info.status, info.steps["send"].status) == ("cancelled", "completed")
            assert sorted(one.event.name for one in before) == WAYS[how][1]
            if crashing:
                await lab.crash()
            await lab.advance("2d")
            await lab.engine.retry("r")
            await lab.settle()
            if crashing:
                await lab.crash()
            ids, after = await lab.result(run)
            assert after == "went on" and ids == info.steps["send"].output
            assert ids == [f"r/send#{number}" for number in WAYS[how][2]]
            assert [one.id for one in await heard(lab)] == [one.id for one in before]

    asyncio.run(story())


def test_a_step_that_an_older_release_left_open_so_sends_anew_under_another_id() -> None:
    """Two runs of one id would make both unreadable."""

    async def story() -> None:
        async with Lab(ALL) as lab:
            await lab.start(sender, {"how": "directly"}, id="r")
            entries = [one for run in ("r", "r/send#0/hearer") for one in await record(lab, run)]
        older = [one for one in entries if one.kind != StepClosed.__name__]
        async with Lab(ALL, store=await store_of(older)) as lab:
            for number in range(1, 3):
                await lab.advance("2d")
                await lab.engine.retry("r")
                await lab.settle()
                assert {one.id: one.status for one in await heard(lab)} == {
                    "r/send#0/hearer": "completed", "r/send#0~r1/hearer": "completed"
                }  # fmt: skip
                if number == 1:
                    assert outcomes(await record(lab))["send"][0] == "Ok"
            assert (await (await lab.engine.run("r")).info()).output == [["r/send#0~r1"], "went on"]

    asyncio.run(story())
