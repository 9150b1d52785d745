"""Schedules that are made while an engine runs: one for each tenant, recorded, shown, replaced, taken back. F11"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Context, DictStore, LimitError, Schedule, TriggerCron
from durable.engine import inside
from durable.testing import Lab

pytestmark = pytest.mark.anyio
START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def tick(hours: float, id: str = "acme") -> str:
    return f"schedule/{id}/{(START + hours * HOUR).replace(tzinfo=None).isoformat()}Z"


@durable.function
async def remind(ctx: Context) -> dict[str, Any]:
    await ctx.step.run("work", lambda: None)
    return dict(ctx.event.data)


async def opened(lab: Lab) -> list[str]:
    return sorted(run.id for run in await lab.engine.runs())


async def test_a_schedule_opens_runs_with_its_data_beside_the_tick() -> None:
    async with Lab([remind]) as lab:
        await lab.engine.schedule(remind, "0 9 * * *", id="acme", data={"tenant": 7}, tz="Europe/Berlin")
        await lab.advance("1d")
        [run] = await lab.engine.runs()
        assert run.id == "schedule/acme/2030-01-01T08:00:00Z" and run.event.name == "durable/scheduled.timer"
        at = START + 8 * HOUR
        tick_data = {"cron": "0 9 * * *", "tz": "Europe/Berlin", "scheduled_at": at, "fired_at": at}
        assert run.output == {"tenant": 7, **tick_data}


async def test_a_schedule_is_recorded_and_taken_back() -> None:
    store = DictStore()
    async with Lab([remind], store=store) as lab:
        await lab.engine.schedule("remind", "@hourly", id="acme")
        await lab.advance("1h")
    async with Lab([remind], store=store, start=START + HOUR) as lab:
        await lab.advance("1h")
        await lab.crash()
        assert await lab.engine.unschedule("acme") and not await lab.engine.unschedule("acme")
        await lab.advance("2h")
        await lab.crash()
        await lab.advance("2h")
        assert await opened(lab) == [tick(1), tick(2)]
        assert await lab.engine.schedules() == []


MISSED = {"last": [tick(4)], "skip": [], "all": [tick(2), tick(3), tick(4)]}


@pytest.mark.parametrize("missed", MISSED)
async def test_the_ticks_of_a_schedule_while_nothing_ran_are_decided_by_missed(missed: Any) -> None:
    store = DictStore()
    async with Lab([remind], store=store) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme", missed=missed)
        await lab.advance("1h")
    async with Lab([remind], store=store, start=START + 4.5 * HOUR) as lab:
        assert await opened(lab) == [tick(1), *MISSED[missed]]


async def test_the_same_id_again_replaces_the_schedule() -> None:
    async with Lab([remind]) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme", data={"n": 1})
        await lab.advance("80m")
        await lab.engine.schedule(remind, "30 * * * *", id="acme", data={"n": 2})
        await lab.advance("30m")
        assert await opened(lab) == [tick(1), tick(1.5)]
        assert (await lab.engine.info(tick(1.5))).output["n"] == 2
        assert len(await lab.engine.schedules()) == 1


async def test_new_data_alone_lose_no_tick_and_an_equal_schedule_is_no_record() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([remind], store=DictStore(mapping)) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme", data={"n": 1}, jitter="10m")
        await lab.advance("1h")
        before = len(mapping)
        await lab.engine.schedule(remind, "@hourly", id="acme", data={"n": 1}, jitter="10m")
        assert len(mapping) == before
        await lab.engine.schedule(remind, "@hourly", id="acme", data={"n": 2}, jitter="10m")
        await lab.advance("10m")
        assert await opened(lab) == [tick(1)] and (await lab.engine.info(tick(1))).output["n"] == 2


async def test_schedules_are_shown_with_their_next_tick_and_triggers_without_an_id() -> None:
    @durable.function(TriggerCron("0 12 * * *", tz="Asia/Tokyo"))
    async def nightly(ctx: Context) -> None: ...

    async with Lab([remind, nightly]) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme", data={"tenant": 7})
        found = await lab.engine.schedules()
        assert found == [
            Schedule(None, "nightly", "0 12 * * *", "Asia/Tokyo", {}, START + 3 * HOUR),
            Schedule("acme", "remind", "@hourly", "UTC", {"tenant": 7}, START + HOUR),
        ]
        assert found[1].to_dict()["next_at"] == "2030-01-01T01:00:00+00:00"


async def test_a_schedule_whose_function_is_gone_stays_and_is_named_in_the_log(caplog: Any) -> None:
    store = DictStore()
    async with Lab([remind], store=store) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme")
    async with Lab([], store=store) as lab:
        assert "schedule 'acme' opens no runs: its function 'remind' is not registered" in caplog.text
        await lab.advance("150m")
        assert await opened(lab) == [] and len(await lab.engine.schedules()) == 1
        await lab.engine.start(remind, id="by-hand")
        await lab.settle()
        assert await opened(lab) == ["by-hand", tick(2)]
        await lab.advance("30m")
        assert await opened(lab) == ["by-hand", tick(2), tick(3)]


async def test_a_schedule_that_cannot_be_read_here_is_named_in_the_log_and_shuts_nothing(
    caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DictStore()
    async with Lab([remind], store=store) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme")

    def lacking(cron: str, tz: str) -> Any:
        raise ImportError("this needs the package 'cronsim': pip install 'durable-steps[cron]'")

    monkeypatch.setattr("durable.journal.rules.schedules.ticking.cron_ticks", lacking)
    async with Lab([remind], store=store) as lab:
        assert "schedule 'acme' opens no runs here: this needs the package 'cronsim'" in caplog.text
        [shown] = await lab.engine.schedules()
        assert shown.next_at is None
        assert await lab.engine.invoke(remind, {"n": 1}) == {"n": 1}


async def test_a_paused_function_opens_no_runs_of_its_schedules() -> None:
    async with Lab([remind]) as lab:
        await lab.engine.schedule(remind, "@hourly", id="acme", missed="all")
        await lab.engine.pause(remind)
        await lab.advance("2h")
        assert await opened(lab) == []
        await lab.engine.resume(remind)
        assert await opened(lab) == [tick(1), tick(2)]


async def test_a_backfill_takes_a_schedule_since_it_was_made() -> None:
    async with Lab([remind]) as lab:
        await lab.advance("90m")
        await lab.engine.schedule(remind, "@hourly", id="acme", missed="skip")
        runs = await lab.engine.backfill(remind, START, START + 4 * HOUR)
        assert [run.id for run in runs] == [tick(2), tick(3)]


async def test_jitter_spreads_the_schedules_of_one_function() -> None:
    async with Lab([remind]) as lab:
        for id in "abcdef":
            await lab.engine.schedule(remind, "@hourly", id=id, jitter="10m")
        await lab.advance("70m")
        assert len({run.opened_at for run in await lab.engine.runs()}) == 6


async def test_ten_thousand_schedules_take_one_timer() -> None:
    async with Lab([remind]) as lab:
        runtime = inside(lab.engine, "test")
        for number in range(10_000):
            made = durable.engine.arguments.checked_schedule(
                "remind",
                f"{number % 60} {number % 24} * * *",
                f"t{number}",
                {},
                "UTC",
                None,
                "last",
                limits=runtime.decisions.limits,
                at=START,
            )
            runtime.calendar.schedule(made)
        assert len(runtime.timers) == 1
        began = time.process_time()
        await lab.advance("1m")
        assert len(await lab.engine.runs(limit=10_000)) == sum(n % 60 == 1 and n % 24 == 0 for n in range(10_000))
        assert time.process_time() - began < 5
        assert len(runtime.timers) == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"id": ""}, ValueError, "the id of a schedule must not be empty"),
        ({"id": 5}, TypeError, "the id of a schedule must be a string"),
        ({"id": "x" * 2_000}, LimitError, "the id of a schedule is 2,000 bytes"),
        ({"cron": "@often"}, ValueError, "cron cannot be '@often'"),
        ({"tz": "Mars"}, ValueError, "tz cannot be 'Mars'"),
        ({"missed": "some"}, ValueError, "missed of schedule 'acme' must be"),
        ({"jitter": "soon"}, ValueError, "the jitter of schedule 'acme' cannot be 'soon'"),
        ({"data": [1]}, TypeError, "the data for function 'remind' must be a mapping"),
        ({"data": {"cron": 1}}, ValueError, "the data of schedule 'acme' cannot have 'cron'"),
        ({"function": "remnd"}, LookupError, "is 'remind' meant"),
    ],
)
async def test_wrong_use_is_refused_before_anything_is_recorded(given: Any, error: type[Exception], words: str) -> None:
    asked = {"function": remind, "cron": "@daily", "id": "acme", **given}
    async with Lab([remind]) as lab:
        with pytest.raises(error, match=words):
            await lab.engine.schedule(asked.pop("function"), asked.pop("cron"), **asked)
        assert await lab.engine.schedules() == []
