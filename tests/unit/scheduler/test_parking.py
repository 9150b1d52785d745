"""Parking: a run that only waits gives its coroutine back, and nobody can tell by what it does (R25)."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from durable import (
    Backoff,
    Cancel,
    Context,
    DictStore,
    Engine,
    Entry,
    Function,
    RunCancelled,
    StoreError,
    Timeouts,
    TriggerEvent,
    function,
)
from durable.engine.opened import inside
from durable.testing import VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)


class Notes:
    """What functions did, in order."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def take(self, note: str) -> str:
        self.taken.append(note)
        return note


class House:
    """An engine that keeps few coroutines, its clock and its store."""

    def __init__(self, functions: list[Function[Any]], *, resident: int = 0, store: DictStore | None = None) -> None:
        self.clock = VirtualClock(START)
        self.store = store or DictStore()
        self.engine = Engine(functions, store=self.store, clock=self.clock, resident=resident)

    @property
    def parked(self) -> list[str]:
        return list(inside(self.engine, "test").state.parked)

    async def pass_by(self, duration: str) -> None:
        self.clock.advance(duration)
        await self.engine.settled()


@asynccontextmanager
async def house(*functions: Function[Any], **options: Any) -> AsyncIterator[House]:
    one = House(list(functions), **options)
    async with one.engine:
        yield one


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def kinds(store: DictStore) -> list[str]:
    return [fact[2] for key, batch in store.mapping.items() if key.startswith("batch/") for fact in batch]  # type: ignore[union-attr]


def sleeping(notes: Notes) -> Function[str]:
    @function
    async def sleeper(ctx: Context) -> str:
        try:
            await ctx.step.run("before", notes.take, "before")
            await ctx.step.sleep("nap", "1h")
            await ctx.step.run("after", notes.take, "after")
        except asyncio.CancelledError:
            notes.take("cancelled")
            raise
        return "done"

    return sleeper


def test_a_waiting_run_gives_its_coroutine_back_and_goes_on_when_its_time_has_come() -> None:
    """R1, R25: as after a restart; the parking itself is not recorded."""
    notes = Notes()

    async def story() -> None:
        sleeper = sleeping(notes)
        async with house(sleeper) as home:
            run = await home.engine.start(sleeper, id="r")
            await home.engine.settled()
            assert home.parked == ["r"] and not inside(home.engine, "test").scheduler.sessions
            assert notes.taken == ["before", "cancelled"]
            before = kinds(home.store)
            info = await run.info()
            assert info.status == "waiting" and list(info.steps) == ["before", "nap"]
            assert [found.id for found in await home.engine.runs(status="waiting")] == ["r"]
            assert (await home.engine.start(sleeper, id="r")).id == "r"
            assert kinds(home.store) == before
            result = asyncio.create_task(run.result())
            await home.pass_by("1h")
            assert await result == "done"
            assert notes.taken == ["before", "cancelled", "after"] and not home.parked

    play(story)


def test_only_as_many_coroutines_are_kept_as_were_asked_for_and_the_first_begun_go_first() -> None:
    async def before() -> None:
        """Do nothing, in no thread: one of 100 that the machine holds up would leave its run busy at the look."""

    @function
    async def sleeper(ctx: Context) -> None:
        await ctx.step.run("before", before)
        await ctx.step.sleep("nap", "1h")

    async def story() -> None:
        async with house(sleeper, resident=30) as home:
            for number in range(100):
                await home.engine.start(sleeper, id=f"r{number:02}")
            await home.engine.settled()
            assert 60 <= len(home.parked) <= 70  # it looks only from time to time
            assert sorted(home.parked) == [f"r{number:02}" for number in range(len(home.parked))]
            await home.pass_by("1h")
            assert {info.status for info in await home.engine.runs()} == {"completed"}

    play(story)


def test_parked_runs_hear_events_and_signals_and_the_ends_of_their_children() -> None:
    """R18, R20, R23, R24: in one write, and only what matches."""

    @function
    async def listens(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event("paid", event="paid", match="data.order", timeout="9d")
        return event and event.data["sum"]

    @function
    async def signalled(ctx: Context) -> Any:
        signal = await ctx.step.wait_for_signal("s", signal="s", timeout="9d")
        return signal and signal.data

    @function
    async def parent(ctx: Context) -> Any:
        return await ctx.step.invoke("below", function=signalled, data={})

    async def story() -> None:
        async with house(listens, signalled, parent) as home:
            waiting = [await home.engine.start(listens, {"order": number}) for number in (1, 2)]
            above = await home.engine.start(parent, id="above")
            await home.engine.settled()
            assert len(home.parked) == 4
            await home.engine.send("paid", {"order": 2, "sum": 20})
            assert await home.engine.send_signal("s", "hello") == "above/below"
            assert await home.engine.send_signal("s", "again") is None
            await home.engine.settled()
            assert await above.result() == "hello"
            assert await waiting[1].result() == 20
            assert home.parked == [waiting[0].id]

    play(story)


def test_a_second_waiter_for_the_signal_of_a_parked_run_is_refused_and_may_take_it_over() -> None:
    """R23."""

    @function(retries=0)
    async def waits(ctx: Context) -> Any:
        conflict = "replace" if ctx.run_id == "thief" else "fail"
        return await ctx.step.wait_for_signal("s", signal="s", timeout="9d", on_conflict=conflict)

    async def story() -> None:
        async with house(waits) as home:
            first = await home.engine.start(waits, id="first")
            await home.engine.settled()
            second = await home.engine.start(waits, id="second")
            await home.engine.settled()
            assert "SignalConflictError" in str((await second.info()).error)
            assert home.parked == ["first"]
            await home.engine.start(waits, id="thief")
            await home.engine.settled()
            assert await first.result() is None
            assert home.parked == ["thief"]

    play(story)


@pytest.mark.parametrize("how", ["by hand", "by event", "by event of another run", "in time"])
def test_a_parked_run_can_be_cancelled_and_its_end_is_told_with_its_event(how: str) -> None:
    """R16, R21, R27: nothing of it has to be read for that."""
    told: list[Any] = []

    @function("begun", cancel=[Cancel("off", match="data.order")], timeouts=Timeouts(finish="2h"))
    async def sleeper(ctx: Context) -> None:
        await ctx.step.sleep("night", "8h")

    @function("durable/function.cancelled")
    async def audit(ctx: Context) -> None:
        told.append(ctx.event.data["event"]["data"])

    async def story() -> None:
        async with house(sleeper, audit) as home:
            await home.engine.send("begun", {"order": 7})
            await home.engine.settled()
            [name] = home.parked
            run = await home.engine.run(name)
            if how == "by hand":
                assert await run.cancel() and not await run.cancel()
            elif how == "in time":
                await home.pass_by("2h")
            else:
                await home.engine.send("off", {"order": 7 if how == "by event" else 8})
            await home.engine.settled()
            if how == "by event of another run":
                assert home.parked == [name] and not told
                return
            with pytest.raises(RunCancelled):
                await run.result()
            assert told == [{"order": 7}] and not home.parked
            assert (await run.info()).status == "cancelled" and list((await run.info()).steps) == ["night"]

    play(story)


def test_a_run_of_which_more_lives_is_not_parked() -> None:
    """A handler, a task of its own in a step, an await outside its steps."""
    let_go: list[asyncio.Event] = []

    async def outside() -> None:
        let_go.append(asyncio.Event())
        await let_go[-1].wait()

    @function
    async def handling(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("works", outside), ctx.step.sleep("nap", "1h"))

    @function
    async def branched(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("one", "1h"), ctx.step.sleep("two", "1h"))

    @function
    async def elsewhere(ctx: Context) -> None:
        nap = ctx.step.sleep("nap", "1h")
        await outside()
        await nap

    @function
    async def plain(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    async def story() -> None:
        async with house(handling, branched, elsewhere, plain) as home:
            for one in (handling, branched, elsewhere, plain):
                await home.engine.start(one, id=one.id)
            for _ in range(300):
                await asyncio.sleep(0)
            assert home.parked == ["plain"]
            for gate in let_go:
                gate.set()

    play(story)


def test_a_function_defined_again_does_not_wake_its_parked_runs_and_holds_for_them() -> None:
    begun: list[int] = []

    def define(version: int, cancel: list[Cancel]) -> Function[int]:
        @function(TriggerEvent("begun"), id="f", cancel=cancel)
        async def f(ctx: Context) -> int:
            begun.append(version)
            await ctx.step.sleep("nap", "1h")
            return version

        return f

    async def story() -> None:
        async with house(define(1, [])) as home:
            for name in ("goes", "stays"):
                await home.engine.start("f", {"name": name}, id=name)
            await home.engine.settled()
            assert begun == [1, 1] and len(home.parked) == 2
            newer = define(2, [Cancel("off", if_exp="event.data.name == async.data.name")])
            other = await home.engine.start(newer, id="other")
            await home.engine.settled()
            assert begun == [1, 1, 2] and len(home.parked) == 3
            await home.engine.send("off", {"name": "goes"})
            await home.pass_by("1h")
            assert await other.result() == 2
            assert await (await home.engine.run("stays")).result() == 2
            assert (await home.engine.info("goes")).status == "cancelled"

    play(story)


def test_what_was_parked_is_there_after_a_restart() -> None:
    """R25."""
    notes = Notes()

    async def story() -> None:
        sleeper, store = sleeping(notes), DictStore()
        async with house(sleeper, store=store) as home:
            await home.engine.start(sleeper, id="r")
            await home.engine.settled()
            assert home.parked == ["r"]
        async with house(sleeper, store=DictStore(store.mapping)) as home:
            await home.engine.settled()
            assert home.parked == ["r"]
            await home.pass_by("1h")
            assert await (await home.engine.run("r")).result() == "done"
        assert [note for note in notes.taken if note != "cancelled"] == ["before", "after"]

    play(story)


def test_a_function_that_swallows_its_cancelling_is_named_and_called_again_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R8: it is left behind, and none of its steps does anything any more."""
    monkeypatch.setattr("durable.scheduler.stopping.GRACE", 0.01)
    let_go = asyncio.Event()
    lives: list[int] = []

    @function
    async def stubborn(ctx: Context) -> int:
        lives.append(len(lives))
        life = lives[-1]
        try:
            await ctx.step.sleep("nap", "1h")
        except asyncio.CancelledError:
            await let_go.wait()
            await ctx.step.run("late", lives.append, 100)
        return life

    async def story() -> None:
        async with house(stubborn) as home:
            run = await home.engine.start(stubborn, id="r")
            while not home.parked:
                await asyncio.sleep(0)
            home.clock.advance("1h")
            assert await run.result(5) == 1
            let_go.set()
        assert lives == [0, 1]

    with caplog.at_level(logging.ERROR):
        play(story)
    assert any("'r'" in message and "left behind" in message for message in caplog.messages)


@pytest.mark.parametrize("how", ["sleep", "event", "signal"])
def test_a_run_with_a_wait_left_open_by_an_earlier_attempt_is_not_parked(how: str) -> None:
    """R9, R14: what answers that wait must find it, although the code has yet to come to it."""

    def first(ctx: Context) -> Coroutine[Any, Any, Any]:
        match how:
            case "sleep":
                return ctx.step.sleep("first", "1h")
            case "event":
                return ctx.step.wait_for_event("first", event="e", timeout="2h")
            case _:
                return ctx.step.wait_for_signal("first", signal="s", timeout="2h")

    @function(retries=1, backoff=Backoff("1s", jitter=0))
    async def again(ctx: Context) -> Any:
        async def fails() -> None:
            await ctx.step.run("one", lambda: 1)
            raise OSError

        if ctx.attempt == 0:
            await asyncio.gather(first(ctx), fails())
        await ctx.step.sleep("between", "3h")
        answer = await first(ctx)
        return getattr(answer, "data", answer)

    async def story() -> None:
        async with house(again) as home:
            run = await home.engine.start(again, id="r")
            await home.engine.settled()
            await home.pass_by("2s")
            await home.pass_by("10m")
            if how == "event":
                await home.engine.send("e", {"n": 1})
            if how == "signal":
                assert await home.engine.send_signal("s", {"n": 1}) == "r"
            for _ in range(5):
                await home.pass_by("1h")
            assert await run.result(5) == (None if how == "sleep" else {"n": 1})

    play(story)


class Names(enum.StrEnum):
    FUNCTION = "sleeper"
    EVENT = "begun"


def test_names_may_be_members_of_an_enum() -> None:
    """Recorded and read again they are texts; so they are from the start."""

    @function(Names.EVENT, id=Names.FUNCTION)
    async def sleeper(ctx: Context) -> str:
        await ctx.step.sleep("nap", "1h")
        return ctx.event.name

    async def story() -> None:
        async with house(sleeper) as home:
            await home.engine.send(Names.EVENT)
            await home.engine.settled()
            run = await home.engine.run(home.parked[0])
            assert type((await run.info()).function_id) is str
            await home.pass_by("1h")
            assert await run.result(5) == "begun"

    play(story)


def test_closing_waits_for_a_function_that_is_being_parked() -> None:
    """R8."""
    notes = Notes()

    @function
    async def tidy(ctx: Context) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            notes.take("begins to clean up")
            for _ in range(300):
                await asyncio.sleep(0)
            notes.take("has cleaned up")

    async def story() -> None:
        async with house(tidy) as home:
            await home.engine.start(tidy)
            while not notes.taken:
                await asyncio.sleep(0)
        assert notes.taken == ["begins to clean up", "has cleaned up"]

    play(story)


class Forgetful(DictStore):
    """A store that cannot give back what it has, once it is told so."""

    failing: str | None = None

    async def history(self, run: str) -> AsyncIterator[Entry]:
        if self.failing == "fails":
            raise StoreError("the disk is gone")
        if self.failing == "breaks":
            raise OSError("no such device")
        entries = [entry async for entry in super().history(run)]
        for entry in entries[:-1] if self.failing == "forgets" else entries:
            yield entry
        if self.failing == "makes up":
            yield entries[-1]


@pytest.mark.parametrize(
    ("failing", "says"),
    [
        ("fails", "the disk is gone"),
        ("breaks", "no such device"),
        ("forgets", "lost some"),
        ("makes up", "made some up"),
    ],
)
def test_a_parked_run_that_cannot_be_read_stops_the_engine(failing: str, says: str) -> None:
    """R31: it must not wait for ever without anybody hearing of it."""

    async def story() -> None:
        store = Forgetful()
        sleeper = sleeping(Notes())
        async with house(sleeper, store=store) as home:
            run = await home.engine.start(sleeper, id="r")
            await home.engine.settled()
            store.failing = failing
            result = asyncio.create_task(run.result())
            await asyncio.sleep(0)
            home.clock.advance("1h")
            with pytest.raises(StoreError, match=says):
                await result
            with pytest.raises(StoreError, match=says):
                await home.engine.send("anything")

    play(story)


@pytest.mark.parametrize("resident", [-1, 1.5, True, "many"])
def test_a_number_of_coroutines_that_is_none_is_refused(resident: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="resident must be"):
        Engine(resident=resident)
