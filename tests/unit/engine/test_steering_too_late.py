"""What steers runs from outside and comes too late, or cannot be done: it is taken, and the log says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import durable
from durable import Context, Engine, Sender
from tests.proof.crashes.senders import change, made, opened, sent, waiting
from tests.support.steered import forget, have, job, states

LATER = datetime.now(UTC) + timedelta(days=9)
event: list[str] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@pytest.fixture(autouse=True)
def _afresh() -> None:
    forget()
    event.clear()


@pytest.mark.parametrize(
    ("act", "first", "said"),
    [
        (lambda s: s.cancel("one"), lambda e: e.cancel("one"), "(cancel) does nothing: run 'one' has ended, or"),
        (lambda s: s.retry("failed"), lambda e: e.retry("failed"), "(retry) does nothing: run 'failed' has completed"),
        (lambda s: s.unsend(*event), lambda e: e.unsend(*event), "(unsend) does nothing: event "),
        (
            lambda s: s.start(job, {"n": 1}, id="new"),
            lambda e: e.start(job, {"n": 2}, id="new"),
            "(start) does nothing: run 'new' was started with other data",
        ),
    ],
)
def test_what_comes_too_late_is_taken_does_nothing_and_is_one_line_in_the_log(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[Sender], Awaitable[object]],
    first: Callable[[Engine], Awaitable[object]],
    said: str,
) -> None:
    """The sender found the store as it was before the engine did something else."""

    async def story() -> None:
        await have(path, one={"waits": True}, failed={"fails": "failed"})
        async with Engine([job], store=path) as engine:
            event.extend(await engine.send("job/asked", ts=LATER))
        await act(Sender(path))
        with inbox_away(path):
            async with opened(path, job) as engine:
                await first(engine)
                await engine.settled()
            before = await states(path)
        with caplog.at_level(logging.WARNING):
            await states(path)
        assert before == await states(path) and waiting(path) == []
        assert [said in one.getMessage() for one in caplog.records if "inbox" in one.getMessage()] == [True]

    asyncio.run(story())


@contextmanager
def inbox_away(path: Path) -> Iterator[None]:
    """Have what waits in the inbox come later."""
    held = path.with_suffix(".held")
    Path(f"{path}.inbox").rename(held)
    yield
    held.rename(f"{path}.inbox")


def test_a_start_whose_key_another_run_has_claimed_opens_none_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R21: with an id of its own it is opened; that is its key."""

    @durable.function(idempotency="event.data.cart")
    async def buys(ctx: Context) -> int:
        return 1

    async def story() -> None:
        async with Sender(path) as sender:
            first = await sender.start(buys, {"cart": 7})
            second = await sender.start(buys, {"cart": 7})
            await sender.start(buys, {"cart": 7}, id="mine")
        assert await states(path, buys) == {first: 1, "mine": 1}
        assert f"run {first!r} has the key of function 'buys' in place of run {second!r}" in caplog.text

    asyncio.run(story())


def test_a_start_beyond_a_rate_limit_opens_no_run_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @durable.function(rate_limit=durable.RateLimit(1, "1d"))
    async def seldom(ctx: Context) -> int:
        return 1

    async def story() -> None:
        async with Sender(path) as sender:
            for id in ("one", "two"):
                await sender.start(seldom, id=id)
        assert await states(path, seldom) == {"one": 1}
        assert "(start) does nothing: function 'seldom'" in caplog.text

    asyncio.run(story())


def test_a_message_about_a_damaged_run_stays_and_those_behind_it_are_taken(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        await have(path, bad={"fails": "bad"}, good={"waits": True})
        async with Sender(path) as sender:
            await sender.retry("bad")
            await sender.cancel("good")
        bad = "run = (SELECT no FROM runs WHERE id = 'bad')"
        change(path, f"UPDATE journal SET body = body || ' ' WHERE {bad} AND kind = 'StepClosed'")
        async with Engine([job], store=path) as engine, asyncio.timeout(10):
            while len(await asyncio.to_thread(waiting, path)) > 1:
                await asyncio.sleep(0)
            assert (await engine.info("good")).status == "cancelled"
        assert [message.kind for message in waiting(path)] == ["retry"]
        assert "cannot be taken and stays there: StoreCorruptError" in caplog.text

    asyncio.run(story())


def test_data_that_the_engine_would_refuse_stay_in_the_inbox(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        await Sender(path, limits=durable.Limits(event_bytes=2 << 20)).start(job, {"n": "x" * 600_000}, id="big")
        async with durable.Engine([job], store=path) as engine:
            await asyncio.to_thread(sent, path, "job/asked", data={"n": 1})
            while not await engine.runs():
                await asyncio.sleep(0)
        assert [message.kind for message in waiting(path)] == ["start"]
        async with opened(path, job, limits=durable.Limits(event_bytes=2 << 20)) as engine:
            assert (await engine.info("big")).status == "completed"

    asyncio.run(story())
    assert "LimitError" in caplog.text
