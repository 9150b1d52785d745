"""S10: an engine says how it is, whatever its state: what is wrong, how many runs there are, how late it is."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine import condition
from durable.stores import Inbox, Message, Room
from durable.testing import FailingStore, VirtualClock

pytestmark = pytest.mark.anyio

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@durable.function(retries=0)
async def worker(ctx: durable.Context) -> None:
    """Come to the end that its data name."""
    match ctx.event.data["end"]:
        case "fails":
            raise OSError("it fails")
        case "sleeps":
            await ctx.step.sleep("day", "1d")


def damage(inbox: str) -> None:
    Path(inbox).write_bytes(b"no inbox" * 1_000)


def bytes_of(path: Path) -> int:
    return sum(Path(f"{path}{suffix}").stat().st_size for suffix in ("", "-wal"))


@asynccontextmanager
async def opened(*functions: Any, **options: Any) -> AsyncIterator[durable.Engine]:
    async with durable.Engine([worker, *functions], **options) as engine:
        yield engine


async def test_a_healthy_engine_counts_its_runs_by_status_and_its_bytes(tmp_path: Path) -> None:
    path, going = tmp_path / "x.db", asyncio.Event()

    @durable.function
    async def waits(ctx: durable.Context) -> None:
        await ctx.step.run("wait", going.wait)

    async with opened(waits, store=path) as engine:
        for number, end in enumerate(["fails", "well", "well", "sleeps", "sleeps"]):
            await engine.start(worker, {"end": end}, id=f"{end}{number}")
        await engine.settled()
        await engine.start(waits)
        await engine.cancel("sleeps4")
        health = await engine.health()
        assert health.status == "ok" and health.is_ok and health.recovered == 0
        assert health.runs == {
            "queued": 0,
            "running": 1,
            "waiting": 1,
            "completed": 2,
            "failed": 1,
            "cancelled": 1,
        }
        assert health.late_by == timedelta() and health.queued == {}
        assert health.opened_at is not None and health.opened_at <= datetime.now(UTC)
        assert health.store_bytes == bytes_of(path)
        assert json.loads(json.dumps(health.to_dict()))["opened_at"] == health.opened_at.isoformat()
        going.set()
    async with opened(waits, store=path) as engine:
        health = await engine.health()
        assert health.recovered == 2 and health.runs["waiting"] == 1 and health.runs["failed"] == 0


async def test_parked_runs_wait_and_a_dict_has_no_bytes() -> None:
    async with opened(resident=0) as engine:
        for _ in range(3):
            await engine.start(worker, {"end": "sleeps"})
        await engine.settled()
        health = await engine.health()
        assert (health.status, health.runs["waiting"], health.store_bytes) == ("ok", 3, None)


async def test_an_engine_that_is_not_open_says_so_instead_of_raising(tmp_path: Path) -> None:
    engine = durable.Engine([worker], store=tmp_path / "x.db")
    assert (await engine.health()).status == "the engine is not open"
    opening = asyncio.ensure_future(engine.open())
    await asyncio.sleep(0)
    assert "the engine opens" in (await engine.health()).status
    await opening
    assert (await engine.health()).is_ok
    closing = asyncio.ensure_future(engine.close())
    await asyncio.sleep(0)
    assert "the engine closes" in (await engine.health()).status
    await closing
    health = await engine.health()
    assert (health.status, health.opened_at) == ("the engine is not open", None)


async def test_a_store_that_has_failed_is_told_of() -> None:
    async with opened(store=FailingStore(durable.DictStore(), at=3)) as engine:
        with pytest.raises(durable.StoreError):
            for number in range(9):
                await engine.start(worker, {"end": "sleeps"}, id=f"s{number}")
        health = await engine.health()
        assert health.status.startswith("the store has failed: append 3 failed")
        assert not health.is_ok


async def test_a_store_that_another_program_has_locked_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "PATIENCE", 0.05)
    async with opened(store=tmp_path / "x.db") as engine:
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        starting = asyncio.ensure_future(engine.start(worker, {"end": "sleeps"}))
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(10):
                status = (await engine.health()).status
        finally:
            other.close()
        await starting
        assert status == "the store has kept nothing for 0.05 s: its disk is slow, or another program has it locked"
        assert (await engine.health()).is_ok


async def test_a_disk_that_is_nearly_full_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(store=tmp_path / "x.db") as engine:
        monkeypatch.setattr(condition, "LEAST_FREE", 1 << 62)
        assert "the disk is nearly full: " in (await engine.health()).status
    assert Room(2, 1, 0).free == 0


async def test_messages_that_cannot_be_taken_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(store=path):
        pass
    Inbox(str(path)).put([Message("01", "SentLater", "{}")])
    async with opened(store=path) as engine:
        assert (await engine.health()).status == "1 message cannot be taken and stays in the inbox: the log says why"


async def until(says: str, engine: durable.Engine) -> None:
    """Wait until the engine's status has these words in it."""
    async with asyncio.timeout(20):
        while says not in (status := (await engine.health()).status):
            assert status == "ok"
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("mended", ["taken away", "put back"])
async def test_an_inbox_that_cannot_be_read_is_told_of_until_it_can_be(tmp_path: Path, mended: str) -> None:
    path, clock = tmp_path / "x.db", VirtualClock(datetime.now(UTC) + timedelta(days=1))
    inbox = f"{path}.inbox"
    async with opened(store=path, clock=clock) as engine:
        damage(inbox)
        clock.advance("30s")
        await until("nothing is taken from the inbox: ", engine)
        assert inbox in (await engine.health()).status
        os.remove(inbox)
        if mended == "put back":
            await durable.Sender(path).start(worker, {"end": "sleeps"}, id="sent")
        clock.advance("30s")
        while (health := await engine.health()).runs["waiting"] < (mended == "put back") or not health.is_ok:
            await asyncio.sleep(0.001)


async def test_old_runs_that_cannot_be_forgotten_are_told_of_until_they_can_be() -> None:
    class Keeps(durable.DictStore):
        why: str | None = "attempt to write a readonly database"

        async def prune(self, ended_before: datetime) -> int:
            if self.why is not None:
                raise durable.StoreError(self.why)
            return await super().prune(ended_before)

    store, clock = Keeps(), VirtualClock(NOON)
    async with opened(store=store, clock=clock, retention="30d") as engine:
        await until(f"what has ended long ago is not forgotten: {store.why}", engine)
        await engine.start(worker, {"end": "sleeps"})  # it hinders nothing else
        await engine.settled()
        store.why = None
        clock.advance("1h")
        while not (await engine.health()).is_ok:
            await asyncio.sleep(0)


async def test_runs_without_their_function_are_queued_and_told_of_until_it_is_there() -> None:
    @durable.function
    async def gone(ctx: durable.Context) -> None:
        await ctx.step.sleep("day", "1d")

    mapping: dict[str, Any] = {}
    clock = VirtualClock(NOON)
    async with opened(gone, store=durable.DictStore(mapping), clock=clock) as engine:
        await engine.start(gone, id="g")
        await engine.settled()
    async with opened(store=durable.DictStore(mapping), clock=clock) as engine:
        health = await engine.health()
        assert health.status == "runs stay parked, their functions are not registered: 'gone'"
        await engine.start(gone, id="another")
        await engine.settled()
        assert (await engine.health()).is_ok


async def test_how_late_the_oldest_deadline_is_and_that_something_blocks() -> None:
    clock = VirtualClock(NOON)
    async with opened(clock=clock) as engine:
        await engine.start(worker, {"end": "sleeps"})
        await engine.settled()
        assert (await engine.health()).late_by == timedelta()
        clock._now += timedelta(days=1, minutes=2)  # the machine's time passes while nothing calls back
        health = await engine.health()
        assert health.late_by == timedelta(minutes=2)
        assert health.status == "deadlines are met 120 s late: something blocks the event loop"


async def test_it_belongs_to_its_loop() -> None:
    async with opened() as engine:
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(engine.health())
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "run_coroutine_threadsafe" in str(errors[0])
