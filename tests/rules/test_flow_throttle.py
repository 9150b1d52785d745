"""F2: in no window of a throttle's period do more runs start than it allows; the others stay queued, in order."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Concurrency, Context, DictStore, RunCancelled, RunFailed, Throttle
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.gated import Gated
from tests.support.lives import Snapshots, note, records, rounds

pytestmark = pytest.mark.anyio


def kept(path: Path, kind: str) -> int:
    """Return how many records of a kind are in a file, as another process would see it."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM journal WHERE kind = ?", (kind,)).fetchone()[0])


STARTED: list[tuple[Any, float]] = []


def throttled(lab: list[Lab], throttle: Throttle | None, **options: Any) -> durable.Function[Any]:
    @durable.function("call", id="throttled", throttle=throttle, **options)
    async def function(ctx: Context) -> Any:
        STARTED.append((ctx.event.data.get("n"), (lab[0].clock.now() - START) / timedelta(minutes=1)))
        await ctx.step.run("one", note)
        return ctx.event.data.get("n")

    STARTED.clear()
    return function


async def starts(throttle: Throttle, sent: list[tuple[float, Any]], **data: Any) -> list[tuple[Any, float]]:
    """Send events at these minutes; return which runs started when."""
    labs: list[Lab] = []
    async with Lab([throttled(labs, throttle)]) as lab:
        labs.append(lab)
        for minute, n in sent:
            ahead = START + timedelta(minutes=minute) - lab.clock.now()
            if ahead:
                await lab.advance(ahead)
            await lab.send("call", {"n": n, **data})
        await lab.advance("10d")
    return list(STARTED)


async def test_what_is_more_than_the_limit_waits_a_whole_period_in_the_order_of_opening() -> None:
    found = await starts(Throttle(2, "1h"), [(0, 0), (0, 1), (0, 2), (20, 3), (20, 4)])
    assert found == [(0, 0), (1, 0), (2, 60), (3, 60), (4, 120)]


async def test_no_window_of_the_period_holds_more_wherever_it_begins() -> None:
    found = await starts(Throttle(3, "1h"), [(7 * n, n) for n in range(40)])
    assert [n for n, _ in found] == list(range(40))
    instants = [minute for _, minute in found]
    for n, instant in enumerate(instants):
        assert instant == (7 * n if n < 3 else max(7 * n, instants[n - 3] + 60))


async def test_a_burst_starts_at_once_and_later_ones_are_a_part_of_the_period_apart() -> None:
    found = await starts(Throttle(6, "1h", burst=2), [(0, n) for n in range(6)])
    assert [minute for _, minute in found] == [0, 0, 10, 20, 30, 40]
    found = await starts(Throttle(6, "1h", burst=1), [(0, n) for n in range(4)])
    assert [minute for _, minute in found] == [0, 10, 20, 30]


async def test_a_burst_larger_than_the_limit_leaves_the_limit() -> None:
    found = await starts(Throttle(2, "1h", burst=5), [(0, n) for n in range(5)])
    assert [minute for _, minute in found] == [0, 0, 60, 60, 120]


async def test_a_burst_is_filled_up_again_as_time_passes() -> None:
    found = await starts(Throttle(6, "1h", burst=2), [(0, 0), (0, 1), (25, 2), (25, 3), (25, 4)])
    assert [minute for _, minute in found] == [0, 0, 25, 25, 35]


@pytest.mark.parametrize("opened_again", [(30,), (30, 65), (30, 45, 89)])
async def test_a_lowered_limit_with_a_burst_holds_nobody_longer_than_a_period(opened_again: tuple[int, ...]) -> None:
    labs: list[Lab] = []
    store = DictStore()
    async with Lab([throttled(labs, Throttle(4, "1h", burst=2))], store=store) as lab:
        labs[:] = [lab]
        for n in range(5):
            await lab.send("call", {"n": n})
        await lab.advance("30m")
        assert STARTED == [(0, 0), (1, 0), (2, 15), (3, 30)]
    for minute, until in zip(opened_again, (*opened_again[1:], 90), strict=True):
        lowered = throttled(labs, Throttle(1, "1h", burst=2))
        async with Lab([lowered], store=store, start=START + timedelta(minutes=minute)) as lab:
            labs[:] = [lab]
            assert STARTED == []
            await lab.advance(timedelta(minutes=until - minute))
    assert STARTED == [(4, 90)]


async def test_keys_do_not_wait_for_each_other_and_null_is_a_key() -> None:
    labs: list[Lab] = []
    async with Lab([throttled(labs, Throttle(1, "1h", key="event.data.user"))]) as lab:
        labs.append(lab)
        for n, user in enumerate(["a", "a", 1, "1", 1.0, None, None, True]):
            await lab.send("call", {"n": n, "user": user})
        assert [n for n, _ in STARTED] == [0, 2, 3, 5, 7]
        await lab.advance("1h")
        assert [n for n, _ in STARTED] == [0, 2, 3, 5, 7, 1, 4, 6]


async def test_a_run_that_waits_is_queued_and_its_result_comes_in_its_time() -> None:
    labs: list[Lab] = []
    function = throttled(labs, Throttle(1, "1h"))
    async with Lab([function]) as lab:
        labs.append(lab)
        first, second, third = [await lab.start(function, {"n": n}) for n in range(3)]
        assert [(await run.info()).status for run in (first, second, third)] == ["completed", "queued", "queued"]
        assert {info.id for info in await lab.engine.runs(status="queued")} == {second.id, third.id}
        assert await lab.result(third) == 2 and lab.clock.now() == START + timedelta(hours=2)


async def test_attempts_and_a_run_that_is_opened_again_are_no_starts() -> None:
    tried = []

    @durable.function("call", throttle=Throttle(1, "1h"), retries=2, backoff=durable.Backoff("1m", 1.0, jitter=0))
    async def fails(ctx: Context) -> None:
        tried.append(ctx.event.data["n"])
        if len(tried) < 4:
            raise ValueError("again")

    async with Lab([fails]) as lab:
        [run] = await lab.send("call", {"n": 0})
        await lab.send("call", {"n": 1})
        await lab.advance("5m")
        assert tried == [0, 0, 0]
        with pytest.raises(RunFailed):
            await run.result()
        await lab.engine.retry(run.id)
        await lab.settle()
        assert tried == [0, 0, 0, 0] and (await run.info()).status == "completed"
        await lab.advance("55m")
        assert tried == [0, 0, 0, 0, 1]


async def test_a_cancelled_run_leaves_the_queue_and_uses_up_no_start() -> None:
    labs: list[Lab] = []
    function = throttled(labs, Throttle(1, "1h"))
    async with Lab([function]) as lab:
        labs.append(lab)
        runs = [await lab.start(function, {"n": n}) for n in range(4)]
        assert await runs[1].cancel("not now") and not await runs[1].cancel()
        await lab.advance("2h")
        assert STARTED == [(0, 0), (2, 60), (3, 120)]
        with pytest.raises(RunCancelled, match="not now"):
            await runs[1].result()
        await lab.engine.retry(runs[1].id)  # R32 is no start, so it need not wait for one
        await lab.settle()
        assert STARTED[-1] == (1, 120)


async def test_a_run_that_is_queued_too_long_is_cancelled_by_its_timeout() -> None:
    labs: list[Lab] = []
    function = throttled(labs, Throttle(1, "1h"), timeouts=durable.Timeouts(start="90m"))
    async with Lab([function]) as lab:
        labs.append(lab)
        runs = [await lab.start(function, {"n": n}) for n in range(3)]
        await lab.advance("3h")
        assert [(await run.info()).status for run in runs] == ["completed", "completed", "cancelled"]
        assert STARTED == [(0, 0), (1, 60)]


async def test_starts_are_exact_after_a_crash_at_every_write() -> None:
    labs: list[Lab] = []
    function, mapping = throttled(labs, Throttle(2, "1h")), Snapshots()
    async with Lab([function], store=DictStore(mapping)) as lab:
        labs.append(lab)
        for n in range(5):
            await lab.send("call", {"n": n})
        await lab.advance("150m")
    for number, taken in enumerate(mapping.taken):
        before = records(taken)
        latest = max([one.at for one in before if hasattr(one, "at")], default=START)
        store = DictStore(taken)
        labs[:] = [Lab([function], store=store, start=latest)]
        async with labs[0] as lab:
            await lab.advance("10h")
        counted = [one.at for one in records(store.mapping) if type(one).__name__ == "Counted"]
        opened = [one.run for one in records(store.mapping) if type(one).__name__ == "RunOpened"]
        closed = [one.run for one in records(store.mapping) if type(one).__name__ == "RunClosed"]
        assert len(counted) == len(opened) == len(closed), number
        for one, third in zip(counted, counted[2:], strict=False):
            assert third - one >= timedelta(hours=1), number


async def test_a_start_is_durable_before_the_function_is_called(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.db", list[tuple[int, int]]()

    @durable.function("call", throttle=Throttle(1, "1h"))
    async def looks(ctx: Context) -> None:
        seen.append((kept(path, "Counted"), kept(path, "RunAdmitted")))

    async with Lab([looks], store=durable.FileStore(path)) as lab:
        for _ in range(3):
            await lab.send("call")
        await lab.advance("2h")
    assert seen == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("how", ["opened", "defined again", "resumed"])
@pytest.mark.parametrize("bound", ["throttle", "concurrency"])
async def test_a_start_is_durable_first_also_where_many_begin_at_once(how: str, bound: str) -> None:
    store, called = Gated(), list[int]()

    def bounded(limit: int) -> durable.Function[Any]:
        options: Any = {"throttle": Throttle(limit, "1h")}
        if bound == "concurrency":
            options = {"concurrency": Concurrency(limit, counts="runs")}

        @durable.function("call", id="bounded", **options)
        async def function(ctx: Context) -> None:
            called.append(ctx.event.data["n"])
            await ctx.step.sleep("s", "1d")

        return function

    async with Lab([bounded(3 if how == "resumed" else 1)], store=store) as lab:
        if how == "resumed":
            await lab.engine.pause("bounded")
        for n in range(3):
            await lab.send("call", {"n": n})
        if how == "opened":
            await lab.engine.close()
        before = list(called)
        store.gate.clear()
        engine = durable.Engine([bounded(3)], store=store, clock=lab.clock) if how == "opened" else lab.engine
        if how == "opened":
            acting = asyncio.ensure_future(engine.open())
        elif how == "defined again":
            acting = asyncio.ensure_future(engine.start(bounded(3), {"n": 3}))
        else:
            acting = asyncio.ensure_future(engine.resume("bounded"))
        await rounds()
        meanwhile = list(called)
        store.gate.set()
        await acting
        await engine.settled()
        await engine.close()
    again = [0] if how == "opened" else []  # what has begun is called again
    assert meanwhile == before + again and set(called) == {0, 1, 2}


async def test_the_time_of_a_run_begins_with_its_start_and_is_the_same_on_replay_and_in_a_fork() -> None:
    seen: list[tuple[str, float, float]] = []

    @durable.function(throttle=Throttle(1, "1h"))
    async def function(ctx: Context) -> None:
        first = (ctx.now() - START) / timedelta(minutes=1)
        await ctx.step.sleep("s", "5m")
        seen.append((ctx.run_id, first, (ctx.now() - START) / timedelta(minutes=1)))

    async with Lab([function]) as lab:
        await lab.start(function, id="a")
        await lab.start(function, id="b")
        await lab.advance("61m")
        await lab.crash()
        await lab.advance("4m")
        await lab.engine.fork("b", id="c")
        await lab.advance("2h")
    assert seen == [("a", 0, 5), ("b", 60, 65), ("c", 60, 65)]


async def test_a_function_that_is_gone_leaves_its_runs_queued_and_they_go_on_when_it_is_back() -> None:
    labs: list[Lab] = []
    function, mapping = throttled(labs, Throttle(1, "1h")), dict[str, Any]()

    @durable.function
    async def other(ctx: Context) -> None: ...

    labs[:] = [Lab([function], store=DictStore(mapping))]
    async with labs[0] as lab:
        runs = [await lab.start(function, {"n": n}) for n in range(3)]
    async with Lab([other], store=DictStore(mapping), start=START + timedelta(hours=5)) as lab:
        assert [info.status for info in [await lab.engine.info(run.id) for run in runs]] == [
            "completed",
            "queued",
            "queued",
        ]
        labs[:] = [lab]
        await lab.start(function, {"n": 3})
        assert [n for n, _ in STARTED] == [0, 1]
        await lab.advance("2h")
        assert [n for n, _ in STARTED] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (Throttle(1, "1h"), []),
        (Throttle(3, "1h"), [2]),
        (None, [2, 3]),
        (Throttle(2, "1h", "event.data.n"), [2, 3]),
    ],
)
async def test_a_limit_that_was_changed_or_removed_holds_from_the_next_start_on(
    later: Throttle | None, expected: list[int]
) -> None:
    labs: list[Lab] = []
    mapping: dict[str, Any] = {}
    labs[:] = [Lab([throttled(labs, Throttle(2, "1h"))], store=DictStore(mapping))]
    async with labs[0] as lab:
        for n in range(4):
            await lab.send("call", {"n": n})
        assert [n for n, _ in STARTED] == [0, 1]
        now: datetime = lab.clock.now() + timedelta(minutes=59)
    labs[:] = [Lab([throttled(labs, later)], store=DictStore(mapping), start=now)]
    async with labs[0] as lab:
        await lab.settle()
        assert [n for n, _ in STARTED] == expected


async def test_a_result_that_waits_for_a_start_says_so() -> None:
    labs: list[Lab] = []
    function = throttled(labs, Throttle(1, "1h"))
    async with Lab([function]) as lab:
        labs.append(lab)
        await lab.start(function, {"n": 0})
        run = await lab.start(function, {"n": 1})
        with pytest.raises(TimeoutError, match="its start waits for its turn before throttle"):
            await run.result(timeout=0)


async def test_a_start_is_counted_whatever_prune_takes() -> None:
    labs: list[Lab] = []
    mapping: dict[str, Any] = {}
    function = throttled(labs, Throttle(1, "1h"))
    store = DictStore(mapping)
    labs[:] = [Lab([function], store=store)]
    async with labs[0] as lab:
        await lab.send("call", {"n": 0})
        assert await store.prune(lab.clock.now() + timedelta(seconds=1)) == 1
    labs[:] = [Lab([function], store=DictStore(mapping))]
    async with labs[0] as lab:
        await lab.send("call", {"n": 1})
        assert STARTED == [(0, 0)]
        await lab.advance("1h")
        assert STARTED == [(0, 0), (1, 60)]
