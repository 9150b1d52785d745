"""F5: one run for several events of a key: so many, or what has come some time after the first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Batch, Context, DictStore, Event, FileStore, Limits
from durable.engine import inside
from durable.journal import rest_of
from durable.testing import Lab
from tests.support.scenes import Moment, same_scenes, sent

BY_KEY = "event.data.k"


def _bulk(batch: Batch | None, name: str = "bulk", **options: Any) -> durable.Function[Any]:
    @durable.function("row", id=name, batch_events=batch, **options)
    async def bulk(ctx: Context) -> Any:
        assert ctx.event == ctx.events[0]
        return await ctx.step.run("insert", _numbers, [event.data["n"] for event in ctx.events])

    return bulk


def _numbers(numbers: list[int]) -> list[int]:
    return numbers


def _outputs(runs: Any) -> list[tuple[float, Any]]:
    return [(at, output) for _, at, _, _, output in runs]


def test_the_run_opens_with_the_last_event_that_fits_or_a_timeout_after_the_first() -> None:
    moments = [sent(at, "row", n=n) for n, at in enumerate([0, 1, 2, 3, 4])]
    assert _outputs(same_scenes([_bulk(Batch(3, "10s"))], moments, 60)) == [(2, [0, 1, 2]), (13, [3, 4])]


def test_each_key_has_batches_of_its_own() -> None:
    keys = ["a", "b", "a", 1, 1.0, True, "b"]
    moments = [sent(at, "row", n=at, k=k) for at, k in enumerate(keys)]
    runs = same_scenes([_bulk(Batch(2, "10s", BY_KEY))], moments, 60)
    assert _outputs(runs) == [(2, [0, 2]), (4, [3, 4]), (6, [1, 6]), (15, [5])]


def test_an_event_for_which_if_exp_is_false_or_fails_runs_alone_at_once(caplog: pytest.LogCaptureFixture) -> None:
    batch = Batch(2, "10s", if_exp="event.data.n < 10 || int(event.data.s) > 0")
    moments = [
        sent(0, "row", n=1), sent(1, "row", n=11, s="0"), sent(2, "row", n=12, s="x"), sent(3, "row", n=2),
    ]  # fmt: skip
    runs = same_scenes([_bulk(batch)], moments, 60)
    assert _outputs(runs) == [(1, [11]), (2, [12]), (3, [1, 2])]
    assert any("if_exp of the batch of function 'bulk'" in one for one in caplog.messages)


def test_events_that_are_sent_together_keep_their_order_and_fill_several_batches() -> None:
    moments = [Moment(0, lambda lab: lab.send([Event("row", {"n": n}) for n in range(7)]))]
    runs = same_scenes([_bulk(Batch(3, "10s"))], moments, 60)
    assert _outputs(runs) == [(0, [0, 1, 2]), (0, [3, 4, 5]), (10, [6])]


@pytest.mark.parametrize("size", [1, 2])
def test_the_run_has_the_id_of_its_first_event(size: int) -> None:
    async def story() -> None:
        async with Lab([_bulk(Batch(size, "10s"))]) as lab:
            first = (await lab.engine.send("row", {"n": 0}))[0]
            await lab.crash()
            await lab.engine.send("row", {"n": 1})
            await lab.advance("10s")
            assert (await lab.engine.runs())[-1].id == f"{first}/bulk"

    asyncio.run(story())


def test_a_batch_holds_ten_megabytes_at_the_most() -> None:
    big = "x" * (4 * 1_024 * 1_024)

    async def story() -> None:
        lab = Lab([_bulk(Batch(100, "10s"))])
        durable.engine.set_up(lab.engine, limits=Limits(event_bytes=16 * 1_024 * 1_024))
        async with lab:
            for n in range(3):
                await lab.send("row", {"n": n, "big": big})
            await lab.send("row", {"n": 3, "big": big * 3})
            assert [info.output for info in await lab.engine.runs()] == [[3], [2], [0, 1]]

    asyncio.run(story())


def test_a_lowered_limit_holds_for_what_is_held() -> None:
    async def story() -> None:
        async with Lab([_bulk(Batch(100, "10s"))]) as lab:
            await lab.send([Event("row", {"n": n}) for n in range(5)])
            lab._functions = [_bulk(Batch(2, "1h"))]
            await lab.crash()
            assert await lab.engine.runs() == []
            await lab.advance("10s")
            assert [info.output for info in reversed(await lab.engine.runs())] == [[0, 1], [2, 3], [4]]

    asyncio.run(story())


def test_what_is_held_opens_whole_at_its_time_if_the_option_is_gone() -> None:
    async def story() -> None:
        async with Lab([_bulk(Batch(100, "10s"))]) as lab:
            await lab.send([Event("row", {"n": n}) for n in range(3)])
            lab._functions = [_bulk(None)]
            await lab.crash()
            await lab.send("row", {"n": 9})
            await lab.advance("10s")
            assert [info.output for info in reversed(await lab.engine.runs())] == [[9], [0, 1, 2]]

    asyncio.run(story())


@pytest.mark.parametrize("how", ["live", "parked", "at rest"])
def test_lifecycle_events_carry_the_first_event_and_the_ids_of_the_others(how: str) -> None:
    told: list[Any] = []

    @durable.function("row", id="bulk", batch_events=Batch(3, "10s"))
    async def bulk(ctx: Context) -> None:
        await ctx.step.sleep("s", "1h")

    @durable.function("durable/function.cancelled")
    async def listening(ctx: Context) -> None:
        told.append((ctx.event.data["event"]["id"], ctx.event.data["other_event_ids"]))

    async def story() -> None:
        lab = Lab([bulk, listening])
        if how == "parked":
            durable.engine.set_up(lab.engine, resident=0)
        async with lab:
            for name in "abc":
                await lab.send("row", {"n": 0}, id=name)
            run = (await lab.engine.runs())[0]
            assert [event.id for event in run.events] == ["a", "b", "c"]
            if how == "at rest":
                runtime = inside(lab.engine, "test")
                runtime.journal.post(rest_of(runtime.state.ledgers[run.id], "s", lab.clock.now()))
                await runtime.journal.synced()
                await lab.crash()
            await lab.engine.cancel(run.id)
            await lab.settle()

    asyncio.run(story())
    assert told == [("a", ["b", "c"])]


def test_an_idempotency_key_goes_by_the_first_event() -> None:
    bulk = _bulk(Batch(2, "10s"), idempotency="event.data.k")
    moments = [sent(at, "row", n=at, k=k) for at, k in enumerate([1, 2, 2, 1, 1, 9])]
    assert _outputs(same_scenes([bulk], moments, 60)) == [(1, [0, 1]), (3, [2, 3])]


def test_events_of_a_batch_are_the_runs_own_and_survive_its_reopening() -> None:
    broken = [True]

    @durable.function("row", id="bulk", batch_events=Batch(2, "10s"), retries=0)
    async def bulk(ctx: Context) -> Any:
        ctx.events[1].data["n"] = "changed"  # type: ignore[index]
        await ctx.step.sleep("s", "1s")
        if broken:
            raise ValueError("broken")
        return [event.data["n"] for event in ctx.events]

    async def story() -> None:
        async with Lab([bulk]) as lab:
            await lab.send([Event("row", {"n": n}) for n in range(2)])
            await lab.advance("1s")
            run = (await lab.engine.runs())[0]
            assert run.status == "failed" and [event.data["n"] for event in run.events] == [0, 1]
            broken.clear()
            await lab.crash()
            await lab.engine.retry(run.id)
            await lab.advance("1s")
            assert await lab.engine.result(run.id) == [0, "changed"]
            assert [event.data["n"] for event in (await lab.engine.info(run.id)).events] == [0, 1]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_the_run_is_found_by_every_member(tmp_path: Path, kind: str) -> None:
    """By what `send` has returned, and by the sender's own id."""

    async def story() -> None:
        store = DictStore() if kind == "dict" else FileStore(tmp_path / "s.db", durability="none")
        async with Lab([_bulk(Batch(3, "10s"))], store=store) as lab:
            ids = [(await lab.engine.send("row", {"n": n}, id=id))[0] for n, id in enumerate(["mine", None, "ours"])]
            await lab.engine.send("row", {"n": 3})
            await lab.settle()
            for _ in range(2):
                for id in [*ids, "mine", "ours"]:
                    assert [run.id for run in await lab.engine.runs(event_id=id)] == [f"{ids[0]}/bulk"], id
                assert await lab.engine.runs(event_id="other") == []
                await lab.crash()

    asyncio.run(story())
