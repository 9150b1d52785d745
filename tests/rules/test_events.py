"""Events: what a send sets off, what waits see, which runs open (rules R18 to R21), live and with crashes between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Cancel, Context, DictStore, Engine, Event, TriggerEvent
from durable.testing import Lab, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)
Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


@durable.function("order/placed")
async def order(ctx: Context) -> Any:
    paid = await ctx.step.wait_for_event("paid", event="order/paid", timeout="1d", match="data.id")
    return None if paid is None else paid.data["by"]


async def ended(*runs: durable.Run[Any]) -> list[Any]:
    return [(await run.info()).output for run in runs]


# What a send sets off (R18).


def test_all_that_follows_from_a_send_is_one_write_and_durable_on_return() -> None:
    """R18: runs opened, waits answered, runs cancelled: durable when `send` returns, in one atomic write."""

    @durable.function("go", cancel=[Cancel("order/paid")])
    async def doomed(ctx: Context) -> None:
        await ctx.step.sleep("long", "9d")

    @durable.function("order/paid")
    async def ship(ctx: Context) -> str:
        await ctx.step.sleep("pack", "1h")
        return "shipped"

    async def story() -> None:
        store = DictStore()
        async with Lab([order, doomed, ship], store=store) as lab:
            runs = [*await lab.send("order/placed", {"id": 1}), *await lab.send("go")]
            before = set(store.mapping)
            ids = await lab.engine.send([Event("order/paid", {"id": 1, "by": "ann"}), Event("other")])
            written = [store.mapping[key] for key in store.mapping if key not in before]
            assert len(written) == 1
            kinds = sorted((fact[1], fact[2]) for fact in written[0])
            expected = [(runs[0].id, "StepClosed"), (runs[1].id, "RunClosed"), (f"{ids[0]}/ship", "RunOpened")]
            assert kinds == sorted(expected)

    asyncio.run(story())


def test_one_event_answers_every_matching_wait_and_opens_one_run_per_function(between: Between) -> None:
    """R18: every wait that matches, in one run or in several, and no other."""

    @durable.function("order/placed")
    async def twice(ctx: Context) -> list[Any]:
        one = ctx.step.wait_for_event("a", event="order/paid", timeout="1d", match="data.id")
        two = ctx.step.wait_for_event("b", event="order/paid", timeout="1d")
        return [event.data["by"] for event in await asyncio.gather(one, two)]

    @durable.function(["order/paid", "order/*"])
    async def audit(ctx: Context) -> str:
        return ctx.event.name

    async def story() -> None:
        async with Lab([order, twice, audit]) as lab:
            placed = await lab.send("order/placed", {"id": 1})
            await between(lab)
            other = await lab.send("order/placed", {"id": 2})
            await between(lab)
            opened = await lab.send("order/paid", {"id": 1, "by": "ann"})
            await between(lab)
            assert sorted(await ended(*placed), key=str) == [["ann", "ann"], "ann", "order/placed"]
            assert [run.id.rpartition("/")[2] for run in opened] == ["audit"]
            waiting = [info for info in [await run.info() for run in other] if info.status == "waiting"]
            assert [sorted(info.waiting_for) for info in waiting] == [["paid"], ["a"]]

    asyncio.run(story())


def test_events_of_one_send_are_delivered_in_order() -> None:
    """R18: a wait takes the first that matches; the next finds it gone."""

    async def story() -> None:
        async with Lab([order]) as lab:
            (run,) = await lab.send("order/placed", {"id": 1})
            await lab.send([Event("order/paid", {"id": 1, "by": who}) for who in ("ann", "bob")])
            assert await run.result() == "ann"

    asyncio.run(story())


def test_what_a_sender_does_with_its_data_afterwards_changes_nothing() -> None:
    """R3, R18: the run matches with the data that were recorded, live as after a crash."""

    async def story() -> None:
        async with Lab([order]) as lab:
            data: dict[str, Any] = {"id": 1}
            (run,) = await lab.send("order/placed", data)
            data["id"] = 2
            await lab.send("order/paid", {"id": 2, "by": "wrong"})
            await lab.send("order/paid", {"id": 1, "by": "right"})
            assert await ended(run) == ["right"]

    asyncio.run(story())


# What a wait sees (R19, R20).


def test_an_event_sent_before_the_wait_is_not_seen(between: Between) -> None:
    """R19: a wait sees only events sent after it was posted, so never the event that started its own run."""

    @durable.function("ping")
    async def pinged(ctx: Context) -> int:
        await ctx.step.sleep("first", "1h")
        event = await ctx.step.wait_for_event("next", event="ping", timeout="1d")
        assert event is not None
        return event.data["n"]

    async def story() -> None:
        async with Lab([pinged]) as lab:
            (run,) = await lab.send("ping", {"n": 1})
            await between(lab)
            await lab.send("ping", {"n": 2})
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            assert (await run.info()).status == "waiting"
            await lab.send("ping", {"n": 3})
            assert await run.result() == 3

    asyncio.run(story())


def test_a_wait_times_out_with_none(between: Between) -> None:
    """R19: a timeout gives `None`, at its deadline and not before; what comes then is too late."""

    async def story() -> None:
        async with Lab([order]) as lab:
            (run,) = await lab.send("order/placed", {"id": 1})
            await between(lab)
            await lab.advance(timedelta(days=1) - timedelta(microseconds=1))
            assert (await run.info()).status == "waiting"
            await between(lab)
            await lab.advance("250ms")
            assert (await run.info()).status == "completed"
            await lab.send("order/paid", {"id": 1, "by": "late"})
            assert await run.result() is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mine", "theirs", "matches"),
    [
        ({"a": {"id": 7}}, {"a": {"id": 7}}, True),
        ({"a": {"id": 7}}, {"a": {"id": 7.0}}, True),
        ({"a": {"id": 7}}, {"a": {"id": "7"}}, False),
        ({"a": {"id": 1}}, {"a": {"id": True}}, False),
        ({"a": {"id": None}}, {"a": {}}, False),
        ({"a": {"id": 7}}, {}, False),
        ({"a": {"id": 7}}, {"a": 7}, False),
        ({"a": {"id": 'it\'s "x" && true'}}, {"a": {"id": 'it\'s "x" && true'}}, True),
    ],
)
def test_match_compares_one_path_in_both_events(mine: Any, theirs: Any, matches: bool, between: Between) -> None:
    """R20: the path in the run's event and in the new one; absent in that never matches."""

    @durable.function("go")
    async def waits(ctx: Context) -> bool:
        return await ctx.step.wait_for_event("w", event="e", timeout="1d", match="data.a.id") is not None

    async def story() -> None:
        async with Lab([waits]) as lab:
            (run,) = await lab.send("go", mine)
            await between(lab)
            await lab.send("e", theirs)
            await between(lab)
            assert await lab.result(run) is matches

    asyncio.run(story())


def test_match_and_if_exp_must_both_hold(between: Between) -> None:
    """R20: `if_exp` is CEL over `event` (the run's) and `async` (the new one); both may be given."""

    @durable.function("go")
    async def waits(ctx: Context) -> int:
        exp = 'async.data.amount >= event.data.min && async.data.note != "\'; x"'
        event = await ctx.step.wait_for_event("w", event="e", timeout="1d", match="data.id", if_exp=exp)
        return -1 if event is None else event.data["n"]

    sent = [{"id": 2, "amount": 9}, {"id": 1, "amount": 4}, {"id": 1, "amount": 9, "note": "'; x"}, {"id": 1}]

    async def story() -> None:
        async with Lab([waits]) as lab:
            (run,) = await lab.send("go", {"id": 1, "min": 5})
            for number, data in enumerate([*sent, {"id": 1, "amount": 5.0}]):
                await between(lab)
                assert (await run.info()).status == "waiting"
                await lab.send("e", {**data, "n": number})
            assert await run.result() == len(sent)

    asyncio.run(story())


def test_an_expression_that_cannot_be_is_refused_at_the_call() -> None:
    """Section 6: checked when the function or the wait is made, with line, column and a caret."""
    with pytest.raises(durable.ExpressionError, match="line 1, column"):
        TriggerEvent("go", if_exp="event.data.n ==")
    with pytest.raises(durable.ExpressionError, match="async"):
        TriggerEvent("go", if_exp="async.data.n == 1")

    @durable.function("go", retries=0)
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="e", timeout="1d", if_exp="async.data.n =! 1")

    async def story() -> None:
        async with Lab([waits]) as lab:
            (run,) = await lab.send("go")
            info = await run.info()
            assert info.error is not None and info.error.name == "ExpressionError" and info.steps == {}

    asyncio.run(story())


# Which runs open (R19).


def test_at_most_one_run_opens_per_function_and_event(between: Between) -> None:
    """R19: however many of its triggers match; a trigger whose expression does not hold opens none."""
    many = [TriggerEvent("shop/a", if_exp="event.data.n > 1"), "shop/*", "shop/a", TriggerEvent("shop/b")]

    @durable.function(many)
    async def f(ctx: Context) -> str:
        return ctx.event.name

    @durable.function([TriggerEvent("shop/a", if_exp="event.data.n > 1"), TriggerEvent("shop/b")])
    async def g(ctx: Context) -> str:
        return ctx.event.name

    async def story() -> None:
        async with Lab([f, g]) as lab:
            assert len(await lab.send("shop/a", {"n": 1})) == 1
            await between(lab)
            assert len(await lab.send("shop/a", {"n": 2})) == 2
            assert len(await lab.send("shop/b")) == 2
            assert len(await lab.send("shopping")) == 0
            await between(lab)
            assert len(await lab.engine.runs()) == 5

    asyncio.run(story())


def test_a_trigger_expression_that_fails_is_no_match_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Section 6: an error while evaluating means "no match"; it is told once, not for every event."""

    @durable.function(TriggerEvent("go", if_exp="event.data.n > 1"))
    async def f(ctx: Context) -> None:
        pass

    async def story() -> None:
        async with Lab([f]) as lab:
            for wrong in ("x", [], "y"):
                assert await lab.send("go", {"n": wrong}) == []
            assert len(await lab.send("go", {"n": 2})) == 1

    asyncio.run(story())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "event.data.n > 1" in caplog.text and "'f'" in caplog.text


# Ids, repeats, later delivery (R21).


def test_ids_of_runs_derive_from_the_events_own_id() -> None:
    """R21: every event gets a fresh internal id; the id a user gives is what the run sees as `ctx.event.id`."""

    @durable.function("go")
    async def f(ctx: Context) -> str | None:
        return ctx.event.id

    async def story() -> None:
        async with Lab([f]) as lab:
            (own,) = await lab.engine.send("go", id="mine")
            (other,) = await lab.engine.send("go")
            await lab.settle()
            assert own != "mine" and own != other and own < other
            assert await (await lab.engine.run(f"{own}/f")).result() == "mine"
            assert await (await lab.engine.run(f"{other}/f")).result() == other

    asyncio.run(story())


def test_a_repeated_id_is_dropped_for_24_hours(between: Between) -> None:
    """R21: one seen in the last 24 h is ignored, by runs and waits alike; the first one's id is returned."""

    @durable.function("go")
    async def f(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="go", timeout="2d")
        return event and event.data

    async def story() -> None:
        async with Lab([f]) as lab:
            (first,) = await lab.engine.send("go", {"n": 1}, id="x")
            await between(lab)
            assert await lab.engine.send("go", {"n": 2}, id="x") == [first]
            await lab.advance(timedelta(days=1) - timedelta(microseconds=1))
            await between(lab)
            assert await lab.engine.send([Event("go", id="x"), Event("other", id="x")]) == [first, first]
            assert [info.status for info in await lab.engine.runs()] == ["waiting"]
            await lab.advance("250ms")
            await between(lab)
            assert await lab.engine.send("go", {"n": 3}, id="x") != [first]
            await lab.settle()
            assert [info.output for info in await lab.engine.runs()] == [None, {"n": 3}]

    asyncio.run(story())


def test_a_repeat_within_one_send_is_dropped() -> None:
    """R21: the second finds the first, although neither is durable yet."""

    async def story() -> None:
        async with Lab([order]) as lab:
            ids = await lab.engine.send([Event("order/placed", {"id": n}, id="x") for n in (1, 2)])
            assert ids[0] == ids[1]
            assert len(await lab.engine.runs()) == 1

    asyncio.run(story())


@pytest.mark.parametrize("event_id", [None, "mine"])
@pytest.mark.parametrize("downtime", ["1h", "3d", "40d"])
def test_an_event_of_the_future_is_delivered_then(event_id: str | None, downtime: str, between: Between) -> None:
    """R21: `ts` in the future delays it, for runs and waits alike, across restarts, also of more than 24 h."""

    @durable.function("start")
    async def waits(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="later", timeout="99d")
        return event and event.ts

    @durable.function("later")
    async def opened(ctx: Context) -> Any:
        return ctx.event.ts, ctx.event.id

    async def story() -> None:
        store, clock, due = DictStore(), VirtualClock(START), START + timedelta(hours=36)
        async with Engine([waits, opened], store=store, clock=clock) as engine:
            waiting = await engine.start(waits)
            ids = await engine.send("later", id=event_id, ts=due)
            assert await engine.send("other", ts=START) != ids
            assert len(await engine.runs()) == 1
        clock.advance(downtime)
        async with Lab([waits, opened], store=DictStore(store.mapping), start=clock.now()) as lab:
            await between(lab)
            assert len(await lab.engine.runs()) == (1 if downtime == "1h" else 2)
            if downtime == "1h":
                await lab.advance("35h")
            await between(lab)
            assert await lab.result(await lab.engine.run(waiting.id)) == due
            run = await lab.engine.run(f"{ids[0]}/opened")
            assert await run.result() == (due, event_id or ids[0])
            await between(lab)
            assert len(await lab.engine.runs()) == 2

    asyncio.run(story())


def test_one_run_per_idempotency_value_in_24_hours(between: Between) -> None:
    """R21: `idempotency` allows one run per value in 24 h; where the value is missing, every run."""

    @durable.function("cart", idempotency="event.data.cart_id")
    async def f(ctx: Context) -> None:
        pass

    async def story() -> None:
        async with Lab([f]) as lab:
            counts = []
            for value in ({"cart_id": 1}, {"cart_id": 1.0}, {"cart_id": "1"}, {"cart_id": None}, {}, {"cart_id": 1}):
                counts.append(len(await lab.send("cart", value)))
                await between(lab)
            assert counts == [1, 0, 1, 1, 1, 0]
            await lab.advance("1d")
            await between(lab)
            assert len(await lab.send("cart", {"cart_id": 1})) == 1

    asyncio.run(story())
