"""What each open step waits for, in words and as values (S4)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Backoff, Context, Event, Wait, Why
from durable.events import EventBus, Listener, missed
from durable.testing import Lab

pytestmark = pytest.mark.anyio
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@durable.function("go")
async def asks(ctx: Context) -> Any:
    where = ctx.event.data.get("where", {})
    return await ctx.step.wait_for_event("paid", event="paid", timeout="1d", **where)


async def why(lab: Lab, run: durable.Run[Any]) -> Why:
    return await lab.engine.why(run.id)


async def asked(data: dict[str, Any], **where: Any) -> Why:
    """Return why a run waits that was opened with these data."""

    @durable.function
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("paid", event="paid", timeout="1d", **where)

    async with Lab([waits], start=NOON) as lab:
        return await why(lab, await lab.start(waits, data, id="r"))


async def test_each_open_step_says_what_it_waits_for_and_until_when() -> None:
    @durable.function
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("nap", "2d")

    @durable.function
    async def all_kinds(ctx: Context) -> None:
        await asyncio.gather(
            ctx.step.sleep("nap", "1h"),
            ctx.step.wait_for_event("paid", event="paid", timeout="2h", match="data.id"),
            ctx.step.wait_for_signal("yes", signal="ok-7", timeout="3h", ask={"amount": 5}),
            ctx.step.invoke("below", function=child, timeout="4h"),
            ctx.step.run("broken", broken),
        )

    async def broken() -> None:
        raise ValueError("no")

    async with Lab([all_kinds, child], start=NOON) as lab:
        run = await lab.start(all_kinds, {"id": 7}, id="r")
        told = await why(lab, run)
        hour = timedelta(hours=1)
        assert told.waits[:4] == (
            Wait("nap", "sleep", until=NOON + hour),
            Wait("paid", "wait_for_event", event="paid", filter="async.data.id == 7", until=NOON + 2 * hour),
            Wait("yes", "wait_for_signal", signal="ok-7", until=NOON + 3 * hour),
            Wait("below", "invoke", run="r/below", until=NOON + 4 * hour),
        )
        again = told.waits[4]
        assert (again.step, again.kind) == ("broken", "run") and again.until is not None and again.until > NOON
        assert told.text.split("\n")[:5] == [
            "run 'r' of function 'all_kinds' is waiting:",
            "  step 'nap' sleeps until 2030-01-01 13:00:00 UTC",
            "  step 'paid' waits for event 'paid' with async.data.id == 7, until 2030-01-01 14:00:00 UTC",
            "  step 'yes' waits for signal 'ok-7', until 2030-01-01 15:00:00 UTC, asks {'amount': 5}",
            "  step 'below' waits for the end of run 'r/below', until 2030-01-01 16:00:00 UTC",
        ]
        assert told.text.split("\n")[5].startswith("  step 'broken' is tried again at 2030-01-01 12:00:0")
        assert told.text.endswith(", in try 2, after ValueError: no") and str(told) == told.text
        assert json.loads(json.dumps(told.to_dict()))["waits"][1] == {
            "step": "paid", "kind": "wait_for_event", "event": "paid", "signal": None, "filter": "async.data.id == 7",
            "until": "2030-01-01T14:00:00+00:00", "run": None, "queue": None, "position": None,
        }  # fmt: skip


FILTERS = [
    ({"id": 7}, {"match": "data.id"}, "async.data.id == 7"),
    ({"id": 'a"b'}, {"match": "data.id"}, 'async.data.id == "a\\"b"'),
    ({"id": 7}, {"if_exp": "async.data.id == event.data.id"}, "async.data.id == 7"),
    ({"id": 7}, {"if_exp": "event.data.id == async.data.id && async.data.ok"}, "7 == async.data.id && async.data.ok"),
    ({"id": 7}, {"match": "data.id", "if_exp": "async.data.n > 1"}, "async.data.id == 7 && (async.data.n > 1)"),
    ({"id": 7}, {"match": "data.id", "if_exp": "async.data.a && async.data.b"},
     "async.data.id == 7 && async.data.a && async.data.b"),
    ({"u": {"x y": [1, 2]}}, {"if_exp": "async.data.n in event.data.u['x y']"}, "async.data.n in [1, 2]"),
    ({"u": [3, 4]}, {"if_exp": "async.data.n == event.data.u[1]"}, "async.data.n == 4"),
    ({"u": "ann"}, {"if_exp": "event.data.u.startsWith('a') && async.v != ''"},
     """"ann".startsWith('a') && async.v != ''"""),
    ({}, {"if_exp": "has(event.data.u) && async.data.u == event.data.w"}, "has(event.data.u) && async.data.u == null"),
    ({"u": "x" * 100}, {"if_exp": "async.data.u == event.data.u"}, "async.data.u == event.data.u"),
    ({"u": [1]}, {"if_exp": "async.data.l.exists(event, event.u == 1)"}, "async.data.l.exists(event, event.u == 1)"),
    ({"when": NOON}, {"if_exp": "async.data.at > event.data.when"},
     'async.data.at > timestamp("2030-01-01T12:00:00+00:00")'),
    ({"u": "event.data.u"}, {"if_exp": "'event.data.u' == event.data.u"}, "'event.data.u' == \"event.data.u\""),
]  # fmt: skip


@pytest.mark.parametrize(("data", "where", "filter"), FILTERS, ids=lambda case: str(case)[:50])
async def test_a_filter_is_told_with_the_values_of_the_runs_own_event(
    data: dict[str, Any], where: dict[str, Any], filter: str
) -> None:
    [wait] = (await asked(data, **where)).waits
    assert wait.filter == filter


MISSES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"id": 7}, {"match": "data.id"}, {"id": 8}, "async.data.id == 7 said no: async.data.id is 8"),
    ({"id": 7}, {"match": "data.id"}, {"id": "7"}, 'async.data.id == 7 said no: async.data.id is "7"'),
    ({"id": 7}, {"match": "data.id"}, {"key": 7},
     "async.data.id == 7 said no: it has no 'data.id': there is 'key' in 'data'"),
    ({"id": 7}, {"match": "data.id", "if_exp": "async.data.n > 5"}, {"id": 7, "n": 5},
     "async.data.n > 5 said no: async.data.n is 5"),
    ({"id": 7}, {"if_exp": "async.data.ok && async.data.id == event.data.id && async.data.x"}, {"ok": True, "id": 1},
     "async.data.id == 7 said no: async.data.id is 1"),
    ({"id": 7}, {"if_exp": "async.data.a || async.data.b == async.data.a"}, {"b": 2},
     "async.data.a || async.data.b == async.data.a said no: async.data.a is null, async.data.b is 2"),
    ({}, {"if_exp": "async.data.n + true > 1"}, {"n": 1}, "async.data.n + true > 1 cannot be evaluated: "),
    ({}, {"if_exp": "(async.data.a && async.data.b)"}, {"a": 1},
     "(async.data.a && async.data.b) said no: async.data.a is 1, async.data.b is null"),
    ({}, {"if_exp": "async.data.t == 'x'"}, {"t": "y" * 100},
     "async.data.t == 'x' said no: async.data.t is too long to be shown"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "where", "came", "said"), MISSES, ids=lambda case: str(case)[:50])
async def test_a_near_miss_says_which_part_of_the_filter_said_no_to_which_values(
    data: dict[str, Any], where: dict[str, Any], came: dict[str, Any], said: str
) -> None:
    @durable.function
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("paid", event="paid", timeout="1d", **where)

    async with Lab([waits], start=NOON) as lab:
        run = await lab.start(waits, data, id="r")
        await lab.advance("5m")
        await lab.send("paid", came)
        lines = (await why(lab, run)).text.split("\n")
        assert len(lines) == 3 and lines[2].startswith(f"    one came at 2030-01-01 12:05:00 UTC: {said}"), lines


async def test_the_last_ten_events_of_a_name_are_kept_the_latest_first() -> None:
    async with Lab([asks]) as lab:
        [run] = await lab.send("go", {"where": {"if_exp": "async.data.n == -1"}})
        for number in range(12):
            await lab.send("paid", {"n": number})
            await lab.send("unpaid", {"n": number})
        near = [line for line in (await why(lab, run)).text.split("\n") if "one came" in line]
        assert [line.rpartition(" ")[2] for line in near] == [str(number) for number in range(11, 1, -1)]


async def test_an_event_that_came_before_the_wait_or_answered_another_is_told_as_such() -> None:
    async with Lab([asks]) as lab:
        await lab.send("go", {"where": {"if_exp": "async.data.n == 1"}})
        await lab.send("paid", {"n": 2})
        [run] = await lab.send("go", {"where": {"if_exp": "async.data.n == 2"}})
        await lab.send("paid", {"n": 1})
        lines = (await why(lab, run)).text.split("\n")[2:]
        assert [line.partition("UTC: ")[2] for line in lines] == [
            "async.data.n == 2 said no: async.data.n is 1",
            "it came before the wait began",
        ]


def test_an_event_that_came_too_late_is_told_as_such() -> None:
    """Between a deadline and its timer an event may come, which answers nobody (R19)."""
    late = Listener(("r", "paid"), "paid", NOON)
    assert missed(late, Event("paid"), NOON) == "it came when the time for it was over"


def test_a_value_that_raises_does_no_harm() -> None:
    """The log asks, too, while an event is being sent."""

    class Odd(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            raise ValueError

    odd = Listener(("r", "paid"), "paid", None, ("data", "id"), None, {"data": {"id": 1}})
    assert missed(odd, Event("paid", {"id": 2}), NOON).endswith("async.data.id is 2")
    event = Event("paid")
    object.__setattr__(event, "data", Odd())
    assert missed(odd, event, NOON) == "its filter says no"


def test_a_filter_of_several_lines_stays_on_its_line() -> None:
    async def story() -> Why:
        return await asked({"id": 7}, if_exp="async.data.id == event.data.id &&\nasync.data.ok")

    told = asyncio.run(story())
    assert told.waits[0].filter == "async.data.id == 7 &&\nasync.data.ok" and len(told.text.split("\n")) == 2


def test_events_of_a_name_that_nobody_waits_for_are_not_kept() -> None:
    bus, one = EventBus(lambda *_: None), Listener(("r", "paid"), "paid", None)
    bus.heard_by(Event("paid"), NOON)
    assert bus.last_of("paid") == []
    bus.listen(one)
    bus.heard_by(Event("paid"), NOON)
    bus.heard_by(Event("other"), NOON)
    assert bus.last_of("paid") == [(Event("paid"), NOON)] and bus.last_of("other") == []
    bus.leave(one.place)
    assert bus.last_of("paid") == []


async def test_a_run_that_has_ended_says_how() -> None:
    @durable.function
    async def ends(ctx: Context) -> None:
        if ctx.event.data.get("fails"):
            raise durable.NonRetriableError("no way")
        await ctx.step.sleep("nap", ctx.event.data["nap"])

    async with Lab([ends], start=NOON) as lab:
        await lab.start(ends, {"nap": 0}, id="well")
        await lab.start(ends, {"fails": True}, id="ill")
        stopped = await lab.start(ends, {"nap": "1d"}, id="stopped")
        await stopped.cancel("enough")
        at = "2030-01-01 12:00:00 UTC"
        told = {id: await lab.engine.why(id) for id in ("well", "ill", "stopped")}
        assert told == {
            "well": Why(f"run 'well' of function 'ends' has completed, at {at}"),
            "ill": Why(f"run 'ill' of function 'ends' has failed: NonRetriableError: no way, at {at}"),
            "stopped": Why(f"run 'stopped' of function 'ends' was cancelled: enough, at {at}"),
        }


async def test_a_run_that_is_called_again_and_a_step_that_runs_are_told() -> None:
    going = asyncio.Event()

    async def slowly() -> None:
        durable.progress(3, 8, "rows")
        await going.wait()

    @durable.function(backoff=Backoff("1h", jitter=0))
    async def again(ctx: Context) -> None:
        if ctx.attempt == 0:
            raise ValueError("not yet")
        await ctx.step.run(durable.StepOptions("slow", timeout="1h"), slowly)

    async with Lab([again], start=NOON) as lab:
        run = await lab.start(again, id="r")
        assert (await why(lab, run)).text == (
            "run 'r' of function 'again' is waiting:\n"
            "  its function is called again at 2030-01-01 13:00:00 UTC, for attempt 2, after ValueError: not yet"
        )
        await lab.advance("1h")
        told = await why(lab, run)
        assert (told.waits, told.text) == ((), (
            "run 'r' of function 'again' is running:\n  step 'slow' runs since 2030-01-01 13:00:00 UTC: 3 of 8, rows"
        ))  # fmt: skip
        going.set()
        await run.result(5)


async def test_a_run_whose_function_is_not_there_says_so_and_a_parked_one_what_it_waits_for() -> None:
    store = durable.DictStore()
    async with durable.Engine([asks], store=store, resident=0) as engine:
        await engine.start(asks, id="r")
        await engine.settled()
        await engine.send("paid", ts=datetime(2100, 1, 1, tzinfo=UTC))
        assert [wait.event for wait in (await engine.why("r")).waits] == ["paid"]
    async with durable.Engine([], store=store) as engine:
        told = await engine.why("r")
        assert [wait.event for wait in told.waits] == ["paid"] and "is not registered in this engine" in told.text


async def test_a_run_that_is_not_there_is_a_key_error() -> None:
    async with Lab([asks]) as lab:
        for id in ("nowhere", "\ud800", ""):
            with pytest.raises(KeyError, match="there is no run"):
                await lab.engine.why(id)
        with pytest.raises(TypeError, match="the id of a run must be a string"):
            await lab.engine.why(7)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="why: the engine is not open"):
        await durable.Engine().why("r")
