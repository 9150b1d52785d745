"""Pauses, schedules and ticks of the past, asked for from outside: taken once, in order, or refused at the call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Engine, Sender, TriggerCron
from durable.stores.file.inbox import Inbox
from durable.testing import VirtualClock
from tests.proof.crashes.senders import made, opened, waiting
from tests.support.wordings import NOON

pytest.importorskip("cronsim")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@durable.function(TriggerCron("0 * * * *"))
async def hourly(ctx: Context) -> Any:
    return str(ctx.event.data.get("scheduled_at"))


@durable.function
async def plain(ctx: Context) -> Any:
    return ctx.event.data.get("n")


def engine(path: Path, clock: VirtualClock) -> Any:
    return opened(path, hourly, plain, clock=clock)


def test_a_function_is_paused_and_resumed_wherever_its_engine_is(path: Path) -> None:
    """What the store shows to be so already is False, and sends nothing."""
    clock = VirtualClock(NOON)

    async def story() -> None:
        async with Sender(path) as sender:
            assert not await sender.resume(plain)
            assert await sender.pause(plain) and await sender.pause(plain)  # the first is on its way
            await sender.start(plain, {"n": 1}, id="one")
            async with engine(path, clock) as live:
                assert (await live.info("one")).status == "queued"
            assert not await sender.pause("plain") and waiting(path) == []
            assert await sender.resume("plain")
            async with engine(path, clock) as live:
                assert (await live.info("one")).output == 1
            assert not await sender.resume("plain")

    asyncio.run(story())


def test_a_pause_of_a_function_that_the_engine_lacks_counts_once_it_is_there(path: Path) -> None:
    async def story() -> None:
        await Sender(path).pause(plain)
        async with opened(path):
            pass
        async with opened(path, plain) as live:
            await live.start(plain, {"n": 1}, id="one")
            await live.settled()
            assert (await live.info("one")).status == "queued"

    asyncio.run(story())


def test_a_schedule_is_made_replaced_and_taken_back(path: Path) -> None:
    clock = VirtualClock(NOON)

    async def story() -> None:
        async with Sender(path) as sender:
            await sender.schedule(plain, "30 * * * *", id="half", data={"n": 7}, jitter=0, missed="skip")
            async with engine(path, clock) as live:
                [made] = [one for one in await live.schedules() if one.id == "half"]
                assert (made.function_id, made.cron, made.data) == ("plain", "30 * * * *", {"n": 7})
                clock.advance("45m")
                await live.settled()
                assert [one.output for one in await live.runs(function="plain")] == [7]
            assert await sender.unschedule("half")
            await sender.schedule("plain", "45 * * * *", id="half")
            assert await sender.unschedule("half")
            async with engine(path, clock) as live:
                assert [one.id for one in await live.schedules()] == [None]
            assert not await sender.unschedule("half") and not await sender.unschedule("nobody's")

    asyncio.run(story())


def test_ticks_of_the_past_are_filled_in_once(path: Path) -> None:
    clock = VirtualClock(NOON)

    async def story() -> None:
        async with Sender(path) as sender:
            for _ in range(2):
                await sender.backfill(hourly, NOON - timedelta(hours=3), NOON)
            async with engine(path, clock) as live:
                assert len(await live.runs(function=hourly)) == 3
            await sender.backfill(hourly, NOON - timedelta(hours=4), NOON)
            async with engine(path, clock) as live:
                assert len(await live.runs(function=hourly)) == 4

    asyncio.run(story())


def test_a_backfill_stays_for_an_engine_that_has_the_function(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        await Sender(path).backfill("hourly", NOON - timedelta(hours=3), NOON)
        async with Engine([plain], store=path):
            pass
        assert len(waiting(path)) == 1 and "cannot be taken and stays there: LookupError" in caplog.text
        async with opened(path, hourly) as live:
            assert len(await live.runs(function=hourly, limit=10)) >= 3

    asyncio.run(story())


def test_what_is_so_already_when_it_is_taken_is_a_line_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with Sender(path) as sender:
            await sender.pause(plain)
            await sender.pause(plain)
            await sender.schedule(plain, "0 1 * * *", id="s")
            await sender.unschedule("s")
            await sender.unschedule("s")
            await sender.backfill(plain, NOON, NOON)
        async with opened(path, plain):
            pass

    asyncio.run(story())
    lines = [one.getMessage().partition("inbox ")[2] for one in caplog.records if "does nothing" in one.getMessage()]
    assert lines == [
        "(pause) does nothing: function 'plain' is paused already",
        "(unschedule) does nothing: there is no schedule 's'",
        f"(backfill) does nothing: function 'plain' has no tick from {NOON} to {NOON}",
    ]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.pause(7), TypeError, "pause takes a Function or a function's id"),
        (lambda s: s.backfill("f", NOON.replace(tzinfo=None), NOON), ValueError, "after of a backfill"),
        (lambda s: s.schedule("f", "every day", id="s"), ValueError, "cron cannot be 'every day'"),
        (lambda s: s.schedule("f", "0 1 * * *", id=""), ValueError, "the id of a schedule"),
        (lambda s: s.schedule("f", "0 1 * * *", id="s", data={"cron": 1}), ValueError, "cannot have 'cron'"),
        (lambda s: s.schedule("f", "0 1 * * *", id="s", tz="Mars/Base"), ValueError, "Mars/Base"),
        (lambda s: s.unschedule(7), TypeError, "the id of a schedule"),
    ],
)
def test_bad_input_is_refused_at_the_call(path: Path, call: Any, error: type[Exception], words: str) -> None:
    async def story() -> None:
        with pytest.raises(error, match=words):
            await call(Sender(path))

    asyncio.run(story())
    assert Inbox(str(path)).look() == []
