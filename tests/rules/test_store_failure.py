"""The instant at which a store fails: every session refuses at once, every caller outside is told (R31, R8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, Event, StoreCorruptError, StoreError
from durable.stores.store import Entry
from durable.testing import FailingStore

ROUNDS = 200  # of the loop: enough for whatever needs no time
CALLED: list[str] = []
SEEN: list[type[BaseException]] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLED.clear()
    SEEN.clear()


class Suspending(DictStore):
    """A store whose appends take a round of the loop."""

    immediate = False

    async def append(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(0)
        await super().append(entries)


class Gated(FailingStore):
    """A store that fails, whose appends end when its gate is open."""

    def __init__(self, *, at: int, kept: bool) -> None:
        super().__init__(Suspending(), at=at, kept=kept)
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, entries: Sequence[Entry]) -> None:
        await self.gate.wait()
        await super().append(entries)


def failing(at: int, *, immediate: bool, kept: bool = False) -> FailingStore:
    """Return a store whose append number `at` fails: in place, or while others go on."""
    return FailingStore(DictStore() if immediate else Suspending(), at=at, kept=kept)


async def called() -> None:
    CALLED.append("async")


def called_blocking() -> None:
    CALLED.append("blocking")


async def one() -> int:
    return 1


@durable.function
async def child(ctx: Context) -> None:
    CALLED.append("child")


async def noted(step: Callable[[], Awaitable[Any]]) -> None:
    """Call and await a step as code does that stops at nothing; note what comes out of it."""
    try:
        await step()
    except BaseException as error:
        SEEN.append(type(error))


async def passed(rounds: int = ROUNDS) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def stopped(store: FailingStore, at: int, function: durable.Function[Any], *events: str) -> None:
    """Start run "r" of a function, and send events until append number `at` fails; then check that nothing follows
    from the failure: no record, no call of a handler that is for later, no StoreError inside."""
    engine = Engine([function, child], store=store)
    await engine.open()
    try:
        with pytest.raises(StoreError):
            await engine.start(function, id="r")
            for name in events:
                await passed(20)
                await engine.send(name, id=name)
            await passed()
            await engine.runs()
        await passed()
        assert CALLED == [] and StoreError not in SEEN
        assert store.appends == at, "appended to again after it had failed"
    finally:
        await engine.close()


CALLS: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "run": lambda ctx: ctx.step.run("late", called),
    "a blocking run": lambda ctx: ctx.step.run("late", called_blocking),
    "sleep": lambda ctx: ctx.step.sleep("late", "1d"),
    "sleep_until": lambda ctx: ctx.step.sleep_until("late", ctx.now()),
    "wait_for_event": lambda ctx: ctx.step.wait_for_event("late", event="e", timeout="1d"),
    "wait_for_signal": lambda ctx: ctx.step.wait_for_signal("late", signal="s", timeout="1d"),
    "send_event": lambda ctx: ctx.step.send_event("late", Event("e")),
    "send_signal": lambda ctx: ctx.step.send_signal("late", "s"),
    "invoke": lambda ctx: ctx.step.invoke("late", function=child),
}


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_step_that_is_called_in_the_round_after_the_failure_is_refused(call: str, immediate: bool) -> None:
    """R31, R8: code that goes on before anything of the engine has run again sees a cancelling, never a StoreError."""

    async def story() -> None:
        store = failing(2, immediate=immediate)

        @durable.function
        async def goes_on(ctx: Context) -> str:
            while store.appends < 2:  # append number 2 fails without a round in between
                await asyncio.sleep(0)
            for _ in range(3):
                await noted(lambda: CALLS[call](ctx))
            return "never recorded"

        await stopped(store, 2, goes_on, "e")
        assert len(SEEN) == 3 and set(SEEN) == {asyncio.CancelledError}

    asyncio.run(story())


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_task_of_the_function_that_goes_on_after_the_failure_is_refused(call: str, immediate: bool) -> None:
    """R31: also in branches, one of which the engine has never seen."""

    async def story() -> None:
        store = failing(2, immediate=immediate)

        @durable.function
        async def branches(ctx: Context) -> None:
            async def side() -> None:
                while store.appends < 2:
                    await asyncio.sleep(0)
                await noted(lambda: CALLS[call](ctx))

            sides = [asyncio.create_task(side()) for _ in range(2)]
            await noted(lambda: ctx.step.run("a", one))  # append 2
            await noted(lambda: asyncio.wait(sides))

        await stopped(store, 2, branches)
        assert len(SEEN) >= 3 and set(SEEN) == {asyncio.CancelledError}

    asyncio.run(story())


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_step_in_a_cleanup_after_the_failure_is_refused(call: str, immediate: bool) -> None:
    """R31, R8: `except` and `finally` of the step whose record was lost."""

    @durable.function
    async def cleans_up(ctx: Context) -> None:
        try:
            await ctx.step.run("a", one)
        except BaseException as error:
            SEEN.append(type(error))
            await noted(lambda: CALLS[call](ctx))
            raise
        finally:
            await noted(lambda: CALLS[call](ctx))

    async def story() -> None:
        await stopped(failing(2, immediate=immediate), 2, cleans_up)
        assert len(SEEN) == 3 and set(SEEN) == {asyncio.CancelledError}

    asyncio.run(story())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("at", range(2, 12))
def test_wherever_the_store_fails_no_function_sees_it(at: int, immediate: bool, kept: bool) -> None:
    """R31: code that swallows whatever comes, in a loop, in two tasks, over every kind of step."""

    @durable.function
    async def stubborn(ctx: Context) -> None:
        async def loop() -> None:
            for _ in range(20):
                await noted(lambda: ctx.step.run("r", one))
                await noted(lambda: ctx.step.run("b", lambda: 1))
                await noted(lambda: ctx.step.send_event("e", Event("e")))
                await noted(lambda: ctx.step.send_signal("s", "s"))
                await noted(lambda: asyncio.gather(ctx.step.sleep("z", 0), ctx.step.run("g", one)))
                await noted(lambda: ctx.step.invoke("i", function="nobody"))

        await asyncio.gather(loop(), loop())

    async def story() -> None:
        store = failing(at, immediate=immediate, kept=kept)
        await stopped(store, at, stubborn, *"efghijklmnopq")
        assert set(SEEN) <= {asyncio.CancelledError, durable.StepError}

    asyncio.run(story())


# Who is outside.


def questions(engine: Engine) -> list[Coroutine[Any, Any, Any]]:
    """Ask whatever can be asked of an engine."""
    return [
        engine.send("e"),
        engine.send_signal("s"),
        engine.start("naps"),
        engine.start("naps", id="r"),
        engine.start("naps", {"not": "the same"}, id="r"),
        engine.invoke("naps"),
        engine.run("r"),
        engine.runs(),
        engine.cancel("r"),
        engine.retry("r"),
        engine.settled(),
        engine.result("r"),
        engine.info("r"),
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_everyone_who_waits_when_the_store_fails_is_told_at_once(kept: bool) -> None:
    """R31: asked before the failure, in its flight or after it: each gets the StoreError, and nobody waits on."""

    @durable.function
    async def naps(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1d")

    async def story() -> None:
        store = Gated(at=3, kept=kept)
        async with Engine([naps], store=store) as engine:
            await engine.start("naps", id="r")  # its opening, its sleep, and then the event
            await engine.settled()
            store.gate.clear()
            asked = [asyncio.ensure_future(engine.result("r")), asyncio.ensure_future(engine.send("e", id="e"))]
            await passed()
            asked += map(asyncio.ensure_future, questions(engine))
            await passed()
            early = [task for task in asked if task.done()]
            store.gate.set()
            await passed()
            asked += map(asyncio.ensure_future, questions(engine))
            await passed()
            late = [task for task in asked if not task.done()]
            for task in late:
                task.cancel()
            told = await asyncio.gather(*asked, return_exceptions=True)
        assert not early and not late, f"{len(early)} were answered too early, {len(late)} not at all"
        assert [type(answer) for answer in told] == [StoreError] * len(told) and store.appends == 3

    asyncio.run(story())


class Slow(Suspending):
    """A store whose appends and readings end when their gates are open."""

    def __init__(self) -> None:
        super().__init__()
        self.appending, self.reading = asyncio.Event(), asyncio.Event()
        self.appending.set()
        self.reading.set()

    async def append(self, entries: Sequence[Entry]) -> None:
        await self.appending.wait()
        await super().append(entries)

    async def history(self, run: str) -> AsyncIterator[Entry]:
        await self.reading.wait()
        async for entry in super().history(run):
            yield entry


def test_what_happens_while_a_run_is_being_read_is_not_shown_before_it_is_durable() -> None:
    """R31: the answer is as old as what was durable when the reading began."""
    go_on = asyncio.Event()

    @durable.function
    async def works(ctx: Context) -> None:
        await ctx.step.run("a", go_on.wait)

    async def story() -> None:
        store = Slow()
        async with Engine([works], store=store) as engine:
            run = await engine.start(works, id="r")
            await passed()
            store.reading.clear()
            store.appending.clear()
            asked = asyncio.ensure_future(run.info())
            await passed()
            go_on.set()
            await passed()
            store.reading.set()
            info = await asked
            assert {key: step.status for key, step in info.steps.items()} == {"a": "running"}
            assert [entry.kind for entry in info.record] == ["RunOpened"]
            store.appending.set()
            await run.result()

    asyncio.run(story())


class Damaged(DictStore):
    """A store that can neither be read nor closed."""

    async def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        raise StoreCorruptError("row 7 is damaged")
        yield

    async def close(self) -> None:
        raise StoreError("no space left")


def test_why_a_store_could_not_be_opened_is_told_although_it_could_not_be_closed_either() -> None:
    async def story() -> None:
        with pytest.raises(StoreCorruptError, match="row 7") as refused:
            await Engine(store=Damaged()).open()
        assert "no space left" in refused.value.__notes__[0]

    asyncio.run(story())
