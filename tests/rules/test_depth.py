"""How deep a user's value may be: 200 levels by every door, whatever the runtime puts around it. R10, R16, R31."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import CodecError, Context, Event, FileStore, RunFailed
from durable.engine.opened import inside
from durable.journal.codec.enclosing import ROOM, enclose
from durable.journal.codec.values import decode, encode
from durable.testing import Lab
from tests.support.ways import WAYS, lab_of

DEPTHS = [198, 199, 200]


def nested(levels: int) -> Any:
    """Return a value of so many containers in each other, of both kinds."""
    value: Any = "deep"
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value


def data(levels: int) -> dict[str, Any]:
    """Return an event's data that is nested so deep."""
    return {"v": nested(levels - 1)}


def levels(value: Any) -> int:
    """Return how deep a value is."""
    depth = 0
    while isinstance(value, dict | list):
        value = value.get("v", value.get("in")) if isinstance(value, dict) else value[0]
        depth += 1
    return depth


@durable.function
async def echo(ctx: Context) -> Any:
    return dict(ctx.event.data)


@durable.function
async def makes(ctx: Context) -> Any:
    return nested(ctx.event.data["levels"])


@durable.function
async def steps(ctx: Context) -> Any:
    return levels(await ctx.step.run("a", nested, ctx.event.data["levels"]))


@durable.function
async def invokes(ctx: Context) -> Any:
    return levels(await ctx.step.invoke("a", function=echo, data=data(ctx.event.data["levels"])))


@durable.function
async def sends(ctx: Context) -> Any:
    return await ctx.step.send_event("a", Event("go", data(ctx.event.data["levels"])))


@durable.function
async def signals(ctx: Context) -> Any:
    return await ctx.step.send_signal("a", "answer", nested(ctx.event.data["levels"]))


@durable.function("go")
async def opened(ctx: Context) -> Any:
    return levels(ctx.event.data)


@durable.function
async def waits(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event("e", event="go", timeout="1h")
    return event and levels(event.data)


@durable.function
async def asks(ctx: Context) -> Any:
    signal = await ctx.step.wait_for_signal("s", signal="answer", timeout="1h")
    return signal and levels(signal.data)


FUNCTIONS = [echo, makes, steps, invokes, sends, signals, opened, waits, asks]


async def _started(lab: Lab, function: Any, given: Any) -> Any:
    return await lab.result(await lab.start(function, given))


async def _sent(lab: Lab, depth: int) -> Any:
    run = await lab.start(waits)
    await lab.crash()
    [other] = await lab.send("go", data(depth))
    await lab.crash()
    assert await lab.result(run) == await lab.result(other)
    return await other.result()


async def _signalled(lab: Lab, depth: int) -> Any:
    run = await lab.start(asks)
    await lab.crash()
    await lab.signal("answer", nested(depth))
    return await lab.result(run)


async def _delayed(lab: Lab, depth: int) -> Any:
    await lab.send("go", data(depth), ts=lab.clock.now().replace(hour=1))
    await lab.crash()
    await lab.advance("1h")
    [info] = await lab.engine.runs(function=opened)
    return info.output


async def _sends(lab: Lab, depth: int) -> Any:
    run = await lab.start(waits)
    await _started(lab, sends, {"levels": depth})
    return await lab.result(run)


async def _signals(lab: Lab, depth: int) -> Any:
    run = await lab.start(asks)
    await _started(lab, signals, {"levels": depth})
    return await lab.result(run)


DOORS: dict[str, Callable[[Lab, int], Awaitable[Any]]] = {
    "send": _sent,
    "send, for later": _delayed,
    "send_signal": _signalled,
    "start": lambda lab, depth: _started(lab, echo, data(depth)),
    "what a function returns": lambda lab, depth: _started(lab, makes, {"levels": depth}),
    "what a handler returns": lambda lab, depth: _started(lab, steps, {"levels": depth}),
    "step.invoke": lambda lab, depth: _started(lab, invokes, {"levels": depth}),
    "step.send_event": _sends,
    "step.send_signal": _signals,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", DOORS)
def test_a_value_may_be_nested_200_levels_deep_by_every_door(door: str, way: str, tmp_path: Path) -> None:
    """R10: and comes back as it was; one level more is refused by name, and nothing has happened."""

    async def story() -> None:
        for depth in DEPTHS:
            folder = tmp_path / str(depth)
            folder.mkdir()
            async with lab_of(way, FUNCTIONS, folder) as lab:
                got = await DOORS[door](lab, depth)
                assert (got if isinstance(got, int) else levels(got)) == depth
                await lab.crash()
                assert all(str(info) for info in await lab.engine.runs())
        async with Lab(FUNCTIONS) as lab:
            with pytest.raises((CodecError, RunFailed), match="deeper than 200 levels"):
                await DOORS[door](lab, 201)
            assert await lab.engine.runs(function=opened) == []

    asyncio.run(story())


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_a_sender_puts_into_the_inbox_may_be_as_deep(depth: int, tmp_path: Path) -> None:
    """R10: a message's text holds users' values as texts."""
    path = tmp_path / "x.db"

    async def story() -> None:
        async with durable.Engine([opened], store=path) as engine:
            async with durable.Sender(path) as sender:
                await sender.send("go", data(depth))
                with pytest.raises(CodecError, match="deeper than 200 levels"):
                    await sender.send("go", data(201))
            while not (found := await engine.runs(status="completed")):
                await asyncio.sleep(0.01)
            assert [info.output for info in found] == [depth]

    asyncio.run(story())


# What the runtime tells of it: events of ends, in which users' data stand three levels down, and those of their ends.


async def told(ctx: Context) -> Any:
    """Is called when a run has failed: of the event of that, and of what it tells of."""
    inner = ctx.event.data["event"]
    return [ctx.event.name, levels(inner["data"])]


async def told_of_a_listener(ctx: Context) -> Any:
    """Is called when a run that listened to an end has failed: the user's data are two events down."""
    return [ctx.event.data["event"]["name"], levels(ctx.event.data["event"]["data"]["event"]["data"])]


@durable.function("go", retries=0, on_failure=told)
async def ends(ctx: Context) -> Any:
    how = await ctx.step.wait_for_signal("how", signal=f"how {ctx.run_id}", timeout="9d")
    if how is None or how.data == "fail":
        raise ValueError("no")
    return ctx.event.data["v"]


@durable.function(["durable/function.finished", "durable/function.cancelled"], retries=0, on_failure=told_of_a_listener)
async def fails_too(ctx: Context) -> Any:
    if ctx.event.data["function_id"] == "ends":
        raise ValueError("nor here")


@durable.function
async def waits_for_an_end(ctx: Context) -> Any:
    event = await ctx.step.wait_for_event(
        "end", event="durable/function.finished", timeout="9d", if_exp="async.data.function_id == 'ends'"
    )
    assert event is not None
    return [levels(event.data["event"]["data"]), levels(event.data.get("result"))]


ENDING = [ends, fails_too, waits_for_an_end]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["fail", "return", "cancel"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_an_end_is_told_of_whatever_the_depth_of_what_it_tells(depth: int, how: str, way: str, tmp_path: Path) -> None:
    """R15, R16: the run ends, its failure handler is called, its parent and its listeners hear of it, and so does
    the failure handler of a listener; everything can be listed, shown and written out."""

    async def story() -> None:
        async with lab_of(way, ENDING, tmp_path) as lab:
            waiting = await lab.start(waits_for_an_end)
            [run] = await lab.send("go", data(depth))
            await lab.crash()
            if how == "cancel":
                assert await lab.engine.cancel(run.id)
                await lab.settle()
            else:
                assert await lab.signal(f"how {run.id}", how) == run.id
            await lab.crash()
            await lab.settle()
            found = {info.id: info for info in await lab.engine.runs()}
            assert found[run.id].status == {"fail": "failed", "return": "completed", "cancel": "cancelled"}[how]
            assert levels(found[run.id].event.data) == depth
            result = {"return": depth - 1, "fail": 0, "cancel": 0}[how]
            assert await lab.result(waiting) == [depth, result]
            failed = [info.output for info in found.values() if info.function_id == "ends-failure"]
            assert failed == ([["durable/function.failed", depth]] if how == "fail" else [])
            listeners = [info for info in found.values() if info.function_id == "fails_too"]
            assert {info.status for info in listeners if "#" in info.id} >= {"failed"}
            shown = [info.output for info in found.values() if info.function_id == "fails_too-failure"]
            assert ["durable/function.finished", depth] in shown
            for number, info in enumerate(found.values()):
                assert repr(info) and str(info)
                info.export(tmp_path / f"{number}.jsonl")

    asyncio.run(story())


def test_a_run_that_is_parked_keeps_the_depth_of_its_event(tmp_path: Path) -> None:
    """R3: what is kept of a parked run's event is the text that it had."""

    async def story() -> None:
        store = FileStore(tmp_path / "x.db")
        async with durable.Engine(ENDING, store=store, resident=0) as engine:
            await engine.send("go", data(200))
            await engine.settled()
            [info] = await engine.runs()
            while not inside(engine, "a test").state.parked:
                await asyncio.sleep(0)
                await engine.send("stir")
            assert await engine.send_signal(f"how {info.id}", "fail") == info.id
            with pytest.raises(RunFailed):
                await engine.result(info.id)
            await engine.settled()
            outputs = [one.output for one in await engine.runs(function="ends-failure")]
            assert outputs == [["durable/function.failed", 200]]

    asyncio.run(story())


def test_there_is_room_for_what_the_runtime_puts_around_a_value_and_no_more() -> None:
    """What is deeper has passed no door, and is refused: a value that holds itself would be as deep as the stack."""
    for depth in (200, 201, 200 + ROOM):
        assert decode(enclose(nested(depth))) == nested(depth)
        assert decode(enclose((nested(depth - 1),))) == (nested(depth - 1),)
    for value in (nested(201 + ROOM), (nested(200 + ROOM),)):
        with pytest.raises(CodecError, match="nested deeper"):
            enclose(value)
    with pytest.raises(CodecError, match="nested deeper than 200 levels"):
        encode(nested(201))
