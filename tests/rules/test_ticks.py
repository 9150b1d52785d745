"""Ticks of cron triggers open runs: each one, once, and nobody else's. F9"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, TriggerCron, TriggerEvent, TriggerEvery
from durable.engine import inside, set_up
from durable.testing import Lab, StuckError, VirtualClock
from tests.support.ticks import HOUR, START, job, opened, reopened, tick

pytestmark = pytest.mark.anyio


async def test_a_tick_opens_a_run_with_the_event_of_a_timer() -> None:
    seen: list[durable.Event] = []

    @durable.function(TriggerCron("30 9 * * *", tz="Europe/Berlin"))
    async def daily(ctx: Context) -> None:
        seen.append(ctx.event)

    async with Lab([daily]) as lab:
        await lab.advance("1d")
        assert await opened(lab) == ["cron/daily/2030-01-01T08:30:00Z"]
    at = START + 8.5 * HOUR
    assert seen[0].name == "durable/scheduled.timer" and seen[0].ts == at
    assert seen[0].data == {"cron": "30 9 * * *", "tz": "Europe/Berlin", "scheduled_at": at, "fired_at": at}


async def test_an_every_trigger_runs_at_the_multiples_of_its_duration() -> None:
    async with Lab([job(TriggerEvery("90m"))]) as lab:
        await lab.advance("5h")
        assert await opened(lab) == [tick(1.5), tick(3), tick(4.5)]
        info = await lab.engine.info(tick(3))
        assert info.output["cron"] == "every 90m" and info.output["tz"] == "UTC"


async def test_two_expressions_that_meet_open_one_run_under_the_name_of_the_first() -> None:
    async with Lab([job(TriggerCron("0 */2 * * *"), TriggerCron("0 */3 * * *"))]) as lab:
        await lab.advance("6h")
        assert await opened(lab) == [tick(2), tick(3), tick(4), tick(6)]
        assert (await lab.engine.info(tick(6))).output["cron"] == "0 */2 * * *"


async def test_ticks_trigger_nobody_else() -> None:
    other = job(TriggerEvent("durable/*"), TriggerEvent("durable/scheduled.timer"), id="other")

    @durable.function("go")
    async def waiter(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("w", event="durable/scheduled.timer", timeout="3h")

    ticking = job(TriggerCron("@hourly"), steps=["work"])
    async with Lab([waiter, other, ticking]) as lab:
        [run] = await lab.send("go")
        await lab.advance("2h")
        by_timer = [run for run in await lab.engine.runs(function="other") if "scheduled" in run.event.name]
        assert by_timer == [] and (await run.info()).status == "waiting"


async def test_a_run_that_still_runs_at_the_next_tick_has_the_next_run_beside_it() -> None:
    @durable.function(TriggerCron("@hourly"))
    async def long(ctx: Context) -> None:
        await ctx.step.sleep("s", "150m")

    async with Lab([long]) as lab:
        await lab.advance("2h")
        assert [run.status for run in await lab.engine.runs()] == ["waiting", "waiting"]


@pytest.mark.parametrize(("mode", "found"), [("skip", ["waiting"]), ("cancel", ["waiting", "cancelled"])])
async def test_a_singleton_that_still_runs_at_the_next_tick_stays_or_gives_way(mode: Any, found: list[str]) -> None:
    @durable.function(TriggerCron("@hourly"), singleton=durable.Singleton(mode))
    async def long(ctx: Context) -> None:
        await ctx.step.sleep("s", "90m")

    async with Lab([long]) as lab:
        await lab.advance("2h")
        assert [run.status for run in await lab.engine.runs()] == found
        await lab.advance("30m" if mode == "skip" else "90m")
        assert [run.status for run in await lab.engine.runs()][-1] in ("completed", "cancelled")


@pytest.mark.parametrize(
    "gathered", [{"debounce": durable.Debounce("3h")}, {"batch_events": durable.Batch(10, "3h")}], ids=str
)
async def test_a_tick_passes_debounce_and_batch_by(gathered: Any) -> None:
    async with Lab([job(TriggerCron("@hourly"), TriggerEvent("go"), **gathered)]) as lab:
        await lab.send("go")
        await lab.advance("1h")
        assert await opened(lab) == [tick(1)]
        assert len((await lab.engine.info(tick(1))).events) == 1


async def test_a_tick_is_asked_for_rate_limit_and_idempotency_and_is_done_with_either_way() -> None:
    limited = job(TriggerCron("@hourly"), rate_limit=durable.RateLimit(1, "90m"), id="limited")
    keyed = job(TriggerCron("@hourly"), idempotency="event.data.cron", id="keyed")
    async with Lab([limited, keyed]) as lab:
        await lab.advance("4h")
        await lab.crash()
        assert await opened(lab) == [tick(1, "keyed"), tick(1, "limited"), tick(3, "limited")]


async def test_a_result_that_only_ticks_go_by_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable.testing.lab.TICKS_IN_VAIN", 50)
    paused = job(id="paused")
    async with Lab([job(TriggerCron("@hourly")), paused]) as lab:
        await lab.engine.pause(paused)
        run = await lab.start(paused)
        with pytest.raises(StuckError, match="the pause of function 'paused'"):
            await lab.result(run)


# Missed ticks.

MISSED = {"last": [tick(4)], "skip": [], "all": [tick(2), tick(3), tick(4)]}


@pytest.mark.parametrize("missed", MISSED)
async def test_ticks_that_came_while_nothing_ran_are_decided_by_missed(missed: Any) -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", missed=missed))
    async with Lab([function], store=store) as lab:
        await lab.advance("80m")
    async with Lab([function], store=store, start=START + 4 * HOUR + timedelta(seconds=20)) as lab:
        assert await opened(lab) == [tick(1), *MISSED[missed]]
        await lab.advance("1h")
        assert await opened(lab) == [tick(1), *MISSED[missed], tick(5)]


class Jumping(VirtualClock):
    """A clock that stood still while the machine was suspended: its callbacks come late."""

    def jump(self, by: timedelta) -> None:
        self._now += by


@pytest.mark.parametrize("missed", MISSED)
async def test_ticks_that_are_noticed_more_than_a_minute_late_are_decided_by_missed(missed: Any) -> None:
    clock = Jumping(START)
    async with Engine([job(TriggerCron("@hourly", missed=missed))], clock=clock) as engine:
        clock.advance("80m")
        clock.jump(2.7 * HOUR + timedelta(minutes=2))
        clock.advance(0)
        await engine.settled()
        assert sorted(run.id for run in await engine.runs()) == [tick(1), *MISSED[missed]]


@pytest.mark.parametrize(("late", "runs"), [(59, True), (60, True), (61, False)])
async def test_a_tick_is_not_missed_within_a_minute(late: int, runs: bool) -> None:
    clock = Jumping(START)
    async with Engine([job(TriggerCron("@hourly", missed="skip"))], clock=clock) as engine:
        clock.jump(HOUR + timedelta(seconds=late))
        clock.advance(0)
        await engine.settled()
        found = [(run.id, run.output["fired_at"] - run.output["scheduled_at"]) for run in await engine.runs()]
        assert found == [(tick(1), timedelta(seconds=late))] * runs


async def test_a_process_that_died_at_a_tick_still_runs_it() -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", missed="skip"))
    async with Lab([function], store=store) as lab:
        await lab.advance("59m")
        lab.clock.advance("1m")
        await lab.crash()
        assert await opened(lab) == [tick(1)]


async def test_a_week_of_missed_ticks_runs_each_with_missed_all() -> None:
    store, function = DictStore(), job(TriggerCron("*/30 * * * *", missed="all"), steps=())
    async with Lab([function], store=store):
        pass
    async with Lab([function], store=store, start=START + 168 * HOUR) as lab:
        assert await opened(lab) == [tick(half / 2) for half in range(1, 337)]


async def test_at_the_first_start_ever_nothing_is_missed() -> None:
    async with Lab([job(TriggerCron("@hourly", missed="all"))]) as lab:
        assert await opened(lab) == []


# Clocks.


async def test_a_clock_that_is_set_back_repeats_no_tick_and_one_set_forward_loses_none() -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", missed="all"))
    assert await reopened(store, [function], 0, "2h") == [tick(1), tick(2)]
    assert await reopened(store, [function], 0.5, "3h") == [tick(1), tick(2), tick(3)]
    assert await reopened(store, [function], 5, "1h") == [tick(n) for n in range(1, 7)]


async def test_a_trigger_that_comes_back_before_a_clock_that_was_set_back_repeats_no_tick() -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", missed="all"))
    await reopened(store, [function], 0, "2h")
    await reopened(store, [job()], 2.5)
    assert await reopened(store, [function], 0.5, "3h") == [tick(1), tick(2), tick(3)]


async def test_suspended_for_a_week_each_tick_comes_once() -> None:
    clock = Jumping(START)
    async with Engine([job(TriggerCron("0 */6 * * *", missed="all"))], clock=clock) as engine:
        clock.jump(timedelta(days=7))
        clock.advance("6h")
        await engine.settled()
        assert sorted(run.id for run in await engine.runs()) == [tick(6 * n) for n in range(1, 30)]


# Crashes.


@pytest.mark.parametrize("missed", ["last", "skip", "all"])
async def test_killed_at_every_append_around_ticks_each_comes_once(missed: Any) -> None:
    function = job(TriggerCron("@hourly", missed=missed), TriggerCron("0 */2 * * *"), steps=["a", "b"])
    mapping: dict[str, Any] = {}
    async with Lab([function], store=DictStore(mapping)) as lab:
        await lab.advance("3h")
    batches = sorted((key for key in mapping if key.startswith("batch/")), key=lambda key: int(key[6:]))
    assert len(batches) > 8
    for count in range(len(batches) + 1):
        cut = {key: mapping[key] for key in ["generation", *batches[:count]]}
        hours = max(
            [int(run[-9:-7]) for key in batches[:count] for _, run, *_ in mapping[key] if run[:5] == "cron/"], default=0
        )
        async with Lab([function], store=DictStore(cut), start=START + hours * HOUR) as lab:
            await lab.advance((4 - hours) * HOUR)
            assert await opened(lab) == [tick(n) for n in range(1, 5)], f"cut after {count} batches"


async def test_a_tick_is_recorded_with_its_run_in_one_write() -> None:
    mapping: dict[str, Any] = {}
    async with Lab([job(TriggerCron("@hourly"))], store=DictStore(mapping)) as lab:
        await lab.advance("1h")
    [batch] = [
        batch
        for key, batch in mapping.items()
        if key.startswith("batch") and any(fact[2] == "RunOpened" for fact in batch)
    ]
    assert Counter(fact[2] for fact in batch) == {"TicksReplaced": 1, "TicksPassed": 1, "RunOpened": 1}


# Jitter.


async def fired(jitter: str | None, id: str = "job") -> list[timedelta]:
    async with Lab([job(TriggerCron("@hourly", jitter=jitter), id=id)]) as lab:
        await lab.advance("6h")
        runs = await lab.engine.runs()
        return [run.output["fired_at"] - run.output["scheduled_at"] for run in runs]


async def test_jitter_is_a_delay_below_it_that_derives_from_function_and_tick() -> None:
    delays = await fired("10m")
    assert delays == await fired("10m") != await fired("10m", "other")
    assert all(timedelta(0) <= delay < timedelta(minutes=10) for delay in delays) and len(set(delays)) == len(delays)
    assert set(await fired(None)) == {timedelta(0)}


async def test_jitter_longer_than_the_interval_loses_no_tick() -> None:
    async with Lab([job(TriggerCron("*/5 * * * *", jitter="1h", missed="skip"))]) as lab:
        await lab.advance("6h")
        assert (await opened(lab))[:48] == [tick(n / 12) for n in range(1, 49)]


async def test_a_tick_under_jitter_is_not_lost_by_a_crash_before_it_is_due() -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", jitter="10m", missed="skip"))
    async with Lab([function], store=store) as lab:
        await lab.advance("1h")
        await lab.crash()
        await lab.advance("10m")
        assert await opened(lab) == [tick(1)]


# What stays, and what it costs.


@pytest.mark.parametrize("kind", ["dict", "file"])
async def test_prune_leaves_the_last_tick(kind: str, tmp_path: Path) -> None:
    store = DictStore() if kind == "dict" else FileStore(tmp_path / "s.db", durability="none")
    function = job(TriggerCron("@hourly", missed="all"), steps=())
    for hours in (0, 3, 3.5):
        engine = Engine([function], store=store, clock=(clock := VirtualClock(START + hours * HOUR)))
        set_up(engine, is_inline=True)
        async with engine:
            await engine.settled()
            if hours == 0:
                clock.advance("2h")
                await engine.settled()
            assert [run.id for run in await engine.runs()] == {0: [tick(2), tick(1)], 3: [tick(3)], 3.5: []}[hours]
            pruned = await store.prune(datetime.max.replace(tzinfo=UTC))
            assert pruned == {0: 2, 3: 1, 3.5: 0}[hours]


async def test_ticks_take_one_timer() -> None:
    functions = [job(TriggerCron(f"{n} * * * *"), TriggerEvery("1h"), id=f"job{n}") for n in range(50)]
    async with Lab(functions) as lab:
        await lab.advance("3m")
        assert len(inside(lab.engine, "test").timers) == 1
    async with Lab([job()]) as lab:
        assert len(inside(lab.engine, "test").timers) == 0


@pytest.mark.parametrize("make", [lambda: job(), lambda: job(TriggerEvent("go"))])
async def test_a_store_without_ticks_stays_what_it_is(make: Any, tmp_path: Path) -> None:
    async with Engine([make()], store=FileStore(tmp_path / "s.db", durability="none")) as engine:
        await engine.invoke("job")
    kinds = [entry.kind async for entry in _entries(tmp_path / "s.db")]
    assert not [kind for kind in kinds if kind.startswith(("Ticks", "Schedule", "Function"))]


async def _entries(path: Path) -> Any:
    async with durable.stores.FileReader(str(path)) as reader:
        for run in ("", "durable/ticks/cron/job/0"):
            async for entry in reader.history(run):
                yield entry


def test_what_is_no_trigger_is_refused_with_words() -> None:
    with pytest.raises(TypeError, match="a TriggerCron"):
        job(5)
    with pytest.raises(ValueError, match="jitter of a TriggerCron"):
        TriggerCron("@daily", jitter="-5m")
    with pytest.raises(ValueError, match='missed of a TriggerCron must be "last", "skip" or "all"'):
        TriggerCron("@daily", missed="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="every of a TriggerEvery must be more than zero"):
        TriggerEvery(0)
    with pytest.raises(TypeError, match="the cron of a TriggerCron must be a string"):
        TriggerCron(5)  # type: ignore[arg-type]
