"""Functions and schedules are seen and steered from outside: by a reader and by the command line. F10, F11"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Engine, FileStore, Reader, TriggerCron, TriggerEvery
from durable.engine.command.main import main
from durable.testing import VirtualClock
from durable.timers import duration

pytestmark = pytest.mark.anyio
START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@durable.function(TriggerCron("@hourly", missed="skip"))
async def job(ctx: Context) -> Any:
    return dict(ctx.event.data).get("tenant")


def opened(path: Path, *functions: Any, hours: float = 0) -> Engine:
    clock = VirtualClock(START + hours * HOUR)
    return Engine(functions or [job], store=FileStore(path, durability="none"), clock=clock)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    place = tmp_path / "x.db"
    async with opened(place):
        pass
    return place


async def test_a_reader_shows_schedules_and_the_triggers_that_an_engine_has_seen(path: Path) -> None:
    every = durable.function(TriggerEvery("90m"), id="a/b#c")(job.code)
    async with opened(path, job, every) as engine:
        await engine.schedule(job, "@hourly", id="acme", data={"tenant": 7})
        await engine.schedule(job, "@daily", id="acme", data={"tenant": 8})
    found = await Reader(path).schedules()
    assert [(one.id, one.function_id, one.cron) for one in found] == [
        (None, "a/b#c", "every 90m"),
        (None, "job", "@hourly"),
        ("acme", "job", "@daily"),
    ]
    assert found[2].data == {"tenant": 8}
    assert all(one.next_at is not None and one.next_at > datetime.now(UTC) for one in found)


@pytest.mark.parametrize("every", [timedelta(days=20), 1_234_567, 0.25, timedelta(microseconds=1_234_567), "90m"])
async def test_a_trigger_of_any_duration_has_a_name_of_its_own_and_is_shown(path: Path, every: Any) -> None:
    timed = durable.function(TriggerEvery(every), id="timed")(job.code)
    async with opened(path, timed):
        pass
    shown = (await Reader(path).schedules())[0]
    assert shown.next_at is not None and duration(shown.cron.removeprefix("every ")) == duration(every)


async def test_a_schedule_is_shown_in_plain_values_whatever_its_data_hold(path: Path) -> None:
    async with opened(path) as engine:
        await engine.schedule(job, "@hourly", id="acme", data={"since": START, "every": HOUR})
    made = (await Reader(path).schedules())[-1].to_dict()
    assert json.loads(json.dumps(made)) == made
    assert made["data"] == {"since": "2030-01-01T00:00:00+00:00", "every": 3600.0}


def asked(capsys: Any, *words: str) -> tuple[int, str]:
    try:
        status = main(list(words))
    except SystemExit as end:
        status = end.code
    return int(status or 0), capsys.readouterr().out


def test_the_command_line_steers_functions_and_schedules(tmp_path: Path, capsys: Any) -> None:

    path = tmp_path / "x.db"

    async def serve(hours: float) -> list[str]:
        async with opened(path, hours=hours) as engine:
            await engine.settled()
            return sorted(run.id for run in await engine.runs())

    assert asyncio.run(serve(0)) == []
    store = str(path)
    assert asked(capsys, "resume", store, "job")[0] == 1
    assert asked(capsys, "pause", store, "job")[0] == 0
    made = ("schedule", store, "job", "0 9 * * *", '{"tenant": 7}', "--id", "acme", "--tz", "Asia/Tokyo")
    assert asked(capsys, *made)[0] == 0
    filled = ("backfill", store, "job", "--after", "2029-12-31T23:00", "--before", "2030-01-01T00:00")
    assert asked(capsys, *filled)[0] == 0
    assert asyncio.run(serve(0.5)) == ["cron/job/2029-12-31T23:00:00Z"]
    assert asked(capsys, "pause", store, "job")[0] == 1
    status, out = asked(capsys, "schedules", store, "--json")
    assert status == 0 and [one["id"] for one in json.loads(out)] == [None, "acme"]
    status, out = asked(capsys, "schedules", store)
    assert "job  acme  0 9 * * *  Asia/Tokyo" in out and "job  -  @hourly  UTC" in out
    assert asked(capsys, "resume", store, "job")[0] == 0
    assert asked(capsys, "unschedule", store, "acme")[0] == 0
    asyncio.run(serve(0.6))
    assert asked(capsys, "unschedule", store, "acme")[0] == 1
    assert asked(capsys, "schedule", store, "job", "often", "--id", "x")[0] == 2
