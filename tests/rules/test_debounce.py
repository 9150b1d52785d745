"""F4: a run opens once the events of its key have ceased, with the last, at the latest some time after the first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Debounce, DictStore, Engine, Event, FileStore
from durable.testing import Lab, VirtualClock
from durable.testing.lab import START
from tests.support.scenes import Moment, same_scenes, sent

BY_KEY = "event.data.k"


def _indexing(debounce: Debounce | None, name: str = "index", **options: Any) -> durable.Function[Any]:
    @durable.function("doc", id=name, debounce=debounce, **options)
    async def indexing(ctx: Context) -> Any:
        return await ctx.step.run("index", _number, ctx.event.data.get("n"), len(ctx.events))

    return indexing


def _number(n: Any, of: int) -> Any:
    assert of == 1
    return n


def _outputs(runs: Any) -> list[tuple[float, Any]]:
    return [(at, output) for _, at, _, _, output in runs]


def test_the_run_opens_a_period_after_the_last_event_with_that_event() -> None:
    moments = [sent(at, "doc", n=n, k="a") for n, at in enumerate([0, 3, 6, 20, 22])]
    assert _outputs(same_scenes([_indexing(Debounce("5s", key=BY_KEY))], moments, 60)) == [(11, 2), (27, 4)]


def test_the_run_opens_at_the_latest_a_timeout_after_the_first_event() -> None:
    """The run opens at 12 s with the event of 9 s; that of 12 s comes after it and begins anew."""
    moments = [sent(at, "doc", n=n, k="a") for n, at in enumerate([0, 3, 6, 9, 12, 15])]
    runs = same_scenes([_indexing(Debounce("5s", timeout="12s", key=BY_KEY))], moments, 60)
    assert _outputs(runs) == [(12, 3), (20, 5)]


def test_each_key_has_an_event_of_its_own_and_events_without_one_share_a_bucket() -> None:
    keys = [(0, "a"), (1, "b"), (2, 1), (3, True), (4, 1.0), (4.5, None)]
    moments = [sent(at, "doc", n=n, k=k) for n, (at, k) in enumerate(keys)] + [sent(4.75, "doc", n=6)]
    runs = same_scenes([_indexing(Debounce("5s", key=BY_KEY))], moments, 60)
    assert _outputs(runs) == [(5, 0), (6, 1), (8, 3), (9, 4), (9.75, 6)]


@pytest.mark.parametrize(("second", "expected"), [(-1, [(5, 0)]), (0, [(8, 1)]), (1, [(8, 1)])])
def test_an_event_with_an_older_ts_neither_replaces_nor_delays(second: int, expected: list[Any]) -> None:
    first, other = (START - timedelta(hours=1, seconds=-at) for at in (0, second))
    moments = [
        Moment(0, lambda lab: lab.send("doc", {"n": 0}, ts=first)),
        Moment(3, lambda lab: lab.send("doc", {"n": 1}, ts=other)),
    ]
    assert _outputs(same_scenes([_indexing(Debounce("5s"))], moments, 60)) == expected


def test_an_event_that_is_due_later_is_debounced_when_it_is_delivered() -> None:
    moments = [
        Moment(0, lambda lab: lab.send("doc", {"n": 0}, ts=START + timedelta(seconds=7))),
        sent(1, "doc", n=1),
        sent(9, "doc", n=2),
    ]
    assert _outputs(same_scenes([_indexing(Debounce("5s"))], moments, 60)) == [(6, 1), (14, 2)]


def test_waits_are_answered_and_runs_cancelled_at_once() -> None:
    @durable.function("go", cancel=[durable.Cancel("doc", if_exp="async.data.n == 1")])
    async def waiting(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="doc", timeout="1h")
        await ctx.step.sleep("s", "1h")
        return found is not None and found.data["n"]

    moments = [sent(0, "go"), sent(1, "doc", n=0), sent(2, "doc", n=1)]
    runs = same_scenes([_indexing(Debounce("5s")), waiting], moments, 60)
    assert _outputs(runs) == [(0, "cancelled"), (7, 1)]


def test_start_and_invoke_pass_the_debounce_by() -> None:
    indexing = _indexing(Debounce("5s"))

    @durable.function
    async def caller(ctx: Context) -> Any:
        return await ctx.step.invoke("call", function=indexing, data={"n": 5})

    async def story() -> None:
        async with Lab([indexing, caller]) as lab:
            await lab.send("doc", {"n": 0})
            assert await lab.result(await lab.start(indexing, {"n": 4})) == 4
            assert await lab.result(await lab.start(caller)) == 5
            assert lab.clock.now() == START
            await lab.advance("5s")
            assert (await lab.engine.runs())[0].output == 0

    asyncio.run(story())


def test_a_repeated_event_id_neither_replaces_nor_delays() -> None:
    moments = [
        Moment(0, lambda lab: lab.send("doc", {"n": 0}, id="d")),
        Moment(3, lambda lab: lab.send("doc", {"n": 1}, id="d")),
    ]
    assert _outputs(same_scenes([_indexing(Debounce("5s"))], moments, 60)) == [(5, 0)]


def test_two_functions_hold_the_same_event_each_by_its_own_option() -> None:
    functions = [_indexing(Debounce("5s")), _indexing(Debounce("8s"), "late"), _indexing(None, "now")]
    runs = same_scenes(functions, [sent(0, "doc", n=0), sent(1, "doc", n=1)], 60)
    assert [(name, at, output) for name, at, _, _, output in runs] == [
        ("now", 0, 0), ("now", 1, 1), ("index", 6, 1), ("late", 9, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("later", [None, Debounce("1h"), Debounce("5s", key="event.data.other")])
def test_what_is_held_opens_at_its_time_whatever_the_function_declares_by_then(later: Debounce | None) -> None:
    async def story() -> None:
        async with Lab([_indexing(Debounce("5s", key=BY_KEY))]) as lab:
            await lab.send("doc", {"n": 0, "k": 1})
            lab._functions = [_indexing(later)]
            await lab.crash()
            await lab.advance("4s")
            assert await lab.engine.runs() == []
            await lab.advance("1s")
            assert [info.output for info in await lab.engine.runs()] == [0]

    asyncio.run(story())


def test_what_is_held_for_a_function_that_is_gone_stays_and_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    indexing = _indexing(Debounce("5s"))

    async def story() -> None:
        async with Lab([indexing]) as lab:
            await lab.send("doc", {"n": 0})
            lab._functions = []
            await lab.crash()
            await lab.advance("1h")
            await lab.crash()
            assert await lab.engine.runs() == []
            assert len([one for one in caplog.messages if "1 event" in one and "'index'" in one]) == 2, caplog.messages
            await lab.start(indexing, {"n": 1})  # the engine learns the function
            assert [info.output for info in await lab.engine.runs()] == [0, 1]

    asyncio.run(story())


def test_an_event_after_the_time_does_not_join_even_if_the_timer_has_yet_to_fire() -> None:
    indexing = _indexing(Debounce("5s"))

    async def story() -> None:
        clock, store = VirtualClock(START), DictStore()
        async with Engine([indexing], store=store, clock=clock) as engine:
            await engine.send("doc", {"n": 0})
        clock.advance("5s")
        async with Engine([indexing], store=store, clock=clock) as engine:
            await engine.send("doc", {"n": 1})
            await engine.settled()
            assert [info.output for info in await engine.runs()] == [0]
            clock.advance("5s")
            await engine.settled()
            assert [info.output for info in await engine.runs()] == [1, 0]

    asyncio.run(story())


def test_of_a_thousand_replaced_events_recovery_reads_the_last_alone(tmp_path: Path) -> None:
    indexing = _indexing(Debounce("5s"))

    async def story() -> None:
        store, clock = FileStore(tmp_path / "s.db", durability="none"), VirtualClock(START)
        async with Engine([indexing], store=store, clock=clock) as engine:
            await engine.send([Event("doc", {"n": n}) for n in range(1_000)])
        await store.open()
        kinds = [entry.kind async for entry in store.unfinished(clock.now())]
        await store.close()
        assert kinds.count("EventHeld") == 1
        clock.advance("5s")
        async with Engine([indexing], store=store, clock=clock) as engine:
            await engine.settled()
            assert [info.output for info in await engine.runs()] == [999]

    asyncio.run(story())


def test_an_idempotency_key_is_claimed_by_the_event_that_opens_the_run() -> None:
    indexing = _indexing(Debounce("5s"), idempotency="event.data.k")
    moments = [sent(0, "doc", n=0, k=1), sent(1, "doc", n=1, k=2), sent(20, "doc", n=2, k=2), sent(40, "doc", n=3, k=1)]
    assert _outputs(same_scenes([indexing], moments, 60)) == [(6, 1), (45, 3)]
