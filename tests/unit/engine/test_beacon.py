"""S2: another process sees which steps run, since when, and how far they are; and nothing of an engine that is gone."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine import beacon
from durable.journal.history import ledger_of
from durable.stores import FileReader, LiveFile
from durable.views import Live, LiveStep, live_of, live_text
from tests.bench.idle import CountingLoop, SkippingClock
from tests.support.beacons import Hold, names, opened, seen, steps, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon, "EVERY", 0.01)


def count(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> list[Any]:
    """Return a list that grows by the instance with each call of a method."""
    calls, method = list[Any](), getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda self, *given: calls.append(self) or method(self, *given))
    return calls


async def test_another_process_sees_which_steps_run_since_when_and_how_far_they_are(tmp_path: Path) -> None:
    path, hold = tmp_path / "x.db", Hold()

    async def work() -> None:
        durable.progress(3, 10, "rows")
        await hold.wait()

    @durable.function
    async def both(ctx: durable.Context) -> None:
        await asyncio.gather(ctx.step.run("work", work), ctx.step.run("block", hold.block), ctx.step.sleep("day", "1d"))

    before = datetime.now(UTC)
    async with opened(path, both) as engine:
        await engine.start(both, id="b")
        live = await until(path, lambda live: sum(step.began_at is not None for step in steps(live, "b")) == 2)
        assert set(live.running) == {"b"}
        info = await seen(path, "b")
        assert info.status == "running"
        assert {key: step.status for key, step in info.steps.items()} == {
            "work": "running",
            "block": "running",
            "day": "waiting",
        }
        assert info.steps["work"].progress == durable.Progress(3, 10, "rows")
        for key in ("work", "block"):
            began = info.steps[key].began_at
            assert began is not None and before <= began <= datetime.now(UTC)
            assert began == (await engine.info("b")).steps[key].began_at
        hold.let_go()
        await until(path, lambda live: not live.running)
        info = await seen(path, "b")
        assert info.status == "waiting" and info.steps["work"].status == "completed"
    assert names(tmp_path) == ["x.db", "x.db.lock"]


async def test_a_later_try_a_function_that_waits_outside_steps_and_a_recovered_run_are_seen(tmp_path: Path) -> None:
    """Each begins without a record of its own: only the engine knows."""
    path, holds = tmp_path / "x.db", [Hold(), Hold(), Hold()]
    tries = 0

    async def flaky() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("not yet")
        await holds[0].wait()

    @durable.function
    async def outside(ctx: durable.Context) -> None:
        await ctx.step.run(durable.StepOptions("flaky", backoff=durable.Backoff("50ms")), flaky)
        await holds[1].wait()
        await ctx.step.run("last", holds[2].wait)

    async with opened(path, outside) as engine:
        await engine.start(outside, id="o")
        live = await until(path, lambda live: "flaky" in live.running.get("o", ()))
        assert live.running["o"]["flaky"].attempt == 1
        step = (await seen(path, "o")).steps["flaky"]
        assert (step.status, step.attempts) == ("running", 1)
        holds[0].let_go()
        await until(path, lambda live: live.running.get("o") == {})
        assert (await seen(path, "o")).status == "running"
        holds[1].let_go()
        await until(path, lambda live: "last" in live.running.get("o", ()))
    assert (await seen(path, "o")).status == "waiting"
    async with opened(path, outside) as engine:
        await until(path, lambda live: "last" in live.running.get("o", ()))
        holds[2].let_go()
        await engine.result("o")


async def test_the_status_of_what_does_not_run_follows_from_its_record(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    @durable.function
    async def sleeper(ctx: durable.Context) -> None:
        await ctx.step.sleep("day", "1d")

    async with opened(path, sleeper) as engine:
        await engine.start(sleeper, id="s")
        await engine.settled()
        assert (await seen(path, "s")).status == "waiting"
        await engine.cancel("s")
        assert (await seen(path, "s")).status == "cancelled"

    @durable.function
    async def gone(ctx: durable.Context) -> None: ...

    async with opened(path, gone) as engine:
        assert await engine.invoke(gone, id="g") is None
        assert (await seen(path, "g")).status == "completed"


async def test_what_has_not_changed_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hold = tmp_path / "x.db", Hold()
    looks, writes = count(monkeypatch, beacon.Beacon, "_look"), count(monkeypatch, LiveFile, "write")

    @durable.function
    async def waits(ctx: durable.Context) -> None:
        await ctx.step.run("wait", hold.wait)

    async with opened(path, waits) as engine:
        run = await engine.start(waits, id="w")
        await until(path, lambda live: "wait" in live.running.get("w", ()))
        before = len(looks), len(writes)
        while len(looks) < before[0] + 5:
            await asyncio.sleep(0.001)
        assert len(writes) == before[1]
        hold.let_go()
        await run.result()


@pytest.mark.parametrize("way", ["gone", "replaced"])
async def test_a_file_that_is_taken_away_is_made_again_although_nothing_has_changed(tmp_path: Path, way: str) -> None:
    """A step may run for hours, and something may clean up the folder meanwhile."""
    path, live, hold = tmp_path / "x.db", tmp_path / "x.db.live", Hold()

    @durable.function
    async def waits(ctx: durable.Context) -> None:
        await ctx.step.run("wait", hold.wait)

    async with opened(path, waits) as engine:
        run = await engine.start(waits, id="w")
        for _ in range(2):
            await until(path, lambda live: "wait" in live.running.get("w", ()))
            os.rename(live, tmp_path / "away")
            if way == "replaced":
                live.write_bytes((tmp_path / "away").read_bytes())  # as a copy that was brought back: nobody holds it
        await until(path, lambda live: "wait" in live.running.get("w", ()))
        hold.let_go()
        await run.result()
    assert not live.exists()


async def test_engines_of_one_process_tell_of_their_own_runs(tmp_path: Path) -> None:
    hold = Hold()

    @durable.function
    async def waits(ctx: durable.Context) -> None:
        await ctx.step.run("wait", hold.wait)

    async with opened(tmp_path / "a.db", waits) as one, opened(tmp_path / "b.db", waits) as other:
        await one.start(waits, id="of-a")
        await other.start(waits, id="of-b")
        assert set((await until(tmp_path / "a.db", lambda live: live.running)).running) == {"of-a"}
        assert set((await until(tmp_path / "b.db", lambda live: live.running)).running) == {"of-b"}
        hold.let_go()


async def test_what_was_left_by_a_dead_process_is_taken_away_at_the_close(tmp_path: Path) -> None:
    @durable.function
    async def nothing(ctx: durable.Context) -> None: ...

    async with opened(tmp_path / "x.db", nothing):
        pass
    dead = LiveFile(str(tmp_path / "x.db"))
    dead.write("left")
    dead.close()
    async with opened(tmp_path / "x.db", nothing):
        pass
    assert not (tmp_path / "x.db.live").exists()


def test_a_text_comes_back_as_what_was_told_and_any_other_tells_nothing() -> None:
    at = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
    live = Live(
        {
            'a "run"\n': {"step:1": LiveStep(2, at, durable.Progress(0.5, None, "☃\x1b[31m")), "other": LiveStep()},
            "outside of steps": {},
        }
    )
    assert live_of(live_text(live)) == live
    assert live_of(live_text(live).replace('"attempt"', '"more": 1, "attempt"')) == live
    for text in (None, "", "{}", "[]", "nonsense", '{"running": 3}', '{"running": {"a": {"b": {}}}}', "[" * 100_000):
        assert live_of(text) == Live()


async def test_a_try_that_has_ended_since_is_not_shown_as_running(tmp_path: Path) -> None:
    path, hold = tmp_path / "x.db", Hold()

    async def fail() -> None:
        raise OSError("not yet")

    @durable.function
    async def ends(ctx: durable.Context) -> None:
        await ctx.step.run("quick", int)
        cut = asyncio.create_task(ctx.step.run("cut", hold.wait))
        await asyncio.gather(ctx.step.sleep("short", 0.01))
        cut.cancel()
        await ctx.step.run(durable.StepOptions("flaky", backoff=durable.Backoff("1d")), fail)

    async with opened(path, ends) as engine:
        await engine.start(ends, id="e")
        while "flaky" not in (await engine.info("e")).steps:
            await asyncio.sleep(0.001)
        await engine.settled()
        async with FileReader(path) as reader:
            ledger = await ledger_of(reader.history("e"))
    assert ledger is not None
    now = {"quick": "completed", "cut": "cancelled", "short": "completed", "flaky": "retrying"}
    stale = Live({"e": {key: LiveStep(0, datetime.now(UTC), durable.Progress(1)) for key in now}})
    steps = stale.pictured(ledger).steps
    assert {key: (step.status, step.progress) for key, step in steps.items()} == {
        key: (status, None) for key, status in now.items()
    }
    assert stale.steps(ledger) == {}


async def test_code_that_goes_on_outside_steps_after_a_wait_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No try begins, so only the record of the wait's end tells of it."""
    path, hold = tmp_path / "x.db", Hold()
    looks = count(monkeypatch, beacon.Beacon, "_look")

    @durable.function
    async def outside(ctx: durable.Context) -> None:
        await ctx.step.wait_for_event("go", event="go", timeout="1d")
        await hold.wait()

    async with opened(path, outside) as engine:
        await engine.start(outside, id="o")
        await engine.settled()
        async with asyncio.timeout(20):
            while not looks or looks[0]._is_looking:
                await asyncio.sleep(0.001)
        await engine.send("go")
        await until(path, lambda live: live.running == {"o": {}})
        hold.let_go()
        await engine.result("o")


def test_an_engine_that_was_busy_and_is_idle_looks_and_writes_no_more(tmp_path: Path) -> None:
    """Section 9: idle. Of what has run nothing is left to be told."""
    hold = Hold()

    @durable.function
    async def busy(ctx: durable.Context) -> None:
        await ctx.step.run("work", hold.wait)
        await ctx.step.sleep("days", "9d")

    async def story(loop: CountingLoop) -> int:
        async with opened(tmp_path / "x.db", busy, clock=SkippingClock(loop)) as engine:
            for number in range(3):
                await engine.start(busy, id=f"b{number}")
            await until(tmp_path / "x.db", lambda live: len(live.running) == 3)
            hold.let_go()
            await engine.settled()
            await until(tmp_path / "x.db", lambda live: not live.running)
            await loop.wake_ups_in(60, skipping=True)
            written = os.stat(tmp_path / "x.db.live").st_mtime_ns
            found = await loop.wake_ups_in(30, skipping=True)
            assert os.stat(tmp_path / "x.db.live").st_mtime_ns == written
            return found

    loop = CountingLoop()
    try:
        asyncio.set_event_loop(loop)
        assert loop.run_until_complete(story(loop)) <= 1
    finally:
        asyncio.set_event_loop(None)
        loop.close()
