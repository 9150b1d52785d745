"""A function that calls itself for ever fills the stack in the middle of our own calls: it fails, and that is all."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import pytest

import durable
from durable import Context, DictStore, Event
from durable.engine.opened import inside
from durable.journal.records import Record, RunOpened
from durable.journal.rules.state import State
from durable.journal.writer import Journal
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.picture import picture


@durable.function
async def child(ctx: Context) -> int:
    return 1


@durable.function("told")
async def hears(ctx: Context) -> int:
    return 1


@durable.function("ping")
async def pings(ctx: Context) -> str:
    return await ctx.step.run("a", str)


def _asked(ctx: Context, how: str, number: int) -> Any:
    id = f"s{number}"
    match how:
        case "sleep":
            return ctx.step.sleep(id, 0)
        case "run":
            return ctx.step.run(id, str)
        case "send_event":
            return ctx.step.send_event(id, [Event("told", {"n": number}), Event("nobody")])
        case "invoke":
            return ctx.step.invoke(id, function=child)
    return ctx.step.wait_for_event(id, event="never", timeout="1ms")


@durable.function(retries=0)
async def falls(ctx: Context) -> None:
    how, offset, goes_on = (ctx.event.data[key] for key in ("how", "offset", "goes_on"))

    async def down(number: int) -> None:
        try:
            await _asked(ctx, how, number)
        except (RecursionError, durable.StepError, durable.CodecError):
            if not goes_on:
                raise
        await down(number + 1)

    async def pad(frames: int) -> None:
        await (pad(frames - 1) if frames else down(0))

    await pad(offset)


@pytest.fixture
def low_stack() -> Iterator[None]:
    """Let a stack be full after some hundred calls: what happens then is the same, and sooner."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 320)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("low_stack")
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("how", ["sleep", "wait_for_event", "run", "send_event", "invoke"])
def test_a_stack_that_is_full_in_the_middle_of_a_step_hurts_that_run_alone(
    how: str, goes_on: bool, offset: int
) -> None:
    """R31: what could not be done has not happened, half of nothing has; other runs go on, and a restart agrees. A
    function that goes on past the error calls its steps with less and less room, until there is none for the call."""

    async def story() -> None:
        async with Lab([falls, child, hears, pings]) as lab:
            run = await lab.start(falls, {"how": how, "offset": offset, "goes_on": goes_on}, id="r")
            with pytest.raises(durable.RunFailed, match=r"RecursionError|what is left of the stack"):
                await lab.result(run)
            [ping] = await lab.send("ping")
            assert await ping.result() == ""
            heard = sum(info.function_id == "hears" for info in await lab.engine.runs(limit=2_000))
            steps = {key: step.status for key, step in (await run.info()).steps.items()}
            assert len(steps) > 100
            assert how != "send_event" or heard == sum(status == "completed" for status in steps.values())
            runtime = inside(lab.engine, "a test")
            assert not runtime.state.ledgers and not runtime.state.bus.listeners()
            before = picture(runtime.state)
            await lab.crash()
            assert picture(inside(lab.engine, "a test").state) == before
            assert {key: step.status for key, step in (await run.info()).steps.items()} == steps
            assert sum(info.function_id == "hears" for info in await lab.engine.runs(limit=2_000)) == heard

    asyncio.run(story())


@attrs.frozen
class Follows:
    """One who acts on the openings of runs."""

    act: Callable[[Any], None]

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return what is to be called with a record of each kind."""
        return {RunOpened: self.act}


def test_who_follows_the_records_is_told_on_a_stack_with_room() -> None:
    """A record that is posted is acted on, although the stack of who posted it has no room for that."""

    async def story() -> None:
        told: list[Record] = []
        is_full = [True]

        def follow(record: Record) -> None:
            if is_full[0]:
                raise RecursionError
            told.append(record)

        state = State(lambda about, text: None)
        journal = Journal(DictStore(), state, asyncio.Event())
        journal.follow(Follows(follow))
        records = [RunOpened(f"r{number}", "f", Event("go"), START) for number in range(3)]
        journal.post(records[0])
        journal.post_all(records[1:])
        is_full[0] = False
        assert list(state.ledgers) == ["r0", "r1", "r2"] and told == []
        await asyncio.sleep(0)
        assert told == records

    asyncio.run(story())


LEAST = 12 if sys.version_info < (3, 12) else 2  # calls from C count there, too


@pytest.mark.parametrize("how", ["an event opens a run", "a wait is over"])
def test_what_is_recorded_is_acted_on_however_little_room_the_stack_has(how: str) -> None:
    """R31: where the stack ends some calls further on, a cause has happened whole or not at all, and what has happened
    goes on as if there had been room."""

    @durable.function
    async def sleeps(ctx: Context) -> str:
        await ctx.step.sleep("s", "1d")
        return "awake"

    async def story() -> None:
        async with Lab([sleeps, hears]) as lab:
            runtime = inside(lab.engine, "a test")
            causes, limit, happened = runtime.decisions, sys.getrecursionlimit(), list[bool]()
            for room in range(LEAST, 90):
                now, run = lab.clock.now(), (await lab.start(sleeps, id=f"r{room}")).id
                if how == "an event opens a run":
                    records, run = causes.run_opens("hears", f"h{room}", Event("told", {}, "e", now), now), f"h{room}"
                else:
                    records = causes.deadline_passed((run, "s"), now)
                posted = runtime.journal.posted
                sys.setrecursionlimit(len(inspect.stack(0)) + room)
                try:
                    runtime.journal.post_all(records)
                except (RecursionError, durable.CodecError):
                    assert runtime.journal.posted == posted
                finally:
                    sys.setrecursionlimit(limit)
                happened.append(runtime.journal.posted > posted)
                await lab.settle()
                assert not happened[-1] or (await lab.engine.info(run)).status == "completed", room
                await lab.engine.cancel(f"r{room}")
            assert not happened[0] and happened[-1]

    asyncio.run(story())
