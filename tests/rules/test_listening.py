"""What a wait and a Cancel can match at all, and how long an id counts (rules R20 and R21), in three ways of living."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Cancel, Context, DictStore, Event
from durable.testing import Lab
from tests.support.ways import WAYS, lab_of

# A `match` that is absent in the run's own event (R20).


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("data", "path", "said"),
    [
        ({"id": 7, "total": 5}, "data.invoice_id", "it has no 'data.invoice_id': there is 'id', 'total' in 'data'"),
        ({}, "data.id", "it has no 'data.id': there is nothing in 'data'"),
        ({"a": {"b": 1}}, "data.a.id", "it has no 'data.a.id': there is 'b' in 'data.a'"),
        ({"a": 1}, "data.a.id", "'data.a' is no mapping"),
        ({"a": None}, "data.a.id", "'data.a' is no mapping"),
        ({"a": [{"id": 1}]}, "data.a.id", "'data.a' is no mapping"),
        ({"ID": 1}, "data.id", "there is 'ID' in 'data'"),
    ],
)
def test_a_match_that_is_absent_in_the_runs_own_event_is_refused_at_the_call(
    data: dict[str, Any], path: str, said: str, way: str, tmp_path: Path
) -> None:
    """R20: it could never match; the error names the keys there are, and who catches it goes on."""

    @durable.function(retries=0)
    async def waits(ctx: Context) -> Any:
        with pytest.raises(ValueError, match="can never match") as refused:
            await ctx.step.wait_for_event("w", event="e", timeout="1h", match=path)
        await ctx.step.sleep("s", "1h")
        assert ctx.run_id in str(refused.value) and "step 'w'" in str(refused.value)
        return str(refused.value)

    async def story() -> None:
        async with lab_of(way, [waits], tmp_path) as lab:
            run = await lab.start(waits, data, id="r")
            assert list((await run.info()).steps) == ["s"]
            await lab.crash()
            assert said in await lab.result(run)

    asyncio.run(story())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("own", [None, False, 0, "", [], {}])
def test_a_value_that_is_there_is_not_absent(own: Any, way: str, tmp_path: Path) -> None:
    """R20: null, false and nothing are values; each matches its like, and no event that lacks the path."""

    @durable.function
    async def waits(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="e", timeout="1h", match="data.id")
        return event and event.data["n"]

    async def story() -> None:
        async with lab_of(way, [waits], tmp_path) as lab:
            run = await lab.start(waits, {"id": own})
            for number, data in enumerate([{}, {"id": "another"}, {"id": own}]):
                await lab.crash()
                await lab.send("e", {**data, "n": number})
            assert await run.result() == 2

    asyncio.run(story())


def test_a_wait_that_an_older_release_recorded_stands() -> None:
    """R20: it was not refused then; replayed, it is what it was: a wait that times out."""

    @durable.function
    async def waits(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("w", event="e", timeout="1h", match="data.id")

    async def story() -> None:
        async with Lab([waits]) as lab:
            await lab.start(waits, {"id": 1}, id="r")
            store = lab._store
            assert isinstance(store, DictStore)
            mapping = dict(store.mapping)
            now = lab.clock.now()
        for name, batch in mapping.items():
            if name.startswith("batch/"):
                mapping[name] = tuple((*fact[:3], fact[3].replace('{"id":1}', '{"ID":1}'), *fact[4:]) for fact in batch)
        async with Lab([waits], store=DictStore(mapping), start=now) as lab:
            run = await lab.engine.run("r")
            await lab.send("e", {"id": 1})
            assert await lab.result(run) is None

    asyncio.run(story())


@pytest.mark.parametrize("way", WAYS)
def test_a_cancel_that_can_never_match_is_warned_of_when_the_run_opens(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R20: one WARNING that names the keys there are, by whatever door the run comes; none when it is recovered."""

    @durable.function("go", cancel=[Cancel("stop", match="data.order_id"), Cancel("stop", match="data.id")])
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("s", "1h")

    @durable.function("go")
    async def calls(ctx: Context) -> None:
        await ctx.step.invoke("i", function=f, data={"id": 3, "total": 1})

    async def story() -> None:
        async with lab_of(way, [f, calls], tmp_path) as lab:
            runs = [*await lab.send("go", {"id": 1}), await lab.start(f, {"id": 2})]
            opened = [record.getMessage() for record in caplog.records if "can never match" in record.getMessage()]
            await lab.crash()
            await lab.send("stop", {"id": 1, "order_id": 1})
            await lab.send("stop", {"id": 2})
            statuses = [(await run.info()).status for run in runs]
            assert sorted(statuses) == ["cancelled", "cancelled", "waiting"]
            [said] = opened
            assert "Cancel(match='data.order_id') of function 'f'" in said and "there is 'id' in 'data'" in said

    asyncio.run(story())
    assert sum("can never match" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_field_that_is_absent_in_both_events_is_equal_in_an_expression(way: str, tmp_path: Path) -> None:
    """R20: it is null in both; so says the docstring, and that `match` is otherwise."""

    @durable.function(cancel=Cancel("stop", if_exp="async.data.none == event.data.none"))
    async def waits(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="e", timeout="1h", if_exp="async.data.id == event.data.id")
        await ctx.step.sleep("s", "1h")
        return event and event.data["n"]

    async def story() -> None:
        async with lab_of(way, [waits], tmp_path) as lab:
            run = await lab.start(waits, {"other": 1})
            await lab.crash()
            await lab.send("e", {"id": 1, "n": 1})
            await lab.send("stop", {"none": 1})
            await lab.send("e", {"n": 2})
            await lab.crash()
            assert "s" in (await run.info()).steps
            await lab.send("stop", {"some": 1})
            assert (await run.info()).status == "cancelled"

    asyncio.run(story())
    for doc in (durable.Cancel.__doc__, durable.Step.wait_for_event.__doc__):
        assert doc is not None and "absent in both" in " ".join(doc.split())


# How long an id counts (R21).


@durable.function("go")
async def heard(ctx: Context) -> Any:
    return ctx.event.data["n"]


async def _heard(lab: Lab) -> list[Any]:
    return sorted(info.output for info in await lab.engine.runs(function=heard))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ahead", ["1h", "23h", "24h", "25h", "40d"])
def test_the_id_of_an_event_counts_while_it_is_to_come_and_24_hours_from_its_delivery(
    ahead: str, way: str, tmp_path: Path
) -> None:
    """R21: however long it is scheduled, it is delivered once; a day after that, its id is free again."""

    async def story() -> None:
        async with lab_of(way, [heard], tmp_path) as lab:
            due = lab.clock.now() + durable.timers.duration(ahead)
            [first] = await lab.engine.send("go", {"n": 1}, id="x", ts=due)

            async def is_known() -> None:
                await lab.crash()
                assert await lab.engine.send("go", {"n": 2}, id="x") == [first]
                assert await lab.engine.send([Event("go", {"n": 3}, id="x", ts=due + timedelta(days=9))]) == [first]
                await lab.settle()

            await is_known()
            await lab.advance(due - lab.clock.now() - timedelta(seconds=1))
            await is_known()
            assert await _heard(lab) == []
            await lab.advance("1s")
            await is_known()
            await lab.advance(timedelta(days=1) - timedelta(seconds=1))
            await is_known()
            assert await _heard(lab) == [1]
            await lab.advance("1s")
            await lab.crash()
            assert await lab.engine.send("go", {"n": 4}, id="x") != [first]
            await lab.settle()
            assert await _heard(lab) == [1, 4]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_an_event_that_came_due_while_nothing_ran_is_known_at_once(kind: str, tmp_path: Path) -> None:
    """R21: also between the opening and its delivery, and for 24 h from then."""

    async def story() -> None:
        mapping: dict[str, Any] = {}

        def store() -> durable.Store:
            return DictStore(mapping) if kind == "dict" else durable.FileStore(tmp_path / "x.db")

        async with Lab([heard], store=store()) as lab:
            now = lab.clock.now()
            [first] = await lab.engine.send("go", {"n": 1}, id="x", ts=now + timedelta(hours=1))
        clock = durable.testing.VirtualClock(now + timedelta(days=3))
        async with durable.Engine([heard], store=store(), clock=clock) as engine:
            assert await engine.send("go", {"n": 2}, id="x") == [first]
        async with Lab([heard], store=store(), start=clock.now() + timedelta(hours=23)) as lab:
            assert await lab.engine.send("go", {"n": 3}, id="x") == [first]
            assert await _heard(lab) == [1]

    asyncio.run(story())


@pytest.mark.parametrize("way", WAYS)
def test_an_id_that_no_user_gave_counts_for_nothing(way: str, tmp_path: Path) -> None:
    """R21: only ids from outside are looked for; the runtime's own for an event may be given to another."""

    async def story() -> None:
        async with lab_of(way, [heard], tmp_path) as lab:
            [own] = await lab.engine.send("go", {"n": 1}, ts=lab.clock.now() + timedelta(hours=1))
            await lab.crash()
            assert await lab.engine.send("go", {"n": 2}, id=own) != [own]
            await lab.advance("1h")
            assert await _heard(lab) == [1, 2]

    asyncio.run(story())
