"""What people write wrongly in tests of their functions, and what the failing test tells them, without hanging."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Context
from durable.testing import Dies, FailingStore, Lab, VirtualClock, replay, torture
from durable.testing.lab import START
from tests.support.mistakes import Mistake, in_a_test


async def _charge(card: str) -> str:
    raise ConnectionError("no network in a test")


@durable.function("shop/order.placed")
async def fulfil(ctx: Context) -> str:
    charge = await ctx.step.run(durable.StepOptions("charge", retries=0), _charge, "card")
    await ctx.step.sleep("cooling off", "24h")
    approval = await ctx.step.wait_for_event(
        "approval", event="shop/order.approved", match="data.order_id", timeout="7d"
    )
    return "refunded" if approval is None else str(charge)


ORDER = {"order_id": 7}
STUBS = {"charge": "ch_1"}


async def story(call: Any, functions: Any = (fulfil,), **options: Any) -> Any:
    async with Lab(functions, **options) as lab:
        return await call(lab)


def in_a_lab(call: Any, *words: str, **options: Any) -> Mistake:
    return Mistake(lambda: story(call, **options), *words)


async def the_result(lab: Lab) -> Any:
    return await (await lab.start(fulfil, ORDER)).result()


async def the_result_in_time(lab: Lab) -> Any:
    return await (await lab.start(fulfil, ORDER)).result(timeout="1h")


async def invoked(lab: Lab) -> Any:
    return await lab.engine.invoke(fulfil, ORDER)


async def to_the_end(lab: Lab) -> Any:
    return await lab.result(await lab.start(fulfil, ORDER))


async def unpacked(lab: Lab, name: str = "shop/order.place", **options: Any) -> Any:
    [run] = await lab.send(name, ORDER, **options)
    return run


async def approved(lab: Lab, name: str = "shop/order.approved", data: Any = None) -> Any:
    run = await lab.start(fulfil, ORDER)
    await lab.advance("24h")
    await lab.send(name, {} if data is None else data)
    return await run.result()


def blocking() -> None:
    with Lab([fulfil]):  # type: ignore[attr-defined]
        pass


async def opened_blocking() -> None:
    blocking()


async def beforehand() -> None:
    await Lab([fulfil]).start(fulfil)


async def status_of_the_handle(lab: Lab) -> Any:
    return (await lab.start(fulfil, ORDER)).status  # type: ignore[attr-defined]


async def on_the_lab(lab: Lab) -> Any:
    return await lab.invoke(fulfil)  # type: ignore[attr-defined]


MISTAKES: dict[str, Mistake] = {
    "a result that only time brings": in_a_lab(
        the_result,
        "StuckError",
        "await lab.result(run), which skips time",
        "step 'cooling off' for 2030-01-02 00:00:00+00:00; the next deadline is at 2030-01-02",
        "step 'cooling off' is awaited at",
        "test_mistakes_in_tests.py:",
        stubs=STUBS,
    ),
    "a result that only time brings, in time": in_a_lab(the_result_in_time, "StuckError", "lab.advance", stubs=STUBS),
    "an invoke that only time ends": in_a_lab(invoked, "StuckError", "move the clock with lab.advance", stubs=STUBS),
    "an answer with another key": in_a_lab(
        lambda lab: approved(lab, data={"id": 7}),
        "step 'approval' for event 'shop/order.approved', match 'data.order_id'",
        "event 'shop/order.approved' did not answer step 'approval'",
        "it has no 'data.order_id': there is 'id' in 'data'",
        stubs=STUBS,
    ),
    "an answer with another value": in_a_lab(
        lambda lab: approved(lab, data={"order_id": "7"}),
        'async.data.order_id == 7 said no: async.data.order_id is "7"',
        stubs=STUBS,
    ),
    "an answer mistyped": in_a_lab(
        lambda lab: approved(lab, "shop/order.aproved", ORDER),
        "event 'shop/order.aproved' was sent, but step 'approval' of run",
        "is for event 'shop/order.approved'",
        stubs=STUBS,
    ),
    "an event mistyped": in_a_lab(
        unpacked,
        "not enough values to unpack",
        "event 'shop/order.place' was heard by nobody: function 'fulfil' listens to 'shop/order.placed'",
    ),
    "an event for nobody": in_a_lab(lambda lab: unpacked(lab, "invoice"), "what is listened to here is 'shop/order.pl"),
    "an event that is to come": in_a_lab(
        lambda lab: unpacked(lab, "shop/order.placed", ts=START + timedelta(days=1)), "move the clock with lab.advance"
    ),
    "a stub mistyped": in_a_lab(
        to_the_end,
        "ConnectionError: no network in a test",
        "stubs that no step used: chrage (step 'charge' was called without a stub: is that one meant?)",
        stubs={"chrage": "ch_1"},
    ),
    "a stub mistyped, where all need one": in_a_lab(
        to_the_end,
        "step 'charge' has no stub",
        "is it meant by stub 'chrage'?",
        stubs={"chrage": "ch_1"},
        unstubbed="error",
    ),
    "a stub missing, where all need one": in_a_lab(
        to_the_end, "step 'charge' has no stub", "add it to stubs={...}", unstubbed="error"
    ),
    "a stub that raises": in_a_lab(
        to_the_end,
        "step 'charge': ValueError: boom\nTraceback (most recent call last):\n  File \"<the stub of step 'charge'>\"",
        stubs={"charge": ValueError("boom")},
    ),
    "a stub too many": in_a_lab(to_the_end, "stubs that no step used: refund", stubs={**STUBS, "refund": None}),
    "a list of stubs too short": in_a_lab(
        to_the_end, "step 'charge' was called 1 times, its list of stubs has 0", stubs={"charge": []}
    ),
    "a list of stubs too long": in_a_lab(to_the_end, "charge (1 of 2)", stubs={"charge": ["ch_1", "ch_2"]}),
    "a list for stubs": in_a_lab(to_the_end, "stubs must be a mapping from step ids to stubs", stubs=["charge"]),
    "a stub for no id": in_a_lab(to_the_end, "a step's id must be a string", stubs={7: 1}),
    "a stub that dies at no time": Mistake(lambda: Dies("during"), 'Dies(when=...) must be "before" or "after"'),
    "a choice that there is not": in_a_lab(to_the_end, 'unused must be "error" or "allow", not \'no\'', unused="no"),
    "stubs by another name": in_a_lab(to_the_end, "'mocks': it is Lab(functions, *, stubs=...", mocks={}),
    "a function alone": in_a_lab(to_the_end, "write Lab([function])", functions=fulfil),
    "a function that is not decorated": in_a_lab(to_the_end, "decorate it with @durable.function", functions=[_charge]),
    "a beginning without a time zone": in_a_lab(to_the_end, "must say its time zone", start=datetime(2030, 1, 1)),
    "a Lab opened as a file is": Mistake(opened_blocking, "write `async with Lab(...)`, not `with`"),
    "a Lab that is not open": Mistake(beforehand, "the Lab is not open: write `async with Lab(...) as lab:`"),
    "a step of the clock in words": in_a_lab(lambda lab: lab.advance("a day"), "cannot be 'a day': write"),
    "a clock that goes back": Mistake(lambda: VirtualClock(START).advance("-1h"), "cannot be"),
    "a status of a handle": in_a_lab(status_of_the_handle, "write (await run.info()).status", stubs=STUBS),
    "a method of the engine on the Lab": in_a_lab(on_the_lab, "write start, and lab.result(run)"),
    "a store that fails at no number": Mistake(lambda: FailingStore(durable.DictStore(), at="1"), "must be an int"),  # type: ignore[arg-type]
    "a torture of what is not decorated": Mistake(lambda: torture(_charge), "@durable.function"),  # type: ignore[arg-type]
    "a replay of no record": Mistake(lambda: replay(fulfil, 7), "the path of a file that RunInfo.export wrote, not 7"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_test_fails_it_with_the_remedy(mistake: str) -> None:
    in_a_test(MISTAKES[mistake], MISTAKES[mistake].made)
