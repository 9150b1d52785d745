"""What a guest's expression may do: hurt nobody but itself. Sections 6 and 7, R18, R20, R21."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Cancel, Context, Event, TriggerEvent
from durable.events.bus import EventBus
from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import FUEL, SHARED, SURE, Budget
from durable.events.matching import seen_by_filters
from durable.events.triggers import Listener, Trigger
from durable.testing import Lab
from tests.support.ways import WAYS, lab_of

# What fails, in one way or another, for the event below; `e` stands for the event that is asked about.
DATA = {"huge": 10**400, "text": "x", "list": [1, 2], "many": list(range(1_000))}
FAILING = [
    "date(e.data.huge) > timestamp(0)",
    "date(e.data.huge) == date(0)",
    "e.data.text > 1",
    "e.data.list[7] == 1",
    "int(e.data.text) == 1",
    "1 / 0 == 1",
    "e.data.huge * 1.5 > 1",
    "string(e.data.huge * e.data.huge * e.data.huge * e.data.huge * e.data.huge * e.data.huge * e.data.huge) == ''",
    "e.data.text.matches(e.data.text + '(')",
    "e.data.many.exists(a, e.data.many.exists(b, e.data.many.exists(c, a + b + c < 0)))",
    "e.data.many.map(a, e.data.many.map(b, [a, b]))",
    "timestamp(0).getHours(e.data.text) == 1",
    "json_parse(e.data.text) == 1",
    "-e.data.list == 1",
    "e.data.list.map(a, {a: 1, 1: 2})[0] == 1",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", FAILING)
def test_a_filter_that_fails_concerns_its_listener_alone(
    source: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Triggers, waits and cancellations of others hear the event, whichever comes first; each failure is told."""
    own, arriving = source.replace("e.data", "event.data"), source.replace("e.data", "async.data")

    @durable.function(TriggerEvent("go", if_exp=own))
    async def never(ctx: Context) -> None: ...

    @durable.function("go")
    async def opened(ctx: Context) -> str:
        return "opened"

    @durable.function(cancel=Cancel("go", if_exp=arriving))
    async def fails(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="go", timeout="1h", if_exp=arriving)
        return event and event.name

    @durable.function
    async def answered(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("w", event="go", timeout="1h")
        return event and event.data["text"]

    @durable.function(cancel=Cancel("go"))
    async def cancelled(ctx: Context) -> None:
        await ctx.step.sleep("s", "1d")

    async def story() -> None:
        async with lab_of(way, [never, opened, fails, answered, cancelled], tmp_path) as lab:
            runs = [await lab.start(one) for one in (fails, cancelled, answered, fails)]
            await lab.crash()
            [run] = await lab.send("go", DATA, id="1")
            assert await lab.send("go", DATA, id="1") == []
            await lab.crash()
            assert await lab.result(run) == "opened"
            assert [(await one.info()).status for one in runs] == ["waiting", "cancelled", "completed", "waiting"]
            assert await runs[2].result() == "x"
            assert await lab.result(runs[0]) is None and await lab.result(runs[3]) is None

    asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if "cannot be evaluated" in record.getMessage()]
    assert len(said) == 3, said
    assert sum("a trigger of function 'never'" in line for line in said) == 1
    assert sum("step 'w'" in line for line in said) == 1
    assert sum("a Cancel of run" in line for line in said) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_filter_that_fails_for_a_scheduled_event_loses_no_other_deadline(way: str, tmp_path: Path) -> None:
    """The event, the sleep and the wait that are due at the same wake-up all come."""

    @durable.function(TriggerEvent("go", if_exp="date(event.data.huge) > timestamp(0)"))
    async def never(ctx: Context) -> None: ...

    @durable.function("go")
    async def opened(ctx: Context) -> str:
        return "opened"

    @durable.function
    async def sleeps(ctx: Context) -> str:
        await ctx.step.sleep("s", "1h")
        return "slept"

    async def story() -> None:
        async with lab_of(way, [never, opened, sleeps], tmp_path) as lab:
            due = lab.clock.now().replace(hour=1)
            await lab.engine.send([Event("go", DATA, f"{number}", due) for number in range(3)])
            run = await lab.start(sleeps)
            await lab.crash()
            await lab.advance("1h")
            assert (await run.info()).output == "slept"
            assert [info.output for info in await lab.engine.runs(function=opened)] == ["opened"] * 3

    asyncio.run(story())


# Keys that an expression computes (R21).

ODD_KEYS = [
    "type(event.data.text)",
    "[type(event.data.text)]",
    "{'a': type(1)}",
    "date(event.data.huge)",
    "event.data.text > 1",
    "[" * 60 + "event.data.deep" + "]" * 60,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ODD_KEYS)
def test_an_idempotency_key_that_cannot_be_kept_is_none(
    source: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R21: every event opens a run then, by whatever door it comes; one WARNING. Its id is dropped if repeated."""

    @durable.function("go", idempotency=source)
    async def f(ctx: Context) -> str:
        return "ran"

    @durable.function("go")
    async def other(ctx: Context) -> Any:
        return await ctx.step.invoke("i", function=f, data=ctx.event.data)

    deep: Any = 1
    for _ in range(150):
        deep = [deep]

    async def story() -> None:
        async with lab_of(way, [f, other], tmp_path) as lab:
            data = {**DATA, "deep": deep}
            for number in range(2):
                runs = await lab.send("go", data, id=f"{number}")
                assert len(runs) == 2
                await lab.crash()
                assert [await lab.result(run) for run in runs] == ["ran", "ran"]
                assert await lab.send("go", data, id=f"{number}") == []
            assert await lab.result(await lab.start(f, data)) == "ran"

    asyncio.run(story())
    said = [record.getMessage() for record in caplog.records]
    warned = [line for line in said if "idempotency of function 'f'" in line]
    assert 1 <= len(warned) <= (1 if way == "live" else 3), said  # once an engine
    assert "every event opens a run" in warned[0]


@pytest.mark.parametrize(
    "source", ["event.data.n", "[event.data.n]", "{'a': event.data.n}", "date(event.data.n)", "duration('1s')"]
)
def test_any_value_that_can_be_kept_is_a_key(source: str) -> None:
    """R21: also a list, a map, a time: equal ones are one key."""

    @durable.function("go", idempotency=source)
    async def f(ctx: Context) -> None: ...

    async def story() -> None:
        async with Lab([f]) as lab:
            assert len(await lab.send("go", {"n": 1})) == 1
            assert await lab.send("go", {"n": 1}) == []
            await lab.crash()
            assert await lab.send("go", {"n": 1}) == []

    asyncio.run(story())


# What filters may take: hostile input is harmless.

HOSTILE = "async.data.many.exists(a, async.data.many.exists(b, async.data.many.exists(c, a + b + c < 0)))"
HONEST = "async.data.list.exists(a, a == 2)"
BUSY = f"async.data.many.exists(a, a == {SURE // 16})"  # takes nearly all that it is sure of


def _bus(sources: list[str], told: list[str]) -> EventBus:
    bus = EventBus(lambda about, text: told.append(text))
    for number, source in enumerate(sources):
        bus.listen(Listener((f"{number}", "w"), "go", None, None, parse(source), seen_by_filters(Event("own"))))
    return bus


@pytest.mark.parametrize("hostile", [1, 50, 500])
def test_hostile_filters_do_not_hold_the_loop_and_starve_nobody(hostile: int) -> None:
    """However many there are, one event costs little more than two of them; who asks for little is asked all the same,
    also who comes last."""
    told: list[str] = []
    bus = _bus([HOSTILE] * hostile + [HONEST, BUSY], told)
    began = time.thread_time()
    heard = bus.listeners_for(seen_by_filters(Event("go", DATA)), durable.testing.lab.START, Budget())
    assert time.thread_time() - began < 0.25 + hostile * 0.001
    assert [one.place[0] for one in heard] == [f"{hostile}", f"{hostile + 1}"]
    assert len(told) == hostile
    assert f"more than {FUEL:,} steps" in told[0] and "compare fewer or smaller values" in told[0]
    assert hostile < 3 or (f"{SHARED:,} steps together" in told[-1] and f"{SURE:,} in any case" in told[-1])


def test_the_next_event_has_a_budget_of_its_own() -> None:
    told: list[str] = []
    heavy = "async.data.many.exists(a, async.data.list.exists(b, a * b == 1998))"
    bus = _bus([heavy] * 4, told)
    for _ in range(3):
        assert len(bus.listeners_for(seen_by_filters(Event("go", DATA)), durable.testing.lab.START, Budget())) == 4
    assert told == []


def test_triggers_and_waits_share_what_an_event_may_take(caplog: pytest.LogCaptureFixture) -> None:
    """A budget for each event over all that are asked about it; one WARNING for each filter, whatever its runs."""

    @durable.function
    async def waits(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("w", event="go", timeout="1h", if_exp=HOSTILE)

    triggers = [TriggerEvent("go", if_exp=HOSTILE.replace("async", "event"))]
    functions = [durable.function(triggers, id=f"f{number}")(_nothing) for number in range(20)]

    async def story() -> None:
        async with Lab([waits, *functions]) as lab:
            for _ in range(20):
                await lab.start(waits)
            began = time.thread_time()
            for _ in range(3):
                assert await lab.send("go", DATA) == []
            assert time.thread_time() - began < 1.5

    asyncio.run(story())
    said = [record.getMessage() for record in caplog.records]
    assert sum("step 'w'" in line for line in said) == 1
    assert len(said) == 21


async def _nothing(ctx: Context) -> None: ...


# Values that raise when they are touched: an expression is asked about nothing else, but must not rely on it.


class Touchy(dict[str, Any]):
    """A map whose every question raises."""

    def get(self, *_: Any) -> Any:
        raise RuntimeError("touched")

    __contains__ = __getitem__ = __iter__ = get  # type: ignore[assignment]


@pytest.mark.parametrize("source", ["x.a == 1", "has(x.a)", "'a' in x", "x['a'] == 1", "x.exists(k, k == 'a')"])
def test_what_a_value_raises_is_an_error_of_evaluating(source: str) -> None:
    """Section 6: nothing but an EvaluationError comes out of an evaluation."""
    with pytest.raises(EvaluationError, match="RuntimeError"):
        parse(source).evaluate({"x": Touchy(a=1)})


def test_a_listener_whose_path_leads_to_a_value_that_raises_hears_nothing() -> None:
    """R20: `match` compares any value; what that raises is a complaint about its listener."""

    class Raises:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("compared")

        __hash__ = object.__hash__

    told: list[str] = []
    bus = EventBus(lambda about, text: told.append(text))
    own = seen_by_filters(Event("own", {"x": Raises()}))
    bus.listen(Listener(("r", "w"), "go", None, ("data", "x"), None, own))
    bus.listen(Listener(("q", "w"), "go", None))
    bus.add_trigger(Trigger("f", "go"))
    seen = seen_by_filters(Event("go", {"x": Raises()}))
    assert [one.place[0] for one in bus.listeners_for(seen, durable.testing.lab.START)] == ["q"]
    assert bus.functions_for(seen) == ["f"]
    assert len(told) == 1 and "RuntimeError: compared" in told[0]


def test_a_listener_is_found_where_it_was_put_even_if_its_expression_says_otherwise_by_then() -> None:
    """What is left behind in the index would hear events for ever."""
    own: dict[str, Any] = {"id": 1}
    one = Listener(("r", "w"), "go", None, None, parse("async.data.id == event.data.id"), {"data": own})
    bus = EventBus(lambda about, text: None)
    bus.listen(one)
    assert bus.at(("r", "w")) == (one, (("data", "id"), ("number", 1)))
    own["id"] = 2
    bus.leave(("r", "w"))
    assert not bus.is_heard("go") and bus.at(("r", "w")) is None
