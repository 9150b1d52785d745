"""Triggers that are changed, taken away, or come back: what is new begins when it is first seen. F9"""

from __future__ import annotations

import pytest

from durable import DictStore, TriggerCron, TriggerEvent
from durable.testing import Lab
from tests.support.ticks import job, opened, reopened, tick

pytestmark = pytest.mark.anyio


async def test_a_changed_expression_begins_anew_and_a_removed_one_stops() -> None:
    store = DictStore()
    assert await reopened(store, [job(TriggerCron("@hourly"))], 0, "70m") == [tick(1)]
    assert await reopened(store, [job(TriggerCron("30 * * * *"))], 4, "40m") == [tick(1), tick(4.5)]
    assert await reopened(store, [job(TriggerEvent("go"))], 5, "3h") == [tick(1), tick(4.5)]
    assert await reopened(store, [job()], 9, "3h") == [tick(1), tick(4.5)]


async def test_a_zone_that_changes_begins_anew() -> None:
    store = DictStore()
    await reopened(store, [job(TriggerCron("0 3 * * *", missed="all"))], 0)
    assert await reopened(store, [job(TriggerCron("0 3 * * *", tz="Asia/Tokyo", missed="all"))], 30) == []


async def test_a_trigger_that_comes_back_after_a_month_has_missed_nothing() -> None:
    store, function = DictStore(), job(TriggerCron("@hourly", missed="all"))
    assert await reopened(store, [function], 0, "1h") == [tick(1)]
    assert await reopened(store, [], 24) == [tick(1)]
    assert await reopened(store, [function], 720, "1h") == [tick(1), tick(721)]


async def test_only_jitter_or_missed_may_change_without_a_new_beginning() -> None:
    store = DictStore()
    await reopened(store, [job(TriggerCron("@hourly", missed="skip"))], 0)
    assert await reopened(store, [job(TriggerCron("@hourly", missed="last"))], 2.5) == [tick(2)]


async def test_a_renamed_function_begins_anew() -> None:
    store = DictStore()
    await reopened(store, [job(TriggerCron("@hourly", missed="all"))], 0)
    assert await reopened(store, [job(TriggerCron("@hourly", missed="all"), id="new")], 3, "1h") == [tick(4, "new")]


async def test_a_function_that_is_defined_again_while_the_engine_is_open_has_its_new_ticks() -> None:
    async with Lab([job(TriggerCron("@hourly"))]) as lab:
        await lab.advance("90m")
        await lab.engine.start(job(TriggerCron("15 * * * *")), id="by-hand")
        await lab.advance("90m")
        assert await opened(lab) == ["by-hand", tick(1), tick(2.25)]
